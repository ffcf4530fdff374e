"""What holds on a processor holds on a CUDA card: the promise, every method, exact resume, both precisions."""

import math
import signal
from dataclasses import replace

import pytest
import torch

import agscl
from agscl.experiments import Experiment, run
from agscl.experiments.supervised.presets import SUPERVISED_PRESETS
from agscl.methods import METHODS
from agscl.runs import RunFolder
from agscl.training import Compute, EpochFinished, Stopped
from laws.sequences import MLP, OPTIMIZERS, TASKS, MobileNet, learn, logits, protected, tasks

DEVICE = "cuda"
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

EXACT = {
    "ags-cl": agscl.AGSCL(mu=1.0, lam=math.inf),
    "ags-cl, step": agscl.AGSCL(mu=0.1, lam=math.inf, proximal="step"),
    "hat": agscl.HAT(smax=1e8),
    "wsn": agscl.WSN(),
    "gated-ags-cl": agscl.GatedAGSCL(begin=1, end=2),
    "packnet": agscl.PackNet(train_epochs=2),
    "single-task": agscl.SingleTask(),
}
NETWORKS = {"mlp": (MLP, (12,)), "mobilenet": (MobileNet, (3, 16, 16))}


class StopInTheSecondTask:
    """Asks the process to end, as a scheduler does."""

    def emit(self, event):
        if isinstance(event, EpochFinished) and event.task == 1:
            signal.raise_signal(signal.SIGTERM)


def on_card(data):
    return [(x.to(DEVICE), y.to(DEVICE)) for x, y in data]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("method", EXACT)
def test_earlier_logits_keep_their_bits(method, network, optimizer):
    build, shape = NETWORKS[network]
    torch.manual_seed(0)
    model = build().to(DEVICE)
    try:
        guard = agscl.protect(model, EXACT[method], example_inputs=torch.zeros(2, *shape).to(DEVICE), heads="heads")
    except ValueError as refusal:
        pytest.skip(str(refusal))
    data, kept = on_card(tasks(shape)), []
    for task in range(TASKS):
        guard.use_task(task)
        learn(guard, model, task, data[task], OPTIMIZERS[optimizer], epochs=3)
        kept.append(logits(model, task, data[task][0]))
    for task, before in enumerate(kept):
        guard.use_task(task)
        assert torch.equal(logits(model, task, data[task][0]), before)


def test_a_guard_made_on_the_processor_moves_to_the_card_with_its_model():
    model = MLP()
    guard = protected(model, EXACT["ags-cl"], (12,))
    model.to(DEVICE)
    data = on_card(tasks((12,)))
    learn(guard, model, 0, data[0], OPTIMIZERS["adam"])
    before = logits(model, 0, data[0][0])
    learn(guard, model, 1, data[1], OPTIMIZERS["adam"])
    assert torch.equal(logits(model, 0, data[0][0]), before)


@pytest.mark.parametrize("name", ["ags-cl", "ewc", "mas"])
def test_what_is_measured_is_what_the_processor_measures(name):
    torch.manual_seed(0)
    models = [MLP(), MLP().to(DEVICE)]
    models[1].load_state_dict(models[0].state_dict())
    method = {"ags-cl": agscl.AGSCL(mu=0.0, lam=1.0, rho=0.0), "ewc": agscl.EWC(lam=1.0), "mas": agscl.MAS(lam=1.0)}
    (x, y), *_ = tasks((12,))
    states = []
    for model in models:
        device = next(model.parameters()).device
        guard = agscl.protect(model, method[name], example_inputs=torch.zeros(2, 12).to(device), heads="heads")
        learn(guard, model, 0, (x.to(device), y.to(device)), lambda p: torch.optim.SGD(p, lr=0.0), epochs=1)
        states.append({key: value.cpu() for key, value in guard.state_dict().items()})
    assert states[0].keys() == states[1].keys()
    for key, value in states[0].items():
        torch.testing.assert_close(value, states[1][key], msg=lambda text, key=key: f"{key}: {text}")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", METHODS)
def test_every_method_runs_the_same_twice_and_from_a_checkpoint(name, precision, tmp_path):
    preset = SUPERVISED_PRESETS["digits"]
    if name not in preset.tuned:
        pytest.skip("has no values for digits")
    experiment = Experiment(
        preset="digits",
        method=preset.tuned[name],
        training=replace(preset.training, epochs=2),
        tasks=2,
        compute=Compute(device=DEVICE, precision=precision),
    )
    whole, stopped = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "stopped")
    run(experiment, whole)
    with pytest.raises(Stopped):
        run(experiment, stopped, [StopInTheSecondTask()])
    run(experiment, stopped, resume=True)
    assert stopped.state.read_bytes() == whole.state.read_bytes()


@pytest.mark.parametrize("name", METHODS)
def test_a_step_does_not_wait_for_the_card(name):
    preset = SUPERVISED_PRESETS["digits"]
    if name not in preset.tuned:
        pytest.skip("has no values for digits")
    model = MLP().to(DEVICE)
    guard = agscl.protect(model, preset.tuned[name], example_inputs=torch.zeros(2, 12).to(DEVICE), heads="heads")
    data = on_card(tasks((12,)))
    learn(guard, model, 0, data[0], OPTIMIZERS["adam"])
    optimizer, (x, y) = OPTIMIZERS["adam"](model.parameters()), data[1]
    guard.use_task(1)
    with guard.attach(optimizer, steps_per_epoch=100):
        for step in range(4):
            torch.cuda.set_sync_debug_mode("default" if step == 0 else "error")
            try:
                optimizer.zero_grad()
                outputs = model(x)
                extra = guard.extra_loss((x, y), model_of(model, outputs)) if guard.has_extra_loss else None
                loss = torch.nn.functional.cross_entropy(outputs[1], y)
                (loss if extra is None else loss + extra).backward()
                optimizer.step()
            finally:
                torch.cuda.set_sync_debug_mode("default")


def model_of(model, outputs):
    """What a loop gives to a method's loss: the outputs that are there; a forward pass for earlier weights only."""
    return lambda batch: outputs if torch.is_grad_enabled() else model(batch[0])
