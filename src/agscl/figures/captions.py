"""What a figure was made from: which runs, seeds and settings, and what was left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agscl.experiments.groups import by_setting, groups
from agscl.experiments.kind import AnyResult
from agscl.experiments.records import IncompleteRun, StoredRun
from agscl.experiments.words import ONE_SEED, options, seeds, value_of_option


def provenance(results: Sequence[AnyResult]) -> Iterator[str]:
    """A line for each setting: how much of which preset was run, by which methods with which hyper-parameters.

    Methods have the names that commands and configurations give them.
    """
    for alike in by_setting(results):
        entries = groups(alike)
        methods = []
        for method in dict.fromkeys(group.method for group in entries):
            same = [group for group in entries if group.method == method]
            values = {name: [value_of_option(group.options[name]) for group in same] for name in same[0].options}
            shown = options({name: "|".join(dict.fromkeys(tried)) for name, tried in values.items()})
            of_seeds = " or ".join(dict.fromkeys(seeds(group.seeds) for group in same))
            methods.append(f"{f'{method} {shown}'.rstrip()} ({of_seeds})")
        single = list(dict.fromkeys(group.method for group in entries if len(group.seeds) == 1))
        alone = f" {ONE_SEED.capitalize()}: {', '.join(single)}." if single else ""
        yield f"{alike[0].experiment.preset}: {alike[0].scale_in_words()}. {'; '.join(methods)}.{alone}"


def left_out(runs: Sequence[StoredRun]) -> Iterator[str]:
    """A line that names the runs which are not complete, if there are any."""
    incomplete = [run for run in runs if isinstance(run, IncompleteRun)]
    if incomplete:
        shown = ", ".join(f"{run.folder.path} ({run.learned} of {run.tasks or '?'} tasks)" for run in incomplete)
        yield f"Incomplete, left out: {shown}."
