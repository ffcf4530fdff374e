"""Curves for Weights & Biases and MLflow, offline, read back by these themselves; a resumed run is one run there."""

import struct
import time

import pytest

from agscl.cli import main
from agscl.training.tracking import Tracked, mlflow, weights_and_biases
from training.test_tensorboard import FIRST, SECOND

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def tracked(tmp_path):
    (tmp_path / "run").mkdir()
    config = {"preset": "digits", "seed": 3, "method": {"name": "ags-cl", "mu": 10.0}}
    return Tracked("digits", "digits ags-cl seed 3", tmp_path / "run", config)


@pytest.fixture
def local_mlflow(tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="an extra")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return str(tmp_path / "tracked")


def live(tracker, *lives):
    for events in lives:
        with tracker() as logger:
            for event in events:
                logger.emit(event)


def of_mlflow(uri):
    """The one run that is there: its curves, and its status."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("digits")
    (run,) = client.search_runs([experiment.experiment_id])
    curves = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
    return run, {name: [(point.step, point.value) for point in points] for name, points in curves.items()}


def test_mlflow_has_one_run_of_all_lives(tracked, local_mlflow):
    live(lambda: mlflow(local_mlflow, tracked), FIRST[:6], SECOND)
    run, curves = of_mlflow(local_mlflow)
    assert curves["loss/training"] == [(1, 0.5), (2, 0.3), (11, 0.25), (12, 0.125)]
    assert curves["accuracy after each task/mean"] == [(2, 0.75), (12, 0.5)]
    assert run.info.status == "FINISHED"
    assert run.data.params["seed"] == "3"
    assert run.data.tags["agscl.folder"] == str(tracked.folder)


def test_mlflow_takes_no_point_twice(tracked, local_mlflow):
    live(lambda: mlflow(local_mlflow, tracked), [*FIRST[:6], SECOND[1]], SECOND)
    _, curves = of_mlflow(local_mlflow)
    assert curves["loss/training"] == [(1, 0.5), (2, 0.3), (11, 0.25), (12, 0.125)]
    assert curves["accuracy after each task/mean"] == [(2, 0.75), (12, 0.5)]


def fail(uri, tracked):
    with mlflow(uri, tracked) as logger:
        logger.emit(FIRST[0])
        raise RuntimeError("no more")


def test_a_run_that_fails_is_marked_as_failed(tracked, local_mlflow):
    with pytest.raises(RuntimeError, match="no more"):
        fail(local_mlflow, tracked)
    assert of_mlflow(local_mlflow)[0].info.status == "FAILED"


def test_a_store_that_cannot_be_used_is_refused_in_one_line(tracked, monkeypatch, tmp_path):
    pytest.importorskip("mlflow", reason="an extra")
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    with pytest.raises(ValueError, match=r"MLflow at .*maintenance mode") as error:
        fail(str(tmp_path), tracked)
    assert "\n" not in str(error.value)


def of_wandb(folder):
    """What the files of offline runs hold: names of the runs, and all points by curve."""
    names, points = set(), {}
    for record in (record for file in sorted(folder.rglob("*.wandb")) for record in whole(file)):
        if record.WhichOneof("record_type") == "run":
            names.add((record.run.run_id, record.run.display_name, record.run.project))
        items = {item.key or "/".join(item.nested_key): float(item.value_json) for item in record.history.item}
        for name, value in items.items():
            points.setdefault(name, []).append((int(items["_step"]), value))
    return names, points


def whole(file):
    """The records of a file; another process may still be writing it."""
    from wandb.proto import wandb_internal_pb2

    deadline, found = time.monotonic() + 60, []
    while not any(record.WhichOneof("record_type") == "exit" for record in found):
        assert time.monotonic() < deadline
        found = []
        for content in logged(file.read_bytes()):
            found.append(wandb_internal_pb2.Record())
            found[-1].ParseFromString(content)
    return found


BLOCK, HEAD = 32768, 7
LAST = (1, 4)
"""Kinds of the parts of a record that are its last."""


def logged(content):
    """The records of a file in LevelDB's format of logs, behind a header as long as that of a part."""
    place, record = HEAD, b""
    while place < len(content):
        if (left := BLOCK - place % BLOCK) < HEAD:
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        record += content[place + HEAD : place + HEAD + length]
        place += HEAD + length
        if kind in LAST:
            yield record
            record = b""


def test_wandb_has_one_run_of_all_lives(tracked, monkeypatch):
    pytest.importorskip("wandb", reason="an extra")
    monkeypatch.setenv("WANDB_MODE", "offline")
    live(lambda: weights_and_biases("mine", tracked), FIRST[:6], SECOND)
    names, points = of_wandb(tracked.folder)
    assert names == {(tracked.key, "digits ags-cl seed 3", "mine")}
    assert points["loss/training"] == [(1, 0.5), (2, 0.3), (11, 0.25), (12, 0.125)]
    assert points["accuracy after each task/mean"] == [(2, 0.75), (12, 0.5)]


def test_the_command_logs_to_both(tmp_path, local_mlflow, monkeypatch):
    pytest.importorskip("wandb", reason="an extra")
    monkeypatch.setenv("WANDB_MODE", "offline")
    words = [
        "run",
        "digits",
        "--method",
        "fine-tuning",
        "--tasks",
        "2",
        "--epochs",
        "1",
        "--out",
        str(tmp_path / "run"),
    ]
    assert main([*words, "--wandb", "mine", "--mlflow", local_mlflow]) == 0
    run, curves = of_mlflow(local_mlflow)
    assert [step for step, _ in curves["loss/training"]] == [1, 2]
    assert run.info.run_name == "digits fine-tuning seed 0"
    assert len(of_wandb(tmp_path / "run")[1]["loss/training"]) == 2


def test_policies_have_no_curves_there(tmp_path, capsys):
    pytest.importorskip("stable_baselines3", reason="an extra")
    assert main(["run", "cartpole3", "--mlflow", "x", "--out", str(tmp_path / "run")]) == 2
    assert "--mlflow knows supervised presets alone" in capsys.readouterr().err
