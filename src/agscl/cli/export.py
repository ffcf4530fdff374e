"""``agscl export``: the compact sub-network that serves one task or all."""

from __future__ import annotations

import argparse

from agscl.experiments.export import export
from agscl.experiments.records import read_supervised
from agscl.experiments.states import State
from agscl.experiments.supervised.run import load_run
from agscl.runs import RunFolder

from .console import Output, table


def run(arguments: argparse.Namespace) -> int:
    """Load a run's final state, export it, and show what it costs now; returns 0."""
    folder = RunFolder(arguments.folder)
    loaded = load_run(read_supervised(folder).result.experiment, arguments.data_root)
    tasks = _tasks(arguments.task, len(loaded.sequence.tasks))
    State.read(folder.state).restore(loaded.learner.model, loaded.learner.guard)
    exported = export(loaded, tasks, arguments.out)
    before, after = exported.before, exported.after
    rows = [
        [name, form.format(was), form.format(now), f"{now / was:.2f}"]
        for name, was, now, form in [
            ("parameters", before.parameters, after.parameters, "{:,}"),
            ("FLOPs of an answer", before.flops, after.flops, "{:,}"),
            ("bytes", before.state_bytes, after.state_bytes, "{:,}"),
            ("ms an answer", 1e3 * before.latency_seconds, 1e3 * after.latency_seconds, "{:.2f}"),
            ("ms a batch of 256", 1e3 * before.batch_seconds, 1e3 * after.batch_seconds, "{:.2f}"),
        ]
    ]
    output = Output()
    output.show(table(["", "before", "after", "ratio"], rows))
    kept, nodes = sum(map(len, exported.layers.values())), loaded.learner.guard.graph.num_nodes
    difference = max(exported.differences.values())
    output.say(f"{kept} of {nodes} nodes; logits on the test data differ by at most {difference:.1g}")
    output.say(f"{', '.join([*exported.differences, 'model.json'])} in {arguments.out}")
    return 0


def _tasks(text: str, count: int) -> list[int]:
    if text == "all":
        return list(range(count))
    if not text.isdecimal() or int(text) >= count:
        raise ValueError(f"--task must be all or a number from 0 to {count - 1}, not {text!r}")
    return [int(text)]
