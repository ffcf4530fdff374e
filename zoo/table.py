"""The table of the node graph's page: what is traced, whether it obeys the law, and how much of it stays plastic."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "node-graph.md"
BEGIN, END = "<!-- zoo: written by `make zoo` -->", "<!-- end of zoo -->"


@dataclass(frozen=True)
class Row:
    """What was found of one model.

    Attributes:
        family: Where it comes from.
        name: Its name there.
        plastic: Largest share of its weights that can learn once a task is learned.
        refusal: Why it is refused; empty if it is not.
    """

    family: str
    name: str
    plastic: float = 0.0
    refusal: str = ""


def table(rows: list[Row]) -> str:
    """The table in Markdown: a line for each family and share of plastic weights, and one for what is refused."""
    grouped: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows:
        if not row.refusal:
            share = min(int(row.plastic * 10) * 10, 90)
            grouped[row.family, f"{share} % and more"].append(row.name)
    lines = ["| from | traced and lawful | stays plastic |", "|---|---|---|"]
    order = {family: number for number, family in enumerate(dict.fromkeys(row.family for row in rows))}
    for (family, share), names in sorted(
        grouped.items(), key=lambda line: (order[line[0][0]], -int(line[0][1].split()[0]))
    ):
        lines.append(f"| {family} | {', '.join(names)} | {share} |")
    refused = ", ".join(row.name for row in rows if row.refusal)
    return "\n".join([*lines, "", f"Refused by name: {refused}."])


def write(rows: list[Row]) -> None:
    """Put the table between its marks in the page."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    PAGE.write_text(f"{before}{BEGIN}\n{table(rows)}\n{END}{after}", encoding="utf-8")
