"""Scales of colours that colour-blind readers and greyscale prints keep apart."""

from __future__ import annotations

VIRIDIS = (
    *("#440154", "#482475", "#414487", "#355f8d", "#2a788e", "#21918c"),
    *("#22a884", "#44bf70", "#7ad151", "#bddf26", "#fde725"),
)
"""Eleven evenly spaced colours of matplotlib's viridis: even in lightness, from dark to light."""


def viridis(share: float) -> str:
    """The colour at a share from 0 (dark) to 1 (light) of the scale.

    >>> viridis(0), viridis(0.05), viridis(1)
    ('#440154', '#461264', '#fde725')
    """
    position = min(max(share, 0.0), 1.0) * (len(VIRIDIS) - 1)
    low = min(int(position), len(VIRIDIS) - 2)
    pairs = zip(*map(_channels, VIRIDIS[low : low + 2]), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * (position - low)):02x}" for a, b in pairs)


def task_colour(task: int, tasks: int) -> str:
    """The colour of a task by its position in the sequence; the ends of the scale would vanish on black or white."""
    return viridis(0.12 + 0.82 * task / max(tasks - 1, 1))


def ink_on(colour: str) -> str:
    """Black or white, whichever can be read better on a colour: a contrast of 4.5 at least.

    Source: relative luminance and contrast as in WCAG 2.2.
    """
    shares = [channel / 255 for channel in _channels(colour)]
    red, green, blue = (s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares)  # noqa: PLR2004
    return "black" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 else "white"  # noqa: PLR2004


def _channels(colour: str) -> bytes:
    return bytes.fromhex(colour.removeprefix("#"))
