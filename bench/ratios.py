"""Time one piece of work against another: alternating in one process, so that a busy machine slows both."""

import statistics
import sys
import time
from collections.abc import Callable


def seconds(work: Callable[[], object]) -> float:
    """CPU time of one call: the work is done by this process alone, and what others do meanwhile does not count."""
    start = time.process_time()
    work()
    return time.process_time() - start


def ratio(work: Callable[[], object], baseline: Callable[[], object], rounds: int) -> float:
    """Median over rounds of the work's time divided by the baseline's, after one round to warm up."""
    work(), baseline()
    ratios = []
    for number in range(rounds):
        if number % 2:
            other, own = seconds(baseline), seconds(work)
        else:
            own, other = seconds(work), seconds(baseline)
        ratios.append(own / other)
    return statistics.median(ratios)


def say(line: str) -> None:
    """Show a figure."""
    sys.stdout.write(f"{line}\n")
