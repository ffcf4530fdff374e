"""Workers die cleanly: with their parent, by a signal after they saved, and once without harm to their job."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from agscl.experiments.workers import Done, Killed, run_jobs

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")


def answer(number, again):
    return number, again


def fail(again):
    raise LookupError("no such thing")


def die(number, times, path, again):
    """End the own process the first few times."""
    with path.open("a") as file:
        file.write("x")
    if len(path.read_text()) <= times:
        os.kill(os.getpid(), number)
        time.sleep(60)
    return "alive", again


def test_every_job_has_an_outcome_also_an_error():
    outcomes = list(run_jobs([partial(answer, 1), fail, partial(answer, 2)], 2))
    found = {outcome.position: outcome.result for outcome in outcomes}
    assert (found[0], found[2]) == ((1, False), (2, False))
    assert isinstance(found[1], LookupError)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_worker_is_replaced_once_and_named(tmp_path, number):
    outcomes = list(run_jobs([partial(die, number, 1, tmp_path / "one"), partial(answer, 7)], 1))
    assert outcomes == [Killed(0, number.name, again=True), Done(0, ("alive", True)), Done(1, (7, False))]
    outcomes = list(run_jobs([partial(die, number, 2, tmp_path / "two"), partial(answer, 7)], 1))
    assert outcomes == [Killed(0, number.name, again=True), Killed(0, number.name, again=False), Done(1, (7, False))]


COMPARE = ["compare", "digits", "--methods", "fine-tuning,ags-cl", "--seeds", "1", "--epochs", "60", "--tasks", "2"]


def begin(out, **options):
    command = [sys.executable, "-m", "agscl", *COMPARE, "--processes", "1", "--out", str(out), "--resume"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def wait_for(path, process):
    deadline = time.monotonic() + 120
    while not path.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert path.exists()


def alive(pid):
    """Whether a process is there and no corpse that nobody fetched."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def holder(run):
    """The process that has a run's folder."""
    try:
        return json.loads((run / ".lock-holder.json").read_text())["process"]
    except (OSError, ValueError):
        return None


def until(condition, process):
    deadline = time.monotonic() + 120
    while not condition() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_nothing_outlives_a_killed_comparison_and_it_goes_on_at_once(tmp_path):
    run = tmp_path / "out" / "fine-tuning" / "seed-0"
    with begin(tmp_path / "out") as process:
        wait_for(run / "events.jsonl", process)
        worker = holder(run)
        process.kill()
    with begin(tmp_path / "out") as again:
        until(lambda: not alive(worker), again)
        until(lambda: holder(run) not in (None, worker) or (run / "result.json").exists(), again)
        again.send_signal(signal.SIGTERM)
        _, errors = again.communicate(timeout=120)
    assert "in use" not in errors
    assert again.returncode == 75, errors


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130)])
def test_a_signal_to_the_parent_alone_saves_in_every_worker(tmp_path, number, code):
    run = tmp_path / "out" / "fine-tuning" / "seed-0"
    with begin(tmp_path / "out") as process:
        wait_for(run / "events.jsonl", process)
        worker = holder(run)
        process.send_signal(number)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == code, errors
    assert list((run / "checkpoint").glob("*.safetensors")) or (run / "result.json").exists()
    assert not alive(worker)
