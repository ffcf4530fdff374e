"""``agscl sweep``: search the values of every method by the same rule, then report them on other seeds."""

from __future__ import annotations

import argparse
import json

from agscl.extras import require
from agscl.sweeps.conduct import conduct, planned
from agscl.sweeps.folder import SweepFolder
from agscl.sweeps.plan import require_validation, sweep_of
from agscl.sweeps.record import HEADS, SweepRecord

from .compare import options_of
from .console import Output, table
from .engines import engine_of
from .run import choice_of, folder_for, held, method_options_in, overrides_from


def run(arguments: argparse.Namespace) -> int:
    """Do the sweep, or what is left of it, and show its table.

    Returns:
        0, or 1 if a method has no values or no result on one of the seeds.
    """
    require("optuna", extra="sweep")
    engine = engine_of(arguments)
    choice = choice_of(arguments.preset, arguments)
    require_validation(choice.preset, choice.name)
    names = list(choice.preset.tuned)
    if arguments.methods is not None:
        names = list(dict.fromkeys(arguments.methods.split(",")))
    asked = ("protocol", "tune_tasks", "tune_on", "trials", "tune_seeds", "report_seeds", "seed")
    options = options_of(names, method_options_in(arguments), choice.name)
    overrides = overrides_from(arguments)
    sweep = sweep_of(choice, overrides, names, options, **{name: getattr(arguments, name) for name in asked})
    place, told = folder_for(arguments, choice.name), Output(stderr=True)
    folder, resume, data_root = SweepFolder(place.path), arguments.resume, arguments.data_root
    with held(place, several=False), planned(sweep, folder, resume=resume, data_root=data_root) as plan:
        told.say(f"{choice.name}: {plan.label}")
        with engine as running:
            record = conduct(plan, folder, running, told.say)
    _show(record, folder, as_json=arguments.json)
    return int(any(row.failures or row.values is None for row in record.report))


def _show(record: SweepRecord, folder: SweepFolder, *, as_json: bool) -> None:
    output = Output()
    if as_json:
        output.data(json.loads(record.to_json()))
        return
    output.show(table(HEADS, [row.cells() for row in record.report], title=record.title, left=2))
    for line in (*record.notes, f"sweep: {folder.path}; run and compare take --tuned {folder.best}"):
        output.say(line)
