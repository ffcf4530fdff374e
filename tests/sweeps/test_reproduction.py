"""Plans are done in their order, as far as the time goes, and never twice; what stands in the way is named."""

import json
from dataclasses import replace
from itertools import pairwise

import pytest

from agscl.cli import main
from agscl.experiments import Overrides, run
from agscl.runs.lock import locked
from agscl.sweeps.reproduction import FIRST, PLANS, Planned, seconds_of

QUICK = Overrides(epochs=1)


@pytest.mark.parametrize("name", PLANS)
def test_the_most_telling_runs_come_first(name):
    runs = PLANS[name].runs()
    assert runs[0].method_name == "ags-cl"
    assert len(set(runs)) == len(runs)
    assert {run.preset for run in runs} == set(PLANS[name].presets)
    for one, other in pairwise(runs):
        before = (one.seed, one.method_name not in FIRST)
        assert before <= (other.seed, other.method_name not in FIRST)


def test_the_whole_paper_has_the_runs_of_its_parts():
    parts = {
        run for name, plan in PLANS.items() if name.startswith("paper-") and name != "paper-all" for run in plan.runs()
    }
    assert set(PLANS["paper-all"].runs()) == parts


def test_a_run_is_what_its_folder_says(tmp_path):
    wanted = {run.method_name: run for run in PLANS["digits"].runs(["fine-tuning", "ewc", "mas"], QUICK)[::-1]}
    found = Planned.found(wanted["fine-tuning"], tmp_path)
    assert (found.status, found.folder.path) == ("missing", tmp_path / "digits" / "fine-tuning" / "seed-0")
    run(replace(wanted["fine-tuning"], compute=replace(wanted["fine-tuning"].compute, device="cpu")), found.folder)
    done = Planned.found(wanted["fine-tuning"], tmp_path)
    assert done.status == "done", "whatever it was computed on"
    assert done.accuracy == pytest.approx(json.loads(found.folder.result.read_text())["measures"]["average_accuracy"])
    other = Planned.found(replace(wanted["fine-tuning"], tasks=3), tmp_path)
    assert other.status == "foreign"
    assert "holds a run with another tasks" in other.note
    found.folder.result.unlink()
    assert (Planned.found(wanted["fine-tuning"], tmp_path).status) == "begun"
    with locked(found.folder.path):
        assert Planned.found(wanted["fine-tuning"], tmp_path).status == "running"
    found.folder.experiment.write_text("{")
    assert Planned.found(wanted["fine-tuning"], tmp_path).status == "foreign"
    (cifar, *_) = PLANS["paper-cifar100"].runs(["ags-cl"])
    lacking = Planned.found(cifar, tmp_path, tmp_path / "no data")
    assert (lacking.status, "agscl data download cifar100" in lacking.note) == ("no data", True)


def test_a_plan_is_done_once(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    words = ["reproduce", "digits", "--seeds", "1", "--methods", "fine-tuning", "--epochs", "1", "--out", str(tmp_path)]
    assert main([*words, "--list", "--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["preset"], listed["method"], listed["seed"], listed["status"]) == (
        "digits",
        "fine-tuning",
        0,
        "missing",
    )
    assert main([*words, "--jobs", "1"]) == 0
    captured = capsys.readouterr()
    assert "[1/1] digits fine-tuning seed 0: done" in captured.err
    assert "1 done" in captured.out
    before = (tmp_path / "digits" / "fine-tuning" / "seed-0" / "result.json").stat().st_mtime_ns
    assert main([*words, "--jobs", "1"]) == 0
    assert (tmp_path / "digits" / "fine-tuning" / "seed-0" / "result.json").stat().st_mtime_ns == before
    assert main(["runs", str(tmp_path), "--json"]) == 0, "they are runs like any"


def test_when_the_time_is_over_runs_are_saved_and_go_on_another_time(tmp_path, capsys):
    words = ["reproduce", "digits", "--seeds", "1", "--methods", "fine-tuning", "--out", str(tmp_path), "--jobs", "1"]
    assert main([*words, "--budget", "0.5s"]) == 0
    captured = capsys.readouterr()
    assert "the time is over (0.5s): the same command goes on" in captured.err
    assert "done" not in captured.out
    assert not list(tmp_path.rglob(".lock-holder.json"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "which plan? There are: digits,"),
        (["paper-cifar10"], "did you mean paper-cifar100?"),
        (["digits", "--budget", "2 hours"], "such as 2h, 8m or 1h30m, not '2 hours'"),
        (["digits", "--seeds", "0"], "--seeds must be at least 1"),
        (["digits", "--methods", "agscl"], "this plan has no runs of 'agscl'"),
        (["digits", "--engine", "slurm"], "unknown engine 'slurm'"),
        (["digits", "--trial-gpus", "0.5"], "--trial-gpus is for --engine ray"),
        (["digits", "--precision", "fp8"], "precision must be"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(words, message, tmp_path, capsys):
    assert main(["reproduce", *words, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["", "2", "h", "2h ", "-1m", "1d", "2hm", "1e3s"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValueError, match="such as 2h"):
        seconds_of(text)


def test_plans_are_listed(capsys):
    assert main(["reproduce", "--list", "--json"]) == 0
    listed = {row["plan"]: row for row in json.loads(capsys.readouterr().out)}
    assert listed.keys() == PLANS.keys()
    assert int(listed["digits"]["runs"]) == 5 * 14
