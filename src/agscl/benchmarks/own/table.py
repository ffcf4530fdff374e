"""A table of images: a CSV file with a column of paths and one of labels, and perhaps one of parts of a split."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agscl.benchmarks.errors import DataError
from agscl.benchmarks.formats.decode import Sample
from agscl.benchmarks.formats.folder import SIDES, Tree
from agscl.benchmarks.formats.walk import is_image
from agscl.benchmarks.found import Found
from agscl.benchmarks.raw import as_text
from agscl.benchmarks.regular import is_regular, read_regular, require_regular

PATHS = ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "img", "img_path")
LABELS = ("label", "class", "target", "category", "class_name", "label_name", "y")
SPLITS = ("split", "set", "part", "subset", "partition")
DELIMITERS = ",;\t|"


@dataclass(frozen=True)
class _Row:
    """One line of the table."""

    number: int
    path: str
    label: str
    side: str


def list_table(path: Path) -> Tree:
    """The images that a table names; relative paths start where the table is.

    Raises:
        DataError: If a column cannot be told, a file is missing, or a line lacks a value; names the line.
    """
    try:
        text = read_regular(require_regular(path)).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text in UTF-8: {error.reason} at byte {error.start}") from error
    found, rows = Found(), _rows(path, text)
    if not rows:
        raise DataError(f"{path} names no images: it has a header and nothing below it")
    classes = _in_order({row.label for row in rows})
    first: dict[Path, _Row] = {}
    samples = []
    for row in rows:
        file = path.parent / row.path
        other = first.setdefault(file.resolve(), row)
        if other is not row and (other.label, other.side) != (row.label, row.side):
            raise DataError(f"{path}: lines {other.number} and {row.number} give {row.path} different labels or parts")
        if other is not row:
            found.leave_out("named twice", row.path)
            continue
        if not is_regular(file):
            what = "no regular file" if file.exists() else "does not exist"
            raise DataError(f"{path}, line {row.number}: {file} {what}")
        if not is_image(file):
            raise DataError(f"{path}, line {row.number}: {file.name} has not the ending of an image")
        samples.append(Sample(file, classes.index(row.label), row.side == "test", row.side == "validation"))
    order = {False: 0, True: 1}
    samples.sort(key=lambda sample: (order[sample.is_test], order[sample.is_validation]))
    return Tree(tuple(map(as_text, classes)), tuple(samples), found)


def _rows(path: Path, text: str) -> list[_Row]:
    header_line = text.partition("\n")[0]
    delimiter = max(DELIMITERS, key=header_line.count)
    try:
        lines = [
            (number, row) for number, row in enumerate(csv.reader(io.StringIO(text), delimiter=delimiter), 1) if row
        ]
    except csv.Error as error:
        raise DataError(f"{path} is no table: {error}") from error
    if not lines:
        raise DataError(f"{path} is empty")
    columns, body = _columns(path, lines)
    rows = []
    for number, row in body:
        cells = [cell.strip() for cell in row]
        try:
            file, label = cells[columns[0]], cells[columns[1]]
            side = cells[columns[2]] if columns[2] is not None else "train"
        except IndexError:
            raise DataError(f"{path}, line {number}: {len(row)} columns are too few") from None
        known = next((name for name, names in SIDES.items() if side.lower() in names), None)
        if not file or not label or known is None:
            lacking = "path" if not file else "label" if not label else f"known part of the split, but {side!r}"
            raise DataError(f"{path}, line {number}: no {lacking}")
        rows.append(_Row(number, file, label, known))
    return rows


def _columns(
    path: Path, lines: Sequence[tuple[int, list[str]]]
) -> tuple[tuple[int, int, int | None], Sequence[tuple[int, list[str]]]]:
    """Positions of paths, labels and parts, and the lines below the header, if there is one."""
    head = [cell.strip() for cell in lines[0][1]]
    if len(head) == 2 and (path.parent / head[0]).is_file():  # noqa: PLR2004 - a path and a label, no header
        return (0, 1, None), lines
    places = [_place(path, head, names) for names in (PATHS, LABELS, SPLITS)]
    if places[0] is None or places[1] is None:
        raise DataError(
            f"{path} has the columns {', '.join(head)}: call one path and one label (and perhaps one split)"
        )
    return (places[0], places[1], places[2]), lines[1:]


def _place(path: Path, head: Sequence[str], names: Sequence[str]) -> int | None:
    places = [place for place, cell in enumerate(head) if cell.lower().replace(" ", "_") in names]
    if len(places) > 1:
        raise DataError(f"{path}: which column is meant, {' or '.join(head[place] for place in places)}? Rename one")
    return places[0] if places else None


def _in_order(labels: Iterable[str]) -> list[str]:
    """Labels by their numbers if all are numbers, else in alphabetical order."""
    labels = list(labels)
    if all(label.isdecimal() for label in labels):
        return sorted(labels, key=lambda label: (int(label), label))
    return sorted(labels)
