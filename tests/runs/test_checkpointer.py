"""The checkpointer: when it writes, what it restores, what it refuses; the names of events in their records."""

import math
import signal
import warnings
from dataclasses import dataclass

import pytest
import torch

from agscl.rl.history import Evaluation, PolicyResumed, PolicyTaskFinished, PolicyTaskStarted, Updated
from agscl.runs import RunFolder
from agscl.runs.checkpointer import Checkpointer, Conditions, Every, RunState
from agscl.runs.events import as_record
from agscl.runs.interruption import Stopped
from agscl.training import EpochFinished, RateLowered, Resumed, TaskFinished, TaskStarted


@dataclass(frozen=True)
class Counted:
    steps: int
    best: float = math.inf


def checkpointer(path, steps=None, kind=Counted):
    return Checkpointer(kind, RunFolder(path), Every(math.inf, steps))


def state(number):
    return RunState(Counted(number), {"w": torch.full((2,), float(number))})


def test_it_writes_every_few_steps_and_gives_the_newest_back(tmp_path):
    one, asked = checkpointer(tmp_path, steps=3), []
    for number in range(1, 9):
        one.after_step(lambda number=number: (asked.append(number), state(number))[1])
    found = checkpointer(tmp_path).resume()
    assert asked == [3, 6]
    assert found.progress == Counted(6)
    assert found.tensors["w"].tolist() == [6, 6]


def test_the_events_are_cut_back_and_the_threads_set_as_they_were(tmp_path):
    events, before = RunFolder(tmp_path).events, torch.get_num_threads()
    events.write_text("kept\n")
    try:
        torch.set_num_threads(1)
        checkpointer(tmp_path).write(lambda: state(1))
        events.write_text("kept\nlost\n")
        torch.set_num_threads(2)
        checkpointer(tmp_path).resume()
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
    assert events.read_text() == "kept\n"


def test_without_a_checkpoint_the_events_begin_anew(tmp_path):
    RunFolder(tmp_path).events.write_text("lost\n")
    assert checkpointer(tmp_path).resume() is None
    assert RunFolder(tmp_path).events.read_text() == ""


def within(path, drawn="", **environment):
    return Checkpointer(Counted, RunFolder(path), Every(math.inf), Conditions(environment, drawn))


def test_a_run_that_goes_on_elsewhere_says_so_once_and_for_ever(tmp_path, recwarn):
    within(tmp_path, torch="1", compute="cpu, fp32").write(lambda: state(1))
    warnings.simplefilter("always")
    one = within(tmp_path, torch="2", compute="cpu, fp32")
    one.resume()
    assert [str(each.message) for each in recwarn] == [
        f"{tmp_path} goes on in another environment (torch 1, now 2): its last digits may differ from those of an "
        "undisturbed run, and its record says so"
    ]
    assert (one.environment["torch"], one.environment["compute"]) == ("1, then 2", "cpu, fp32")
    one.write(lambda: state(2))
    recwarn.clear()
    same = within(tmp_path, torch="2", compute="cpu, fp32")
    same.resume()
    assert same.environment["torch"] == "1, then 2"
    assert not len(recwarn)


def test_a_run_does_not_go_on_with_other_data(tmp_path):
    within(tmp_path, "these").write(lambda: state(1))
    assert within(tmp_path, "these").resume() is not None
    with pytest.raises(ValueError, match=r"the data of the run in .* changed since it began"):
        within(tmp_path, "those").resume()


def test_a_signal_is_answered_by_a_checkpoint_and_the_end(tmp_path):
    one = checkpointer(tmp_path)
    with one.interruption.watching():
        one.after_step(lambda: state(1))
        one.check()
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Stopped, match=r"go on with --resume .*00000001-"):
            one.after_step(lambda: state(2))
    assert checkpointer(tmp_path).resume().progress == Counted(2)


@dataclass(frozen=True)
class OfAnotherKind:
    epochs: int


def test_a_checkpoint_of_another_kind_of_run_is_refused(tmp_path):
    checkpointer(tmp_path).write(lambda: state(1))
    with pytest.raises(ValueError, match="holds no checkpoints of this kind of run: begin again in a new folder"):
        checkpointer(tmp_path, kind=OfAnotherKind).resume()


@pytest.mark.parametrize("wrong", [{"seconds": -1.0}, {"seconds": math.nan}, {"steps": 0}])
def test_what_is_no_interval_is_refused(wrong):
    with pytest.raises(ValueError, match="between checkpoints must"):
        Every(**wrong)


RECORDS = [
    (TaskStarted(0, "a", 2, 9), {"event": "TaskStarted", "task": 0, "name": "a", "tasks": 2, "epochs": 9}),
    (Resumed(0, "a", 2, 9, 4), {"event": "Resumed", "task": 0, "name": "a", "tasks": 2, "epochs": 9, "epoch": 4}),
    (PolicyTaskStarted(0, "a", 2, 9), {"event": "TaskStarted", "task": 0, "name": "a", "tasks": 2, "updates": 9}),
    (PolicyResumed(0, 4), {"event": "Resumed", "task": 0, "updates": 4}),
    (Updated(0, 4, 32), {"event": "Updated", "task": 0, "update": 4, "time": 32}),
]


@pytest.mark.parametrize(("event", "record"), RECORDS)
def test_the_record_of_an_event_is_its_name_and_its_fields(event, record):
    assert list(as_record(event).items()) == list(record.items())


def test_a_finished_task_has_one_name_in_runs_of_every_kind():
    kinds = {kind: kind.event for kind in (TaskFinished, PolicyTaskFinished, EpochFinished, RateLowered, Evaluation)}
    assert list(kinds.values()) == ["TaskFinished", "TaskFinished", "EpochFinished", "RateLowered", "Evaluation"]
