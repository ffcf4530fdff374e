"""``agscl run`` as a user meets it: folders, tables, exit codes, and one clear line for bad input."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agscl.cli import main

PNG = b"\x89PNG\r\n\x1a\n"


def refusal(capsys, *arguments):
    """Exit code and stderr of a command line that must be refused."""
    try:
        code = main(list(arguments))
    except SystemExit as leaving:
        code = leaving.code
    return code, capsys.readouterr().err


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """The folder and output of a short run of all methods of a preset."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    command = [sys.executable, "-m", "agscl", "run", "digits", "--epochs", "1", "--precision", "fp32"]
    command += ["--out", str(folder)]
    return folder, subprocess.run(command, capture_output=True, text=True, check=True)


def test_without_a_method_all_that_the_preset_compares_are_run(compared):
    folder, _ = compared
    assert sorted(file.name for file in folder.glob("[!.]*")) == [
        "ags-cl",
        "fine-tuning",
        "summary.png",
    ]
    for method in ("ags-cl", "fine-tuning"):
        assert json.loads((folder / method / "result.json").read_text())["method"] == method


def test_the_picture_is_a_png(compared):
    assert (compared[0] / "summary.png").read_bytes().startswith(PNG)


def test_the_tables_show_matrices_measures_and_capacity(compared):
    output = compared[1].stdout
    for expected in (
        "ags-cl: accuracy (%)",
        "fine-tuning: accuracy (%)",
        "average accuracy",
        "forgetting",
        "plasticity",
        "stability",
        "sparsity",
        "used capacity",
        "seed 0",
        "run folder",
    ):
        assert expected in output


def test_progress_away_from_a_terminal_is_one_line_a_task(compared):
    lines = compared[1].stderr.splitlines()
    assert len(lines) == 2 * 5
    pairs = dict(pair.split("=") for pair in lines[4].split())
    assert pairs["method"] == "ags-cl"
    assert pairs["task"] == "5"
    assert len(pairs["accuracy"].split(",")) == 5


def test_one_method_runs_in_the_folder_itself_with_its_options(tmp_path):
    arguments = [
        "--method",
        "ags-cl",
        "--method.lam",
        "inf",
        "--method.rho=0.5",
        "--epochs",
        "1",
        "--seed",
        "2",
    ]
    assert main(["run", "digits", *arguments, "--out", str(tmp_path / "run")]) == 0
    experiment = json.loads((tmp_path / "run" / "experiment.json").read_text())
    assert experiment["method"] | {"lam": "Infinity", "rho": 0.5} == experiment["method"]
    assert experiment["training"]["epochs"] == 1
    assert experiment["seed"] == 2
    assert (tmp_path / "run" / "summary.png").read_bytes().startswith(PNG)


def test_without_a_folder_a_new_one_is_made_under_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "digits", "--method", "fine-tuning", "--epochs", "1"]) == 0
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("digits-")
    assert (folder / "result.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "digit"], "unknown preset 'digit'; there are: digits"),
        (["run", "digits", "--method", "agscl"], "unknown method 'agscl'; there are: ags-cl"),
        (["run", "digits", "--method", "ags-cl", "--method.lambda", "1"], "no option 'lambda'"),
        (["run", "digits", "--method", "ags-cl", "--method.mu", "-1"], "mu"),
        (["run", "digits", "--method", "ags-cl", "--method.mu", "nan"], "mu"),
        (["run", "digits", "--method", "ags-cl", "--method.mu", "x"], "mu"),
        (["run", "digits", "--method", "ags-cl", "--method.rho", "1.1"], "rho"),
        (["run", "digits", "--method", "ags-cl", "--method.eta", "0"], "eta"),
        (["run", "digits", "--method", "ags-cl", "--method.mu"], "expected one argument"),
        (["run", "digits", "--method.mu", "1"], "name it with --method"),
        (["run", "digits", "--method", "fine-tuning", "--method.lam", "1"], "no option 'lam'"),
        (["run", "digits", "--epochs", "0"], "epochs must be at least 1"),
        (["run", "digits", "--epochs", "many"], "invalid int value: 'many'"),
        (["run", "digits", "--seed", "-1"], "seed must not be negative"),
        (["run", "digits", "--sede", "1"], "unrecognized arguments: --sede"),
        (["run", "digits", "--epoch", "1"], "unrecognized arguments: --epoch"),
        (["run"], "PRESET"),
        (["walk"], "walk"),
        ([], "COMMAND"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, error = refusal(capsys, *arguments)
    assert code == 2
    assert error.count("\n") == 1
    assert message in error
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_line_and_leaves_nothing(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    code, error = refusal(capsys, "run", "digits", "--out", str(tmp_path / "file" / "run"))
    assert code == 2
    assert error.count("\n") == 1
    assert "Not a directory" in error
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_holds_a_run_is_not_touched(capsys, compared):
    folder, _ = compared
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    for target in (folder, folder / "ags-cl"):
        code, error = refusal(capsys, "run", "digits", "--method", "fine-tuning", "--out", str(target))
        assert code == 2
        assert "choose a new folder" in error
    assert before == {file: file.stat().st_mtime_ns for file in folder.rglob("*")}


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["list", "--help"]])
def test_help_needs_no_torch(arguments):
    code = f"""
import sys
from agscl.cli import main
try:
    main({arguments})
except SystemExit as leaving:
    sys.exit(leaving.code or int("torch" in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "usage: agscl" in done.stdout


def test_without_matplotlib_a_run_says_what_the_picture_needs(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    command = ["run", "digits", "--method", "fine-tuning", "--tasks", "2", "--epochs", "1", "--out"]
    assert main([*command, str(tmp_path / "run")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "(no picture: matplotlib is needed here: pip install 'agscl[report]')" in said


def test_help_comes_at_once():
    command = [str(Path(sys.executable).with_name("agscl")), "--help"]
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.5


def test_the_list_names_presets_methods_and_options(capsys):
    assert main(["list"]) == 0
    output = capsys.readouterr().out
    for expected in ("digits", "permuted-digits", "ags-cl", "--method.lam", "fine-tuning"):
        assert expected in output
