"""One name, colour, marker and dash for each method: in figures, on the page of a report, and in the picture of a run.

The colours are after Okabe and Ito (2008), darker or lighter where the paper asks for it; markers and dashes tell
methods apart without them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import cycle, product
from typing import NamedTuple


class Shade(NamedTuple):
    """One colour, as it is on light and on dark paper: a contrast of 3 at least to either."""

    light: str
    dark: str


class Look(NamedTuple):
    """How a method is drawn, and what it is called: markers and dashes have matplotlib's names."""

    title: str
    shade: Shade
    marker: str
    dashes: str = "-"

    @property
    def color(self) -> str:
        """Its colour in print."""
        return self.shade.light


LOOKS: Mapping[str, Look] = {
    "ags-cl": Look("AGS-CL", Shade("#d55e00", "#ff8b45"), "o"),
    "gated-ags-cl": Look("gated AGS-CL", Shade("#b3123f", "#ff7f9d"), "o", "--"),
    "ewc": Look("EWC", Shade("#0067b0", "#5ab0ee"), "s"),
    "si": Look("SI", Shade("#00835f", "#2fc79a"), "^"),
    "rwalk": Look("RWalk", Shade("#a87000", "#f0b72f"), "D"),
    "mas": Look("MAS", Shade("#a94a86", "#e79cc6"), "v"),
    "hat": Look("HAT", Shade("#0091ad", "#5fdcf0"), "P"),
    "lwf": Look("LwF", Shade("#6f7a00", "#c3cc4f"), "X"),
    "wsn": Look("WSN", Shade("#7048a8", "#c4adff"), "p"),
    "packnet": Look("PackNet", Shade("#2f6b3a", "#86d694"), "s", "--"),
    "gpm": Look("GPM", Shade("#8a4b08", "#e0a458"), "^", "--"),
    "fine-tuning": Look("fine-tuning", Shade("#6b727d", "#a3adba"), "<", "--"),
    "joint": Look("joint", Shade("#1c1e22", "#f1f3f5"), ">", ":"),
    "single-task": Look("single task", Shade("#7a4a30", "#c98f6c"), "*", "-."),
}
"""By the method's name."""

_OTHER_SHADES = (
    Shade("#c1272d", "#ff7078"),
    Shade("#3a44d0", "#7f8bff"),
    Shade("#3f6212", "#7fd44a"),
    Shade("#d01c8b", "#ff5fc4"),
)

OTHERS = tuple(
    Look("", shade, marker, dashes)
    for dashes, (shade, marker) in product(("-", "--", ":"), zip(_OTHER_SHADES, "hd8H", strict=True))
)
"""Looks of what is no method, or is a method again with other hyper-parameters."""

SHADES = (*(look.shade for look in LOOKS.values()), *_OTHER_SHADES)
"""Every colour once."""


def looks(labels: Iterable[str]) -> dict[str, Look]:
    """A look for each label of a group: the method's own for the first of its name, other ones for the rest.

    >>> [look.title for look in looks(["ags-cl mu=10", "ewc", "my-method"]).values()]
    ['AGS-CL mu=10', 'EWC', 'my-method']
    """
    chosen: dict[str, Look] = {}
    methods, others = dict(LOOKS), cycle(OTHERS)
    for label in dict.fromkeys(labels):
        look = methods.pop(label.partition(" ")[0], None) or next(others)
        chosen[label] = look._replace(title=title_of(label))
    return chosen


def title_of(label: str) -> str:
    """What people call the group of a label, which starts with the name of its method.

    >>> title_of("single-task"), title_of("ags-cl mu=10")
    ('single task', 'AGS-CL mu=10')
    """
    name, _, options = label.partition(" ")
    return f"{LOOKS[name].title if name in LOOKS else name} {options}".rstrip()
