"""The method in CONTRIBUTING.md works as it stands there."""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from agscl.experiments import method_from_options
from agscl.methods import METHODS
from laws.sequences import MLP, OPTIMIZERS, learn, protected, tasks

GUIDE = Path(__file__).parents[2] / "CONTRIBUTING.md"
SHAPE = (3, 2, 2)


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Any:
    section = GUIDE.read_text(encoding="utf-8").partition("## Adding a method")[2]
    code = section.partition("```python\n")[2].partition("```")[0]
    module = ModuleType("contributed")
    monkeypatch.setitem(sys.modules, "contributed", module)
    exec(compile(code, str(GUIDE), "exec"), module.__dict__)
    return module


def distance(method: Any) -> float:
    torch.manual_seed(0)
    model, data = MLP(), tasks(SHAPE)
    guard = protected(model, method, SHAPE)
    learn(guard, model, 0, data[0], OPTIMIZERS["adam"])
    before = model.fc1.weight.detach().clone()
    learn(guard, model, 1, data[1], OPTIMIZERS["adam"])
    return float((model.fc1.weight.detach() - before).norm())


def test_example_protects_and_its_strength_matters(example: Any) -> None:
    free, held, fixed = (distance(example.L2(lam=lam)) for lam in (0.0, 1.0, float("inf")))
    assert free > held > fixed == 0


def test_example_refuses_a_negative_strength(example: Any) -> None:
    with pytest.raises(ValueError, match="lam must be in"):
        example.L2(lam=-1.0)


def test_example_is_made_from_the_command_lines_options(example: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, example.L2.name, example.L2)
    assert method_from_options("l2", {"lam": "0.1"}, {}) == example.L2(lam=0.1)
    with pytest.raises(ValueError, match="l2 needs a value for 'lam'"):
        method_from_options("l2", {}, {})


@pytest.mark.parametrize(
    ("path", "home"),
    [("agscl.methods.measured", "weights.consolidated_penalty"), ("agscl.methods.fisher", "weights.fisher")],
)
def test_names_that_methods_outside_the_library_import_stay_where_they_were(path: str, home: str) -> None:
    offered, defined = import_module(path), import_module(f"agscl.methods.{home}")
    names = [name for name in vars(offered) if not name.startswith("_")]
    assert names
    assert all(getattr(offered, name) is getattr(defined, name) for name in names)
