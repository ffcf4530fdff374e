"""What a reader came across besides good images: counted by reason, with the first names, and said in one line."""

from __future__ import annotations

from dataclasses import dataclass, field

NAMED = 3
"""Names given with each reason, at most."""


@dataclass
class Found:
    """What was left out and what was changed, by reason.

    Example:
        >>> found = Found()
        >>> found.leave_out("hidden", ".thumbs")
        >>> found.remark("put on white", "dog/1.png")
        >>> found.lines()
        ['left out: 1 hidden (.thumbs)', '1 put on white (dog/1.png)']

    Attributes:
        left: Names of what was left out, by reason.
        remarks: Names of images that were changed or look odd, by what was done to them.
        smallest: Least width and height of the originals; `None` while there are none.
        largest: Largest width and height.
        said: Lines that are whole already.
    """

    left: dict[str, list[str]] = field(default_factory=dict)
    remarks: dict[str, list[str]] = field(default_factory=dict)
    smallest: tuple[int, int] | None = None
    largest: tuple[int, int] | None = None
    said: list[str] = field(default_factory=list)

    def leave_out(self, reason: str, name: str) -> None:
        """Count something that is not used."""
        self.left.setdefault(reason, []).append(name)

    def remark(self, what: str, name: str) -> None:
        """Count an image that is used and that somebody should know about."""
        self.remarks.setdefault(what, []).append(name)

    def measured(self, width: int, height: int) -> None:
        """Take the size of an original into account."""
        least, most = self.smallest or (width, height), self.largest or (width, height)
        self.smallest = (min(least[0], width), min(least[1], height))
        self.largest = (max(most[0], width), max(most[1], height))

    def lines(self) -> list[str]:
        """All of it, a line for the sizes, a line for what was left out, a line for each remark."""
        lines = list(self.said)
        if self.smallest is not None and self.largest is not None:
            least, most = ("x".join(map(str, size)) for size in (self.smallest, self.largest))
            lines.append(f"originals of {least}" + (f" to {most}" if most != least else "") + " pixels")
        if self.left:
            lines.append("left out: " + ", ".join(_counted(*entry) for entry in self.left.items()))
        return [*lines, *(_counted(*entry) for entry in self.remarks.items())]


def _counted(reason: str, names: list[str]) -> str:
    """How many there are of a reason, and which."""
    shown = ", ".join([*names[:NAMED], *(["..."] if len(names) > NAMED else [])])
    return f"{len(names):,} {reason} ({shown})"
