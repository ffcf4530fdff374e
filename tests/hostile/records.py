"""Records as someone would write them who knows their form: JSON with values in places where they do not belong."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

TOO_DEEP = "[" * 100_000
"""More than a parser that calls itself can follow."""

HUGE = "1" + "0" * 400
"""A number that no float holds."""

VALUES = ("null", "true", "-1", "0", "1.5", "1e999", str(2**64), HUGE, '""', '"NaN"', '"../../x"', "[]", "{}", "[[]]")
VALUES += ('["a"]', '{"a": 1}', TOO_DEEP, '"' + "x" * 10_000 + '"', '"\\ud800"', '"<script>"', "NaN", "Infinity")


@dataclass(frozen=True)
class Misfit:
    """One value of a record replaced, or one of its keys.

    Attributes:
        place: Which value, counted over the whole tree, around if it is too large.
        text: JSON that takes its place.
        key: Whether its name is replaced instead, if it has one.
    """

    place: int
    text: str
    key: bool

    def __call__(self, content: bytes) -> bytes:
        record = json.loads(content)
        places = list(_places(record))
        container, name = places[self.place % len(places)]
        if self.key and isinstance(container, dict):
            container[self.text[:20]] = container.pop(name)
            return json.dumps(record).encode()
        mark = "the value that is replaced"
        container[name] = mark
        return json.dumps(record).replace(json.dumps(mark), self.text).encode()


def _places(record: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(record, dict | list):
        for name in list(record) if isinstance(record, dict) else range(len(record)):
            yield record, name
            yield from _places(record[name])


misfits = st.builds(Misfit, st.integers(0, 2**20), st.sampled_from(VALUES), st.booleans())
