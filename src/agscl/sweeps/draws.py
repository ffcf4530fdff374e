"""The seeds of a sweep: none that is reported was tuned on, nor its order of classes, nor its test examples."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch

from agscl.benchmarks.task import TaskSequence
from agscl.experiments import Experiment
from agscl.experiments.kinds import require
from agscl.experiments.supervised.run import sequence_of
from agscl.methods import FineTuning

from .plan import FIRST_TASKS, Draws, Sweep

FIRST_TUNED = 1000
"""The first seed that values are chosen on; those of the report count from 0, as everywhere else."""

TRIES = 100
"""Seeds that are tried for one whose order is not reported."""

TEST_SEED = 0
"""Draws the test examples where the data has none of its own, and nothing else was asked for."""


def draw(sweep: Sweep, data_root: Path | None = None) -> Draws:
    """Choose the seeds of a sweep.

    Raises:
        ValueError: If data is missing, or there are no orders to tune on that are not reported.
    """
    first = sweep.whole(FineTuning(), 0)
    require([first, sweep.whole_for_tuning(FineTuning(), 0)], data_root)
    test_seed = first.test_seed
    if test_seed is None and _tests_are_drawn(first, data_root):
        test_seed = TEST_SEED
    reported = tuple(range(sweep.report_seeds))
    orders, tasks = set(), 0
    for seed in reported:  # one at a time: they may be large
        sequence = _sequence(replace(sweep.whole(FineTuning(), seed), test_seed=test_seed), data_root)
        orders.add(_order(sequence))
        tasks = len(sequence.tasks)
    return Draws(
        tuned=_tuned(sweep, orders, data_root),
        reported=reported,
        test_seed=test_seed,
        tasks=tasks,
        tune_tasks=_tune_tasks(sweep, tasks, data_root),
    )


def _tune_tasks(sweep: Sweep, tasks: int, data_root: Path | None) -> int:
    """How many tasks values are chosen by."""
    if sweep.protocol != "first-task":
        return len(_sequence(sweep.whole_for_tuning(FineTuning(), FIRST_TUNED), data_root).tasks)
    if sweep.tune_tasks is None:
        return min(FIRST_TASKS, tasks)
    if sweep.tune_tasks > tasks:
        raise ValueError(f"--tune-tasks {sweep.tune_tasks}: {sweep.preset} has {tasks} tasks")
    return sweep.tune_tasks


def _tuned(sweep: Sweep, reported: set[str], data_root: Path | None) -> tuple[tuple[int, int | None], ...]:
    """Seeds to choose values on, whose orders are others than those that are reported.

    Where the benchmark has one order for all seeds, the order is drawn anew; ``whole-sequence`` keeps it.
    """

    def found(seed: int) -> tuple[int, int | None] | None:
        experiment = sweep.whole_for_tuning(FineTuning(), seed)
        for order_seed in (None, seed):
            drawn = experiment if order_seed is None else replace(experiment, order_seed=order_seed)
            if sweep.protocol == "whole-sequence" or _order(_sequence(drawn, data_root)) not in reported:
                return seed, order_seed
        return None

    first = max(FIRST_TUNED, sweep.report_seeds)
    candidates = (found(seed) for seed in range(first, first + TRIES + sweep.tune_seeds))
    tuned = tuple(islice((one for one in candidates if one is not None), sweep.tune_seeds))
    if len(tuned) < sweep.tune_seeds:
        raise ValueError(
            f"{sweep.preset} has too few orders of tasks and classes for {sweep.tune_seeds} to choose values on that "
            f"are not among the {sweep.report_seeds} reported: ask for fewer seeds, or --protocol whole-sequence"
        )
    return tuned


def _sequence(experiment: Experiment, data_root: Path | None) -> TaskSequence:
    return sequence_of(experiment, experiment.load_options(data_root))


def _order(sequence: TaskSequence) -> str:
    """The order of tasks and classes, as text: two sequences have the same if it is equal."""
    beside = {"seed", "data", "tasks", "tasks_in_full", "fraction", "scaled_down"}
    if sequence.record.get("reordered") == list(range(len(sequence.tasks))):
        beside.add("reordered")  # drawn anew, and the same again
    drawn = {name: value for name, value in sequence.record.items() if name not in beside}
    return json.dumps([[task.name for task in sequence.tasks], drawn], sort_keys=True)


def _tests_are_drawn(experiment: Experiment, data_root: Path | None) -> bool:
    """Whether the test examples depend on what draws them: then so do those that are left for training."""
    first, other = (_sequence(replace(experiment, test_seed=seed), data_root) for seed in (0, 1))
    pairs = zip(first.tasks, other.tasks, strict=True)
    batches = ([next(iter(task.train.batches(64)))[0] for task in pair] for pair in pairs)
    return any(not torch.equal(one, another) for one, another in batches)
