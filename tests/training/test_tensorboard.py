"""Curves for TensorBoard, read back by TensorBoard itself."""

import pytest

from agscl.training import EpochFinished, Resumed, TaskFinished, TaskStarted, tensorboard

accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

FIRST = [
    TaskStarted(0, "t0", 2, 10),
    EpochFinished(0, 1, 0.5, 0.4, 0.75, 1e-3, 2.0, 5),
    EpochFinished(0, 2, 0.3, 0.2, 0.875, 1e-3, 2.0, 5),
    TaskFinished(0, "t0", 2, (0.75,), 0.5, None, 8, 4, 0.5),
    TaskStarted(1, "t1", 2, 10),
    EpochFinished(1, 1, 0.25, 0.125, 0.5, 1e-3, 1.0, 5),
    EpochFinished(1, 2, 9.0, 9.0, 0.0, 1e-3, 1.0, 5),
]
SECOND = [
    Resumed(1, "t1", 2, 10, 1),
    EpochFinished(1, 2, 0.125, 0.0625, 1.0, 5e-4, 1.0, 5),
    TaskFinished(1, "t1", 2, (0.25, 0.75), 0.25, 0.5, 8, 4, 0.5),
]


@pytest.fixture
def curves(tmp_path):
    for life in (FIRST, SECOND):
        with tensorboard(tmp_path / "curves") as logger:
            for event in life:
                logger.emit(event)
    read = accumulators.EventAccumulator(str(tmp_path / "curves"))
    read.Reload()
    return {name: [(point.step, point.value) for point in read.Scalars(name)] for name in read.Tags()["scalars"]}


def test_losses_and_accuracies_are_curves_over_the_epochs_of_all_tasks(curves):
    assert curves["loss/training"] == [(1, 0.5), (2, pytest.approx(0.3)), (11, 0.25), (12, 0.125)]
    assert curves["accuracy/validation"] == [(1, 0.75), (2, 0.875), (11, 0.5), (12, 1.0)]
    assert curves["steps per second"][0] == (1, 2.5)


def test_what_was_lost_before_a_run_went_on_is_dropped(curves):
    assert (12, 9.0) not in curves["loss/validation"]
    assert curves["loss/validation"][-1] == (12, 0.0625)


def test_each_task_and_the_mean_have_a_curve(curves):
    assert curves["accuracy after each task/1"] == [(2, 0.75), (12, 0.25)]
    assert curves["accuracy after each task/2"] == [(12, 0.75)]
    assert curves["accuracy after each task/mean"] == [(2, 0.75), (12, 0.5)]
    assert curves["nodes/used capacity"] == [(12, 0.5)]


def test_no_event_leaves_no_file(tmp_path):
    with tensorboard(tmp_path / "curves"):
        pass
    assert not (tmp_path / "curves").exists()
