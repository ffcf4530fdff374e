"""The page's colours, in one place: scales that colour-blind readers and greyscale prints keep apart."""

from __future__ import annotations

from typing import NamedTuple

VIRIDIS = (
    *("#440154", "#482475", "#414487", "#355f8d", "#2a788e", "#21918c"),
    *("#22a884", "#44bf70", "#7ad151", "#bddf26", "#fde725"),
)
"""Eleven evenly spaced colours of matplotlib's viridis: even in lightness, from dark to light."""


class Shade(NamedTuple):
    """One colour, as it is on light and on dark paper."""

    light: str
    dark: str


SERIES = (
    Shade("#0067b0", "#5ab0ee"),
    Shade("#d55e00", "#ff8b45"),
    Shade("#00835f", "#2fc79a"),
    Shade("#a94a86", "#e79cc6"),
    Shade("#a87000", "#f0b72f"),
    Shade("#5f6773", "#a3adba"),
)
"""Colours of methods, after Okabe and Ito (2008), darker or lighter where the paper asks for it."""


def viridis(share: float) -> str:
    """The colour at a place from 0 (dark) to 1 (light) on the scale."""
    place = min(max(share, 0.0), 1.0) * (len(VIRIDIS) - 1)
    low = min(int(place), len(VIRIDIS) - 2)
    pairs = zip(_channels(VIRIDIS[low]), _channels(VIRIDIS[low + 1]), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * (place - low)):02x}" for a, b in pairs)


def task_colour(task: int, tasks: int) -> str:
    """The colour of a task by its place in the sequence; the ends of the scale would vanish on black or white."""
    return viridis(0.12 + 0.82 * task / max(tasks - 1, 1))


def ink_on(colour: str) -> str:
    """Black or white, whichever can be read better on a colour: a contrast of 4.5 at least.

    Source: relative luminance and contrast as in WCAG 2.2.
    """
    red, green, blue = (_linear(channel / 255) for channel in _channels(colour))
    return "black" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 else "white"  # noqa: PLR2004


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4  # noqa: PLR2004


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
