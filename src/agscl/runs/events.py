"""Events of a run, and the loggers that take them; the same for runs of every kind."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import Field, asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from .files import naming


class NamedEvent(Protocol):
    """A dataclass with a name for its records.

    Attributes:
        event: The name.
    """

    event: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


E = TypeVar("E")
E_contra = TypeVar("E_contra", contravariant=True)


class Logger(Protocol[E_contra]):
    """Somewhere that events go: a file, a terminal, a tracking service."""

    def emit(self, event: E_contra, /) -> None:
        """Take one event."""


def emit(loggers: Iterable[Logger[E]], event: E) -> None:
    """Give an event to every logger."""
    for logger in loggers:
        logger.emit(event)


def as_record(event: NamedEvent) -> dict[str, object]:
    """An event as a flat JSON object: its name as ``event``, then its fields."""
    return {"event": event.event, **asdict(event)}


@dataclass(frozen=True)
class JsonLines:
    """A logger that appends each event to a file at once, so that a run that dies leaves all that happened.

    Attributes:
        path: The file; created by the first event.
    """

    path: Path

    def emit(self, event: NamedEvent) -> None:
        """Append one line; an error of the disk names the file."""
        with naming(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(as_record(event)) + "\n")
