"""``agscl reproduce``: the runs of a plan, as far as the time goes; what is done, running, missing."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from agscl.experiments import Overrides
from agscl.experiments.kind import AnyExperiment
from agscl.experiments.words import NOTHING, percent
from agscl.runs.machine import Compute
from agscl.sweeps.engine import do_all
from agscl.sweeps.reproduction import PLANS, Planned, Reproduction, RunPlan, plan_named, seconds_of

from .console import Output, table
from .engines import engine_of


def run(arguments: argparse.Namespace) -> int:
    """List plans or the runs of one, or do what is open of it.

    Returns:
        0, or 1 if a run failed or its folder holds another one.
    """
    output = Output()
    if arguments.plan is None:
        if not arguments.list:
            raise ValueError(f"which plan? There are: {', '.join(PLANS)} (agscl reproduce --list)")
        _show_plans(output, as_json=arguments.json)
        return 0
    seconds = None if arguments.budget is None else seconds_of(arguments.budget)
    engine = None if arguments.list else engine_of(arguments)
    found = [Planned.found(wanted, arguments.out, arguments.data_root) for wanted in _wanted(arguments)]
    if engine is not None:
        work = Reproduction(found, Output(stderr=True).say, seconds)
        with engine as running:
            do_all(work, running)
        found = list(work.runs.values())
        if work.over:
            Output(stderr=True).say(f"the time is over ({arguments.budget}): the same command goes on")
    _show(output, found, as_json=arguments.json)
    return int(not arguments.list and any(run.status in ("failed", "foreign") for run in found))


def _wanted(arguments: argparse.Namespace) -> list[AnyExperiment]:
    plan: RunPlan = plan_named(arguments.plan)
    if arguments.seeds is not None:
        if arguments.seeds < 1:
            raise ValueError(f"--seeds must be at least 1, got {arguments.seeds}")
        plan = replace(plan, seeds=arguments.seeds)
    compute = Compute(device=arguments.device, precision=arguments.precision)
    methods = None if arguments.methods is None else arguments.methods.split(",")
    return plan.runs(methods, Overrides(epochs=arguments.epochs, compute=compute))


def _show(output: Output, runs: Sequence[Planned], *, as_json: bool) -> None:
    """Every run with its status, and how many there are of each."""
    if as_json:
        output.data([_record(run) for run in runs])
        return
    rows = [
        [
            run.experiment.preset,
            run.experiment.method_name,
            str(run.experiment.seed),
            run.status,
            NOTHING if run.accuracy is None else percent(run.accuracy),
            run.note,
        ]
        for run in runs
    ]
    heads = ["preset", "method", "seed", "status", "average accuracy %", "note"]
    output.show(table(heads, rows, left=2))
    counts = Counter(run.status for run in runs)
    output.say(", ".join(f"{number} {status}" for status, number in counts.items()))


def _record(run: Planned) -> dict[str, object]:
    about = {"preset": run.experiment.preset, "method": run.experiment.method_name, "seed": run.experiment.seed}
    return {**about, "folder": str(run.folder.path), "status": run.status, "note": run.note, "accuracy": run.accuracy}


def _show_plans(output: Output, *, as_json: bool) -> None:
    rows = [[name, str(len(plan.runs())), str(plan.seeds), plan.description] for name, plan in PLANS.items()]
    if as_json:
        output.data([dict(zip(("plan", "runs", "seeds", "description"), row, strict=True)) for row in rows])
    else:
        output.show(table(["plan", "runs", "seeds", "what"], rows))
