"""What ``agscl export`` does: load a run's final state, export it, and show what it costs now."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from agscl.experiments import Experiment
from agscl.experiments.export import Exported, export
from agscl.experiments.run import LoadedRun, load_run
from agscl.runs import RunFolder


def export_run(path: Path, task: str, out: Path, data_root: Path | None) -> None:
    """Export the sub-network of one task, or of all, from a run folder.

    Raises:
        ValueError: If there is no such task, or the folder holds no finished run that can be exported.
        OSError: If a file cannot be read or written.
    """
    folder = RunFolder(path)
    if not folder.experiment.exists():
        raise ValueError(f"{path} holds no run: there is no experiment.json in it")
    if not folder.result.exists():
        raise ValueError(f"{path} is incomplete: let the run finish (agscl run ... --resume) before it is exported")
    loaded = load_run(Experiment.from_json(folder.experiment.read_bytes()), data_root)
    tasks = _tasks(task, len(loaded.sequence.tasks))
    _restore(loaded, folder)
    _show(export(loaded, tasks, out), loaded, out)


def _tasks(text: str, count: int) -> list[int]:
    if text == "all":
        return list(range(count))
    if not text.isdecimal() or int(text) >= count:
        raise ValueError(f"--task must be all or a number from 0 to {count - 1}, not {text!r}")
    return [int(text)]


def _restore(loaded: LoadedRun, folder: RunFolder) -> None:
    """Put model and guard into the run's final state."""
    try:
        state = load_file(folder.state)
        loaded.learner.model.load_state_dict(_under("model.", state))
        loaded.learner.guard.load_state_dict(_under("guard.", state))
    except (SafetensorError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise ValueError(f"{folder.state} is damaged or does not fit the run: {reason}") from error


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


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
