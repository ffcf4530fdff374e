"""A run that stopped at any step goes on as if nothing had happened, bit for bit."""

# ruff: noqa: NPY002 - the global generators are what is tested

import json
import math
import random
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import agscl
from agscl.benchmarks.task import Task, TaskSequence
from agscl.models import MultiHead
from agscl.runs import RunFolder
from agscl.runs.checkpointer import Checkpointer
from agscl.runs.events import JsonLines
from agscl.runs.machine import DTYPES, Machine
from agscl.runs.random import capture, restore, seeded
from agscl.training import (
    EpochFinished,
    Every,
    Interruption,
    Learner,
    RateLowered,
    SequenceProgress,
    Stopped,
    Training,
    learn_sequence,
)

METHODS = {
    "ags-cl": agscl.AGSCL(mu=0.5, lam=10.0, rho=0.5),
    "ags-cl-hard": agscl.AGSCL(mu=0.5, lam=math.inf, rho=0.5, proximal="step"),
    "ewc": agscl.EWC(lam=10.0),
    "si": agscl.SI(c=1.0),
    "rwalk": agscl.RWalk(lam=10.0),
    "mas": agscl.MAS(lam=1.0),
    "hat": agscl.HAT(gamma=0.75, smax=40.0),
    "wsn": agscl.WSN(),
    "gated-ags-cl": agscl.GatedAGSCL(first=0.4, more=0.2, begin=1, end=2),
    "packnet": agscl.PackNet(train_epochs=1),
    "gpm": agscl.GPM(samples=20),
    "lwf": agscl.LwF(lam=1.0),
    "cpr": agscl.CPR(agscl.EWC(lam=1.0), beta=0.1),
    "fine-tuning": agscl.FineTuning(),
    "single-task": agscl.SingleTask(),
    "joint": agscl.Joint(),
}


class PowerCutError(Exception):
    """The process is gone."""


@dataclass
class Fuse:
    """Lets so many batches through."""

    left: float

    def burn(self):
        if self.left <= 0:
            raise PowerCutError
        self.left -= 1


@dataclass(frozen=True)
class Fused:
    """Examples that draw from every generator, until the power is cut."""

    examples: object
    fuse: Fuse

    def __len__(self):
        return len(self.examples)

    def batches(self, batch_size, *, generator=None):
        for inputs, labels in self.examples.batches(batch_size, generator=generator):
            self.fuse.burn()
            noise = torch.randn(inputs.shape, generator=generator) if generator else 0
            yield inputs + 0.1 * noise, labels


class Noisy(nn.Module):
    """A trunk that draws from the global generators of Python, NumPy and PyTorch in training."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.second = nn.Linear(6, 10), nn.BatchNorm1d(10), nn.Linear(10, 8)
        self.act, self.drop = nn.ReLU(), nn.Dropout(0.3)

    def forward(self, x):
        if self.training:
            x = x * (1 + 0.1 * random.gauss(0, 1) + 0.1 * float(np.random.standard_normal()))
        return self.act(self.second(self.drop(self.act(self.norm(self.first(x))))))


def learner(sequence, method, training, checkpointer=None, loggers=(), *, live=False, precision="fp32"):
    torch.manual_seed(0)
    model = MultiHead(Noisy(), 8, sequence.num_classes)
    guard = agscl.protect(model, method, example_inputs=torch.zeros(2, 6), heads="heads")
    joint = isinstance(method, agscl.Joint)
    generator = torch.Generator().manual_seed(1)
    machine = Machine(dtype=DTYPES[precision])
    return Learner(
        model, guard, training, generator, loggers, joint=joint, machine=machine, checkpointer=checkpointer, live=live
    )


def fused(sequence, fuse):
    tasks = (Task(t.name, t.num_classes, Fused(t.train, fuse), t.validation, t.test) for t in sequence.tasks)
    return TaskSequence(sequence.name, tuple(tasks), sequence.input_shape)


def run(sequence, method, training, path, *, batches=math.inf, every=1, **options):
    """One process' life: from the newest checkpoint until the end or the power cut."""
    with seeded(5):
        folder = RunFolder(path)
        checkpointer = Checkpointer(SequenceProgress, folder, Every(math.inf, every))
        who = learner(sequence, method, training, checkpointer, [JsonLines(folder.events)], **options)
        history = learn_sequence(who, fused(sequence, Fuse(batches)))
    return final(who, history)


def final(who, history):
    state = {**who.model.state_dict(), **{f"guard.{n}": t for n, t in who.guard.state_dict().items()}}
    return state, [(task.accuracy, task.epochs, task.used_capacity) for task in history.tasks]


def same(one, other):
    (state, tasks), (others, other_tasks) = one, other
    return (
        state.keys() == others.keys() and all(torch.equal(state[n], others[n]) for n in state) and tasks == other_tasks
    )


TRAINING = Training(epochs=3, batch_size=20, learning_rate=0.05, patience=1, decay=2.0)


@pytest.mark.parametrize("name", METHODS)
def test_a_run_that_died_again_and_again_equals_the_undisturbed_one(name, sequence, tmp_path_factory):
    undisturbed = run(sequence, METHODS[name], TRAINING, tmp_path_factory.mktemp("whole"), every=None)
    folder, draw = tmp_path_factory.mktemp("cut"), random.Random(name)
    for life in range(1, 100):
        try:
            batches, every = draw.randint(3, 8 + life), draw.choice([1, 2])
            result = run(sequence, METHODS[name], TRAINING, folder, batches=batches, every=every)
            break
        except PowerCutError:
            continue
    assert life > 3
    assert same(result, undisturbed)


@settings(max_examples=15, deadline=None)
@given(batches=st.integers(1, 40), every=st.integers(1, 7))
def test_a_run_that_died_once_equals_the_undisturbed_one(batches, every, in_memory, tmp_path_factory):
    generator = torch.Generator().manual_seed(3)

    def sets():
        return in_memory(torch.randn(30, 6, generator=generator), torch.randint(2, (30,), generator=generator))

    sequence = TaskSequence("two", tuple(Task(str(i), 2, sets(), sets(), sets()) for i in range(2)), (6,))
    method, folder = METHODS["ags-cl"], tmp_path_factory.mktemp("run")
    undisturbed = run(sequence, method, TRAINING, tmp_path_factory.mktemp("whole"), every=None)
    try:
        result = run(sequence, method, TRAINING, folder, batches=batches, every=every)
    except PowerCutError:
        result = run(sequence, method, TRAINING, folder)
    assert same(result, undisturbed)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("name", ["ags-cl", "ags-cl-hard"])
def test_a_run_on_the_live_nodes_goes_on_with_the_same_nodes(name, optimizer, precision, sequence, tmp_path_factory):
    training, options = replace(TRAINING, optimizer=optimizer), {"live": True, "precision": precision}
    undisturbed = run(sequence, METHODS[name], training, tmp_path_factory.mktemp("whole"), every=None, **options)
    folder = tmp_path_factory.mktemp("cut")
    for batches in (5, 14, 6, 20):
        with suppress(PowerCutError):
            run(sequence, METHODS[name], training, folder, batches=batches, **options)
    assert same(run(sequence, METHODS[name], training, folder, **options), undisturbed)


def test_momentum_goes_on_as_well(sequence, tmp_path_factory):
    training = replace(TRAINING, optimizer="sgd", momentum=0.9)
    undisturbed = run(sequence, METHODS["ewc"], training, tmp_path_factory.mktemp("whole"), every=None)
    folder = tmp_path_factory.mktemp("cut")
    with pytest.raises(PowerCutError):
        run(sequence, METHODS["ewc"], training, folder, batches=14)
    assert same(run(sequence, METHODS["ewc"], training, folder), undisturbed)


def test_events_of_a_life_that_was_lost_are_cut(sequence, tmp_path):
    with pytest.raises(PowerCutError):
        run(sequence, METHODS["ewc"], TRAINING, tmp_path, batches=14, every=4)
    run(sequence, METHODS["ewc"], TRAINING, tmp_path)
    text = (tmp_path / "events.jsonl").read_text()
    finished = [line for line in text.splitlines() if '"TaskFinished"' in line or '"EpochFinished"' in line]
    assert len(finished) == 3 * (3 + 1)
    assert text.count('"Resumed"') == 1


def test_a_checkpoint_of_another_method_is_refused(sequence, tmp_path):
    with pytest.raises(PowerCutError):
        run(sequence, METHODS["ewc"], TRAINING, tmp_path, batches=14, every=4)
    with pytest.raises(ValueError, match=r"^the checkpoint does not fit the run, choose a new folder: .+$"):
        run(sequence, METHODS["si"], TRAINING, tmp_path)


@dataclass(frozen=True)
class Preemption:
    """A logger that asks for the end when the first epoch is over, as SIGTERM would."""

    interruption: Interruption

    def emit(self, event):
        if isinstance(event, EpochFinished):
            self.interruption.number = 15


@pytest.fixture
def not_waited_for(monkeypatch):
    """As on a device whose values make the host wait: they are looked at when an epoch ends or is saved."""
    monkeypatch.setattr(Machine, "answers_at_once", False)


@pytest.mark.usefixtures("not_waited_for")
@pytest.mark.parametrize("name", ["ags-cl", "lwf", "joint"])
def test_not_waiting_for_the_device_changes_no_bit(name, sequence, tmp_path_factory):
    unwaited = run(sequence, METHODS[name], TRAINING, tmp_path_factory.mktemp("unwaited"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Machine, "answers_at_once", True)
        assert same(run(sequence, METHODS[name], TRAINING, tmp_path_factory.mktemp("waited")), unwaited)


@pytest.mark.usefixtures("not_waited_for")
def test_a_device_that_is_not_waited_for_stops_at_the_end_of_the_epoch_and_saves_no_bad_state(sequence, tmp_path):
    with pytest.raises(agscl.Diverged, match="'t0' diverged in epoch 1"):
        learn_sequence(exploding(sequence, WILD, []), sequence)
    checkpointer = Checkpointer(SequenceProgress, RunFolder(tmp_path), Every(math.inf, 1))
    who = replace(exploding(sequence, WILD, []), checkpointer=checkpointer)
    with pytest.raises(agscl.Diverged):
        learn_sequence(who, sequence)
    assert math.isfinite(json.loads(checkpointer.checkpoints.newest().record)["progress"]["loss"])


def test_a_signal_saves_and_stops(sequence, tmp_path):
    undisturbed = run(sequence, METHODS["si"], TRAINING, tmp_path, every=None)
    checkpointer = Checkpointer(SequenceProgress, RunFolder(tmp_path), Every(math.inf))
    with seeded(5):
        who = learner(sequence, METHODS["si"], TRAINING, checkpointer, [Preemption(checkpointer.interruption)])
        with pytest.raises(Stopped, match="--resume"):
            learn_sequence(who, fused(sequence, Fuse(math.inf)))
    assert checkpointer.checkpoints.latest() is not None
    assert same(run(sequence, METHODS["si"], TRAINING, tmp_path), undisturbed)


def test_the_generators_go_on_where_they_were():
    def draws():
        return random.gauss(0, 1), random.random(), np.random.standard_normal(3).tolist(), torch.rand(3).tolist()

    random.gauss(0, 1)
    np.random.standard_normal()
    states = capture()
    first = draws()
    restore(states)
    assert draws() == first


def test_a_seed_holds_for_its_context_only():
    before = capture()
    with seeded(3):
        one = random.random(), np.random.rand(), torch.rand(1).item()
    with seeded(3):
        assert (random.random(), np.random.rand(), torch.rand(1).item()) == one
    after = capture()
    assert all(torch.equal(before[name], after[name]) for name in before)


def exploding(sequence, training, loggers):
    torch.manual_seed(0)
    model = MultiHead(nn.Sequential(nn.Linear(6, 8), nn.ReLU()), 8, sequence.num_classes)
    guard = agscl.protect(model, agscl.FineTuning(), example_inputs=torch.zeros(2, 6), heads="heads")
    return Learner(model, guard, training, torch.Generator().manual_seed(1), loggers)


WILD = Training(epochs=3, batch_size=16, learning_rate=1e30, optimizer="sgd", decay=1e8, floor=1e-9)


def test_divergence_stops_with_the_step_and_advice(sequence):
    with pytest.raises(agscl.Diverged, match=r"'t0' diverged in epoch 1, step \d: .* --on-divergence restore"):
        learn_sequence(exploding(sequence, WILD, []), sequence)


def test_divergence_restores_the_start_of_the_epoch_with_a_lower_rate(sequence, make_examples):
    remembered = []
    logger = type("Logger", (), {"emit": lambda self, event: remembered.append(event)})()
    training = replace(WILD, on_divergence="restore")
    history = learn_sequence(exploding(sequence, training, [logger]), sequence)
    rates = [event.learning_rate for event in remembered if isinstance(event, RateLowered)]
    assert rates[0] == pytest.approx(1e22)
    assert history.accuracy.tril().isfinite().all()


def test_divergence_that_no_rate_can_end_is_an_error(sequence, in_memory):
    bad = replace(
        sequence.tasks[0], train=in_memory(sequence.tasks[0].train.inputs * math.nan, sequence.tasks[0].train.labels)
    )
    training = replace(WILD, on_divergence="restore")
    with pytest.raises(agscl.Diverged, match="even at the lowest learning rate"):
        learn_sequence(exploding(sequence, training, []), TaskSequence("bad", (bad, *sequence.tasks[1:]), (6,)))
