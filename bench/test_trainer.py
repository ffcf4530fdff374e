"""An epoch of this trainer against a hand-written loop and against Avalanche, and the end of a task; one thread.

Each pair alternates in one process. Where the CPU computes in bfloat16, ``auto`` must be much faster than float32.
"""

import statistics
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from ratios import ratio, say, seconds
from work import EQUAL, Plain, avalanche, consolidation, epoch, learner, sequence, unvalidated

import agscl
from agscl.methods import Method
from agscl.training import Compute

SETTINGS = [
    pytest.param(EQUAL, 1.03, id="equal settings"),
    pytest.param(Compute(), 1.03, id="auto settings"),
]
WITH_BF16 = 0.6
"""Of a float32 loop's time, with ``auto`` settings."""

METHODS: dict[str, Method] = {"EWC": agscl.EWC(lam=1.0), "SynapticIntelligence": agscl.SI(c=1.0)}
AS_FAST_AS_AVALANCHE, WITH_BF16_OF_AVALANCHE = 1.03, 1 / 2.3
"""In float32 the arithmetic is the same, so no more than the timing's noise is allowed on top."""
ROUNDS = 3
END_OF_TASK = 0.75
"""Of an epoch, on all data of a task of CIFAR-100."""


@pytest.mark.parametrize(("compute", "limit"), SETTINGS)
def test_epoch_against_a_hand_written_loop(compute: Compute, limit: float, data_root: Path | None) -> None:
    torch.set_num_threads(1)
    task = sequence(0.25, data_root).tasks[0]
    who, plain = learner(agscl.FineTuning(), compute), Plain(task, 0)
    measured = ratio(epoch(who, task, 0), plain.epoch, 5)
    limit = WITH_BF16 if who.machine.dtype == torch.bfloat16 else limit
    say(f"\nepoch / hand-written epoch in float32, {who.machine}: {measured:.3f} (limit {limit})")
    assert measured <= limit


def test_end_of_a_gated_task_against_an_epoch(data_root: Path | None) -> None:
    torch.set_num_threads(1)
    tasks, who, shares = sequence(1.0, data_root), learner(agscl.GatedAGSCL(begin=1, end=1), Compute()), []
    for index in range(1 + ROUNDS):
        who.guard.use_task(index)
        epoch_seconds, end_seconds = _own(who, tasks.tasks[index], index)
        shares.append(end_seconds / epoch_seconds)
    measured = statistics.median(shares[1:])
    say(f"\nend of a gated task / epoch, {who.machine}: {measured:.2f} (limit {END_OF_TASK}: 5 % of 15 epochs)")
    assert measured <= END_OF_TASK


@pytest.mark.filterwarnings("ignore")  # Avalanche's own
@pytest.mark.parametrize("compute", [EQUAL, Compute()], ids=["equal settings", "auto settings"])
@pytest.mark.parametrize("name", METHODS)
def test_epoch_and_end_of_task_against_avalanche(name: str, compute: Compute, data_root: Path | None) -> None:
    pytest.importorskip("avalanche", reason="comes with make bench")
    torch.set_num_threads(1)
    tasks = sequence(0.25, data_root)
    who, (strategy, experiences) = learner(METHODS[name], compute), avalanche(name, tasks)
    rows = [
        (*_own(who, tasks.tasks[index], index), *_avalanches(strategy, experiences[index]))
        for index in range(1 + ROUNDS)
    ]
    own, own_end, other, other_end = (statistics.median(column) for column in zip(*rows[1:], strict=True))
    bf16 = who.machine.dtype == torch.bfloat16
    limit = WITH_BF16_OF_AVALANCHE if bf16 else AS_FAST_AS_AVALANCHE
    say(
        f"\n{name}, {who.machine}: epoch {own:.2f} s, Avalanche {other:.2f} s, ratio {own / other:.3f} "
        f"(limit {limit:.2f}); end of task {own_end:.2f} s, Avalanche {other_end:.2f} s"
    )
    assert own / other <= limit


def _own(who: Any, task: Any, index: int) -> tuple[float, float]:
    """Seconds of an epoch and of the end of the task."""
    return seconds(epoch(who, unvalidated(task), index)), seconds(consolidation(who, task, index))


def _avalanches(strategy: Any, experience: Any) -> tuple[float, float]:
    """Seconds of an epoch and of the end of the task."""
    clock = _Clock()
    strategy.plugins.insert(0, clock)
    whole = seconds(lambda: strategy.train(experience))
    strategy.plugins.remove(clock)
    return whole - clock.end, clock.end


class _Clock:
    """Tells what of Avalanche's training comes after the last epoch."""

    end = 0.0

    def after_training_epoch(self, strategy: Any, **_: Any) -> None:
        self.end = -time.process_time()

    def after_training(self, strategy: Any, **_: Any) -> None:
        self.end += time.process_time()
