"""Labels of any kind as classes 0 to C - 1: with gaps, from 1, one-hot, in a column, as texts; or refused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agscl.benchmarks.errors import DataError

COLUMN = 2
"""Dimensions of labels in one column, or one-hot."""


def as_classes(
    parts: Sequence[NDArray[np.generic]], names: Sequence[str] | None, where: str
) -> tuple[tuple[str, ...], list[NDArray[np.int64]], list[str]]:
    """Labels of the parts of a split as positions of the classes that there are.

    Args:
        parts: Labels of each part, shape ``(N,)``, ``(N, 1)``, or one-hot ``(N, C)``.
        names: Names of the classes, if the source has any.
        where: What holds the labels, for messages.

    Returns:
        Names of the classes, the positions of each part, and what was done, for people.

    Raises:
        DataError: If they are no labels: fractions, negative, or more or fewer than the names allow.

    Example:
        >>> as_classes([np.array([1, 3]), np.array([[3]])], None, "y")
        (('1', '3'), [array([0, 1]), array([1])], ["labels from 1 to 3 are the classes '1' and '3'"])
    """
    flat = [_flat(part, where) for part in parts]
    kinds = {"text" if part.dtype.kind in "US" else "number" for part in flat if part.size}
    if len(kinds) != 1:
        raise DataError(f"{where}: " + ("there are no labels" if not kinds else "labels of texts and of numbers"))
    values = np.unique(np.concatenate([part for part in flat if part.size]))
    if kinds == {"text"}:
        return _texts(values, flat, names, where)
    lowest, highest = int(values.min()), int(values.max())
    if lowest < 0:
        raise DataError(f"{where}: a label is {lowest}: leave out what has no class")
    if names is None:
        classes = tuple(map(str, values.tolist()))
        said = [] if highest == len(values) - 1 else [f"labels from {lowest} to {highest} are {_listed(classes)}"]
    elif highest < len(names):
        classes = tuple(names[label] for label in values.tolist())
        empty = [name for position, name in enumerate(names) if position not in set(values.tolist())]
        said = [f"left out: {len(empty)} names of classes without examples ({', '.join(empty[:3])})"] if empty else []
    elif len(values) == len(names):
        classes = tuple(names)
        said = [f"labels from {lowest} to {highest} name {_listed(classes)} in this order"]
    else:
        raise DataError(f"{where}: labels from {lowest} to {highest} do not fit {len(names)} names of classes")
    if len(set(classes)) != len(classes):
        raise DataError(f"{where}: two classes have the same name among {', '.join(classes[:9])}")
    return classes, [np.searchsorted(values, part).astype(np.int64) for part in flat], said


def _flat(labels: NDArray[np.generic], where: str) -> NDArray[np.generic]:
    """One integer or text an example."""
    if labels.ndim == COLUMN and labels.shape[1] == 1:
        labels = labels[:, 0]
    elif labels.ndim == COLUMN and labels.dtype.kind in "buif":
        if not (((labels == 0) | (labels == 1)).all() and (labels.sum(axis=1) == 1).all()):
            raise DataError(f"{where}: labels of shape {labels.shape} are not one-hot: give one label an example")
        hot: NDArray[np.generic] = np.argmax(labels, axis=1)
        return hot
    if labels.ndim != 1 or labels.dtype.kind not in "buifUS":
        raise DataError(f"{where}: labels must be one an example, are {labels.dtype} {labels.shape}")
    if labels.dtype.kind in "US":
        return labels
    _require_whole(labels, where)
    return labels.astype(np.int64)


def _require_whole(labels: NDArray[np.generic], where: str) -> None:
    """Refuse numbers that are not whole, or too large."""
    if labels.dtype.kind == "f":
        if not np.isfinite(labels).all() or (labels != np.floor(labels)).any():
            raise DataError(f"{where}: labels have fractions or are not finite: they are no classes")
        if np.abs(labels).max(initial=0) >= 2**53:
            raise DataError(f"{where}: labels are floats too large to tell classes apart")
    if labels.dtype.kind == "u" and labels.size and int(labels.max()) >= 2**63:
        raise DataError(f"{where}: a label is {labels.max()}: too large")


def _texts(
    values: NDArray[np.generic], flat: Sequence[NDArray[np.generic]], names: Sequence[str] | None, where: str
) -> tuple[tuple[str, ...], list[NDArray[np.int64]], list[str]]:
    classes = tuple(
        value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value) for value in values.tolist()
    )
    if names is not None and (unknown := sorted(set(classes) - set(names))):
        raise DataError(f"{where}: labels that the names of the classes lack: {', '.join(unknown[:3])}")
    if "" in {name.strip() for name in classes}:
        raise DataError(f"{where}: an example has an empty label")
    return classes, [np.searchsorted(values, part).astype(np.int64) for part in flat], []


def _listed(classes: Sequence[str]) -> str:
    """Classes in words.

    >>> _listed(["1", "2", "3"])
    "the classes '1', '2' and '3'"
    """
    most = 6
    shown = [repr(name) for name in classes[:most]]
    if len(classes) > most:
        return f"the {len(classes)} classes {', '.join(shown)}, ..."
    return "the classes " + (f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else shown[0])
