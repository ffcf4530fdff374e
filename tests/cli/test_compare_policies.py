"""``agscl compare`` on a preset of reinforcement learning: runs, one table, and the same table from the folders."""

import csv
from dataclasses import replace

import pytest

from agscl.cli import main
from agscl.runs.machine import Compute
from figures.played import FINE_TUNING, PROTECTED, stored, write_policies
from report.made_up import write_run


def refused(capsys, *arguments):
    """The one line that a refused command line leaves."""
    assert main(["compare", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line.removeprefix("agscl: error: ")


def table(text):
    """Rows by method."""
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]
    return {row[0]: row[1:] for row in rows}


def test_a_preset_is_run_with_every_seed_and_its_folders_give_the_same_table(tmp_path, capsys):
    asked = ["cartpole3", "--methods", "ags-cl,fine-tuning", "--seeds", "2", "--steps", "1024", "--tasks", "1"]
    asked += ["--precision", "fp32"]
    exported = tmp_path / "table.csv"
    assert (
        main(["compare", *asked, "--processes", "1", "--out", str(tmp_path / "runs"), "--export", str(exported)]) == 0
    )
    said = capsys.readouterr()
    assert len(list((tmp_path / "runs").glob("*/seed-*/result.json"))) == 4 == len(said.err.splitlines())
    assert "1,024 agent steps a task instead of 30,000; seeds 0-1" in said.out
    shown = table(said.out)
    assert {name: row[0] for name, row in shown.items()} == {"ags-cl": "2", "fine-tuning": "2"}
    assert [row["method"] for row in csv.DictReader(exported.read_text().splitlines())] == ["ags-cl", "fine-tuning"]
    assert main(["compare", str(tmp_path / "runs")]) == 0
    assert table(capsys.readouterr().out) == shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "ags-cl"], "scores are relative to fine-tuning: add it to --methods"),
        (["--methods", "fine-tuning,hat"], "hat cannot protect a policy"),
        (["--seeds", "0"], "--seeds must be at least 1"),
        (["--epochs", "3"], "reinforcement learning is scaled with --steps"),
        (["--steps", "0"], "steps must be at least 1"),
        (["--statistic", "iqm"], "--statistic and --baseline are for data sets"),
        (["--baseline", "ewc"], "--statistic and --baseline are for data sets"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(tmp_path, capsys, arguments, message):
    assert message in refused(capsys, "cartpole3", *arguments, "--out", str(tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


def test_policies_and_data_sets_are_not_mixed(tmp_path, capsys):
    stored(tmp_path, FINE_TUNING, PROTECTED)
    write_run(tmp_path / "digits")
    assert "give those of one kind" in refused(capsys, str(tmp_path))


def test_policies_of_different_precision_are_not_averaged(tmp_path, capsys):
    """Two seeds of one method are a mean only if they were computed alike."""
    half = replace(FINE_TUNING.experiment, seed=1, compute=Compute(precision="bf16"))
    for name, result in {"a": FINE_TUNING, "b": replace(FINE_TUNING, experiment=half), "c": PROTECTED}.items():
        write_policies(tmp_path / name, result)
    assert "different settings (compute.precision: auto, bf16)" in refused(capsys, str(tmp_path))


def test_an_exported_table_says_its_scale_and_what_scores_are_relative_to(tmp_path):
    stored(tmp_path, FINE_TUNING, PROTECTED)
    for ending in ("csv", "md"):
        assert main(["compare", str(tmp_path), "--export", str(tmp_path / f"table.{ending}")]) == 0
    scale = FINE_TUNING.scale_in_words()
    for row in csv.DictReader((tmp_path / "table.csv").read_text().splitlines()):
        assert (row["scale"], row["baseline"]) == (scale, "fine-tuning")
    below = (tmp_path / "table.md").read_text().partition("\n\n")[2]
    assert "random actions 0, fine-tuning 1" in below
    assert f"{scale}; seed 0" in below
    assert "one seed, so no interval: " in below
