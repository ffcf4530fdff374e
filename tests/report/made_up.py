"""Run folders with made-up numbers of any length, written as a run writes them."""

import numpy as np

from agscl.experiments import Experiment, Result, preset_named
from agscl.methods import AGSCL, FineTuning
from agscl.runs import RunFolder
from agscl.runs.tables import Rating, nodes, write_table
from agscl.training import History, TaskFinished

AGS_CL = AGSCL(mu=10.0, lam=400.0)
PLAIN = FineTuning()
DRAWN = {"class_order": [1, 2, 3]}
ENVIRONMENT = {"python": "3.11", "torch": "2.14.1", "machine": "x86_64"}


def experiment(method=AGS_CL, seed=0, **others):
    """One of the digits preset, whatever its results will look like."""
    settings = {"training": preset_named("digits").training, **others}
    return Experiment(preset="digits", method=method, seed=seed, **settings)


def accuracies(rng, tasks, loss):
    """Each task is learned well and loses a little with every other one."""
    learned = 0.9 + 0.1 * rng.random(tasks)
    return [[max(0.1, float(learned[j] - loss * (i - j) * rng.random())) for j in range(i + 1)] for i in range(tasks)]


def finished(task, name, row, *, rated, seconds):
    share = 0.8 * 0.93**task if rated else None
    return TaskFinished(
        task=task,
        name=name,
        epochs=40,
        accuracy=tuple(row),
        sparsity=share,
        used_capacity=None if task == 0 or not rated else 1 - share,
        memory_bytes=100_000 + 9_000 * task if rated else 0,
        regularization_bytes=2_400 if rated else 0,
        seconds=seconds,
    )


def ratings(rng, tasks, layers):
    """Nodes become important one task after the other; some of the others die."""
    for layer, count in layers.items():
        first = np.where(rng.random(count) < 0.15, tasks, rng.geometric(min(0.9, 3 / tasks), count) - 1)
        for task in range(tasks):
            frozen = first <= task
            dead = ~frozen & (rng.random(count) < 0.3)
            states = np.where(frozen, "frozen", np.where(dead, "dead", "free")).tolist()
            yield Rating(task, layer, (frozen * rng.random(count)).tolist(), states)


def write_run(path, asked=None, *, tasks=5, names=None, layers=None, complete=True):
    """Write a run folder with results drawn by the experiment's seed; returns its path."""
    asked = asked or experiment()
    rng = np.random.default_rng(asked.seed)
    rated = not isinstance(asked.method, FineTuning)
    names = names or [f"digits {2 * task} {2 * task + 1}" for task in range(tasks)]
    rows = accuracies(rng, tasks, 0.002 if rated else 0.15 / tasks)
    history = [
        finished(task, name, row, rated=rated, seconds=10 + float(rng.random()))
        for task, (name, row) in enumerate(zip(names, rows, strict=True))
    ]
    folder = RunFolder(path)
    path.mkdir(parents=True)
    folder.experiment.write_bytes(asked.to_json())
    if complete:
        folder.result.write_bytes(Result(asked, History(tuple(history)), DRAWN, ENVIRONMENT).to_json())
        if rated:
            table = nodes(ratings(rng, tasks, layers or {"trunk.0": 200, "trunk.2": 200, "trunk.4": 200}))
            write_table(folder.nodes, table)
    return path
