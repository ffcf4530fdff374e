"""HAT and WSN equal NumPy references, and the tasks they learned keep their answers bit for bit."""

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import agscl
from agscl.methods import Method
from agscl.methods.subnetworks.hat import compensation
from agscl.methods.subnetworks.weight_masks import best, pack, unpack
from agscl.models import ConvNet, MultiHead
from laws.sequences import MLP, OPTIMIZERS, MobileNet, learn, logits, protected, tasks
from methods.oracles.hat_mlp import HatMLP
from methods.oracles.wsn_mlp import WsnMLP

FLAT, IMAGE = (3, 2, 2), (3, 8, 8)
METHODS: dict[str, Method] = {
    "hat": agscl.HAT(smax=50.0),
    "wsn": agscl.WSN(c=0.3),
    "gated-ags-cl": agscl.GatedAGSCL(first=0.5, more=0.2, begin=1, end=2),
}
MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (MLP, FLAT),
    "convnet": (lambda: MultiHead(ConvNet(size=8), 256, [2] * 4), IMAGE),
    "mobilenet": (MobileNet, IMAGE),
}


def numpy_weights(model: nn.Module, *, without: str) -> dict[str, np.ndarray]:
    return {n: p.detach().numpy().copy() for n, p in model.named_parameters() if not n.startswith(without)}


def added(model: nn.Module) -> list[nn.Parameter]:
    return [p for name, p in model.named_parameters() if name.startswith(("hat_", "wsn_", "node_gain"))]


def double_mlp() -> MLP:
    torch.manual_seed(0)
    return MLP().double()


def double_tasks() -> list[tuple[Tensor, Tensor]]:
    return [(x.double(), y) for x, y in tasks(FLAT)]


def train(
    model: nn.Module, guard: agscl.Guard, task: int, data: tuple[Tensor, Tensor], rate: float, epochs: int
) -> None:
    optimizer, (x, y) = torch.optim.SGD(model.parameters(), lr=rate), data
    model.train()
    with guard.attach(optimizer, steps_per_epoch=3):
        for _ in range(epochs):
            for part in torch.arange(48).split(16):
                optimizer.zero_grad()
                F.cross_entropy(model(x[part])[task], y[part]).backward()
                optimizer.step()


def test_hat_equals_its_reference_over_tasks() -> None:
    model, data = double_mlp(), double_tasks()
    guard = agscl.protect(model, agscl.HAT(gamma=0.5, smax=20.0), example_inputs=data[0][0][:2], heads="heads")
    oracle = HatMLP(numpy_weights(model, without="hat_"), 0.5, 20.0, 0.05)
    batches = [part.numpy() for part in torch.arange(48).split(16)]
    for task in range(3):
        torch.manual_seed(task)
        first = [e.detach().numpy().copy() for e in added(model)]
        if task:
            first = [torch.randn(24, dtype=torch.float64).numpy() for _ in added(model)]
            torch.manual_seed(task)
        train(model, guard, task, data[task], 0.05, epochs=4)
        x, y = data[task][0].flatten(1).numpy(), data[task][1].numpy()
        last = oracle.learn(task, x, y, first, 4, batches)
        for found, expected in zip(added(model), last, strict=True):
            np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-8, atol=1e-10)
        guard.consolidate([data[task]], lambda b, task=task: model(b[0])[task])  # type: ignore[misc]
        for name, expected in oracle.w.items():
            np.testing.assert_allclose(model.get_parameter(name).detach().numpy(), expected, rtol=1e-8, atol=1e-10)
        for name, expected in zip(("fc1", "fc2"), oracle.used, strict=True):
            used = sum(
                gate.int()
                for key, gate in guard.state_dict().items()
                if key.startswith("method") and key.endswith(f".{name}")
            )
            assert np.array_equal(used.numpy() > 0, expected > 0)
    assert 0 < sum(used.sum() for used in oracle.used) < 48


def test_hat_regularizer_weighs_the_gates_of_free_nodes_by_their_number() -> None:
    model, data = double_mlp(), double_tasks()
    guard = agscl.protect(model, agscl.HAT(gamma=0.5, smax=20.0), example_inputs=data[0][0][:2], heads="heads")
    for task in range(2):
        e = [values.detach().clone() for values in added(model)]
        gates = [guard.state_dict().get(f"method.gate.0.{name}") for name in ("fc1", "fc2")]
        used = [torch.zeros(24, dtype=torch.bool) if gate is None else gate for gate in gates]
        free = sum((~mask).sum() for mask in used)
        value = 0.5 * sum((torch.sigmoid(20.0 * v) * ~mask).sum() for v, mask in zip(e, used, strict=True)) / free
        found = guard.penalty()
        assert found is not None
        torch.testing.assert_close(found, value)
        train(model, guard, task, data[task], 0.05, epochs=3)
        guard.consolidate([data[task]], lambda b, task=task: model(b[0])[task])  # type: ignore[misc]


def test_compensated_gradient_is_that_of_the_steepness_at_one() -> None:
    """Equation (5): made up for s, the gate's slope is smax times the slope of a plain sigmoid."""
    e = torch.linspace(-3, 3, 13, dtype=torch.float64)
    for scale in (0.1, 1.0, 4.0):
        gate, plain = torch.sigmoid(scale * e), torch.sigmoid(e)
        slope = scale * gate * (1 - gate) * compensation(e, scale, 10.0)
        torch.testing.assert_close(slope, 10.0 * plain * (1 - plain))


def test_wsn_equals_its_reference_over_tasks() -> None:
    model, data = double_mlp(), double_tasks()
    guard = agscl.protect(model, agscl.WSN(c=0.3), example_inputs=data[0][0][:2], heads="heads")
    scores = dict(zip(("fc1.weight", "fc2.weight"), (s.detach().numpy() for s in added(model)), strict=True))
    oracle = WsnMLP(numpy_weights(model, without="wsn_"), scores, 0.3, 0.2)
    batches = [part.numpy() for part in torch.arange(48).split(16)]
    for task in range(3):
        train(model, guard, task, data[task], 0.2, epochs=4)
        oracle.learn(task, data[task][0].flatten(1).numpy(), data[task][1].numpy(), 4, batches)
        guard.consolidate([data[task]], lambda b, task=task: model(b[0])[task])  # type: ignore[misc]
        for name, expected in oracle.w.items():
            np.testing.assert_allclose(model.get_parameter(name).detach().numpy(), expected, rtol=1e-8, atol=1e-10)
        for found, expected in zip(added(model), oracle.s.values(), strict=True):
            np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-8, atol=1e-10)
    assert 0.3 < oracle.taken["fc2.weight"].mean() < 1


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("net", MODELS)
def test_learned_tasks_keep_their_answers_bit_for_bit(net: str, method: str, optimizer: str) -> None:
    torch.manual_seed(0)
    make, shape = MODELS[net]
    model, data = make(), tasks(shape)
    guard, answers = protected(model, METHODS[method], shape), []
    shared = OPTIMIZERS[optimizer](model.parameters())
    for task in range(3):
        guard.use_task(task)
        before = copy.deepcopy(model.state_dict())
        learn(guard, model, task, data[task], lambda _: shared, epochs=3)
        moved = [n for n, t in model.state_dict().items() if t.is_floating_point() and not torch.equal(t, before[n])]
        assert any("head" not in name for name in moved)
        answers.append(logits(model, task, data[task][0]))
        for old, answer in enumerate(answers):
            guard.use_task(old)
            assert torch.equal(logits(model, old, data[old][0]), answer)


@pytest.mark.parametrize("method", METHODS)
def test_a_shared_head_is_protected_too(method: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 2))
    guard = agscl.protect(model, METHODS[method], example_inputs=torch.zeros(2, 12))
    answers, data = [], tasks(FLAT)
    for task in range(3):
        guard.use_task(task)
        learn(guard, model, slice(None), data[task], OPTIMIZERS["adam"], epochs=4)  # type: ignore[arg-type]
        answers.append(logits(model, slice(None), data[task][0]))  # type: ignore[arg-type]
    for old, answer in enumerate(answers):
        guard.use_task(old)
        assert torch.equal(logits(model, slice(None), data[old][0]), answer)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"task 5 is not learned: learned are \[0, 1, 2\], and the next is 3"):
        guard.use_task(5)


@pytest.mark.parametrize("method", METHODS)
def test_use_task_of_an_unknown_task_is_refused(method: str) -> None:
    guard = protected(MLP(), METHODS[method], FLAT)
    for task in (-1, 4):
        with pytest.raises(ValueError, match=f"there is no task {task}: the model has heads for 4 tasks"):
            guard.use_task(task)


@pytest.mark.parametrize("method", METHODS)
def test_an_optimizer_made_before_protect_is_refused(method: str) -> None:
    model = MLP()
    optimizer = torch.optim.Adam(model.parameters())
    guard = protected(model, METHODS[method], FLAT)
    with (
        pytest.raises(ValueError, match=r"does not hold '(hat_embedding|wsn_scores|node_gain)_0'.*after protect\(\)"),
        guard.attach(optimizer, steps_per_epoch=1),
    ):
        pass


@pytest.mark.parametrize("method", METHODS)
def test_a_model_is_protected_once(method: str) -> None:
    model = MLP()
    protected(model, METHODS[method], FLAT)
    with pytest.raises(ValueError, match="already; protect a fresh model"):
        protected(model, METHODS[method], FLAT)


@pytest.mark.parametrize("method", METHODS)
def test_a_saved_state_answers_and_goes_on_as_the_original(method: str) -> None:
    torch.manual_seed(0)
    model, data = MLP(), tasks(FLAT)
    guard = protected(model, METHODS[method], FLAT)
    for task in range(2):
        learn(guard, model, task, data[task], OPTIMIZERS["adam"])
    twin = MLP()
    restored = protected(twin, METHODS[method], FLAT)
    twin.load_state_dict(model.state_dict())
    restored.load_state_dict(guard.state_dict())
    for learner, protection in ((model, guard), (twin, restored)):
        torch.manual_seed(1)
        learn(protection, learner, 2, data[2], OPTIMIZERS["adam"])
    for task in range(3):
        guard.use_task(task)
        restored.use_task(task)
        assert torch.equal(logits(model, task, data[task][0]), logits(twin, task, data[task][0]))
    assert guard.memory_bytes() == restored.memory_bytes()


@pytest.mark.parametrize("method", METHODS)
def test_the_middle_of_a_task_is_resumed_bit_for_bit(method: str) -> None:
    weights = []
    for stops in (False, True):
        torch.manual_seed(0)
        model, (data, *_) = double_mlp(), double_tasks()
        guard = agscl.protect(model, METHODS[method], example_inputs=data[0][:2], heads="heads")
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        parts = list(torch.arange(48).split(16)) * 2
        for chunk in (parts[:2], parts[2:]) if stops else (parts,):
            with guard.attach(optimizer, steps_per_epoch=3):
                for part in chunk:
                    optimizer.zero_grad()
                    F.cross_entropy(model(data[0][part])[0], data[1][part]).backward()
                    optimizer.step()
                state = guard.state_dict()
            twin = double_mlp()
            guard = agscl.protect(twin, METHODS[method], example_inputs=data[0][:2], heads="heads")
            twin.load_state_dict(model.state_dict())
            guard.load_state_dict(state)
            model, optimizer = twin, torch.optim.SGD(twin.parameters(), lr=0.05)
        weights.append(model.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_hat_gates_are_soft_in_training_and_hard_outside() -> None:
    torch.manual_seed(0)
    model, (data, *_) = MLP(), tasks(FLAT)
    guard = protected(model, agscl.HAT(smax=4.0), FLAT)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with torch.no_grad():
        soft = {name: torch.sigmoid(e / 4.0) for name, e in zip(("fc1", "fc2"), added(model), strict=True)}
        hard = {name: (e > 0).float() for name, e in zip(("fc1", "fc2"), added(model), strict=True)}

        def expected(gates: dict[str, Tensor]) -> Tensor:
            h = F.relu(model.fc1(data[0].flatten(1))) * gates["fc1"]
            h = F.relu(F.linear(h, model.fc2.weight, model.fc2.bias)) * gates["fc2"]
            return F.linear(h, model.heads[0].weight, model.heads[0].bias)

        with guard.attach(optimizer, steps_per_epoch=3):
            model.train()
            torch.testing.assert_close(model(data[0])[0], expected(soft))
            torch.testing.assert_close(logits(model, 0, data[0]), expected(hard))
        model.train()
        torch.testing.assert_close(model(data[0])[0], expected(hard))


def test_hat_keeps_its_embedding_in_range_and_forgets_the_optimizers_memory_of_the_old_one() -> None:
    torch.manual_seed(0)
    model, data = MLP(), tasks(FLAT)
    guard = protected(model, agscl.HAT(smax=400.0), FLAT)
    optimizer = torch.optim.SGD(model.parameters(), lr=5.0, momentum=0.9)
    learn(guard, model, 0, data[0], lambda _: optimizer, epochs=2)
    assert max(float(e.detach().abs().max()) for e in added(model)) == 6.0
    with guard.attach(optimizer, steps_per_epoch=1):
        assert not any(e in optimizer.state for e in added(model))


def test_memory_is_what_the_paper_of_each_method_counts() -> None:
    torch.manual_seed(0)
    sizes = {}
    for name, method in METHODS.items():
        model, data = MLP(), tasks(FLAT)
        guard = protected(model, method, FLAT)
        assert guard.memory_bytes() == 0
        for task in range(2):
            learn(guard, model, task, data[task], OPTIMIZERS["adam"], epochs=1)
        sizes[name] = guard.memory_bytes(regularization_only=True)
    a_byte_a_node, a_bit_a_weight, a_float_a_node = 2 * 48, 2 * (12 * 24 + 24 * 24) // 8, 2 * 48 * 4
    assert sizes == {"hat": a_byte_a_node, "wsn": a_bit_a_weight, "gated-ags-cl": a_float_a_node}


def test_the_models_own_tensors_are_back_after_a_forward_even_if_it_fails() -> None:
    model = MLP()
    names = dict(model.named_parameters())
    protected(model, agscl.WSN(c=0.5), FLAT)
    with pytest.raises(RuntimeError):
        model(torch.zeros(2, 5))
    found = dict(model.named_parameters())
    assert all(found[name] is parameter for name, parameter in names.items())


def test_best_takes_the_share_and_packing_loses_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    for shape in ((3, 5), (1,), (4, 2, 3, 3), (16,)):
        scores = torch.randn(shape, generator=generator)
        for share in (0.01, 0.3, 1.0):
            mask = best(scores, share)
            assert int(mask.sum()) == max(1, round(share * scores.numel()))
            assert mask.all() or scores[mask].min() > scores[~mask].max()
            assert torch.equal(unpack(pack(mask), mask.shape), mask)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: agscl.HAT(gamma=-1.0), "gamma must be in"),
        (lambda: agscl.HAT(smax=0.5), r"smax must be in \[1,"),
        (lambda: agscl.HAT(smax=float("inf")), "smax must be in"),
        (lambda: agscl.WSN(c=0.0), r"c must be in \(0, 1\], not 0"),
        (lambda: agscl.WSN(c=1.5), "c must be in"),
    ],
)
def test_values_out_of_range_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", METHODS)
def test_a_deep_copy_of_the_model_computes_with_gates_of_its_own(name: str) -> None:
    torch.manual_seed(0)
    model, x = MLP(), torch.randn(5, 12)
    protected(model, METHODS[name], FLAT)
    twin = copy.deepcopy(model)
    before = [output.detach().clone() for output in model(x)]
    with torch.no_grad():
        for parameter in added(twin):
            parameter.neg_()
    assert not torch.equal(twin(x)[0], before[0])
    assert all(map(torch.equal, model(x), before))
