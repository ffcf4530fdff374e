"""PackNet and GPM equal NumPy references; packed tasks keep their answers, GPM moves weights across its memory."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

import agscl
from agscl.methods import Method
from agscl.methods.weights.gpm import extended
from agscl.methods.weights.representation import seen_rows
from agscl.models import ConvNet, MultiHead
from laws.sequences import MLP, OPTIMIZERS, MobileNet, learn, logits, protected, tasks
from methods.oracles.gpm_mlp import GpmMLP
from methods.oracles.packnet_mlp import PackNetMLP

FLAT, IMAGE = (3, 2, 2), (3, 8, 8)
MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (MLP, FLAT),
    "convnet": (lambda: MultiHead(ConvNet(size=8), 256, [2] * 4), IMAGE),
    "mobilenet": (MobileNet, IMAGE),
}
BATCHES = [part.numpy() for part in torch.arange(48).split(16)]


def double_mlp() -> MLP:
    torch.manual_seed(0)
    return MLP().double()


def weights(model: nn.Module) -> dict[str, np.ndarray]:
    return {name: p.detach().numpy().copy() for name, p in model.named_parameters()}


def protected_in_double(model: nn.Module, method: Method) -> agscl.Guard:
    return agscl.protect(model, method, example_inputs=torch.zeros(2, *FLAT).double(), heads="heads")


def learn_in_double(guard: agscl.Guard, model: nn.Module, task: int, data: tuple[Tensor, Tensor], epochs: int) -> None:
    double = (data[0].double(), data[1])
    learn(guard, model, task, double, lambda p: torch.optim.SGD(p, lr=0.2), epochs=epochs)


def equal(model: nn.Module, reference: dict[str, np.ndarray]) -> None:
    for name, expected in reference.items():
        np.testing.assert_allclose(model.get_parameter(name).detach().numpy(), expected, rtol=1e-7, atol=1e-10)


def test_packnet_equals_its_reference_over_tasks() -> None:
    model, data = double_mlp(), tasks(FLAT)
    guard = protected_in_double(model, agscl.PackNet(prune=0.6, train_epochs=3))
    oracle = PackNetMLP(weights(model), 0.6, 3, 0.2)
    for task in range(4):
        learn_in_double(guard, model, task, data[task], epochs=5)
        oracle.learn(task, data[task][0].flatten(1).double().numpy(), data[task][1].numpy(), 5, BATCHES)
        equal(model, oracle.w)
    for task in range(4):
        guard.use_task(task)
        x = data[task][0].double()
        expected = oracle.logits(task, x.flatten(1).numpy())
        np.testing.assert_allclose(logits(model, task, x).numpy(), expected, rtol=1e-7, atol=1e-9)
    assert 0 < (oracle.owner["fc2.weight"] < 0).mean() < 0.2


def test_gpm_equals_its_reference_over_tasks() -> None:
    model, data = double_mlp(), tasks(FLAT)
    guard = protected_in_double(model, agscl.GPM(epsilon=0.9, increase=0.02, samples=48))
    oracle = GpmMLP(weights(model), 0.9, 0.02, 0.2)
    for task in range(3):
        learn_in_double(guard, model, task, data[task], epochs=4)
        oracle.learn(task, data[task][0].flatten(1).double().numpy(), data[task][1].numpy(), 4, BATCHES)
        equal(model, oracle.w)
        for name, expected in oracle.memory.items():
            found = guard.state_dict()[f"method.basis.{name}"][0].numpy()
            np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-7)
    assert 0 < oracle.memory["fc2.weight"].shape[1] < 24


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("net", MODELS)
def test_tasks_learned_with_packnet_keep_their_answers_bit_for_bit(net: str, optimizer: str) -> None:
    torch.manual_seed(0)
    make, shape = MODELS[net]
    model, data = make(), tasks(shape)
    guard, answers = protected(model, agscl.PackNet(prune=0.5, train_epochs=2), shape), []
    shared = OPTIMIZERS[optimizer](model.parameters())
    for task in range(3):
        guard.use_task(task)
        before = {name: p.detach().clone() for name, p in model.named_parameters() if "head" not in name}
        learn(guard, model, task, data[task], lambda _: shared, epochs=3)
        assert any(not torch.equal(model.get_parameter(name), old) for name, old in before.items())
        answers.append(logits(model, task, data[task][0]))
        for old, answer in enumerate(answers):
            guard.use_task(old)
            assert torch.equal(logits(model, old, data[old][0]), answer)


def test_weights_that_no_packed_task_owns_may_become_anything() -> None:
    torch.manual_seed(0)
    model, data = MLP(), tasks(FLAT)
    guard = protected(model, agscl.PackNet(prune=0.5, train_epochs=2), FLAT)
    learn(guard, model, 0, data[0], OPTIMIZERS["adam"], epochs=3)
    guard.use_task(0)
    answer = logits(model, 0, data[0][0])
    for value in (float("nan"), float("inf"), 1e38):
        for layer in (model.fc1, model.fc2):
            with torch.no_grad():
                layer.weight.masked_fill_(layer.weight == 0, value)
            assert torch.equal(logits(model, 0, data[0][0]), answer)
            with torch.no_grad():
                layer.weight.masked_fill_(layer.weight == value, 0.0).nan_to_num_(nan=0.0)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("net", MODELS)
def test_gpm_moves_weights_across_its_memory_alone(net: str, optimizer: str) -> None:
    """What a layer computes from inputs within the memory stays, with any optimizer."""
    torch.manual_seed(0)
    make, shape = MODELS[net]
    model, data = make(), tasks(shape)
    guard = protected(model, agscl.GPM(epsilon=0.8), shape)
    learn(guard, model, 0, data[0], OPTIMIZERS[optimizer], epochs=2)
    bases = {n.removeprefix("method.basis."): b for n, b in guard.state_dict().items() if n.startswith("method.basis")}
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    statistics = {name: b.clone() for name, b in model.named_buffers() if "running" in name}
    learn(guard, model, 1, data[1], OPTIMIZERS[optimizer], epochs=2)
    moved = 0
    for name, old in before.items():
        change = model.get_parameter(name).detach() - old
        if name in bases:
            rows = change.reshape(len(bases[name]), -1, bases[name].shape[1])
            assert (rows @ bases[name]).abs().max() <= 1e-3 * change.abs().max() + 1e-6 * old.abs().max()
            moved += bool(change.any())
        else:
            assert name.startswith("heads.1") == bool(change.any())
    assert moved
    assert all(torch.equal(model.get_buffer(name), old) for name, old in statistics.items())


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(5, 4, bias=False), (3, 7, 5)),
        (nn.Conv1d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2, bias=False), (3, 4, 11)),
        (nn.Conv2d(3, 4, (3, 2), padding="same", padding_mode="reflect", bias=False), (2, 3, 6, 5)),
        (nn.Conv2d(4, 4, 3, stride=(2, 1), padding=1, groups=4, bias=False), (2, 4, 7, 6)),
        (nn.Conv3d(2, 3, 2, padding=(1, 0, 1), bias=False), (2, 2, 4, 5, 3)),
    ],
    ids=str,
)
def test_a_layer_multiplies_its_weight_with_the_rows_that_it_sees(layer: nn.Module, shape: tuple[int, ...]) -> None:
    x, groups = torch.randn(shape), getattr(layer, "groups", 1)
    rows, weight = seen_rows(layer, x, groups), layer.get_parameter("weight").detach()
    product = rows @ weight.reshape(groups, len(weight) // groups, -1).mT  # groups, rows, outputs of each
    expected = layer(x).detach()
    outputs = expected if isinstance(layer, nn.Linear) else expected.movedim(1, -1)
    found = product.movedim(0, 1).reshape(outputs.shape)
    torch.testing.assert_close(found, outputs, rtol=1e-4, atol=1e-5)


@given(seed=st.integers(0, 2**31), size=st.integers(1, 6), old=st.integers(0, 3), epsilon=st.floats(0, 1))
def test_the_memory_grows_by_the_fewest_orthonormal_directions(seed: int, size: int, old: int, epsilon: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    old = min(old, size)
    basis = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))[0][:, :old]
    r = torch.randn(size, 8, generator=generator, dtype=torch.float64)
    found = extended(basis, r @ r.mT, epsilon)
    eye = torch.eye(found.shape[1], dtype=torch.float64)
    torch.testing.assert_close(found.mT @ found, eye, rtol=0, atol=1e-9)
    torch.testing.assert_close(found @ (found.mT @ basis), basis, rtol=0, atol=1e-9)  # nothing is forgotten
    share = float((found.mT @ r).square().sum() / r.square().sum())
    assert share >= epsilon - 1e-9
    if found.shape[1] > old:
        rest = torch.linalg.svdvals(r - basis @ (basis.mT @ r)).square()
        fewer = (basis.mT @ r).square().sum() + rest[: found.shape[1] - old - 1].sum()
        assert float(fewer / r.square().sum()) < epsilon


def test_gpm_refuses_weights_that_multiply_no_inputs_by_name() -> None:
    model = nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
    with pytest.raises(ValueError, match=r"'0.weight' of Embedding is none; freeze it"):
        agscl.protect(model, agscl.GPM(), example_inputs=torch.zeros(2, 2, dtype=torch.int64))


@pytest.mark.parametrize("method", [agscl.PackNet(prune=0.5, train_epochs=1), agscl.GPM(epsilon=0.9)], ids=str)
def test_the_middle_of_a_task_is_resumed_bit_for_bit(method: Method) -> None:
    weights_of = []
    for stops in (False, True):
        model, data = double_mlp(), [(x.double(), y) for x, y in tasks(FLAT)]
        guard = protected_in_double(model, method)
        learn_in_double(guard, model, 0, data[0], epochs=2)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        parts = list(torch.arange(48).split(16)) * 3
        for chunk in (parts[:4], parts[4:]) if stops else (parts,):
            with guard.attach(optimizer, steps_per_epoch=3):
                for part in chunk:
                    optimizer.zero_grad()
                    F.cross_entropy(model(data[1][0][part])[1], data[1][1][part]).backward()
                    optimizer.step()
                state = guard.state_dict()
            twin = double_mlp()
            guard = protected_in_double(twin, method)
            twin.load_state_dict(model.state_dict())
            guard.load_state_dict(state)
            model, optimizer = twin, torch.optim.SGD(twin.parameters(), lr=0.05)
        weights_of.append(model.state_dict())
    assert all(torch.equal(weights_of[0][name], weights_of[1][name]) for name in weights_of[0])


def test_memory_is_a_bit_a_weight_and_task_and_the_bases() -> None:
    data = tasks(FLAT)
    sizes = []
    for method in (agscl.PackNet(train_epochs=1), agscl.GPM(epsilon=1.0)):
        torch.manual_seed(0)
        model = MLP()
        guard = protected(model, method, FLAT)
        assert guard.memory_bytes() == 0
        for task in range(2):
            learn(guard, model, task, data[task], OPTIMIZERS["adam"], epochs=1)
        sizes.append(guard.memory_bytes())
    assert sizes[0] == 2 * (12 * 24 + 24 * 24) // 8
    assert 4 * 12 * 12 < sizes[1] <= 4 * (12 * 12 + 24 * 24)  # at most a square a layer


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: agscl.PackNet(prune=1.5), r"prune must be in \[0, 1\]"),
        (lambda: agscl.PackNet(train_epochs=0), "train_epochs must be in"),
        (lambda: agscl.GPM(epsilon=-0.1), "epsilon must be in"),
        (lambda: agscl.GPM(samples=0), "samples must be in"),
    ],
)
def test_values_out_of_range_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
