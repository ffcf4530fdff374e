"""Names are printed as they are, in any terminal: no markup, no emoji code, no escape, no character that is missing."""

import io
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from agscl.cli import main
from agscl.cli.console import Output, bars, table
from agscl.cli.progress import progress
from agscl.cli.run import show
from agscl.cli.text import printable
from agscl.training import RateLowered, TaskFinished, TaskStarted
from figures.recorded import FULL, PLAIN, result, write, write_incomplete

HOSTILE = "a[/b][red]:smile:\x1b[31m\x9b2J\r\u202e"
SHOWN = r"a[/b][red]:smile:\x1b[31m\x9b2J\r\u202e"
OTHERS = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "cp1252": {"PYTHONIOENCODING": "cp1252:strict"},
    "LANG=C": {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}


def agscl(*arguments, code=0, **environment):
    """What a command prints in a terminal of that kind, as bytes: stdout and stderr."""
    command = [sys.executable, "-W", "ignore", "-m", "agscl", *map(os.fsencode, map(str, arguments))]
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG"))}
    done = subprocess.run(command, capture_output=True, env={**plain, **environment}, check=False)
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    assert done.returncode == code, done.stderr.decode()
    return done.stdout, done.stderr


def hostile_result(seed=0):
    """A run with a task of a bad name."""
    made = result(FULL, seed)
    tasks = [replace(task, name=HOSTILE) for task in made.history.tasks]
    return replace(made, history=replace(made.history, tasks=tuple(tasks)))


def printed(capsys):
    """What a command printed; nothing in it may reach the terminal as more than text."""
    out = capsys.readouterr().out
    assert printable(out.replace("\n", "")) == out.replace("\n", "")
    return out


def test_what_is_printable_stays_and_the_rest_is_shown_as_its_code():
    assert printable("größe ± 日本 [b] ┃") == "größe ± 日本 [b] ┃"
    assert printable(HOSTILE) == SHOWN
    assert printable(os.fsdecode(b"caf\xe9")) == "caf\\udce9"


@pytest.mark.parametrize("terminal", [True, False])
def test_cells_heads_and_titles_are_literal(terminal):
    output = Output(file=io.StringIO(), force_terminal=terminal, width=200, color_system=None)
    output.show(table([HOSTILE], [[HOSTILE]], title=HOSTILE))
    output.say(HOSTILE)
    assert output.file.getvalue().count(SHOWN) == 4


@pytest.mark.parametrize("terminal", [True, False])
def test_a_task_of_any_name_is_shown_while_it_is_learned_and_after(terminal):
    output = Output(file=io.StringIO(), force_terminal=terminal, width=300, color_system=None)
    with progress(output, "ags-cl") as logger:
        logger.emit(TaskStarted(0, HOSTILE, 2, 10))
        logger.emit(RateLowered(0, 4, HOSTILE, 5e-4))
        logger.emit(TaskFinished(0, HOSTILE, 4, (0.75,), 0.5, None, 8, 4, 0.5))
    show(output, [hostile_result()])
    shown = output.file.getvalue()
    assert SHOWN in shown
    assert "\x1b[31m" not in shown
    assert "\x9b" not in shown
    assert "\u202e" not in shown


def test_a_bar_of_any_name_is_literal():
    output = Output(file=io.StringIO(), force_terminal=True, width=200, color_system=None)
    with bars(output, "{task.description}") as display:
        display.add_task("[/b]:smile:", total=1)
    assert "[/b]:smile:" in output.file.getvalue()


def test_a_run_ends_well_in_a_folder_of_any_name(tmp_path, capsys):
    folder = tmp_path / "a[/b]:smile:\x1b[31m"
    command = ["run", "digits", "--method", "fine-tuning", "--epochs", "1", "--tasks", "2"]
    assert main([*command, "--out", str(folder)]) == 0
    assert printable(f"run folder: {folder}, picture: {folder / 'summary.png'}") in printed(capsys)


def test_recorded_runs_in_a_folder_of_any_name_are_listed_and_compared(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    folder = tmp_path / "a[/b]:smile:\x1b[31m"
    write(folder, hostile_result(), result(PLAIN))
    write_incomplete(folder, result(seed=7).experiment)
    assert main(["runs", str(folder)]) == 0
    assert printable(str(folder / "run-0")) in printed(capsys)
    assert main(["compare", str(folder)]) == 0
    assert printable(f"INCOMPLETE {folder / 'incomplete'}") in printed(capsys)
    assert main(["report", str(folder), "--out", str(folder / "page.html")]) == 0
    assert printable(f"report: {folder / 'page.html'}") in printed(capsys)


def test_the_data_folder_is_named_as_it_is(tmp_path, capsys):
    folder = tmp_path / "a[/b]:smile:"
    assert main(["data", "where", "--data-root", str(folder)]) == 0
    assert printed(capsys) == f"{folder}\n"


def test_a_set_of_any_names_is_described(tmp_path, capsys):
    images, labels = np.zeros((4, 28, 28), np.uint8), np.array([0, 1, 0, 1])
    np.savez(tmp_path / "set.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    folder = tmp_path / "[/b]"
    assert main(["data", "import", "mnist", "--from", str(tmp_path / "set.npz"), "--data-root", str(folder)]) == 0
    assert printed(capsys).startswith("mnist: 4 + 4 grey images")


def test_an_error_shows_a_bad_name_as_text(tmp_path, capsys):
    assert main(["runs", str(tmp_path / HOSTILE)]) == 2
    assert SHOWN in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["list", HOSTILE])
    assert SHOWN in capsys.readouterr().err


@pytest.mark.parametrize("kind", OTHERS)
def test_a_terminal_without_unicode_gets_ascii(kind, tmp_path):
    write(tmp_path / "größe", result(FULL, 0), result(FULL, 1, ((0.5,), (0.4, 0.6))), result(PLAIN))
    environment = OTHERS[kind]
    everything = [["list"], ["data", "list"], ["runs", str(tmp_path / "größe")], ["--help"]]
    for arguments in everything if kind == "ascii" else []:
        assert b"".join(agscl(*arguments, **environment)).isascii()
    out, err = agscl("compare", tmp_path / "größe", **environment)
    assert (out + err).isascii()
    assert b"mean +/- 95 % interval" in out
    out, err = agscl("runs", tmp_path / "größer", code=2, **environment)
    assert (out + err).isascii()
    assert err.startswith(b"agscl: error: ")


@pytest.fixture(scope="module")
def verified(tmp_path_factory):
    """A run of two tasks that was made and verified in a terminal of ASCII, and what both printed."""
    folder = tmp_path_factory.mktemp("ascii") / "größe"
    command = ["run", "digits", "--method", "ags-cl", "--method.lam", "inf", "--epochs", "1", "--tasks", "2"]
    made = agscl(*command, "--out", folder, **OTHERS["ascii"])
    return folder, made, agscl("verify", folder, **OTHERS["ascii"])


def test_a_run_is_made_and_verified_without_unicode(verified):
    folder, made, certified = verified
    assert (folder / "result.json").exists()
    assert all(text.isascii() for text in (*made, *certified))
    assert b"run folder: " in made[0]
    assert b"gr\\xf6\\xdfe" in certified[0]


def test_a_comparison_is_made_without_unicode(tmp_path):
    command = ["compare", "digits", "--methods", "fine-tuning", "--epochs", "1", "--tasks", "2", "--seeds", "2"]
    out, err = agscl(*command, "--processes", "1", "--out", tmp_path / "runs", **OTHERS["latin-1"])
    assert (out + err).isascii()
    assert b"mean +/- 95 % interval over 2 seeds" in out


def test_a_reader_that_goes_ends_the_command_quietly():
    command = [sys.executable, "-m", "agscl", "list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()  # before anything is written
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_help_for_a_reader_that_goes_ends_quietly():
    command = [sys.executable, "-m", "agscl", "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode in (0, 141)  # 0 where output is not buffered: argparse does not mind
