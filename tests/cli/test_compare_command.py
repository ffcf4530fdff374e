"""``agscl compare`` as a user meets it: every method, several seeds, one table."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from agscl.cli import main
from agscl.experiments import PRESETS, Experiment, Result, preset_named, run
from agscl.experiments.many import Failure, run_many
from agscl.experiments.supervised.comparison import aggregate
from agscl.methods import EWC, METHODS, FineTuning
from agscl.runs import RunFolder
from agscl.training import Training

RECORDED = Path(__file__).parents[2] / "results" / "digits"


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """The folder and output of a comparison of all methods, one epoch a task."""
    folder = tmp_path_factory.mktemp("cli") / "all"
    command = [sys.executable, "-m", "agscl", "compare", "digits", "--epochs", "1", "--seeds", "1"]
    command += ["--precision", "fp32", "--processes", "2", "--out", str(folder)]
    return folder, subprocess.run(command, capture_output=True, text=True, check=True)


def rows_of(said):
    return {line.split("│")[1].strip(): line for line in said.splitlines() if line.startswith("│")}


def test_every_method_is_a_row(compared):
    assert rows_of(compared[1].stdout).keys() == METHODS.keys()
    assert "no interval" in compared[1].stdout


@pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded runs are not in this distribution")
def test_every_method_of_a_recorded_sweep_is_a_row_with_intervals_under_its_protocol(capsys):
    assert main(["compare", str(RECORDED)]) == 0
    said = capsys.readouterr().out
    assert rows_of(said).keys() == METHODS.keys()
    assert all("±" in row for row in rows_of(said).values())
    assert "mean ± 95 % interval over 5 seeds" in said
    assert "values: first-task (values chosen on" in " ".join(said.split())


def test_the_table_has_both_memory_columns_and_all_measures(compared):
    for heading in (
        "accuracy %",
        "forgetting %",
        "plasticity %",
        "stability %",
        "regularization bytes",
        "memory bytes",
    ):
        assert heading in compared[1].stdout


def test_every_run_has_a_folder_and_a_line_of_progress(compared):
    folder, done = compared
    results = sorted(folder.glob("*/*/result.json"))
    assert len(results) == len(METHODS) == len(done.stderr.splitlines())
    assert {json.loads(file.read_text())["method"] for file in results} == set(METHODS)


def test_digits_has_all_methods_tuned():
    assert PRESETS["digits"].tuned.keys() == METHODS.keys()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "unknown preset 'nothing'"),
        (["digits", "--methods", "ewc,ewk"], "digits has no tuned method 'ewk'"),
        (["digits", "--seeds", "0"], "--seeds must be at least 1"),
        (["digits", "--processes", "0"], "at least one process"),
        (["digits", "--epochs", "0"], "epochs must be at least 1"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, capsys, tmp_path):
    assert main(["compare", *arguments, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


SHORT = Training(epochs=1, batch_size=512)


def test_a_failed_run_is_shown_as_failed_and_stops_no_other(tmp_path):
    bad = Experiment(preset="digits", method=EWC(lam=1e38), training=Training(epochs=2, learning_rate=1e6))
    good = Experiment(preset="digits", method=FineTuning(), training=SHORT)
    outcomes = list(run_many([bad, good], lambda e: RunFolder(tmp_path / e.method.name), processes=1))
    kinds = {outcome.experiment.method.name: type(outcome) for outcome in outcomes}
    assert kinds == {"ewc": Failure, "fine-tuning": Result}
    assert next(outcome for outcome in outcomes if isinstance(outcome, Failure)).reason


def test_plasticity_compares_with_fine_tuning_of_the_same_seed(tmp_path):
    results = [
        run(
            Experiment(preset="digits", method=method, training=SHORT, seed=seed),
            RunFolder(tmp_path / f"{seed}{method.name}"),
        )
        for method in (FineTuning(), EWC(lam=0.0))
        for seed in (0, 1)
    ]
    rows = {row.method: row for row in aggregate(results)}
    assert rows["fine-tuning"].measures["plasticity"].mean == 1.0
    assert rows["ewc"].measures["plasticity"].mean == 1.0
    assert rows["ewc"].measures["memory_bytes"].mean > rows["ewc"].measures["regularization_bytes"].mean > 0
    assert "plasticity" not in aggregate(results[2:])[0].measures
    assert preset_named("digits").tuned["ewc"].name == "ewc"


def test_cpr_is_an_option_of_a_run_and_part_of_its_record(tmp_path, capsys):
    short = ["run", "digits", "--method", "ewc", "--epochs", "1", "--tasks", "2"]
    for beta in ("0", "0.5"):
        assert main([*short, "--cpr", beta, "--out", str(tmp_path / beta)]) == 0
        assert json.loads((tmp_path / beta / "experiment.json").read_text())["cpr"] == float(beta)
    losses = [(tmp_path / beta / "events.jsonl").read_text().splitlines()[1] for beta in ("0", "0.5")]
    assert json.loads(losses[0])["training_loss"] != json.loads(losses[1])["training_loss"]
    capsys.readouterr()
    assert main([*short, "--cpr", "-1", "--out", str(tmp_path / "bad")]) == 2
    assert "cpr must be finite and not negative, got -1.0" in capsys.readouterr().err
