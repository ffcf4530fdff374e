"""The report: one HTML page that needs nothing else, from run folders.

A chapter for each sweep and each benchmark, made of the sections in `agscl.report.sections`, then a card for each run.
Runs of a kind without sections have their card.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from agscl.experiments.records import IncompleteRun, StoredRun
from agscl.figures.palette import SHADES
from agscl.sweeps.record import SweepRecord

from .blocks import Section
from .chapters import benchmarks
from .run_cards import card
from .search import sections
from .sections import SECTIONS


class Chapter(NamedTuple):
    """One benchmark on the page."""

    title: str
    description: str
    sections: Sequence[Section]


def page(runs: Sequence[StoredRun], sweeps: Sequence[SweepRecord] = ()) -> bytes:
    """The report of some runs, as HTML.

    Args:
        runs: Those that the page is about.
        sweeps: Searches, a chapter each before those of the runs.

    Raises:
        ValueError: If a table of nodes or of evaluations is damaged.
    """
    repeats = []
    chapters = [Chapter(f"{one.plan.sweep.preset}: search", f"{one.plan.label}.", sections(one)) for one in sweeps]
    for kind, of_kind in SECTIONS.items():
        for benchmark in benchmarks(run for run in runs if isinstance(run, kind)):
            made = [section for make in of_kind if (section := make(benchmark)) is not None]
            chapters.append(Chapter(benchmark.name, benchmark.description, made))
            repeats += [run.folder.path for run in benchmark.repeats]
    environment = Environment(
        loader=PackageLoader("agscl.report"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = environment.get_template("page.css").render(shades=SHADES)
    script = environment.get_template("page.js").render()
    content = environment.get_template("page.html").render(
        chapters=chapters,
        cards=[card(run, repeats=run.folder.path in repeats) for run in runs],
        incomplete=sum(isinstance(run, IncompleteRun) for run in runs),
        style=Markup(style),
        script=Markup(script),
        policy=_policy(style, script),
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=version("agscl"),
    )
    return content.encode(errors="replace")  # the name of a folder may be no text


def _policy(style: str, script: str) -> str:
    """Nothing is loaded, and no style or script runs but the page's own."""
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    allowed = "style-src 'sha256-{}'; script-src 'sha256-{}'".format(*hashes)
    return f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"
