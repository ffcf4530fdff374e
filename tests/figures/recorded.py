"""Made-up runs for tests of figures and tables: written to folders as real runs are."""

from pathlib import Path

from agscl.experiments import Experiment, Result
from agscl.methods import AGSCL, FineTuning
from agscl.runs import RunFolder
from agscl.runs.files import write_bytes
from agscl.training import History, TaskFinished, Training

FULL = AGSCL(mu=10.0, lam=400.0)
PLAIN = FineTuning()
SHORT = Training(epochs=2)


def result(method=FULL, seed=0, accuracy=((0.9,), (0.8, 1.0)), *, preset="digits", training=SHORT):
    """A result with the given rows of accuracies."""
    rates = isinstance(method, AGSCL)
    tasks = tuple(
        TaskFinished(
            task=number,
            name=f"t{number}",
            epochs=2,
            accuracy=tuple(row),
            sparsity=max(0.0, 0.5 - 0.1 * number) if rates else None,
            used_capacity=min(1.0, 0.1 * number) if number else None,
            memory_bytes=4000 if rates else 0,
            regularization_bytes=400 if rates else 0,
            seconds=1.5,
        )
        for number, row in enumerate(accuracy)
    )
    experiment = Experiment(preset=preset, method=method, training=training, seed=seed)
    return Result(experiment, History(tasks), {"tasks": len(tasks), "tasks_in_full": 5}, {"agscl": "0"})


def write(folder: Path, *results):
    """A folder for each result, as a run leaves it; gives their paths."""
    paths = []
    for number, found in enumerate(results):
        run = RunFolder(folder / f"run-{number}")
        _begin(run, found.experiment)
        write_bytes(run.result, found.to_json())
        paths.append(run.path)
    return paths


def write_incomplete(folder: Path, experiment, learned=1):
    """A run that stopped after some tasks."""
    run = RunFolder(folder / "incomplete")
    _begin(run, experiment)
    lines = ['{"event": "TaskStarted", "task": 0, "tasks": 5}', *['{"event": "TaskFinished"}'] * learned]
    run.events.write_text("\n".join(lines))
    return run.path


def _begin(run: RunFolder, experiment: Experiment) -> None:
    run.path.mkdir(parents=True)
    write_bytes(run.experiment, experiment.to_json())
