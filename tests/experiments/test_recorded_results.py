"""The runs that are recorded in ``results`` can still be read, and are written as they were."""

import json
from pathlib import Path

import pytest

from agscl.experiments.digests import file_sha256
from agscl.experiments.groups import by_setting, groups
from agscl.experiments.records import PolicyRun, SupervisedRun, read_run
from agscl.runs import run_folders

RECORDED = Path(__file__).parents[2] / "results"

pytestmark = pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded runs are not in this distribution")

RUNS = [read_run(folder) for folder in run_folders([RECORDED])] if RECORDED.is_dir() else []


@pytest.mark.parametrize("run", RUNS, ids=lambda run: str(run.folder.path.relative_to(RECORDED)))
def test_a_recorded_run_is_written_as_it_was(run):
    assert isinstance(run, SupervisedRun | PolicyRun)
    for file, content in ((run.folder.experiment, run.result.experiment), (run.folder.result, run.result)):
        recorded, again = json.loads(file.read_bytes()), json.loads(content.to_json())
        digests = recorded.pop("digests", {})
        assert merged(again, recorded) == again
        kept = {
            name: digest for name, digest in digests.items() if name != "result.json" and (file.parent / name).exists()
        }
        assert {name: file_sha256(file.parent / name) for name in kept} == kept  # states are not kept here


def merged(new, recorded):
    """What is new, overwritten by what was recorded: the oldest records lack settings that came later."""
    if isinstance(new, dict) and isinstance(recorded, dict):
        return {**new, **{key: merged(new.get(key), value) for key, value in recorded.items()}}
    return recorded


def test_recorded_runs_can_be_grouped():
    grouped = [group for alike in by_setting(run.result for run in RUNS) for group in groups(alike)]
    assert sum(len(group.results) for group in grouped) == len(RUNS)
