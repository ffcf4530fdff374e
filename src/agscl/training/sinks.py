"""Where events go without a terminal: a file of one JSON object a line."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .events import as_record

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@dataclass(frozen=True)
class JsonLines:
    """Appends each event to a file at once, so that a run that dies leaves all that happened.

    Attributes:
        path: The file; created by the first event.
    """

    path: Path

    def emit(self, event: DataclassInstance) -> None:
        """Append one line."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(as_record(event)) + "\n")
