"""How long the library and its command take to start; CPU seconds of a new process, medians."""

import resource
import statistics
import subprocess
import sys
from pathlib import Path

from ratios import say

ROUNDS = 5


def seconds(*command: str) -> float:
    """CPU time of a process from start to end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def test_importing_costs_little_more_than_torch() -> None:
    plain, own = "import torch", "import torch, agscl; agscl.protect, agscl.AGSCL, agscl.metrics"
    pairs = [(seconds(sys.executable, "-c", plain), seconds(sys.executable, "-c", own)) for _ in range(ROUNDS)]
    more = statistics.median(own - plain for plain, own in pairs)
    say(f"\nimport agscl over import torch: {more:.2f} s (limit 0.2)")
    assert more <= 0.2


def test_help_comes_at_once() -> None:
    command = str(Path(sys.executable).with_name("agscl"))
    took = statistics.median(seconds(command, "--help") for _ in range(ROUNDS))
    say(f"\nagscl --help: {took:.2f} s (limit 0.5)")
    assert took < 0.5
