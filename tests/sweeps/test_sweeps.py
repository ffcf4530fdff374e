"""The laws of a sweep: equal budgets, the same trials again, no tuned-on seed reported, no test seen before."""

import json
import shutil
import signal
from collections import Counter
from dataclasses import replace

import polars
import pytest

from agscl.benchmarks import digits
from agscl.experiments import Experiment, Preset, kinds
from agscl.experiments.kinds import run as run_experiment
from agscl.experiments.overrides import Overrides
from agscl.experiments.supervised import presets
from agscl.methods import AGSCL, WSN, FineTuning
from agscl.models import MLP, MultiHead
from agscl.runs import RunFolder
from agscl.runs.interruption import Stopped
from agscl.sweeps import draws
from agscl.sweeps.best import Best
from agscl.sweeps.conduct import conduct, planned
from agscl.sweeps.engine import Ended, Engine, failure_of
from agscl.sweeps.folder import SweepFolder
from agscl.sweeps.plan import Searched, Sweep
from agscl.sweeps.record import SweepRecord
from agscl.sweeps.search import Journal, propose
from agscl.sweeps.trial import Trial, worse_after
from agscl.training import Training

TUNED = {"ags-cl": AGSCL(mu=10.0, lam=400.0), "wsn": WSN(), "fine-tuning": FineTuning()}
SMALL = Preset(
    description="digits on a small net",
    sequence=digits,
    model=lambda sequence, width: MultiHead(MLP(64, (20,)), 20, sequence.num_classes),
    training=Training(epochs=1, batch_size=128),
    methods=TUNED,
)


def offer(patch, **changes):
    """Make it a preset, changed."""
    for known in (presets.SUPERVISED_PRESETS, kinds.PRESETS):
        patch.setitem(known, "small", replace(SMALL, **changes))


@pytest.fixture(autouse=True, scope="module")
def small():
    """A preset that learns a task in a hundredth of a second."""
    with pytest.MonkeyPatch.context() as patch:
        offer(patch)
        yield


class Here(Engine):
    """Does runs in this process, one at a time, when it is waited for."""

    slots = 1

    def __init__(self, most=None):
        self.waiting, self.cancelled, self.done, self.most = [], set(), [], most

    def submit(self, job):
        self.waiting.append(job)

    def cancel(self, key):
        self.cancelled.add(key)

    def wait(self):
        if len(self.done) == self.most:
            raise Stopped(signal.SIGINT, "stopped")
        job = self.waiting.pop(0)
        self.done.append(job)
        if job.key in self.cancelled:
            return [Ended(job.key, cancelled=True)]
        try:
            run_experiment(job.experiment, RunFolder(job.folder), resume=True)
        except ValueError as error:
            return [Ended(job.key, failure_of(error))]
        return [Ended(job.key)]


def sweep_of(**changes):
    methods = tuple(Searched.of(name, {}, TUNED) for name in changes.pop("methods", ("wsn", "fine-tuning")))
    about = {
        "overrides": Overrides(),
        "protocol": "first-task",
        "tune_tasks": 2,
        "trials": 6,
        "tune_seeds": 2,
        "seed": 1,
    }
    return Sweep(**{"preset": "small", "methods": methods, "report_seeds": 2, **about, **changes})


def swept(path, engine=None, *, resume=False, **changes):
    folder = SweepFolder(path)
    with planned(sweep_of(**changes), folder, resume=resume) as plan:
        return conduct(plan, folder, engine or Here(), lambda line: None)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, small):
    path = tmp_path_factory.mktemp("sweep") / "one"
    return SweepFolder(path), swept(path)


def without_times(record):
    return [replace(trial, seconds=0.0) for trial in record.trials]


def experiments(folder):
    return [Experiment.from_json(path.read_bytes()) for path in sorted(folder.rglob("experiment.json"))]


def test_every_method_gets_the_same_trials_and_the_same_epochs_and_one_without_values_its_one(finished):
    folder, record = finished
    assert Counter(trial.method for trial in record.trials) == {"wsn": 6, "fine-tuning": 1}
    tried, reported = experiments(folder.path / "trials"), experiments(folder.reported)
    assert len({replace(one.training) for one in (*tried, *reported)}) == 1
    assert {one.tasks for one in tried} == {2}
    assert {one.tasks for one in reported} == {None}
    assert [row.trials_in_words for row in record.report][1] == "1"


def test_the_same_seed_tries_the_same_and_another_one_something_else(finished, tmp_path):
    assert without_times(swept(tmp_path / "again")) == without_times(finished[1])
    space, tried = WSN.space, finished[1].of("wsn")
    for number, trial in enumerate(tried):
        first = number - number % 4
        earlier, beside = tried[:first], [one.values for one in tried[first:number]]
        assert propose("wsn", space, earlier, beside, number, seed=1) == trial.values
        assert propose("wsn", space, earlier, beside, number, seed=0) != trial.values


def test_a_sweep_that_goes_on_comes_to_what_one_that_was_not_interrupted_does(finished, tmp_path):
    for most in (1, 0, 6, 3, 99):
        try:
            record = swept(tmp_path / "out", Here(most), resume=True)
            break
        except Stopped:
            journal = tmp_path / "out" / "journal.log"
            journal.write_bytes(journal.read_bytes() + b'{"op_code":')  # a line that a killed writer left
    assert without_times(record) == without_times(finished[1])
    assert (tmp_path / "out" / "best.json").read_bytes() == finished[0].best.read_bytes()
    reports = [[replace(row, measures={}) for row in one.report] for one in (record, finished[1])]
    assert reports[0] == reports[1]


def test_a_journal_that_lacks_its_last_lines_is_made_up_for_and_one_that_is_damaged_refused(finished, tmp_path):
    folder = SweepFolder(tmp_path / "copy")
    shutil.copytree(finished[0].path, folder.path)
    lines = finished[0].journal.read_bytes().splitlines(keepends=True)
    for kept in (0, 1, len(lines) // 2, len(lines) - 1):
        folder.journal.write_bytes(b"".join(lines[:kept]))
        assert without_times(swept(folder.path, Here(most=0), resume=True)) == without_times(finished[1])
        journal = Journal(folder.journal, {"wsn": WSN.space, "fine-tuning": {}})
        assert [trial for name in ("wsn", "fine-tuning") for trial in journal.trials(name)] == list(finished[1].trials)
    folder.journal.write_bytes(lines[0] + b"nonsense\n" + lines[1])
    with pytest.raises(ValueError, match=r"journal.log is damaged .*: move it away"):
        swept(folder.path, resume=True)


def test_seeds_never_meet_however_many_are_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(draws, "FIRST_TUNED", 1)
    with planned(sweep_of(report_seeds=4), SweepFolder(tmp_path), resume=False) as plan:
        assert plan.draws.reported == (0, 1, 2, 3)
        assert [seed for seed, _ in plan.draws.tuned] == [4, 5]


def test_nothing_that_is_reported_was_tuned_on(finished):
    folder, _ = finished
    tried, reported = experiments(folder.path / "trials"), experiments(folder.reported)
    assert not {one.seed for one in tried} & {one.seed for one in reported}
    assert {one.evaluated_on for one in tried} == {"validation"}
    assert {one.evaluated_on for one in reported} == {"test"}
    assert len({one.test_seed for one in (*tried, *reported)} - {None}) == 1
    orders = [
        {tuple(json.loads(path.read_text())["sequence"]["class_order"]) for path in part.rglob("result.json")}
        for part in (folder.path / "trials", folder.reported)
    ]
    assert not orders[0] & orders[1]


class Closed:
    """Test examples that nobody may read before the values are written down."""

    def __init__(self, examples, best):
        self.examples, self.best = examples, best

    def __len__(self):
        return len(self.examples)

    def batches(self, batch_size, *, generator=None):
        assert self.best.exists(), "a test example was looked at before the values were chosen"
        return self.examples.batches(batch_size, generator=generator)


@pytest.mark.parametrize("protocol", ["first-task", "transfer", "whole-sequence"])
def test_no_test_example_is_looked_at_before_all_values_are_chosen(tmp_path, monkeypatch, protocol):
    def closed(seed, options):
        sequence, best = digits(seed, options), tmp_path / "out" / "best.json"
        return replace(sequence, tasks=tuple(replace(t, test=Closed(t.test, best)) for t in sequence.tasks))

    offer(monkeypatch, sequence=closed)
    tune_tasks = 2 if protocol == "first-task" else None
    record = swept(tmp_path / "out", protocol=protocol, tune_tasks=tune_tasks, trials=2, tune_seeds=1)
    assert [len(row.seeds) for row in record.report] == [2, 2]
    assert protocol in record.title
    assert ("optimistic" in record.title) == (protocol == "whole-sequence")


def test_a_benchmark_of_one_order_is_tuned_on_other_orders(tmp_path, monkeypatch):
    def in_order(seed, options):
        sequence = digits(0, replace(options, tasks=None))
        return replace(sequence, tasks=sequence.tasks[: options.tasks])

    offer(monkeypatch, sequence=in_order)
    for protocol, orders in (("first-task", True), ("transfer", True), ("whole-sequence", False)):
        with planned(
            sweep_of(protocol=protocol, tune_tasks=None), SweepFolder(tmp_path / protocol), resume=False
        ) as plan:
            assert all((order_seed is not None) == orders for _, order_seed in plan.draws.tuned)
            assert (plan.tuning(FineTuning(), 0).order_seed is not None) == orders
            assert plan.report(FineTuning(), 0).order_seed is None
    offer(monkeypatch, sequence=lambda seed, options: in_order(seed, replace(options, tasks=1)))
    few = pytest.raises(ValueError, match="too few orders of tasks and classes for 2")
    with few, planned(sweep_of(tune_tasks=1), SweepFolder(tmp_path / "one"), resume=False):
        pass


def test_only_as_many_tasks_of_the_same_method_and_seed_are_compared(finished):
    others = [Trial("wsn", n, {}, "complete", [[0.9, 0.5, 0.4], [0.8, 0.6, 0.5]]) for n in range(4)]
    assert worse_after([0.91, 0.49], 0, others) == 2
    assert worse_after([0.91, 0.49], 1, others) == 2
    assert worse_after([0.91, 0.61, 0.49], 1, others, last=(1, 3)) is None
    assert worse_after([0.91, 0.61, 0.49], 1, others) == 3
    assert worse_after([0.1, 0.1], 0, others[1:]) is None
    pruned = [replace(trial, state="pruned", steps=[[0.9]]) for trial in others]
    assert worse_after([0.91, 0.1], 0, pruned) is None
    for trial in finished[1].trials:
        assert (trial.state == "pruned") == (trial.score is None)
        earlier = [one for one in finished[1].of(trial.method) if one.number < trial.number - trial.number % 4]
        for seed, row in enumerate(trial.steps):
            expected = len(row) if trial.state == "pruned" and seed == len(trial.steps) - 1 else None
            assert worse_after(row, seed, earlier, last=(1, 2)) == expected


def test_a_pruned_trial_keeps_what_it_got_to_and_no_more_whatever_its_run_did_meanwhile(finished):
    pruned = [trial for trial in finished[1].trials if trial.state == "pruned"]
    assert pruned
    assert all("below the median" in trial.reason and trial.number >= 4 for trial in pruned)
    assert any(len(trial.steps[-1]) == 1 for trial in pruned)
    assert {2} == {
        len(json.loads(path.read_text())["tasks"]) for path in finished[0].path.rglob("trials/**/result.json")
    }
    row = next(row for row in finished[1].report if row.method == "wsn")
    assert row.trials_in_words == f"6, {len(pruned)} pruned"


def test_a_method_none_of_whose_trials_has_a_score_is_said_to_have_no_values_and_the_others_are_reported(tmp_path):
    folder = SweepFolder(tmp_path / "out")
    known = {name: Searched.of(name, {}, TUNED) for name in ("ewc", "lwf", "fine-tuning")}
    wrong = {"ewc": {"lam": -1.0}, "lwf": {"lam": 2.0, "temperature": 1e-44}}
    failing = (replace(known[one], fixed={**known[one].fixed, **given}, ranges={}) for one, given in wrong.items())
    methods = (*failing, known["fine-tuning"])
    with planned(sweep_of(tune_tasks=3, tune_seeds=1), folder, resume=False) as plan:
        changed = replace(plan, sweep=replace(plan.sweep, methods=methods))
        record = conduct(changed, folder, Here(), lambda line: None)
    *failed, other = record.report
    for row, reason in zip(failed, ("lam must be in", "diverged"), strict=True):
        assert (row.values, row.trials["failed"], row.seeds) == (None, 1, ())
        assert reason in record.of(row.method)[0].reason
        assert row.cells()[1:5] == ["none: no trial completed", "1, 1 failed", "-", "-"]
    assert other.seeds == (0, 1)
    assert list(Best.read(folder.best).methods) == ["fine-tuning"]


def test_what_comes_out_is_read_back_and_its_table_names_the_protocol(finished):
    folder, record = finished
    again = SweepRecord.read(folder)
    assert again.to_json() == record.to_json()
    rows = json.loads(folder.record.read_text())
    assert [trial["method"] for trial in rows["trials"]] == [trial.method for trial in record.trials]
    table = polars.read_parquet(folder.trials)
    assert table["score"].to_list() == [trial.score for trial in record.trials]
    assert "first-task" in folder.table.read_text()
    best = Best.read(folder.best)
    chosen = max((t for t in record.trials if t.method == "wsn" and t.score), key=lambda trial: trial.score)
    assert best.methods["wsn"].c == chosen.values["c"]
    assert best.seeds == (1000, 1001)
