"""``agscl sweep``: refusals in one line, own data, values for other commands, and processes that die cleanly."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from agscl.cli import main
from agscl.experiments import Experiment, outside
from agscl.methods import EWC, METHODS, LogUniform, space_of
from agscl.sweeps.best import Best
from agscl.sweeps.folder import SweepFolder
from agscl.sweeps.record import SweepRecord

SWEEP = ["sweep", "digits", "--methods", "ewc", "--trials", "1", "--epochs", "1"]


def refusal(capsys, *arguments):
    assert main([*arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1, said.err
    return said.err


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--trials", "0"], "--trials must be at least 1, got 0"),
        (["--report-seeds", "0"], "--report-seeds must be at least 1"),
        (["--protocol", "last-task"], "--protocol must be one of first-task, transfer, whole-sequence"),
        (
            ["--protocol", "transfer", "--tune-tasks", "2"],
            "--tune-tasks is the number of tasks of --protocol first-task",
        ),
        (["--tune-tasks", "6"], "--tune-tasks 6: digits has 5 tasks"),
        (["--tune-on", "cifar100"], "--tune-on names the preset of --protocol transfer"),
        (["--protocol", "transfer", "--tune-on", "cartpole3"], "policies have none"),
        (["--protocol", "transfer", "--tune-on", "digit"], "unknown preset 'digit'"),
        (["--engine", "slurm"], "unknown engine 'slurm'; there are: local"),
        (["--jobs", "0"], "--jobs must be at least 1, got 0"),
        (["--methods", "ewc,nothing"], "unknown method 'nothing'"),
        (["--methods", ""], "unknown method ''"),
        (["--method.rho", "0.1"], "none of ewc has it"),
        (["--method.lam", "-1"], "lam must be in [0, inf)"),
        (["--seed", "-1"], "seed must not be negative"),
        (["--resume"], "--resume needs --out"),
    ],
)
def test_what_makes_no_sweep_is_refused_in_one_line_and_leaves_nothing(capsys, tmp_path, monkeypatch, options, reason):
    monkeypatch.chdir(tmp_path)
    assert reason in refusal(capsys, *SWEEP, *options)
    assert [path for path in tmp_path.rglob("*") if path != tmp_path / "runs"] == []


def test_policies_and_folders_that_hold_something_else_are_refused(capsys, tmp_path):
    assert "policies have none" in refusal(capsys, "sweep", "cartpole3", "--out", str(tmp_path / "out"))
    (tmp_path / "note").write_text("mine")
    assert "holds other files" in refusal(capsys, *SWEEP, "--out", str(tmp_path))
    assert "holds other files" in refusal(capsys, *SWEEP, "--out", str(tmp_path), "--resume")


def test_a_method_without_a_search_space_and_one_of_a_wrong_space_are_refused_by_name(capsys, monkeypatch):
    class Foreign(EWC):
        name = "foreign"
        space = None

    monkeypatch.setattr(outside, "offered", lambda group: {"foreign": ()} if group == outside.METHODS else {})
    monkeypatch.setattr(outside, "load_method", lambda name: Foreign)
    command = ["sweep", "digits", "--methods", "foreign", "--trials", "1"]
    assert "foreign has no search space: its class needs a class variable space" in refusal(capsys, *command)
    Foreign.space = {"strength": LogUniform(1, 2)}
    assert "the search space of foreign has 'strength', which is none of its options" in refusal(capsys, *command)
    Foreign.space = {"decay": LogUniform(0.1, 1)}
    assert "foreign needs a value for 'lam'" in refusal(capsys, *command)
    Foreign.space = {"lam": LogUniform(1e-3, 1), "decay": LogUniform(1, 2)}
    assert "decay must be in [0, 1]" in refusal(capsys, *command)


def test_every_method_that_comes_with_the_library_can_be_searched_and_the_list_says_where(capsys):
    assert main(["list", "--json"]) == 0
    spaces = json.loads(capsys.readouterr().out)["spaces"]
    for name, kind in METHODS.items():
        assert set(spaces[name]) == set(space_of(kind))
        assert bool(spaces[name]) == (name not in ("fine-tuning", "joint", "single-task"))
    assert spaces["ewc"]["lam"] == {"kind": "log-uniform", "low": 100.0, "high": 1e10}


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Twelve classes of features, and a sweep over them."""
    folder = tmp_path_factory.mktemp("own")
    labels, generator = np.arange(240) % 12, np.random.default_rng(0)
    np.savez(folder / "rows.npz", x=generator.normal(size=(240, 5)) + labels[:, None], y=labels)
    data = f"npz:{folder / 'rows.npz'}"
    options = ["--tasks", "4", "--epochs", "1", "--width", "0.05"]
    command = ["sweep", data, *options, "--methods", "ewc,fine-tuning", "--trials", "2", "--tune-tasks", "2"]
    command += ["--tune-seeds", "1", "--report-seeds", "2", "--jobs", "1", "--out", str(folder / "out")]
    assert main(command) == 0
    return data, options, SweepFolder(folder / "out"), command


def test_own_data_is_swept_and_what_comes_out_is_what_run_and_compare_take(own, tmp_path, capsys):
    data, options, folder, _ = own
    record, best = SweepRecord.read(folder), Best.read(folder.best)
    assert [row.trials_in_words for row in record.report] == ["2", "1"]
    assert (
        main(["run", data, *options, "--method", "ewc", "--tuned", str(folder.best), "--out", str(tmp_path / "a")]) == 0
    )
    run = Experiment.from_json((tmp_path / "a" / "experiment.json").read_bytes())
    reported = Experiment.from_json((folder.report("ewc", 0).experiment).read_bytes())
    assert run == reported
    assert run.method == best.methods["ewc"]
    again = json.loads((tmp_path / "a" / "result.json").read_text())["accuracy"]
    assert again == json.loads(folder.report("ewc", 0).result.read_text())["accuracy"]
    capsys.readouterr()
    tuned = ["--tuned", str(folder.best), "--out", str(tmp_path / "b")]
    assert main(["compare", data, *options, *tuned, "--seeds", "1", "--processes", "1", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [row["method"] for row in shown["rows"]] == ["ewc", "fine-tuning"]
    assert f"values: {best.label}" in shown["scale"]
    assert main(["compare", str(folder.path), "--json"]) == 0
    recorded = json.loads(capsys.readouterr().out)
    assert [row["seeds"] for row in recorded["rows"]] == ["0 1", "0 1"]
    assert recorded["scale"] == shown["scale"]


def test_values_are_not_run_on_seeds_that_they_were_chosen_on_and_no_other_file_is_taken(own, tmp_path, capsys):
    data, options, folder, _ = own
    tuned = ["--tuned", str(folder.best), "--out", str(tmp_path / "out")]
    assert main(["run", data, *options, *tuned, "--seed", "1000"]) == 2
    assert "seed 1000 is one that these values were chosen on" in capsys.readouterr().err
    assert main(["run", data, *options, *tuned, "--method", "mas"]) == 2
    assert "has no values of 'mas': ewc, fine-tuning" in capsys.readouterr().err
    assert main(["run", data, *options, *tuned, "--method", "ewc", "--method.lam", "7"]) == 2
    assert "--tuned has the values of ewc: leave its options out" in capsys.readouterr().err
    assert main(["run", "digits", "--tuned", str(folder.plan), "--out", str(tmp_path / "out")]) == 2
    assert "plan.json" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_finished_sweep_is_shown_again_and_one_of_other_options_is_refused_by_name(own, tmp_path, capsys):
    _, _, folder, command = own
    before = {path: path.read_bytes() for path in (folder.best, folder.trials, folder.record)}
    capsys.readouterr()
    assert main([*command, "--resume", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [trial["method"] for trial in shown["trials"]] == ["ewc", "ewc", "fine-tuning"]
    assert {path: path.read_bytes() for path in before} == before
    assert main([*command, "--resume", "--trials", "3"]) == 2
    assert "holds a sweep with another trials" in capsys.readouterr().err


def test_the_page_shows_the_search_and_the_runs_of_the_report_alone(own, tmp_path):
    _, _, folder, _ = own
    assert main(["report", str(folder.path), "--out", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "first-task (values chosen on the first 2 of 4 tasks" in page
    assert "EWC: validation accuracy (%) over lam" in page
    assert "4 runs" in page
    assert "values: first-task" in page


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_nothing_outlives_a_killed_sweep_and_a_signal_saves_it(tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "agscl", "sweep", "digits", "--methods", "wsn", "--trials", "1", "--epochs", "60"]
    command += ["--tune-seeds", "1", "--report-seeds", "1", "--jobs", "1", "--resume", "--out", str(out)]
    run = SweepFolder(out).trial("wsn", 0, 1000)

    def begun():
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        until(lambda: run.events.exists() and (run.path / ".lock-holder.json").exists(), process)
        return process, json.loads((run.path / ".lock-holder.json").read_text())["process"]

    process, worker = begun()
    process.kill()
    process.communicate()
    until(lambda: not alive(worker))
    (run.path / ".lock-holder.json").unlink(missing_ok=True)
    process, worker = begun()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "go on with --resume" in errors
    assert not alive(worker)
    assert list(run.checkpoints.glob("*.safetensors")) or run.result.exists()


def until(condition, process=None):
    deadline = time.monotonic() + 200
    while not condition() and (process is None or process.poll() is None) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert condition(), process and process.communicate()


def alive(pid):
    """Whether a process is there and no corpse that nobody fetched."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
