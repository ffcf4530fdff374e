"""Engines do runs into folders, give up those that are cancelled, and leave no process behind."""

import json
import time
from dataclasses import replace

import pytest

from agscl.experiments import Experiment, Overrides
from agscl.methods import EWC, FineTuning
from agscl.sweeps.engine import EngineOptions, Job
from agscl.sweeps.engines import engine_named

QUICK = Experiment.of_preset("digits", FineTuning(), 0, Overrides(epochs=1, tasks=2))
QUICK = replace(QUICK, evaluated_on="validation")
ENDLESS = Experiment.of_preset("digits", FineTuning(), 0, Overrides(epochs=100_000, tasks=2))
ENDLESS = replace(ENDLESS, training=replace(ENDLESS.training, patience=100_000))


def until(condition, engine, found):
    """Collect ends by key until something holds."""
    deadline = time.monotonic() + 300
    while not condition() and time.monotonic() < deadline:
        found |= {ended.key: ended for ended in engine.wait()}
    assert condition(), sorted(found)


def test_a_run_is_done_one_that_fails_says_why_and_one_that_never_ends_is_given_up(tmp_path):
    failing = replace(QUICK, method=EWC(lam=1e18), training=replace(QUICK.training, learning_rate=1e6))
    jobs = {"quick": QUICK, "failing": failing, "endless": ENDLESS, "waiting": ENDLESS, "after": replace(QUICK, seed=1)}
    with engine_named("local", EngineOptions(jobs=1)) as engine:
        for key, experiment in jobs.items():
            engine.submit(Job(key, experiment, tmp_path / key))
        found = {}
        engine.cancel("waiting")
        until((tmp_path / "endless" / "events.jsonl").exists, engine, found)
        engine.cancel("endless")
        until(lambda: len(found) == len(jobs), engine, found)
    assert [key for key, end in found.items() if end.cancelled] == ["waiting", "endless"]
    assert "diverged" in found["failing"].failure
    for key in ("quick", "after"):
        assert found[key].failure is None
        assert not found[key].cancelled
        assert len(json.loads((tmp_path / key / "result.json").read_text())["tasks"]) == 2
        assert not list((tmp_path / key).rglob("*.safetensors"))
    assert not (tmp_path / "waiting").exists()


def test_what_is_no_engine_and_no_number_of_jobs_is_refused(tmp_path):
    with pytest.raises(ValueError, match="unknown engine 'slurm'; there are: local"):
        engine_named("slurm", EngineOptions(jobs=1))
    with (
        pytest.raises(ValueError, match="--address is for --engine ray"),
        engine_named("local", EngineOptions(address="auto")),
    ):
        pass
    with pytest.raises(ValueError, match="--jobs must be at least 1, got 0"):
        EngineOptions(jobs=0)
