"""How long the library and its command take to start; CPU seconds, medians of new processes."""

import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

from ratios import say

ROUNDS = 5

COMPILED = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""An environment in which modules are compiled once, as pip leaves them."""

IMPORT = """
import time, torch
start = time.process_time()
import agscl
agscl.protect, agscl.AGSCL, agscl.metrics
print(time.process_time() - start)
"""


def importing() -> float:
    """CPU seconds of the library's import in a new process that has torch."""
    return float(subprocess.check_output([sys.executable, "-c", IMPORT], env=COMPILED))


def help_shown() -> float:
    """CPU seconds of a process that shows the command's help."""
    command = str(Path(sys.executable).with_name("agscl"))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([command, "--help"], capture_output=True, check=True, env=COMPILED)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def test_importing_costs_little_more_than_torch() -> None:
    took = statistics.median(importing() for _ in range(ROUNDS))
    say(f"\nimport agscl after torch: {took:.2f} s (limit 0.2)")
    assert took <= 0.2


def test_help_comes_at_once() -> None:
    took = statistics.median(help_shown() for _ in range(ROUNDS))
    say(f"\nagscl --help: {took:.2f} s (limit 0.5)")
    assert took < 0.5
