"""Peak memory of an epoch and of the work after a task against the hand-written loop's, which holds model, gradients,
Adam's state, best weights and one batch's activations; each in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from peak import METHODS
from ratios import say
from work import network

HERE = Path(__file__).parent
TOLERANCE = 1.1
GIVEN_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
"""Freed memory leaves the process, so that a peak is what was in use; otherwise it varies by a third between runs."""


def measured(case: str, root: Path | None) -> dict[str, int]:
    command = [sys.executable, str(HERE / "peak.py"), case, *([str(root)] if root else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **GIVEN_BACK})
    found: dict[str, int] = json.loads(done.stdout)
    return found


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks are read from Linux's /proc")
def test_training_takes_the_memory_of_the_loop_and_of_the_method(data_root: Path | None) -> None:
    weights = sum(tensor.nbytes for tensor in network().state_dict().values())
    loop = measured("plain", data_root)["epoch"]
    say(f"\npeak over data and libraries, MB: hand-written epoch {loop / 2**20:.0f}")
    too_much = {}
    for name in METHODS:
        found = measured(name, data_root)
        limit = TOLERANCE * (loop + found["method"] + weights)  # the weights before the task, for used capacity
        say(
            f"{name}: epoch {found['epoch'] / 2**20:.0f} (limit {limit / 2**20:.0f}), end of task "
            f"{found['end'] / 2**20:.0f}, method keeps {found['method'] / 2**20:.0f}"
        )
        if max(found["epoch"], found["end"]) > limit:
            too_much[name] = found
    assert too_much == {}
