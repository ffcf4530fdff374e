"""The command line as a whole: whole names of options, the version, and nothing heavy before a command runs."""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import agscl
from agscl.cli import main
from agscl.cli.arguments import parser_for


def parsers(parser=None, path=()):
    """The parser of every command and part by its words."""
    parser = parser or parser_for([])
    yield path, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                yield from parsers(child, (*path, name))


PARSERS = dict(parsers())


def test_every_command_is_there():
    assert {path[0] for path in PARSERS if path} == {
        *("run", "runs", "compare", "list", "completion", "data"),
        *("figure", "report", "tables", "verify", "export", "sweep", "reproduce"),
    }
    assert {path[1] for path in PARSERS if len(path) > 1} == {"list", "download", "import", "remove", "verify", "where"}


@pytest.mark.parametrize("path", PARSERS, ids=" ".join)
def test_no_option_is_abbreviated(path, capsys):
    """``compare --seed 7`` must not mean ``--seeds 7``."""
    parser = PARSERS[path]
    options = [option for option in parser._option_string_actions if option.startswith("--")]
    shortened = {option[:end] for option in options for end in range(4, len(option))} - set(options)
    for option in sorted(shortened):
        with pytest.raises(SystemExit) as leaving:
            main([*path, option])
        assert leaving.value.code == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
    assert not parser.allow_abbrev


def test_a_shortened_option_of_a_comparison_is_refused_by_name(capsys):
    with pytest.raises(SystemExit):
        main(["compare", "digits", "--seed", "7"])
    assert "unrecognized arguments: --seed 7" in capsys.readouterr().err


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as leaving:
        main(["--version"])
    assert leaving.value.code == 0
    assert capsys.readouterr().out == f"agscl {agscl.__version__}\n"
    assert agscl.__version__[0].isdigit()


def test_every_command_has_a_module_that_runs_it():
    from importlib import import_module

    commands = {path[0] for path in PARSERS if path}
    assert len(commands) == 13
    for command in commands:
        assert callable(import_module(f"agscl.cli.{command}").run)


def test_the_parsers_are_made_without_anything_heavy():
    heavy = ["torch", "rich", "pydantic", "numpy", "polars", "agscl.experiments", "importlib.metadata"]
    code = (
        "import sys; from agscl.cli.arguments import parser_for; import agscl.cli.main;"
        f"parser_for(['run']).format_help(); print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full is Linux's")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", [["--version"], ["data", "where"]])
def test_output_that_a_full_disk_does_not_take_is_one_line(words, unbuffered):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "agscl", *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        )
    assert done.returncode == 2
    assert re.fullmatch(r"agscl: error: No space left on device; make room.*\n", done.stderr)
