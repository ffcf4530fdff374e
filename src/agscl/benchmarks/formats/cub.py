"""CUB-200-2011: a folder of birds and the text files that say which image is what.

Classes come from the images' folders (``001.Black_footed_Albatross``), the split from
``train_test_split.txt``. Images keep the order of ``images.txt``, which the 80/20 split of the AGS-CL code
depends on.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from agscl.benchmarks.errors import DataError
from agscl.benchmarks.raw import RawSet
from agscl.benchmarks.regular import read_regular

from .decode import Sample, decoded
from .source import Source


def read_cub(source: Source) -> RawSet | None:
    """Read the images listed in ``images.txt``; square, from the middle of each."""
    split_file = source.find("train_test_split.txt")
    if split_file is None:
        return None
    folder = split_file.parent
    names = [name for _, name in _lines(folder / "classes.txt")]
    in_training = dict(_lines(split_file))
    labels = {name: label for label, name in enumerate(names)}
    samples = []
    for number, name in _lines(folder / "images.txt"):
        parts = PurePosixPath(name).parts
        if len(parts) != 2 or parts[0] not in labels or ".." in parts:  # noqa: PLR2004
            raise DataError(f"{folder / 'images.txt'}: {name!r} is not in a folder of a class")
        if in_training.get(number) not in ("0", "1"):
            raise DataError(f"{folder / 'train_test_split.txt'} does not say where image {number} belongs")
        samples.append(Sample(folder / "images" / name, labels[parts[0]], in_training[number] == "0"))
    return RawSet(tuple(names), source.shape, len(samples), decoded(samples, source.shape, fit="crop"))


def _lines(path: Path) -> list[tuple[str, str]]:
    """Number and value of every line."""
    try:
        pairs = [line.split() for line in read_regular(path).decode().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is missing or not text: {error}") from error
    if any(len(pair) != 2 for pair in pairs):  # noqa: PLR2004
        raise DataError(f"{path} is damaged: each line should be a number and a value")
    return [(number, value) for number, value in pairs]
