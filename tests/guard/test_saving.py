"""What a guard saves goes on in another process with the same bits; what does not belong to it is refused by name."""

import copy
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import agscl
from agscl.guard.file import Saved
from agscl.methods import Expandable, Method
from laws.sequences import MLP, OPTIMIZERS, MobileNet, learn, logits, protected, tasks

FLAT, IMAGES = (3, 2, 2), (3, 8, 8)
DATA = {FLAT: tasks(FLAT), IMAGES: tasks(IMAGES)}
HARD = agscl.AGSCL(mu=9, lam=math.inf)
METHODS = [
    HARD,
    agscl.AGSCL(mu=9, lam=4, proximal="step"),
    agscl.EWC(lam=3),
    agscl.EWC(lam=math.inf, online=True),
    agscl.SI(c=1),
    agscl.RWalk(lam=1),
    agscl.MAS(lam=1),
    agscl.HAT(),
    agscl.GatedAGSCL(),
    agscl.WSN(),
    agscl.LwF(),
    agscl.FineTuning(),
    agscl.SingleTask(),
    agscl.CPR(HARD, beta=0.1),
]


def fresh(method: Method = HARD, seed: int = 0, heads: int = 4, **options: Any) -> tuple[MLP, agscl.Guard]:
    torch.manual_seed(seed)
    model = MLP(**options)
    del model.heads[heads:]
    model.heads.extend(nn.Linear(24, 2) for _ in range(heads - len(model.heads)))
    return model, protected(model, method, FLAT)


def learned(method: Method = HARD, number: int = 2, *, grow: bool = False) -> tuple[MLP, agscl.Guard]:
    model, guard = fresh(method)
    for task in range(number):
        learn(guard, model, task, DATA[FLAT][task], OPTIMIZERS["adam"], epochs=3)
        if grow and task == 0:
            for layer in ("fc1", "fc2", "fc1"):
                guard.expand(layer=layer, nodes=2)
    return model, guard


def everything(model: nn.Module, guard: agscl.Guard) -> dict[str, Tensor]:
    parts = {**model.state_dict(), **{f"guard.{name}": tensor for name, tensor in guard.state_dict().items()}}
    parts |= {f"id.{name}": torch.tensor(id(parameter)) for name, parameter in model.named_parameters()}
    return {**{name: tensor.clone() for name, tensor in parts.items()}, "random": torch.get_rng_state()}


def assert_unchanged(before: dict[str, Tensor], after: dict[str, Tensor]) -> None:
    assert before.keys() == after.keys()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []


@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.parametrize("heads", [4, 6])
def test_a_loaded_guard_goes_on_with_the_same_bits(method: Method, heads: int, tmp_path: Path) -> None:
    model, guard = learned(method)
    if isinstance(guard._protection, Expandable):
        for layer in ("fc1", "fc2", "fc1"):
            guard.expand(layer=layer, nodes=2)
    guard.save(tmp_path / "a.agscl")
    other, second = fresh(method, seed=5, heads=heads)
    random = torch.get_rng_state()
    second.load(tmp_path / "a.agscl")
    assert torch.equal(torch.get_rng_state(), random)
    assert (second.task, second.memory_bytes()) == (guard.task, guard.memory_bytes())
    for task in (0, 1, 2):
        if task == 2:
            for net, each in ((model, guard), (other, second)):
                each.use_task(2)
                torch.manual_seed(7)
                learn(each, net, 2, DATA[FLAT][2], OPTIMIZERS["adam"], epochs=2)
        for old in range(task + 1):
            guard.use_task(old)
            second.use_task(old)
            assert torch.equal(logits(model, old, DATA[FLAT][old][0]), logits(other, old, DATA[FLAT][old][0]))


SCRIPT = """
import sys, math, torch, agscl
from laws.sequences import MobileNet, learn, logits, protected, tasks, OPTIMIZERS
torch.manual_seed(99)
model, data = MobileNet(), tasks((3, 8, 8))
guard = protected(model, agscl.AGSCL(mu=2, lam=math.inf), (3, 8, 8))
guard.load(sys.argv[1])
before = [logits(model, task, data[task][0]) for task in range(2)]
learn(guard, model, 2, data[2], OPTIMIZERS["sgd with momentum"], epochs=2)
after = [logits(model, task, data[task][0]) for task in range(2)]
print(*[tensor.flatten().double().tolist() for tensor in before + after], sep="\\n")
"""


def test_another_process_answers_and_keeps_every_old_bit_of_a_grown_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = MobileNet()
    guard = protected(model, agscl.AGSCL(mu=2, lam=math.inf), IMAGES)
    for task in range(2):
        learn(guard, model, task, DATA[IMAGES][task], OPTIMIZERS["adam"], epochs=2)
        guard.expand(layer="blocks.0.expand.0", nodes=2)
        guard.expand(layer="last.0", nodes=2)
    guard.save(tmp_path / "a")
    path = f"{Path(agscl.__file__).parents[1]}{os.pathsep}{Path(__file__).parents[1]}"
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, tmp_path / "a"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    expected = [logits(model, task, DATA[IMAGES][task][0]).flatten().double().tolist() for task in range(2)]
    assert list(map(json.loads, run.stdout.splitlines())) == expected + expected


def test_a_model_with_fewer_heads_takes_what_it_needs(tmp_path: Path) -> None:
    model, guard = learned()
    guard.save(tmp_path / "a")
    other, second = fresh(heads=2, seed=3)
    second.load(tmp_path / "a")
    assert torch.equal(logits(other, 1, DATA[FLAT][1][0]), logits(model, 1, DATA[FLAT][1][0]))


def test_a_guard_that_has_learned_goes_back_to_what_it_saved(tmp_path: Path) -> None:
    model, guard = learned()
    guard.save(tmp_path / "a")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    learn(guard, model, 2, DATA[FLAT][2], OPTIMIZERS["adam"], epochs=1)
    guard.load(tmp_path / "a")
    assert guard.task == 2
    assert_unchanged(before, dict(model.state_dict()))


def test_a_state_saved_within_a_task_goes_on_within_it(tmp_path: Path) -> None:
    method = agscl.EWC(lam=3)
    ends = []
    for interrupted in (False, True):
        model, guard = learned(method, 1)
        x, y = DATA[FLAT][1]
        for steps in (2, 3) if interrupted else (5,):
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            with guard.attach(optimizer, steps_per_epoch=3):
                for _ in range(steps):
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(model(x)[1], y).backward()
                    optimizer.step()
                if steps == 2:
                    guard.save(tmp_path / "a")
            if steps == 2:
                model, guard = fresh(method, seed=1)
                guard.load(tmp_path / "a")
        ends.append(model.state_dict())
    assert_unchanged(dict(ends[0]), dict(ends[1]))


@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.parametrize("before", [0, 1])
def test_a_state_from_the_middle_of_a_task_goes_on_with_the_weights_of_its_moment_alone(
    method: Method, before: int
) -> None:
    model, guard = learned(method, before)
    x, y = DATA[FLAT][before]

    def steps(net: nn.Module, each: agscl.Guard, optimizer: torch.optim.Optimizer, number: int) -> None:
        for _ in range(number):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(x)[before], y)
            extra = each.extra_loss((x, y), lambda batch: net(batch[0]))
            (loss if extra is None else loss + extra).backward()
            optimizer.step()

    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    with guard.attach(optimizer, steps_per_epoch=5):
        steps(model, guard, optimizer, 2)
        state, weights = guard.state_dict(), copy.deepcopy(model.state_dict())
        steps(model, guard, optimizer, 1)
        later = copy.deepcopy(model.state_dict())
    for moment, fits in ((later, False), (weights, True)):
        net, other = fresh(method, seed=7)
        net.load_state_dict(moment)
        other.load_state_dict(state)
        assert not other.unconsolidated
        again = torch.optim.Adam(net.parameters(), lr=0.05)
        if fits:
            with other.attach(again, steps_per_epoch=5):
                steps(net, other, again, 3)
            assert other.unconsolidated
        else:
            with pytest.raises(ValueError, match="not those that the guard's state was saved with"):
                other.attach(again, steps_per_epoch=5).__enter__()


class Tanh(MLP):
    def forward(self, x: Tensor) -> list[Tensor]:
        h = torch.relu(self.fc2(torch.tanh(self.fc1(x.flatten(1)))))
        return [head(h) for head in self.heads]


class Normed(nn.Module):
    def __init__(self, eps: float = 1e-5, stride: int = 1) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, padding=1, stride=stride), nn.BatchNorm2d(8, eps=eps)
        self.heads = nn.ModuleList([nn.Linear(8, 2) for _ in range(4)])

    def forward(self, x: Tensor) -> list[Tensor]:
        h = torch.relu(self.norm(self.conv(x))).mean((2, 3))
        return [head(h) for head in self.heads]


class Relu6(MLP):
    def forward(self, x: Tensor) -> list[Tensor]:
        h = torch.nn.functional.relu6(100 * self.fc2(torch.relu(self.fc1(x.flatten(1)))))
        return [head(h) for head in self.heads]


class OneHead(MLP):
    def __init__(self) -> None:
        super().__init__()
        del self.heads
        self.head = nn.Linear(24, 2)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.head(torch.relu(self.fc2(torch.relu(self.fc1(x.flatten(1))))))]


def one_head() -> tuple[nn.Module, agscl.Guard]:
    model = OneHead()
    OneHead.__name__ = "MLP"
    return model, agscl.protect(model, HARD, example_inputs=torch.zeros(2, *FLAT), heads="head")


def fresh_class() -> tuple[nn.Module, agscl.Guard]:
    model = Relu6()
    return model, protected(model, HARD, FLAT)


def wide() -> tuple[nn.Module, agscl.Guard]:
    model = MLP(width=25)
    return model, protected(model, HARD, FLAT)


def same_name_with_tanh() -> tuple[nn.Module, agscl.Guard]:
    model = Tanh()
    Tanh.__name__ = "MLP"
    return model, protected(model, HARD, FLAT)


ALL_ALIKE = [f"heads.{task}" for task in range(4)]

FOREIGN: dict[str, tuple[Callable[[], tuple[nn.Module, agscl.Guard]], str]] = {
    "another method": (lambda: fresh(agscl.EWC(lam=3)), "it is one of AGSCL, and this guard's method is EWC"),
    "another mu": (lambda: fresh(agscl.AGSCL(mu=1, lam=math.inf)), r"with mu=9.0 \(here 1.0\).*changed=\('mu',\)"),
    "another lam": (lambda: fresh(agscl.AGSCL(mu=9, lam=400)), r"saved with lam=inf \(here 400.0\)"),
    "another width": (wide, r"'fc1' has shape \(24,\), expected \(25,\); it was saved with another network"),
    "another forward": (same_name_with_tanh, "outputs for task 0 differ"),
    "another class": (fresh_class, r"the model' was MLP\(\) when it was saved and is Relu6\(\) here"),
    "too few heads": (lambda: fresh(heads=1), "task 1 is learned there, and 'heads' has heads for 1 tasks here; build"),
    "no list of heads": (one_head, "its lists of heads are 'heads', and this model's none"),
}  # fmt: skip


@pytest.mark.parametrize("case", FOREIGN)
def test_a_foreign_file_is_refused_with_the_right_cause_and_changes_nothing(case: str, tmp_path: Path) -> None:
    _, guard = learned(grow=True)
    guard.save(tmp_path / "a")
    make, message = FOREIGN[case]
    model, other = make()
    before = everything(model, other)
    with pytest.raises(ValueError, match=message) as caught:
        other.load(tmp_path / "a")
    assert "\n" not in str(caught.value)
    assert_unchanged(before, everything(model, other))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eps": 1e-4}, r"'norm' was BatchNorm2d\(8, eps=1e-05.*and is BatchNorm2d\(8, eps=0.0001"),
        ({"stride": 2}, r"'conv' was Conv2d\(.* and is Conv2d\(3, 8, kernel_size=\(3, 3\), stride=\(2, 2\)"),
    ],
)
def test_modules_with_other_settings_are_named(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    guards = []
    for each in ({}, options):
        torch.manual_seed(0)
        model = Normed(**each)
        guards.append(protected(model, HARD, IMAGES))
        learn(guards[-1], model, 0, DATA[IMAGES][0], OPTIMIZERS["adam"], epochs=2)
    guards[0].save(tmp_path / "a")
    with pytest.raises(ValueError, match=message):
        guards[1].load(tmp_path / "a")


def test_a_model_of_another_type_is_refused(tmp_path: Path) -> None:
    _, guard = learned()
    guard.save(tmp_path / "a")
    model, other = fresh()
    model.double()
    with pytest.raises(ValueError, match=r"'fc1.weight' is float32 \(24, 12\) in the file and float64"):
        other.load(tmp_path / "a")


def test_hyper_parameters_may_change_if_that_is_said(tmp_path: Path) -> None:
    model, guard = learned()
    guard.save(tmp_path / "a")
    other, second = fresh(agscl.AGSCL(mu=30, lam=math.inf, rho=0.0))
    with pytest.raises(ValueError, match=r"mu=9.0.* rho=0.3"):
        second.load(tmp_path / "a", changed=["eta"])
    with pytest.raises(ValueError, match=r"AGSCL has no 'nu' to change; it has mu, lam, eta, rho, proximal, cut"):
        second.load(tmp_path / "a", changed=["mu", "rho", "nu"])
    second.load(tmp_path / "a", changed=["mu", "rho"])
    assert torch.equal(logits(model, 0, DATA[FLAT][0][0]), logits(other, 0, DATA[FLAT][0][0]))
    soft = fresh(agscl.AGSCL(mu=9, lam=4))[1]
    with pytest.raises(ValueError, match="does not belong to this guard: 'anchor"):
        soft.load(tmp_path / "a", changed=["lam"])


def test_a_changed_byte_is_noticed_wherever_it_is(tmp_path: Path) -> None:
    _, guard = learned(number=1)
    guard.save(tmp_path / "a")
    content = (tmp_path / "a").read_bytes()
    model, other = fresh()
    before = everything(model, other)
    for position in range(0, len(content), max(1, len(content) // 150)):
        changed = bytearray(content)
        changed[position] ^= 1 << position % 8
        (tmp_path / "b").write_bytes(changed)
        with pytest.raises(ValueError, match=r"/b.* (is damaged|was not written by|is of format)"):
            other.load(tmp_path / "b")
    for length in (0, 7, 8, 500, len(content) // 2, len(content) - 1):
        (tmp_path / "b").write_bytes(content[:length])
        with pytest.raises(ValueError, match="/b is damaged"):
            other.load(tmp_path / "b")
    assert_unchanged(before, everything(model, other))


def test_other_files_are_refused(tmp_path: Path) -> None:
    model, guard = fresh()
    save_file(model.state_dict(), tmp_path / "weights")
    torch.save(model.state_dict(), tmp_path / "pickle")
    with pytest.raises(ValueError, match=r"weights was not written by guard.save\(\)"):
        guard.load(tmp_path / "weights")
    with pytest.raises(ValueError, match="pickle is damaged or no safetensors file"):
        guard.load(tmp_path / "pickle")
    with pytest.raises(FileNotFoundError, match="missing"):
        guard.load(tmp_path / "missing")


def test_a_forged_growth_takes_no_memory(tmp_path: Path) -> None:
    from dataclasses import replace

    _, guard = learned()
    guard.save(tmp_path / "a")
    saved = Saved.read(tmp_path / "a")
    for growth in ((("fc1", 10**12),), (("nowhere", 1),), (("fc1", -1),)):
        layers = {
            **saved.description.layers,
            growth[0][0]: saved.description.layers.get(growth[0][0], 0) + growth[0][1],
        }
        forged = replace(saved.description, growth=growth, layers=layers)
        replace(saved, path=tmp_path / "b", description=forged).write()
        model, other = fresh()
        before = everything(model, other)
        with pytest.raises(ValueError, match=r"grew beyond|has a layer 'nowhere'|at least 1"):
            other.load(tmp_path / "b")
        assert_unchanged(before, everything(model, other))


def test_a_failed_write_leaves_the_earlier_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, guard = learned()
    guard.save(tmp_path / "a")
    before = (tmp_path / "a").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        guard.save(tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == before


def test_a_model_whose_frozen_weights_were_changed_is_not_saved(tmp_path: Path) -> None:
    model, guard = learned()
    with torch.no_grad():
        model.heads[0].weight += 1
    with pytest.raises(ValueError, match="earlier tasks rely on"):
        guard.save(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_a_growth_in_another_order_is_refused(tmp_path: Path) -> None:
    _, guard = learned(grow=True)
    guard.save(tmp_path / "a")
    model, other = fresh()
    other.expand(layer="fc1", nodes=2)
    other.load(tmp_path / "a")  # a beginning of the same growth goes on
    assert model.fc1.weight.shape[0] == 28
    _, third = fresh()
    third.expand(layer="fc2", nodes=2)
    with pytest.raises(
        ValueError, match=r"its network grew by guard.expand\(layer='fc1', nodes=2\).* begin with a model"
    ):
        third.load(tmp_path / "a")


def attached(guard: agscl.Guard, model: nn.Module) -> None:
    with guard.attach(torch.optim.SGD(model.parameters(), lr=0.1), steps_per_epoch=1):
        pass


@pytest.mark.parametrize("method", [m for m in METHODS if not isinstance(m, agscl.FineTuning)], ids=str)
def test_a_state_with_the_weights_of_another_run_is_refused_at_the_next_task(method: Method) -> None:
    model, guard = learned(method)
    state, weights = guard.state_dict(), copy.deepcopy(model.state_dict())
    other, second = fresh(method, seed=5)
    second.load_state_dict(state)
    with pytest.raises(
        ValueError, match=r"weights are not those that the guard's state was saved with.*guard.load\(\)"
    ):
        attached(second, other)
    other.load_state_dict(weights)
    attached(second, other)


def test_a_state_of_a_grown_network_says_how_to_grow() -> None:
    model, guard = learned(grow=True)
    other, second = fresh()
    calls = [r"guard.expand\(layer='fc1', nodes=2\)", r"guard.expand\(layer='fc2', nodes=2\)"]
    with pytest.raises(
        ValueError, match=rf"'fc1' has shape \(28,\), expected \(24,\); call {calls[0]}, {calls[1]}, {calls[0]} first"
    ):
        second.load_state_dict(guard.state_dict())
    for layer in ("fc1", "fc2", "fc1"):
        second.expand(layer=layer, nodes=2)
    other.load_state_dict(model.state_dict())
    second.load_state_dict(guard.state_dict())
    attached(second, other)


def test_a_state_of_other_hyper_parameters_is_refused_by_name() -> None:
    _, guard = learned()
    with pytest.raises(ValueError, match=r"saved with mu=9.0 \(here 1.0\)"):
        fresh(agscl.AGSCL(mu=1, lam=math.inf))[1].load_state_dict(guard.state_dict())


def test_a_state_without_a_description_is_taken_as_before() -> None:
    model, guard = learned()
    other, second = fresh()
    other.load_state_dict(model.state_dict())
    second.load_state_dict({name: tensor for name, tensor in guard.state_dict().items() if name != "about"})
    attached(second, other)
    assert second.task == 2


@pytest.mark.parametrize("learned_tasks", [[7], [-1], [0.5]])
def test_a_state_with_impossible_tasks_is_refused(learned_tasks: list[float]) -> None:
    _, guard = learned()
    state = {**guard.state_dict(), "learned": torch.tensor(learned_tasks)}
    with pytest.raises(ValueError, match=r"task 7 is learned there|not numbers from 0"):
        fresh()[1].load_state_dict(state)


def loss_of(model: nn.Module, task: int, labels: Tensor) -> Tensor:
    return nn.functional.cross_entropy(model(DATA[FLAT][task][0])[task], labels)


def test_weights_without_the_guards_state_are_told_from_a_wrong_task() -> None:
    old, _ = learned()
    model, guard = fresh()
    model.load_state_dict(old.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with guard.attach(optimizer, steps_per_epoch=1):
        loss_of(model, 2, DATA[FLAT][2][1]).backward()
        with pytest.raises(
            ValueError, match=r"head of task 0, but that of task 2.*load the guard's state.*guard.load\(\)"
        ):
            optimizer.step()


def test_a_loss_that_reaches_no_head_is_told_from_a_wrong_task() -> None:
    model, guard = fresh()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with guard.attach(optimizer, steps_per_epoch=1):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(DATA[FLAT][0][0])[0], torch.full((48,), -100), reduction="sum").backward()
        with pytest.raises(ValueError, match="nor any other: the loss depends on no output; are all labels ignored"):
            optimizer.step()


@pytest.mark.parametrize(
    ("before", "spoilt", "message"),
    [
        (
            0,
            "data",
            "all weights are finite, and this is the first step: is there NaN or infinity in the data",
        ),
        (2, "data", "is there NaN or infinity in the data[?] If not, lower the learning rate"),
        (2, "weight", "the weight 'fc1.weight' is not finite either"),
    ],
)
def test_a_gradient_that_is_not_finite_is_told_with_its_likely_cause(before: int, spoilt: str, message: str) -> None:
    model, guard = fresh(agscl.FineTuning())
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    x, y = DATA[FLAT][0]
    with guard.attach(optimizer, steps_per_epoch=1):
        for step in range(before + 1):
            if step == before and spoilt == "weight":
                model.fc1.weight.data[0, 0] = math.nan
            optimizer.zero_grad()
            bad = x * math.nan if step == before and spoilt == "data" else x
            nn.functional.cross_entropy(model(bad)[0], y).backward()
            if step == before:
                with pytest.raises(agscl.Diverged, match=message):
                    optimizer.step()
            else:
                optimizer.step()
