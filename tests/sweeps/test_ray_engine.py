"""Ray does what processes of this machine do: runs that die go on elsewhere, bit for bit; nothing is lost."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from agscl.experiments import Overrides, experiment_of, preset_named, run
from agscl.methods import AGSCL
from agscl.runs import RunFolder
from agscl.runs.machine import Compute
from agscl.sweeps.engine import Ended, EngineOptions, Job
from agscl.sweeps.engines import engine_named
from hostile.cases import THOROUGH

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(sys.platform != "linux", reason="ends processes by their ids"),
]
ray = pytest.importorskip("ray", reason="an extra")
on_a_cluster = pytest.mark.skipif(not THOROUGH, reason="minutes: make cluster")


def experiment(epochs):
    compute = Compute(device="cpu", precision="fp32")  # on workers as here
    return experiment_of("digits", AGSCL(mu=10, lam=400), 0, Overrides(tasks=2, epochs=epochs, compute=compute))


def ends(engine, *keys):
    """The ends of runs, by key."""
    found = {}
    while found.keys() < set(keys):
        found |= {ended.key: ended for ended in engine.wait()}
    return found


def until(condition, engine=None, seconds=1200):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        assert engine is None or not engine.wait()
        time.sleep(0.05)
    assert condition()


def epochs_of(folder):
    return (folder / "events.jsonl").read_text().count("EpochFinished") if (folder / "events.jsonl").exists() else 0


def outcome(folder):
    record = json.loads((folder / "result.json").read_text())
    return record["accuracy"], record["sequence"], (folder / "state.safetensors").read_bytes()


def test_runs_are_done_and_their_failures_are_told_in_one_line(tmp_path):
    with engine_named("ray", EngineOptions(jobs=2)) as engine:
        assert engine.slots == 2
        engine.submit(Job("good", experiment(1), tmp_path / "good"))
        (tmp_path / "bad").mkdir()
        (tmp_path / "bad" / "mine.txt").write_text("mine")
        engine.submit(Job("bad", experiment(1), tmp_path / "bad"))
        found = ends(engine, "good", "bad")
    assert found["good"] == Ended("good")
    assert "holds other files" in found["bad"].failure
    run(experiment(1), RunFolder(tmp_path / "here"))
    assert outcome(tmp_path / "good") == outcome(tmp_path / "here")


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of one core each."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    made.add_node(num_cpus=1)
    made.wait_for_nodes()
    yield made
    made.shutdown()


@on_a_cluster
def test_a_killed_worker_and_a_cancelled_run(cluster, tmp_path):
    with engine_named("ray", EngineOptions(address=cluster.address)) as engine:
        assert engine.slots == 2
        for name in ("killed", "cancelled"):
            engine.submit(Job(name, experiment(30), tmp_path / name))
        until(lambda: all(epochs_of(tmp_path / name) > 2 for name in ("killed", "cancelled")), engine)
        engine.cancel("cancelled")
        os.kill(json.loads((tmp_path / "killed" / ".lock-holder.json").read_text())["process"], signal.SIGKILL)
        found = ends(engine, "killed", "cancelled")
    assert found == {"killed": Ended("killed"), "cancelled": Ended("cancelled", cancelled=True)}
    assert list((tmp_path / "cancelled" / "checkpoint").iterdir()), "it was saved"
    run(experiment(30), RunFolder(tmp_path / "whole"))
    run(experiment(30), RunFolder(tmp_path / "cancelled"), resume=True)
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "cancelled") == outcome(tmp_path / "whole")


@on_a_cluster
def test_a_killed_node(cluster, tmp_path):
    node = cluster.add_node(num_cpus=1, resources={"doomed": 1})
    with engine_named("ray", EngineOptions(address=cluster.address)) as engine:
        for name in ("one", "two", "three"):
            engine.submit(Job(name, experiment(30), tmp_path / name))
        until(lambda: all(epochs_of(tmp_path / name) > 2 for name in ("one", "two", "three")), engine)
        cluster.remove_node(node, allow_graceful=False)
        found = ends(engine, "one", "two", "three")
    assert [each.failure for each in found.values()] == [None] * 3
    run(experiment(30), RunFolder(tmp_path / "whole"))
    assert outcome(tmp_path / "one") == outcome(tmp_path / "two") == outcome(tmp_path / "three")
    assert outcome(tmp_path / "one") == outcome(tmp_path / "whole")


@on_a_cluster
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_driver_goes_on(cluster, tmp_path, number):
    words = ["reproduce", "digits", "--seeds", "1", "--methods", "ags-cl,fine-tuning", "--epochs", "20"]
    words += ["--engine", "ray", "--address", cluster.address, "--out", str(tmp_path / "out")]
    begun = tmp_path / "out" / "digits" / "ags-cl" / "seed-0"
    with subprocess.Popen([sys.executable, "-m", "agscl", *words], stderr=subprocess.PIPE, text=True) as driver:
        until(lambda: epochs_of(begun) > 2 or driver.poll() is not None)
        driver.send_signal(number)
        _, said = driver.communicate(timeout=300)
    assert driver.returncode == (75 if number == signal.SIGTERM else -number), said
    again = subprocess.run([sys.executable, "-m", "agscl", *words], capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert "2 done" in again.stdout
    ags_cl = preset_named("digits").tuned["ags-cl"]
    wanted = experiment_of("digits", ags_cl, 0, Overrides(epochs=20, compute=_computed(begun)))
    run(wanted, RunFolder(tmp_path / "whole"))
    assert outcome(begun) == outcome(tmp_path / "whole")


def _computed(folder):
    from agscl.experiments import Experiment

    return Experiment.from_json((folder / "experiment.json").read_bytes()).compute


@on_a_cluster
def test_a_cluster_that_is_not_there_is_refused(tmp_path):
    with (
        pytest.raises(ValueError, match="no Ray cluster can be used at 127"),
        engine_named("ray", EngineOptions(address="127.0.0.1:1")),
    ):
        pass
