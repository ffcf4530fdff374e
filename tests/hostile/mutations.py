"""Files as an attacker or a bad disk would leave them: cut, overwritten, lengthened, or noise."""

import struct
from dataclasses import dataclass

from hypothesis import strategies as st

SIZES = (-1, 0, 1, 2**7, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1)
"""Numbers that a header may announce."""

TEXTS = (b"", b"-1", b"0", b"1e999", b"999999999999", b"NaN", b"null", b"[]", b"{}", b'"', b"\\", b"\0", b"..", b"/")


@dataclass(frozen=True)
class Edit:
    """Some bytes of a file replaced.

    Attributes:
        place: First byte replaced, counted from the end if it is negative, and around if it is too large.
        length: How many bytes; a negative number means all that follow.
        piece: What takes their place.
    """

    place: int
    length: int
    piece: bytes

    def __call__(self, content: bytes) -> bytes:
        start = self.place % (len(content) + 1)
        stop = len(content) if self.length < 0 else start + self.length
        return content[:start] + self.piece + content[stop:]


def packed(number: int, code: str) -> bytes:
    """A number as a header has it."""
    width = 8 * struct.calcsize(code)
    return struct.pack(code, number % 2**width)


def _replacement(place: int, piece: bytes) -> Edit:
    return Edit(place, len(piece), piece)


numbers = st.builds(packed, st.sampled_from(SIZES), st.sampled_from(("<H", ">H", "<I", ">I", "<Q", ">Q")))
pieces = st.one_of(numbers, st.sampled_from(TEXTS), st.binary(min_size=1, max_size=8))
places = st.one_of(st.integers(0, 300), st.integers(-300, -1), st.integers(0, 2**20))

replacements = st.builds(_replacement, places, pieces)
insertions = st.builds(Edit, places, st.integers(0, 32), pieces)
cuts = st.builds(Edit, places, st.just(-1), st.just(b""))
noise = st.builds(Edit, st.integers(0, 16), st.just(-1), st.binary(max_size=200))

damage = st.one_of(
    st.lists(replacements, min_size=1, max_size=4),
    st.lists(insertions, min_size=1, max_size=4),
    st.tuples(cuts | noise),
)
"""Edits to be made one after the other."""


def damaged(content: bytes, edits: list[Edit] | tuple[Edit]) -> bytes:
    """The content after all edits."""
    for edit in edits:
        content = edit(content)
    return content
