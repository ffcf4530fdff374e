"""Guard.verify: every learned task answers what it answered when it was learned, or it is said by how much not."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

import agscl
from agscl.guard.fingerprints import fingerprints
from agscl.methods import Method
from laws.sequences import MLP, OPTIMIZERS, MobileNet, learn, protected, tasks

SHAPE = (3, 2, 2)
DATA = tasks(SHAPE)
HARD = agscl.AGSCL(mu=9, lam=math.inf)
EXACT: dict[str, Method] = {
    "ags-cl": HARD, "hat": agscl.HAT(), "wsn": agscl.WSN(), "single": agscl.SingleTask(),
    "gated": agscl.GatedAGSCL(), "packnet": agscl.PackNet(),
}  # fmt: skip
X = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(5))


def after(count: int, method: Method = HARD) -> tuple[MLP, agscl.Guard]:
    """A model that has learned some tasks, and its guard."""
    return copy.deepcopy(_after(count, method))


@cache
def _after(count: int, method: Method) -> tuple[MLP, agscl.Guard]:
    if count == 0:
        torch.manual_seed(0)
        model = MLP()
        return model, agscl.protect(model, method, example_inputs=X, heads="heads")
    model, guard = after(count - 1, method)
    learn(guard, model, count - 1, DATA[count - 1], OPTIMIZERS["adam"], epochs=8)
    return model, guard


def attach(model: nn.Module, guard: agscl.Guard) -> None:
    with guard.attach(torch.optim.Adam(model.parameters()), steps_per_epoch=1):
        pass


@pytest.mark.parametrize("name", EXACT)
def test_every_task_is_found_identical_under_a_method_that_promises_it(name: str) -> None:
    _, guard = after(3, EXACT[name])
    found = guard.verify()
    assert [(check.task, check.identical, check.deviation) for check in found.tasks] == [
        (t, True, 0.0) for t in range(3)
    ]
    assert found.identical
    assert str(found) == "task 0: identical\ntask 1: identical\ntask 2: identical"


def test_a_method_that_forgets_is_told_by_how_much_and_nothing_is_raised() -> None:
    torch.manual_seed(0)
    model = MLP()
    guard = agscl.protect(model, agscl.FineTuning(), example_inputs=X, heads="heads")
    learned = {}
    for task in range(3):
        learn(guard, model, task, DATA[task], OPTIMIZERS["adam"])
        with torch.no_grad():
            learned[task] = model.eval()(X)[task]
    found = guard.verify()
    with torch.no_grad():
        now = model(X)
    expected = [float((now[task].double() - learned[task].double()).abs().max()) for task in range(3)]
    assert [check.deviation for check in found.tasks] == expected
    assert [check.identical for check in found.tasks] == [False, False, True]
    assert {"fc1", "fc2"} == set(found.tasks[0].nodes)
    assert found.tasks[2].moved == ""
    attach(model, guard)


def important(guard: agscl.Guard, layer: str) -> int:
    return int(guard.importance[layer].nonzero()[0])


def one_weight(model: MLP, guard: agscl.Guard) -> str:
    node = important(guard, "fc1")
    model.fc1.weight.data[node, 0] += 1e-3
    return rf"task 0, 1|tasks 0, 1.*moved: fc1\[{node}\]"


def rebound_data(model: MLP, guard: agscl.Guard) -> str:
    node = important(guard, "fc2")
    bias = model.fc2.bias.data.clone()
    bias[node] = 3.0
    model.fc2.bias.data = bias
    return rf"moved: fc2\[{node}\]"


def the_last_head(model: MLP, guard: agscl.Guard) -> str:
    model.get_parameter("heads.1.bias").data += 1
    return r"task 1 off by up to 1, moved: heads\.1\.bias"


def foreign_weights(model: MLP, guard: agscl.Guard) -> str:
    torch.manual_seed(9)
    model.load_state_dict(MLP().state_dict())
    return "tasks 0, 1 off by up to .*moved: fc1"


def a_new_connection(model: MLP, guard: agscl.Guard) -> str:
    node, free = important(guard, "fc2"), int((guard.importance["fc1"] == 0).nonzero()[0])
    model.fc2.weight.data[node, free] = 1.0
    return rf"moved: fc2\[{node}\]"


DRIFTS = [one_weight, rebound_data, the_last_head, foreign_weights, a_new_connection]


@pytest.mark.parametrize("drift", DRIFTS)
def test_drift_stops_the_next_attach_and_consolidate_with_tasks_and_nodes(drift: Callable[..., str]) -> None:
    model, guard = after(2)
    message = drift(model, guard)
    assert not all(check.identical and not check.moved for check in guard.verify().tasks)
    with pytest.raises(ValueError, match=message):
        attach(model, guard)
    assert guard.task == 2


@pytest.mark.parametrize("drift", DRIFTS)
def test_drift_while_a_task_is_learned_is_undone_when_attach_ends(drift: Callable[..., str]) -> None:
    model, guard = after(2)
    x, y = DATA[2]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with guard.attach(optimizer, steps_per_epoch=1):
        F.cross_entropy(model(x)[2], y).backward()
        optimizer.step()
        drift(model, guard)
    assert guard.verify().identical
    guard.consolidate([x], lambda batch: model(batch)[2])
    assert guard.verify().identical


@pytest.mark.parametrize("name", ["hat", "wsn"])
def test_drift_is_noticed_under_gates_and_masks_too(name: str) -> None:
    model, guard = after(2, EXACT[name])
    with torch.no_grad():
        model.fc1.weight += 1e-2
    assert not guard.verify().identical
    with pytest.raises(ValueError, match="tasks 0, 1"):
        attach(model, guard)


@pytest.mark.parametrize("name", EXACT)
def test_verify_leaves_what_the_model_answers_modes_and_generators_alone(name: str) -> None:
    model, guard = after(2, EXACT[name])
    for shown in (None, 0, 2):
        if shown is not None:
            guard.use_task(shown)
        model.eval()
        outputs, state = model(X), torch.get_rng_state()
        model.train()
        before = {**model.state_dict(), **guard.state_dict()}
        guard.verify()
        assert all(torch.equal(tensor, before[n]) for n, tensor in {**model.state_dict(), **guard.state_dict()}.items())
        assert model.training
        assert torch.equal(torch.get_rng_state(), state)
        assert all(map(torch.equal, model.eval()(X), outputs))


def test_statistics_of_norm_layers_are_watched() -> None:
    torch.manual_seed(0)
    model, shape = MobileNet(), (3, 8, 8)
    guard, data = protected(model, agscl.AGSCL(mu=3, lam=math.inf), shape), tasks(shape)
    learn(guard, model, 0, data[0], OPTIMIZERS["adam"])
    assert guard.verify().identical
    model.train()(data[1][0])
    with pytest.raises(ValueError, match="task 0"):
        attach(model, guard)


class Conditional(nn.Module):
    """A gate for each task, by an argument or by an attribute; one head is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.heads = nn.Linear(12, 16), nn.ModuleList([nn.Linear(16, 2) for _ in range(4)])
        self.register_buffer("gate", torch.stack([(torch.arange(16) + task) % 3 > 0 for task in range(4)]).float())
        self.active = 0

    def forward(self, x: Tensor, task: int | None = 0) -> Tensor:
        task = self.active if task is None else task
        result: Tensor = self.heads[task](F.relu(self.fc(x.flatten(1))) * self.get_buffer("gate")[task])
        return result


@pytest.mark.parametrize("by_attribute", [False, True])
@pytest.mark.parametrize("method", [HARD, agscl.SI(c=1.0), agscl.FineTuning()])
def test_a_task_answers_as_predict_has_called_for_it(method: Method, by_attribute: bool) -> None:
    torch.manual_seed(0)
    model = Conditional()
    guard = agscl.protect(model, method, example_inputs=X, heads="heads")
    answers = {}
    for task in range(2):

        def predict(batch: Tensor, task: int = task) -> Tensor:
            model.active = task
            result: Tensor = model(batch, None if by_attribute else task)
            return result

        x, y = DATA[task]
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        with guard.attach(optimizer, steps_per_epoch=1):
            for _ in range(4):
                optimizer.zero_grad()
                F.cross_entropy(predict(x), y).backward()
                optimizer.step()
        guard.consolidate([x], predict)
        with torch.no_grad():
            answers[task] = predict(X)
    found = guard.verify()
    model.active = 0
    with torch.no_grad():
        drift = float((model(X, 0).double() - answers[0].double()).abs().max())
    assert [check.deviation for check in found.tasks] == [drift, 0.0]
    assert drift == 0.0 if method is HARD else drift > 0
    assert model.active == 0
    with torch.no_grad():
        model.get_parameter("heads.1.bias").add_(1.0)
    assert [check.identical for check in guard.verify().tasks] == [drift == 0, False]


class Joined(MLP):
    """Gives the outputs of all heads as one tensor."""

    def forward(self, x: Tensor) -> Any:
        return torch.cat(super().forward(x), dim=1)


def test_heads_whose_outputs_are_joined_are_told_apart() -> None:
    torch.manual_seed(0)
    model = Joined()
    guard = agscl.protect(model, HARD, example_inputs=X, heads="heads")
    for task in range(2):
        x, y = DATA[task]
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        with guard.attach(optimizer, steps_per_epoch=3):
            for _ in range(6):
                optimizer.zero_grad()
                F.cross_entropy(model(x)[:, 2 * task : 2 * task + 2], y).backward()
                optimizer.step()
        guard.consolidate([x], lambda batch, task=task: model(batch)[:, 2 * task : 2 * task + 2])  # type: ignore[misc]
    assert guard.verify().identical
    model.get_parameter("heads.0.bias").data += 1
    assert [check.identical for check in guard.verify().tasks] == [False, True]


def test_the_probe_is_saved_and_loaded_with_the_guard(tmp_path: Path) -> None:
    model, guard = after(2)
    save_file(guard.state_dict(), tmp_path / "guard.safetensors")
    fresh = MLP()
    fresh.load_state_dict(model.state_dict())
    again = protected(fresh, HARD, SHAPE)  # with other example inputs
    again.load_state_dict(load_file(tmp_path / "guard.safetensors"))
    assert again.verify().identical
    assert not again.verify().unknown
    assert {n: t.tolist() for n, t in again.state_dict().items()} == {
        n: t.tolist() for n, t in guard.state_dict().items()
    }
    assert again.probe_bytes == guard.probe_bytes > 0
    fresh.fc1.weight.data[important(again, "fc1")] += 1
    with pytest.raises(ValueError, match="tasks 0, 1"):
        attach(fresh, again)


def test_a_guards_state_with_the_weights_of_another_model_stops_by_name() -> None:
    _, guard = after(2)
    fresh = MLP()
    again = protected(fresh, HARD, SHAPE)
    again.load_state_dict(guard.state_dict())
    with pytest.raises(ValueError, match="not those that the guard's state was saved with: load the weights"):
        attach(fresh, again)


def test_a_state_without_a_probe_can_be_loaded_and_its_tasks_are_unknown() -> None:
    model, guard = after(2)
    guard.load_state_dict({name: t for name, t in guard.state_dict().items() if not name.startswith("probe.")})
    found = guard.verify()
    assert (found.tasks, found.unknown) == ((), (0, 1))
    learn(guard, model, 2, DATA[2], OPTIMIZERS["adam"])
    assert [check.task for check in guard.verify().tasks] == [2]


@pytest.mark.parametrize("part", ["note", "nodes.fc1", "parameters", "outputs.0", "chosen"])
def test_a_damaged_probe_is_refused_and_changes_nothing(part: str) -> None:
    _, guard = after(1)
    state = guard.state_dict()
    if part in ("outputs.0", "note", "chosen"):
        del state[f"probe.task.0.{part}"]
    else:
        state[f"probe.task.0.{part}"] = torch.zeros(3, dtype=torch.int64)
    fresh = protected(MLP(), HARD, SHAPE)
    before = fresh.state_dict()
    with pytest.raises(ValueError, match="probe is damaged"):
        fresh.load_state_dict(state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in fresh.state_dict().items())


def rounded(guard: agscl.Guard, *, setting: str | None) -> dict[str, Tensor]:
    """The guard's state as another machine would have written it, whose last bits differ."""
    state = guard.state_dict()
    for name in [name for name in state if ".outputs." in name]:
        state[name] = state[name] * (1 + 3e-7)
    if setting is not None:
        for name in [name for name in state if name.endswith(".note")]:
            note = bytes(state[name].tolist()).replace(b'"setting": "', f'"setting": "{setting} '.encode())
            state[name] = torch.frombuffer(bytearray(note), dtype=torch.uint8)
    return state


def test_last_bits_of_another_machine_are_no_drift_and_are_said() -> None:
    model, guard = after(2)
    guard.load_state_dict(rounded(guard, setting="elsewhere"))
    with pytest.warns(UserWarning, match="tasks 0, 1 differ in their last bits, with the same weights"):
        attach(model, guard)
    found = guard.verify()
    assert found.identical
    assert found.computed_anew == ()
    model.fc2.bias.data[important(guard, "fc2")] += 1e-6
    with pytest.raises(ValueError, match="moved: fc2"):
        attach(model, guard)


def test_last_bits_are_drift_on_the_same_machine_and_on_another_one_with_other_weights() -> None:
    model, guard = after(2)
    guard.load_state_dict(rounded(guard, setting=None))
    with pytest.raises(ValueError, match="moved: no frozen node"):
        attach(model, guard)
    model, guard = after(2)
    guard.load_state_dict(rounded(guard, setting="elsewhere"))
    model.fc2.bias.data[important(guard, "fc2")] += 1e-6
    with pytest.raises(ValueError, match="not those that the guard's state was saved with"):
        attach(model, guard)


def test_new_nodes_keep_what_is_known_of_the_old_ones() -> None:
    model, guard = after(2)
    guard.expand(layer="fc1", nodes=5)
    assert guard.verify().identical
    assert all(check.moved == "" for check in guard.verify().tasks)
    learn(guard, model, 2, DATA[2], OPTIMIZERS["adam"])
    assert guard.verify().identical
    model.fc1.weight.data[important(guard, "fc1")] += 1
    with pytest.raises(ValueError, match=r"moved: fc1\["):
        guard.expand(layer="fc1", nodes=5)


def test_verify_is_for_between_tasks() -> None:
    model, guard = after(1)
    with (
        guard.attach(torch.optim.Adam(model.parameters()), steps_per_epoch=1),
        pytest.raises(ValueError, match="verify after the attach"),
    ):
        guard.verify()


def test_a_fingerprint_shows_a_change_of_any_one_number() -> None:
    rows = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    before = fingerprints(rows)
    for row in range(4):
        for column in range(6):
            changed = rows.clone()
            changed[row, column] = torch.nextafter(changed[row, column], torch.tensor(math.inf))
            assert (fingerprints(changed) != before).tolist() == [number == row for number in range(4)]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_fingerprints_know_every_precision(dtype: torch.dtype) -> None:
    rows = torch.randn(4, 6, generator=torch.Generator().manual_seed(0)).to(dtype)
    assert torch.equal(fingerprints(rows), fingerprints(rows.clone()))
    assert len(set(fingerprints(rows).tolist())) == 4
