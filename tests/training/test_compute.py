"""Devices, precisions and layouts: the same training in other numbers, and what is refused."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

import agscl
from agscl.benchmarks.task import Task, TaskSequence
from agscl.models import MLP, ConvNet, MultiHead
from agscl.training import Compute, Learner, Machine, TaskFinished, Training, learn_sequence

CPU = torch.device("cpu")


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Linear(8 * 16, 12)
        self.act, self.pool = nn.ReLU(), nn.MaxPool2d(2)

    def forward(self, x):
        return self.act(self.fc(self.pool(self.act(self.norm(self.conv(x)))).flatten(1)))


@pytest.fixture
def pictures(in_memory):
    def part(seed):
        generator = torch.Generator().manual_seed(seed)
        labels = torch.arange(40) % 2
        return in_memory(torch.randn(40, 3, 8, 8, generator=generator) + labels[:, None, None, None], labels)

    tasks = tuple(Task(f"t{i}", 2, *(part(10 * i + number) for number in range(3))) for i in range(2))
    return TaskSequence("pictures", tasks, (3, 8, 8))


def fresh(sequence, machine, loggers=(), *, live=False):
    torch.manual_seed(0)
    model = MultiHead(Small(), 12, sequence.num_classes)
    method = agscl.AGSCL(mu=0.1, lam=math.inf, rho=0)
    guard = agscl.protect(model, method, example_inputs=torch.zeros(2, 3, 8, 8), heads="heads")
    training = Training(epochs=4, batch_size=20, optimizer="sgd", learning_rate=0.1)
    return Learner(model, guard, training, torch.Generator().manual_seed(1), loggers, machine=machine, live=live)


def learned(sequence, machine):
    learner = fresh(sequence, machine)
    return learner, learn_sequence(learner, sequence)


def test_channels_last_changes_only_the_order_of_summation(pictures):
    (plain, _), (other, _) = (learned(pictures, Machine(CPU, torch.float32, last)) for last in (False, True))
    for name, weight in plain.model.state_dict().items():
        torch.testing.assert_close(other.model.state_dict()[name], weight, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_lower_precision_learns_too_and_weights_stay_float32(pictures, dtype):
    learner, history = learned(pictures, Machine(CPU, dtype, channels_last=True))
    assert history.accuracy.diagonal().min() > 0.8
    assert {p.dtype for p in learner.model.parameters()} == {torch.float32}


@pytest.mark.parametrize("live", [False, True])
def test_hard_freezing_holds_in_bfloat16(pictures, live):
    """Logits on the first task, in bfloat16, before and after the second task is learned."""
    machine, seen = Machine(CPU, torch.bfloat16, channels_last=True), []

    class Look:
        def emit(self, event):
            if isinstance(event, TaskFinished):
                seen.append(logits(learner.model, machine, pictures.tasks[0].test))

    learner = fresh(pictures, machine, [Look()], live=live)
    learn_sequence(learner, pictures)
    assert torch.equal(*seen)


def logits(model, machine, examples):
    model.eval()
    inputs, _ = machine.place((examples.inputs, examples.labels))
    with torch.no_grad(), machine.autocast():
        return model(inputs, 0)


@pytest.mark.parametrize("method", [agscl.EWC(lam=1.0), agscl.MAS(lam=1.0), agscl.AGSCL(mu=0.1, lam=1.0), agscl.GPM()])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_importance_is_measured_in_bfloat16_where_it_is_a_gradient_and_else_in_float32(pictures, method, dtype):
    learner, seen = fresh(pictures, Machine(CPU, dtype, channels_last=True)), []
    model = MultiHead(Small(), 12, pictures.num_classes)
    guard = agscl.protect(model, method, example_inputs=torch.zeros(2, 3, 8, 8), heads="heads")
    consolidate = guard.consolidate

    def looked_at(batches, predict):
        seen.append(predict(next(iter(batches))).dtype)
        consolidate(batches, predict)

    guard.consolidate = looked_at
    learn_sequence(replace(learner, model=model, guard=guard, training=Training(epochs=1, batch_size=20)), pictures)
    rounded = guard.rounds and dtype == torch.bfloat16
    assert seen == [torch.bfloat16 if rounded else torch.float32] * 2
    assert guard.rounds == isinstance(method, agscl.EWC | agscl.MAS)


def test_float16_scales_the_loss():
    assert Machine(CPU, torch.float16).scales
    assert not Machine(CPU, torch.bfloat16).scales


def test_auto_is_a_device_that_is_there_and_a_layout_that_fits():
    flat = Compute().resolve(MultiHead(MLP(4, (3,)), 3, [2]))
    assert not flat.channels_last
    assert torch.empty(0, device=flat.device).numel() == 0
    assert Compute().resolve(ConvNet()).channels_last
    assert not Compute(channels_last="off").resolve(ConvNet()).channels_last


def test_auto_is_bfloat16_only_where_the_processor_has_it(monkeypatch):
    for feature in ("avx512_bf16", "amx_bf16", None):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda feature=feature: {feature: True}, raising=False)
        expected = torch.float32 if feature is None else torch.bfloat16
        assert Compute(device="cpu").resolve(nn.Linear(1, 1)).dtype == expected


def test_batches_of_images_are_laid_out_and_others_left_alone():
    machine = Machine(CPU, torch.float32, channels_last=True)
    labels = torch.zeros(2, dtype=torch.int64)
    inputs, _ = machine.place((torch.randn(2, 3, 4, 4), labels))
    assert inputs.is_contiguous(memory_format=torch.channels_last)
    flat = torch.randn(2, 5)
    assert machine.place((flat, labels))[0] is flat


@pytest.mark.parametrize("name", ["cuda:77", "abacus", "meta:x"])
def test_a_device_that_is_not_there_is_refused(name):
    with pytest.raises(ValueError, match="cannot be used; here there is: cpu"):
        Compute(device=name).resolve(nn.Linear(1, 1))


@pytest.mark.parametrize("wrong", [{"precision": "fp8"}, {"channels_last": "maybe"}])
def test_unknown_values_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Compute(**wrong)
