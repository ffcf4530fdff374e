"""Omniglot's folders: ``images_background`` and ``images_evaluation``, one folder per alphabet and character.

Ink is dark in the originals and bright in the cache, as in MNIST. Each class is a character, named
``Alphabet/characterNN``; there is no official split, all images of the 50 alphabets are kept together.
"""

from __future__ import annotations

from agscl.benchmarks.errors import DataError
from agscl.benchmarks.raw import RawSet

from .decode import Sample, decoded
from .source import Source
from .walk import is_image

HALVES = ("images_background", "images_evaluation")


def read_omniglot(source: Source) -> RawSet | None:
    """Read both halves, 30 and 20 alphabets in the original."""
    halves = [source.find(name) for name in HALVES]
    if all(half is None for half in halves):
        return None
    alphabets = sorted(
        (alphabet for name in HALVES for alphabet in source.need(name).iterdir() if alphabet.is_dir()),
        key=lambda alphabet: alphabet.name,
    )
    characters = [
        (alphabet, character)
        for alphabet in alphabets
        for character in sorted(alphabet.iterdir())
        if character.is_dir()
    ]
    samples = [
        Sample(path, label, is_test=False)
        for label, (_, character) in enumerate(characters)
        for path in sorted(filter(is_image, character.iterdir()))
    ]
    if not samples:
        raise DataError(f"{source.path} holds no characters")
    names = tuple(f"{alphabet.name}/{character.name}" for alphabet, character in characters)
    return RawSet(names, source.shape, len(samples), decoded(samples, source.shape, invert=True))
