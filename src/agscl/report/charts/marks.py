"""What tells methods apart in a drawing: colour, marker and dashes of their look."""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree.ElementTree import Element

from markupsafe import Markup

from agscl.figures.palette import SHADES, Look

from .svg import add, markup

_MARKERS = {
    "o": "M-1,0A1,1 0 1 1 1,0A1,1 0 1 1 -1,0Z",
    "s": "M-.9,-.9H.9V.9H-.9Z",
    "^": "M0,-1.15L1.05,.75H-1.05Z",
    "v": "M0,1.15L1.05,-.75H-1.05Z",
    "<": "M-1.15,0L.75,-1.05V1.05Z",
    ">": "M1.15,0L-.75,-1.05V1.05Z",
    "D": "M0,-1.25L1.25,0L0,1.25L-1.25,0Z",
    "d": "M0,-1.35L.8,0L0,1.35L-.8,0Z",
    "P": "M-.4,-1.15H.4V-.4H1.15V.4H.4V1.15H-.4V.4H-1.15V-.4H-.4Z",
    "X": "M-.53,-1.1L0,-.57L.53,-1.1L1.1,-.53L.57,0L1.1,.53L.53,1.1L0,.57L-.53,1.1L-1.1,.53L-.57,0L-1.1,-.53Z",
    "p": "M0,-1.15L1.09,-.36L.68,.93H-.68L-1.09,-.36Z",
    "h": "M0,-1.15L1,-.58V.58L0,1.15L-1,.58V-.58Z",
    "H": "M-1.15,0L-.58,-1H.58L1.15,0L.58,1H-.58Z",
    "8": "M-.42,-1.02H.42L1.02,-.42V.42L.42,1.02H-.42L-1.02,.42V-.42Z",
    "*": "M0,-1.35L.31,-.42L1.28,-.42L.5,.16L.79,1.09L0,.52L-.79,1.09L-.5,.16L-1.28,-.42L-.31,-.42Z",
}
"""Paths by the names that matplotlib gives the shapes, about one unit in radius."""

_DASHES = {"--": "5 3", ":": "1.5 2.5", "-.": "6 2.5 1.5 2.5"}


def colour_class(look: Look) -> str:
    """The class that has the colour of a look."""
    return f"s{SHADES.index(look.shade)}"


def marker(root: Element, look: Look, x: float, y: float, size: float = 3.2) -> None:
    """Draw the marker of a look."""
    turned = f"translate({x:.1f},{y:.1f})scale({size:g})"
    add(root, "path", d=_MARKERS[look.marker], transform=turned, class_=f"marker {colour_class(look)}")


def stroke(root: Element, look: Look, path: str) -> None:
    """Draw a line in the colour and dashes of a look."""
    dashes = {"stroke_dasharray": _DASHES[look.dashes]} if look.dashes in _DASHES else {}
    add(root, "path", d=path, class_=f"line {colour_class(look)}", **dashes)


def swatch(look: Look) -> Markup:
    """A short piece of a line, for the key."""
    root = Element("svg", {"viewBox": "0 0 30 12", "aria-hidden": "true", "class": "swatch"})
    stroke(root, look, "M1,6H29")
    marker(root, look, 15, 6)
    return markup(root)


def key_of(looks: Iterable[Look]) -> list[tuple[Markup, str]]:
    """The key of a chart."""
    return [(swatch(look), look.title) for look in looks]
