"""GTSRB's traffic signs: training folders with a CSV file each, test images with one CSV file.

Both layouts are read: the original one (``Final_Training/Images/00000/GT-00000.csv``) and the one that
torchvision downloads (``Training/00000``). Images are scaled to 32x32 as in the sequence of eight sets.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from agscl.benchmarks.errors import DataError
from agscl.benchmarks.raw import RawSet
from agscl.benchmarks.regular import require_regular

from .decode import Sample, decoded
from .source import Source

NUM_CLASSES = 43
TEST_TABLE = "GT-final_test.csv"


def read_gtsrb(source: Source) -> RawSet | None:
    """Read the training folders and the test images with their table of classes."""
    training = source.find("Final_Training") or source.find("Training")
    if training is None:
        return None
    folder = training / "Images" if (training / "Images").is_dir() else training
    samples = [
        Sample(path, label, False)
        for folder_of_class in sorted(folder.glob("[0-9]" * 5))
        for path, label in _table(folder_of_class / f"GT-{folder_of_class.name}.csv", folder_of_class)
    ]
    if not samples:
        raise DataError(f"{folder} holds no folders 00000, 00001, ...")
    test = source.need("Final_Test") / "Images"
    samples += [Sample(path, label, True) for path, label in _table(source.need(TEST_TABLE), test)]
    classes = tuple(str(number) for number in range(NUM_CLASSES))
    return RawSet(classes, source.shape, len(samples), decoded(samples, source.shape))


def _table(table: Path, folder: Path) -> Iterator[tuple[Path, int]]:
    """Image and class of every line of a table."""
    try:
        with require_regular(table).open(newline="") as file:
            for row in csv.DictReader(file, delimiter=";", skipinitialspace=True):
                yield folder / Path(row["Filename"]).name, int(row["ClassId"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{table} is missing, truncated or lacks a column: {error!r}") from error
