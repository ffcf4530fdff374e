"""Methods and presets of other packages are in every command, and one that is broken harms no other."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from agscl.cli import main
from agscl.experiments import outside

PAGE = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()


def block(heading, language):
    (section,) = [part for part in re.split(r"^## ", PAGE, flags=re.MULTILINE) if part.startswith(heading)]
    return re.search(rf"^```{language}\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)[1]


def installed(folder, project, files):
    """What ``pip install`` makes of a package: its modules, and its entry points beside them."""
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_text(text)
    about = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = []
    for group, entries in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
    (about / "entry_points.txt").write_text("\n".join(lines))


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder of installed packages, which are found anew."""
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setenv("COLUMNS", "300")
    outside.offered.cache_clear()
    yield tmp_path / "site"
    outside.offered.cache_clear()


@pytest.fixture
def example(site):
    files = {
        "agscl_l2/__init__.py": "",
        "agscl_l2/l2.py": block("Adding a method", "python"),
        "agscl_l2/presets.py": block("A package of your own", "python"),
    }
    installed(site, tomllib.loads(block("A package of your own", "toml"))["project"], files)


def test_the_package_in_the_page_is_in_every_command(example, tmp_path, capsys):
    assert main(["list"]) == 0
    listed = capsys.readouterr().out
    assert "small-digits" in listed
    assert "l2" in listed
    run = tmp_path / "run"
    words = ["run", "small-digits", "--method", "l2", "--method.lam", "0.5", "--epochs", "1", "--out", str(run)]
    assert main(words) == 0
    assert json.loads((run / "experiment.json").read_text())["method"] == {"name": "l2", "lam": 0.5}
    assert main([*words, "--resume"]) == 0
    many = [
        "compare",
        "digits",
        "--methods",
        "l2,fine-tuning",
        "--method.l2.lam",
        "0.5",
        "--seeds",
        "1",
        "--epochs",
        "1",
    ]
    assert main([*many, "--tasks", "2", "--processes", "1", "--out", str(tmp_path / "many")]) == 0
    assert main(["verify", str(run)]) in (0, 1)
    assert main(["report", str(run), str(tmp_path / "many"), "--out", str(tmp_path / "page.html")]) == 0
    assert "small-digits" in (tmp_path / "page.html").read_text()


BROKEN = {
    "no-such": ("nowhere:Method", "cannot be loaded: No module named 'nowhere'"),
    "no-class": ("broken:number", "is no dataclass with a method protect"),
    "thawed": ("broken:Thawed", "must be a frozen dataclass"),
    "misnamed": ("broken:Misnamed", "must have the class variable name = 'misnamed'"),
}

CODE = """
from dataclasses import dataclass
from typing import ClassVar

number = 3

@dataclass
class Thawed:
    name: ClassVar[str] = "thawed"
    def protect(self, network): ...

@dataclass(frozen=True)
class Misnamed:
    name: ClassVar[str] = "other"
    def protect(self, network): ...
"""


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_refused_by_name_and_harms_nothing_else(site, name, tmp_path, capsys):
    entries = {
        "agscl.methods": {name: BROKEN[name][0]},
        "agscl.presets": {"odd": "broken:number", "digits": "broken:number"},
    }
    installed(site, {"name": "broken", "version": "1", "entry-points": entries}, {"broken.py": CODE})
    words = ["run", "digits", "--tasks", "2", "--epochs", "1", "--method"]
    assert main([*words, name, "--out", str(tmp_path / "a")]) == 2
    assert BROKEN[name][1] in capsys.readouterr().err
    assert main(["run", "odd"]) == 2
    assert "is no preset, but of type int" in capsys.readouterr().err
    assert main(["list"]) == 0
    assert BROKEN[name][1] in capsys.readouterr().out
    assert main([*words, "fine-tuning", "--out", str(tmp_path / "b")]) == 0, "the library's names are its own"


def test_a_name_that_two_packages_offer_is_refused(site, capsys):
    for number in (1, 2):
        entries = {"agscl.presets": {"twice": f"broken{number}:x"}}
        installed(site, {"name": f"broken{number}", "version": "1", "entry-points": entries}, {})
    assert main(["run", "twice"]) == 2
    assert "'twice' of agscl.presets is offered by several packages: broken1, broken2" in capsys.readouterr().err
