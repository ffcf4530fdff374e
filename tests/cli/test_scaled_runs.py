"""Scaling a preset down on the command line, and what happens without its data."""

import json

import pytest

from agscl.cli import main

SMALL = ["--tasks", "2", "--epochs", "1", "--fraction", "0.5"]


def test_a_scaled_run_says_so_in_the_terminal_and_in_its_record(little_data, tmp_path, capsys):
    command = ["run", "split-mnist", "--method", "ags-cl", *SMALL, "--data-root", str(little_data)]
    assert main([*command, "--out", str(tmp_path / "run")]) == 0
    words = " ".join(capsys.readouterr().out.split())
    assert "scaled down: 2 of 5 tasks, at most 1 instead of 10 epochs, 50% of the training examples" in words
    asked = json.loads((tmp_path / "run" / "experiment.json").read_text())
    assert (asked["tasks"], asked["fraction"], asked["training"]["epochs"]) == (2, 0.5, 1)
    content = json.loads((tmp_path / "run" / "result.json").read_text())
    assert content["scale"]["scaled_down"]
    assert content["sequence"]["data"][0]["name"] == "mnist"
    assert str(little_data) not in json.dumps(asked) + json.dumps(content)


def test_a_run_in_full_says_so_too(tmp_path, capsys):
    assert main(["run", "digits", "--method", "fine-tuning", "--epochs", "40", "--out", str(tmp_path / "run")]) == 0
    assert "the preset in full" in capsys.readouterr().out


def test_a_comparison_is_scaled_the_same_way(little_data, tmp_path, capsys):
    command = ["compare", "split-mnist", "--methods", "fine-tuning", "--seeds", "1", "--processes", "1", *SMALL]
    command += ["--precision", "fp32"]
    assert main([*command, "--data-root", str(little_data), "--out", str(tmp_path / "runs")]) == 0
    assert "scaled down: 2 of 5 tasks" in capsys.readouterr().out
    (result,) = (tmp_path / "runs").rglob("result.json")
    scale = json.loads(result.read_text())["scale"]
    assert (scale["tasks"], scale["epochs"], scale["fraction"]) == (2, 1, 0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "cifar100"], "agscl data download cifar100 --data-root data"),
        (["run", "eight", "--method", "hat"], "agscl data import facescrub --from PATH --data-root data"),
        (["run", "cub200-lite"], "agscl data import cub200 --from PATH --data-root data"),
        (["compare", "omniglot"], "agscl data download omniglot --data-root data"),
        (["run", "cifar100", "--tasks", "0"], "tasks must be at least 1"),
        (["run", "cifar100", "--fraction", "1.5"], "fraction must be in (0, 1]"),
        (["compare", "cifar100", "--fraction", "x"], "invalid float value: 'x'"),
        (["run", "cifar100", "--epochs", "0"], "epochs must be at least 1"),
        (["run", "digits", "--tasks", "6"], "digits has 5 tasks, 6 were asked for"),
        (["run", "digits", "--method", "ags-cl", "--method.mu", "1e38"], "method.mu is 2^63 or larger"),
    ],
)
def test_missing_data_and_bad_scales_are_one_line_and_exit_code_2(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    try:
        code = main([*arguments, "--data-root", "data"])
    except SystemExit as leaving:
        code = leaving.code
    error = capsys.readouterr().err
    assert code == 2
    assert error.count("\n") == 1
    assert message in error
    assert list(tmp_path.iterdir()) == []


def test_the_list_says_which_data_a_preset_needs(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["list"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("│ cifar10-100 "))
    assert "cifar10, cifar100" in line
    assert "ags-cl, fine-tuning, ewc" in line
