"""``agscl run`` on reinforcement learning: the same command, the same folder, and one clear line for bad input."""

import json
import sys
from importlib import metadata

import polars
import pytest

from agscl.cli import main


def refused(capsys, *arguments):
    """The one line that a refused command line leaves."""
    assert main(list(arguments)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line.removeprefix("agscl: error: ")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a run that was asked for twice, the second time with --resume."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    command = ["run", "cartpole3", "--method", "ags-cl", "--method.lam", "inf", "--steps", "1024", "--tasks", "2"]
    assert [main([*command, "--out", str(folder), *more]) for more in ([], ["--resume"])] == [0, 0]
    return folder


def test_the_folder_holds_what_every_run_leaves(finished):
    names = sorted(path.name for path in finished.iterdir() if not path.name.startswith("."))
    tables = ["nodes.parquet", "result.json", "result.parquet"]
    assert names == ["events.jsonl", "experiment.json", *tables, "state.safetensors", "states"]


def test_the_result_says_how_much_was_run_and_in_which_unit(finished):
    result = json.loads((finished / "result.json").read_text())
    assert result["scale"] == {
        "scaled_down": True,
        "tasks": 2,
        "steps": 1024,
        "steps_in_full": 30_000,
        "frames_per_step": 1,
    }
    assert [task["steps"] for task in result["tasks"]] == [1024, 1024]
    assert result["resumed"] == []
    assert result["environment"]["stable-baselines3"]


def test_the_table_has_a_row_for_every_evaluation(finished):
    table = polars.read_parquet(finished / "result.parquet")
    result = json.loads((finished / "result.json").read_text())
    ends = table.filter(polars.col("after") == polars.col("training"))
    assert ends.select("after", "task", "score").rows() == [
        (after, task, score) for after, row in enumerate(result["scores"]) for task, score in enumerate(row)
    ]
    assert table.filter(polars.col("time") == 0)["task"].to_list() == [0, 1]


def test_scores_are_shown_with_those_of_random_actions(finished, capsys):
    assert main(["run", "cartpole3", "--method", "ags-cl", "--method.lam", "inf", "--steps", "1024", "--tasks", "2",
                 "--out", str(finished), "--resume"]) == 0  # fmt: skip
    shown = " ".join(capsys.readouterr().out.split())
    assert "scaled down: 2 tasks, 1,024 agent steps a task instead of 30,000" in shown
    assert "(random actions)" in shown


def test_presets_are_listed(capsys):
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    assert all(
        name in shown for name in ("atari8-paper", "atari8-cpu", "atari2-smoke", "minatar5", "cartpole3", "pixels3")
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "hat"], "hat cannot protect a policy: its gates are soft while it learns and hard while it acts"),
        (["--method", "lwf"], "lwf cannot protect a policy"),
        (["--method", "joint"], "joint cannot protect a policy"),
        (["--cpr", "0.1"], "--cpr adds a term to the loss"),
        (["--epochs", "3"], "are for data sets; reinforcement learning is scaled with --steps"),
        (["--steps", "0"], "steps must be at least 1, got 0"),
        (["--tasks", "4"], "cartpole3 has 3 tasks, 4 were asked for"),
        (["--tasks", "0"], "tasks must be at least 1, got 0"),
        (["--seed", "-1"], "seed must not be negative, got -1"),
        (["--compile"], "reinforcement learning runs without --compile"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(tmp_path, capsys, arguments, message):
    assert message in refused(capsys, "run", "cartpole3", *arguments, "--out", str(tmp_path / "run"))


def test_steps_are_not_for_data_sets(tmp_path, capsys):
    assert "--steps is for reinforcement learning" in refused(capsys, "run", "digits", "--steps", "100")


@pytest.mark.parametrize(("module", "preset"), [("stable_baselines3", "cartpole3"), ("ale_py.roms", "atari2-smoke")])
def test_a_missing_extra_is_named_with_its_command(tmp_path, capsys, monkeypatch, module, preset):
    import importlib

    found = importlib.import_module

    def without(name, package=None):
        if name == module:
            raise ModuleNotFoundError(name=name)
        return found(name, package)

    monkeypatch.setattr(importlib, "import_module", without)
    line = refused(capsys, "run", preset, "--method", "fine-tuning", "--out", str(tmp_path / "run"))
    assert line == f"{module.partition('.')[0]} is needed here: pip install 'agscl[rl]'"


def test_a_preset_without_its_games_is_refused_with_the_command_that_brings_them(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "minatar", None)
    line = refused(capsys, "run", "minatar5", "--method", "ags-cl", "--out", str(tmp_path / "run"))
    assert line == "minatar is needed here: pip install 'agscl[rl]'"
    assert not (tmp_path / "run").exists()


def test_the_games_of_minatar_are_played_learned_and_recorded(tmp_path):
    folder = tmp_path / "run"
    command = ["run", "minatar5", "--method", "ags-cl", "--steps", "64", "--tasks", "2", "--out", str(folder)]
    assert main(command) == 0
    result = json.loads((folder / "result.json").read_text())
    assert [task["name"] for task in result["tasks"]] == ["asterix", "breakout"]
    assert result["scale"]["frames_per_step"] == 1
    assert result["environment"]["minatar"] == metadata.version("minatar")
