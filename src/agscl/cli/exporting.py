"""What ``agscl export`` does: load a run's final state, export it, and show what it costs now."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from agscl.experiments import Experiment
from agscl.experiments.export import Exported, export
from agscl.experiments.states import State
from agscl.experiments.supervised.run import LoadedRun, load_run
from agscl.runs import RunFolder


def export_run(path: Path, task: str, out: Path, data_root: Path | None) -> None:
    """Export the sub-network of one task, or of all, from a run folder.

    Raises:
        ValueError: If there is no such task, or the folder holds no finished run that can be exported.
        OSError: If a file cannot be read or written.
    """
    folder = RunFolder(path)
    folder.require_complete()
    loaded = load_run(Experiment.from_json(folder.experiment.read_bytes()), data_root)
    tasks = _tasks(task, len(loaded.sequence.tasks))
    State.read(folder.state).restore(loaded.learner.model, loaded.learner.guard)
    _show(export(loaded, tasks, out), loaded, out)


def _tasks(text: str, count: int) -> list[int]:
    if text == "all":
        return list(range(count))
    if not text.isdecimal() or int(text) >= count:
        raise ValueError(f"--task must be all or a number from 0 to {count - 1}, not {text!r}")
    return [int(text)]


def _show(exported: Exported, loaded: LoadedRun, out: Path) -> None:
    table = Table("", "before", "after", "ratio")
    before, after = exported.before, exported.after
    for name, was, now, form in [
        ("parameters", before.parameters, after.parameters, "{:,}"),
        ("FLOPs of an answer", before.flops, after.flops, "{:,}"),
        ("bytes", before.state_bytes, after.state_bytes, "{:,}"),
        ("ms an answer", 1e3 * before.latency_seconds, 1e3 * after.latency_seconds, "{:.2f}"),
        ("ms a batch of 256", 1e3 * before.batch_seconds, 1e3 * after.batch_seconds, "{:.2f}"),
    ]:
        table.add_row(name, form.format(was), form.format(now), f"{now / was:.2f}")
    console, total = Console(highlight=False), loaded.learner.guard.graph.num_nodes
    console.print(table)
    kept = sum(len(nodes) for nodes in exported.layers.values())
    difference = max(exported.differences.values())
    console.print(f"{kept} of {total} nodes; logits on the test data differ by at most {difference:.1g}")
    console.print(f"{', '.join([*exported.differences, 'model.json'])} in {out}", soft_wrap=True, markup=False)
