"""Matrices as heat maps."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from .axes import task_ticks
from .colours import ink_on, viridis
from .svg import WIDTH, add, drawing, markup, write

NUMBERED = 12
"""Most tasks for which a matrix has its numbers written into it."""


def matrix(label: str, values: Sequence[Sequence[float]], darkest: float) -> Markup:
    """A lower triangle of accuracies in percent: a row after each task, a column for each task.

    Args:
        label: Says what is drawn.
        values: The rows, each one longer than the one before.
        darkest: The percentage that is darkest; 100 is lightest.
    """
    tasks = len(values)
    left, top = 44.0, 26.0
    side = (WIDTH - left - 4) / tasks
    height = min(side, 40.0)
    gap = 1.0 if side > 10 else 0.3  # noqa: PLR2004
    root = drawing(top + height * tasks + 4, label)
    write(root, left, 9, "accuracy on task", class_="tick")
    turned = f"translate(10,{top + height * tasks:.0f})rotate(-90)"
    write(root, 0, 0, "after task", class_="tick", transform=turned)
    for number in task_ticks(tasks):
        write(root, left + side * (number - 0.5), 22, str(number), class_="tick", text_anchor="middle")
        write(root, left - 6, top + height * (number - 0.5) + 3.5, str(number), class_="tick", text_anchor="end")
    for row, accuracies in enumerate(values):
        for column, value in enumerate(accuracies):
            x, y, colour = left + side * column, top + height * row, viridis((value - darkest) / (100 - darkest))
            add(root, "rect", x=x, y=y, width=side - gap, height=height - gap, fill=colour)
            if tasks <= NUMBERED:
                centre, ink = x + (side - gap) / 2, f"in-{ink_on(colour)}"
                write(root, centre, y + height / 2 + 3.5, f"{value:.0f}", class_=ink, text_anchor="middle")
    return markup(root)
