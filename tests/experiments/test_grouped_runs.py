"""Runs that belong together: what is averaged, what is refused, what is compared with what."""

import dataclasses
import math

import pytest

from agscl.experiments.groups import groups
from agscl.experiments.records import IncompleteRun, SupervisedRun, UnknownRun, read_runs
from agscl.experiments.supervised.comparison import aggregate
from agscl.methods import AGSCL, Joint
from agscl.runs.files import write_bytes
from agscl.runs.machine import Compute
from agscl.training import Training
from figures.played import PROTECTED
from figures.recorded import FULL, PLAIN, result, write, write_incomplete

OTHER = dataclasses.replace(FULL, lam=4.0)


def test_a_group_is_one_method_with_its_hyper_parameters_over_its_seeds():
    found = groups([result(seed=2), result(PLAIN), result(OTHER), result(seed=0)])
    assert [(group.label, group.seeds) for group in found] == [
        ("ags-cl lam=400", (0, 2)),
        ("fine-tuning", (0,)),
        ("ags-cl lam=4", (0,)),
    ]


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ([result(preset="permuted-digits")], "different settings .*preset: digits, permuted-digits"),
        ([result(training=Training(epochs=3))], r"different settings \(training.epochs: 2, 3\)"),
        ([result(accuracy=((0.5,), (0.8, 1.0)))], "ags-cl has two runs with seed 0 that differ"),
    ],
)
def test_runs_that_do_not_go_together_are_refused(others, message):
    with pytest.raises(ValueError, match=message):
        groups([result(), *others])


@pytest.mark.parametrize("run", [result(), PROTECTED], ids=["supervised", "policies"])
def test_runs_of_every_kind_that_computed_in_another_precision_are_not_averaged(run):
    compute = Compute(precision="bf16")
    other = dataclasses.replace(run, experiment=dataclasses.replace(run.experiment, seed=1, compute=compute))
    with pytest.raises(ValueError, match=r"different settings \(compute.precision: auto, bf16\)"):
        groups([run, other])


def test_runs_of_one_seed_must_have_had_the_same_tasks():
    shuffled = dataclasses.replace(result(PLAIN), record={"tasks": 2, "task_order": [1, 0]})
    with pytest.raises(ValueError, match="seed 0 had different tasks or data"):
        groups([result(), shuffled])


def test_a_record_that_was_read_back_is_the_same_record():
    drawn = dataclasses.replace(result(PLAIN), record={"order": (1, 0)})
    read = dataclasses.replace(result(), record={"order": [1, 0]})
    assert len(groups([drawn, read])) == 2


def test_a_repeated_run_counts_once():
    (group,) = groups([result(), result()])
    assert group.seeds == (0,)


def test_measures_that_need_another_run_compare_with_the_same_seed():
    joint = Joint()
    low, high = ((0.5,), (0.5, 0.5)), ((1.0,), (1.0, 1.0))
    rows = {row.method: row for row in aggregate([result(accuracy=low), result(PLAIN), result(joint, accuracy=high)])}
    assert rows["ags-cl"].values["plasticity"] == [pytest.approx((0.5 / 0.9 + 0.5 / 1.0) / 2)]
    assert rows["ags-cl"].values["intransigence"] == [0.5]
    alone = aggregate([result(), result(PLAIN, seed=1)])[0]
    assert not {"plasticity", "intransigence"} & alone.values.keys()


def test_one_seed_gets_no_interval():
    (row,) = aggregate([result()])
    assert math.isnan(row.measures["average_accuracy"].half_width)
    assert math.isnan(row.robust["average_accuracy"].low)


def test_methods_are_tested_on_the_seeds_that_both_have():
    rates = ((0.5,), (0.5, 0.5))
    first, second = aggregate(
        [*(result(seed=seed) for seed in (0, 1, 3)), *(result(PLAIN, s, rates) for s in (1, 2, 3))]
    )
    found = first.against(second, "average_accuracy")
    assert (found.interval.mean, found.pairs, found.p_value) == (pytest.approx(0.4), 2, 0.5)
    assert first.against(aggregate([result(PLAIN, 7)])[0], "average_accuracy") is None


def test_folders_are_read_back_as_they_were_written(tmp_path):
    write(tmp_path, result(), result(PLAIN, 1))
    write_incomplete(tmp_path, result(seed=5).experiment)
    incomplete, *finished = read_runs([tmp_path, tmp_path / "run-0"])
    assert isinstance(incomplete, IncompleteRun)
    assert (incomplete.learned, incomplete.tasks) == (1, 5)
    assert [run.result.experiment for run in finished] == [result().experiment, result(PLAIN, 1).experiment]
    assert finished[0].result.measures() == result().measures()
    assert all(isinstance(run, SupervisedRun) for run in finished)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"format": 2, "accuracy": []}', "was written in format 2, this version of agscl reads format 1"),
        (b'{"accuracy": [], "tasks": 3}', "may come from another version of agscl"),
        (b'{"accuracy": [], "tasks": [], "sequence": {}, "environment": {}}', "there is at least one"),
        (b"[1]", "holds no JSON object"),
        (b"{", "is no JSON"),
    ],
)
def test_a_result_that_cannot_be_read_is_refused_by_name(content, message, tmp_path):
    (path,) = write(tmp_path, result())
    write_bytes(path / "result.json", content)
    with pytest.raises(ValueError, match=message) as refused:
        read_runs([path])
    assert str(path) in str(refused.value)


def test_an_experiment_of_another_version_is_refused(tmp_path):
    (path,) = write(tmp_path, result())
    text = (path / "experiment.json").read_text().replace('"seed"', '"sede"')
    (path / "experiment.json").write_text(text)
    with pytest.raises(ValueError, match=r"experiment has no option 'sede'.*another version"):
        read_runs([path])


def test_a_run_of_another_kind_is_told_apart(tmp_path):
    (path,) = write(tmp_path, result(AGSCL(mu=1.0, lam=1.0)))
    write_bytes(path / "result.json", b'{"reward": [1, 2]}')
    assert [type(run) for run in read_runs([path])] == [UnknownRun]


def test_a_folder_without_runs_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no run"):
        read_runs([tmp_path])
    with pytest.raises(ValueError, match="is no folder"):
        read_runs([tmp_path / "absent"])
