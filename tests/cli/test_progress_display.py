"""Progress in a terminal and away from it."""

import io

from agscl.cli.console import Output
from agscl.cli.progress import LiveProgress, progress
from agscl.training import EpochFinished, RateLowered, Resumed, TaskFinished, TaskStarted

EVENTS = [
    TaskStarted(0, "t0", 2, 10),
    EpochFinished(0, 4, 0.5, 0.4, 0.875, 1e-3, 0.1, 5),
    TaskFinished(0, "t0", 4, (0.75,), 0.5, None, 8, 4, 0.5),
    TaskStarted(1, "t1", 2, 10),
    TaskFinished(1, "t1", 10, (0.25, 0.75), 0.5, 0.5, 8, 4, 0.5),
]


def shown(terminal, events):
    console = Output(file=io.StringIO(), force_terminal=terminal, width=140)
    with progress(console, "ags-cl") as logger:
        for event in events:
            logger.emit(event)
    return console.file.getvalue()


def test_a_terminal_shows_task_epoch_and_accuracy():
    output = shown(True, EVENTS[:2])
    for expected in ("ags-cl", "task 1/2", "t0", "4/10", "validation 87.5%", "50 steps/s", "left"):
        assert expected in output


def test_a_finished_task_shows_its_test_accuracy_and_the_mean():
    console = Output(file=io.StringIO(), force_terminal=True, width=140)
    with progress(console, "ags-cl") as logger:
        assert isinstance(logger, LiveProgress)
        for event in EVENTS:
            logger.emit(event)
        assert [task.finished for task in logger.display.tasks] == [True, True]
    assert "test 75.0%  mean so far 50.0%" in console.file.getvalue()


def test_a_resumed_task_begins_where_it_stopped_and_a_lowered_rate_is_told():
    output = shown(True, [Resumed(1, "t1", 2, 10, 3), RateLowered(1, 4, "the loss became nan", 5e-4)])
    for expected in ("task 2/2", "3/10", "epoch 4 begins again with learning rate 5e-04: the loss became nan"):
        assert expected in output
    assert EVENTS[1].epoch == 4
    assert "4/10" in shown(True, [Resumed(0, "t0", 2, 10, 3), EVENTS[1]])


def test_away_from_a_terminal_there_are_no_control_characters():
    assert shown(False, EVENTS) == (
        "method=ags-cl task=1 epochs=4 accuracy=0.7500 seconds=0.5\n"
        "method=ags-cl task=2 epochs=10 accuracy=0.2500,0.7500 seconds=0.5\n"
    )
