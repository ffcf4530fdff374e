"""A copy of a guarded model, made at any time, computes with its own tensors and nothing else."""

import copy
import io
import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam
from torch.optim.swa_utils import AveragedModel

import agscl
from agscl.methods import Method
from laws.sequences import MobileNet, learn, protected, tasks

HARD = agscl.AGSCL(mu=12, lam=math.inf)
METHODS: dict[str, tuple[Method, bool]] = {
    "hard freezing": (HARD, False),
    "live nodes": (HARD, True),
    "HAT": (agscl.HAT(), False),
    "WSN": (agscl.WSN(), False),
    "single task": (agscl.SingleTask(), False),
    "CPR": (agscl.CPR(HARD, beta=0.1), True),
    "EWC": (agscl.EWC(lam=1.0), False),
}


def saved_and_loaded(model: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    result: nn.Module = torch.load(file, weights_only=False)
    return result


COPIES: dict[str, Callable[[nn.Module], nn.Module]] = {
    "deep copy": copy.deepcopy,
    "averaged": lambda model: AveragedModel(model).module,
    "saved": saved_and_loaded,
}


def logits(model: nn.Module, x: Tensor) -> Tensor:
    model.eval()
    with torch.no_grad():
        return torch.stack(model(x))


def scrambled(model: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.1)
    return model


def assert_they_train_alike(model: nn.Module, twin: nn.Module, x: Tensor) -> None:
    states = [copy.deepcopy(net.state_dict()) for net in (model, twin)]
    assert torch.equal(*(torch.stack(net.train()(x)) for net in (model, twin)))
    assert all(map(torch.equal, model.state_dict().values(), twin.state_dict().values()))
    for net, state in zip((model, twin), states, strict=True):
        net.load_state_dict(state)


@pytest.mark.parametrize(
    ("method", "kind"),
    [(method, kind) for method in METHODS for kind in COPIES if kind == "deep copy" or method in ("live nodes", "HAT")],
)
def test_a_copy_made_while_a_task_is_learned_computes_with_its_own_tensors(method: str, kind: str) -> None:
    torch.manual_seed(0)
    chosen, live = METHODS[method]
    model, data = MobileNet(), tasks((3, 8, 8))
    guard = protected(model, chosen, (3, 8, 8))
    x, kept = data[3][0], list[tuple[nn.Module, Tensor]]()
    for task in range(2):
        optimizer, (inputs, labels) = Adam(model.parameters(), lr=1e-2), data[task]
        with guard.attach(optimizer, steps_per_epoch=2, live=live):
            for step in range(3):
                optimizer.zero_grad()
                F.cross_entropy(model.train()(inputs)[task], labels).backward()
                optimizer.step()
                if step == 1:
                    twin, changed = COPIES[kind](model), scrambled(COPIES[kind](model))
                    if not live:  # a copy computes with all nodes, in another order
                        assert_they_train_alike(model, twin, inputs)
                    assert torch.equal(logits(twin, x), logits(model, x))
                    assert not torch.equal(logits(changed, x), logits(model, x))
                    assert torch.equal(logits(scrambled(COPIES[kind](twin)), x), logits(changed, x))
                    kept += [(net, logits(net, x)) for net in (twin, changed)]
        guard.consolidate([(inputs, labels)], lambda b, task=task: model(b[0])[task])
        assert all(torch.equal(logits(net, x), before) for net, before in kept)


def test_the_copy_of_a_norm_layer_with_frozen_channels_scales_with_its_own_weight() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2)), torch.randn(64, 8)
    guard = agscl.protect(model, agscl.AGSCL(mu=0.1, lam=math.inf), example_inputs=x[:2])
    for _ in range(2):
        optimizer = Adam(model.parameters())
        with guard.attach(optimizer, steps_per_epoch=1):
            model(x).square().mean().backward()
            optimizer.step()
            target = copy.deepcopy(model)
            with torch.no_grad():
                for parameter in target[1].parameters():
                    parameter.zero_()
            for training in (True, False):
                assert (target.train(training)[:2](x) == 0).all()
                assert not (model[:2](x) == 0).all()
        guard.consolidate([x], model)


def replicated(model: nn.Module) -> nn.Module:
    """What nn.DataParallel makes of a model for another device, which here is the same one."""
    replicas = {module: module._replicate_for_data_parallel() for module in model.modules()}
    for module, replica in replicas.items():
        for name, child in module.named_children():
            replica._modules[name] = replicas[child]
        for name, parameter in module._parameters.items():
            setattr(replica, name, None if parameter is None else parameter.detach().clone())
        for name, buffer in module.named_buffers(recurse=False):
            replica._buffers[name] = buffer.clone()
    return replicas[model]


@pytest.mark.parametrize("live", [False, True])
def test_a_replica_computes_with_its_own_tensors(live: bool) -> None:
    torch.manual_seed(0)
    model, data = MobileNet(), tasks((3, 8, 8))
    guard = protected(model, HARD, (3, 8, 8))
    learn(guard, model, 0, data[0], Adam)
    x, optimizer = data[1][0], Adam(model.parameters())
    with guard.attach(optimizer, steps_per_epoch=2, live=live):
        F.cross_entropy(model.train()(x)[1], data[1][1]).backward()
        optimizer.step()
        twin = replicated(model)
        assert torch.equal(torch.stack(twin(x)), torch.stack(copy.deepcopy(model)(x)))
        twin.last[1].weight.zero_()
        twin.last[1].bias.zero_()
        assert (twin.train().last(x.new_ones(4, 8, 4, 4)) == 0).all()
        assert not (model.last(x.new_ones(4, 8, 4, 4)) == 0).all()


@pytest.mark.parametrize("method", ["HAT", "WSN", "single task"])
def test_replicas_of_masked_models_are_refused_by_name(method: str) -> None:
    model = MobileNet()
    protected(model, METHODS[method][0], (3, 8, 8))
    with pytest.raises(ValueError, match="DataParallel cannot replicate"):
        replicated(model)(torch.zeros(2, 3, 8, 8))


def noted(forward: Callable[..., list[Tensor]], x: Tensor) -> list[Tensor]:
    NOTED.append(x)
    return forward(x)


NOTED: list[Tensor] = []


def doubled(forward: Callable[..., list[Tensor]], x: Tensor) -> list[Tensor]:
    return [2 * logits for logits in forward(x)]


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("when", ["before", "inside"])
def test_a_forward_that_the_user_has_set_is_called_and_stays(when: str, live: bool) -> None:
    torch.manual_seed(0)
    model, data = MobileNet(), tasks((3, 8, 8))
    guard = protected(model, HARD, (3, 8, 8))
    learn(guard, model, 0, data[0], Adam)
    x, plain, norm = data[1][0], model.forward, model.last[1]
    own = partial(F.batch_norm, running_mean=None, running_var=None, training=True)
    if when == "before":
        model.forward = partial(noted, plain)
    optimizer = Adam(model.parameters())
    if when == "before" and live:
        with (
            pytest.raises(ValueError, match="'the model' has a forward set on it"),
            guard.attach(optimizer, steps_per_epoch=2, live=live),
        ):
            pass
        return
    with guard.attach(optimizer, steps_per_epoch=2, live=live):
        if when == "inside":
            model.forward, norm.forward = partial(doubled, model.forward), partial(own)
        F.cross_entropy(model.train()(x)[1], data[1][1]).backward()
        optimizer.step()
    if when == "inside":
        assert vars(norm).pop("forward").func is F.batch_norm
    assert when == "inside" or any(seen is x for seen in NOTED)
    model.eval()
    factor = 2 if when == "inside" else 1
    assert all(torch.equal(got, factor * want) for got, want in zip(model(x), plain(x), strict=True))
    del model.forward
    assert all("forward" not in vars(module) for module in model.modules())
