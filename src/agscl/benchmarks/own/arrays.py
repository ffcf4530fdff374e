"""A user's ``.npz``: images or features with labels, under the names that people use, as a set.

``x`` and ``y`` (or ``data``, ``images``, ``features``, ...; ``labels``, ``targets``, ...), or the same for each part of
a split: ``x_train``, ``train_images``, ``X_test``, ``y_val``. And perhaps ``classes``, the names of the classes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agscl.benchmarks.errors import DataError
from agscl.benchmarks.formats.folder import SIDES
from agscl.benchmarks.formats.npz import load_npz, npz_set, texts
from agscl.benchmarks.image_set import ImageSet
from agscl.benchmarks.raw import as_text
from agscl.benchmarks.regular import require_regular

from .features import FeatureSet
from .labels import as_classes

INPUTS = ("x", "data", "images", "image", "features", "inputs", "embeddings")
LABELS = ("y", "labels", "label", "targets", "target")
NAMES = ("classes", "class_names", "label_names")
GREY, COLOUR = 3, 4
"""Dimensions of grey and of colour images."""
CHANNELS = (1, 3)
DEPTHS = (255, 1023, 4095, 16_383, 65_535)
"""Brightest values of 8, 10, 12, 14 and 16 bits."""


@dataclass(frozen=True)
class _Part:
    """One part of a split: names of its arrays, and which part it is."""

    side: str
    inputs: str
    labels: str


def read_arrays(path: Path) -> ImageSet | FeatureSet:
    """Read a file.

    Raises:
        DataError: If it is missing or damaged, or its arrays are not examples with labels; says what to do.
    """
    arrays = load_npz(require_regular(path))
    if "alphabet" in arrays:
        return _of_pieces(path)
    names = next((name for name in arrays if name.lower() in NAMES), None)
    parts, notes = _parts(path, arrays, names)
    inputs = [arrays[part.inputs] for part in parts]
    if len({values.shape[1:] for values in inputs}) > 1:
        shapes = ", ".join(f"{part.inputs} {values.shape}" for part, values in zip(parts, inputs, strict=True))
        raise DataError(f"{path}: the parts have examples of different shapes: {shapes}")
    for part, values in zip(parts, inputs, strict=True):
        if values.ndim < 1 or arrays[part.labels].shape[:1] != values.shape[:1]:
            sizes = f"{part.inputs} {values.shape} and {part.labels} {arrays[part.labels].shape}"
            raise DataError(f"{path}: {sizes} have not as many labels as examples")
    if not sum(map(len, inputs)):
        raise DataError(f"{path} holds no examples")
    known = None if names is None else texts(path, arrays, names)
    for part in parts:
        if arrays[part.labels].dtype.kind == "U":
            texts(path, arrays, part.labels)  # refuses characters that do not exist
    where = f"{path}: {', '.join(part.labels for part in parts)}"
    classes, labels, said = as_classes([arrays[part.labels] for part in parts], known, where)
    sides = np.concatenate([np.full(len(values), part.side) for part, values in zip(parts, inputs, strict=True)])
    values, made = _values(path, np.concatenate(inputs))
    common: dict[str, Any] = {
        "labels": torch.from_numpy(np.concatenate(labels)),
        "is_test": torch.from_numpy(sides == "test"),
        "is_validation": torch.from_numpy(sides == "validation"),
        "classes": tuple(map(as_text, classes)),
        "notes": tuple(map(as_text, [*notes, *said, *made])),
    }
    tensor = torch.from_numpy(values)
    fingerprint = _fingerprint(values, np.concatenate(labels), sides == "test", sides == "validation")
    kind: Any = ImageSet if tensor.dtype == torch.uint8 else FeatureSet
    own: ImageSet | FeatureSet = kind(as_text(path.stem), tensor, **common, fingerprint=fingerprint)
    return own


def _of_pieces(path: Path) -> ImageSet:
    """Omniglot's arrays, whose classes are pairs of alphabet and character."""
    raw = npz_set(path)
    (piece,) = raw.pieces
    images, labels, is_test = (np.ascontiguousarray(values) for values in (piece.images, piece.labels, piece.is_test))
    fingerprint, tensor = _fingerprint(images, labels, is_test), torch.from_numpy
    return ImageSet(as_text(path.stem), tensor(images), tensor(labels), tensor(is_test), raw.classes, fingerprint)


def _parts(path: Path, arrays: Mapping[str, NDArray[Any]], names: str | None) -> tuple[list[_Part], list[str]]:
    """The arrays that belong together, and what is not used, for people."""
    pairs, has, parts = _pairs(path, arrays), ", ".join(arrays) or "nothing", []
    for side, (inputs, labels) in pairs.items():
        if (inputs is None) != (labels is None):
            lacking = "labels" if labels is None else "examples"
            raise DataError(f"{path} has no {lacking} for {inputs or labels!r}: it has {has}")
        if inputs is not None and labels is not None:
            parts.append(_Part(side, inputs, labels))
    if not parts or parts[0].side != "train":
        raise DataError(f"{path} holds {has}; name the arrays x and y, or x_train, y_train, x_test and y_test")
    used = {names, *(part.inputs for part in parts), *(part.labels for part in parts)}
    unused = [name for name in arrays if name not in used]
    return parts, [f"left out: arrays {', '.join(unused)}"] if unused else []


def _pairs(path: Path, arrays: Mapping[str, NDArray[Any]]) -> dict[str, tuple[str | None, str | None]]:
    """Names of the arrays of examples and of labels of each part of the split."""
    found: dict[tuple[str, str], str] = {}
    for name in arrays:
        key = _meaning(name)
        if key is not None and found.setdefault(key, name) != name:
            raise DataError(f"{path} holds both {found[key]!r} and {name!r}: leave one out")
    pairs = {side: (found.get((side, "inputs")), found.get((side, "labels"))) for side in ("", *SIDES)}
    whole = pairs.pop("")
    if whole == (None, None):
        return pairs
    if any(pair != (None, None) for pair in pairs.values()):
        raise DataError(f"{path} holds a whole set and parts of a split ({', '.join(arrays)}): leave one out")
    return {"train": whole}


def _meaning(name: str) -> tuple[str, str] | None:
    """Side of the split (empty: none) and role of an array of this name.

    >>> _meaning("X_train"), _meaning("test_labels"), _meaning("y"), _meaning("z")
    (('train', 'inputs'), ('test', 'labels'), ('', 'labels'), None)
    """
    words = name.lower().replace("-", "_").split("_")
    role = [word for word in words if word in INPUTS + LABELS]
    side = [side for side, known in SIDES.items() for word in words if word in known]
    if len(role) != 1 or len(side) > 1 or len(words) != len(role) + len(side):
        return None
    return (side[0] if side else "", "inputs" if role[0] in INPUTS else "labels")


def _values(path: Path, values: NDArray[Any]) -> tuple[NDArray[Any], list[str]]:
    """Images as bytes with their channels first, or features as floats; and what was done."""
    if values.dtype.kind not in "buif":
        raise DataError(f"{path}: examples must be numbers, are {values.dtype}")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        bad = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
        raise DataError(f"{path}: {len(bad)} examples hold NaN or infinity, the first is number {bad[0]}")
    images = _channels_first(path, values)
    if images is not None:
        bytes_, said = _as_bytes(images)
        if bytes_ is not None:
            constant = int(
                (bytes_.reshape(len(bytes_), -1) == bytes_.reshape(len(bytes_), -1)[:, :1]).all(axis=1).sum()
            )
            said += [f"WARNING: {constant:,} images of one colour alone"] if constant else []
            return bytes_, said
    with np.errstate(over="ignore"):
        features = values.astype(np.float32).reshape(len(values), -1) if values.ndim == 1 else values.astype(np.float32)
    if not np.isfinite(features).all():
        raise DataError(f"{path}: an example holds a number that is too large for float32")
    still = int((features.reshape(len(features), -1) == features.reshape(len(features), -1)[:1]).all(axis=0).sum())
    return features, [f"WARNING: {still:,} features never vary"] if still else []


def _channels_first(path: Path, values: NDArray[Any]) -> NDArray[Any] | None:
    """What has the shape of images as ``(N, C, H, W)``; `None`: features."""
    if values.ndim == GREY:
        return values[:, None]
    if values.ndim != COLOUR:
        return None
    first, last = values.shape[1] in CHANNELS, values.shape[3] in CHANNELS
    if first and last and values.shape[1] != values.shape[3]:
        raise DataError(f"{path}: shape {values.shape} may have its channels first or last: use another size of images")
    if last:
        return np.ascontiguousarray(values.transpose(0, 3, 1, 2))
    if first:
        return values
    if values.shape[3] == COLOUR or values.shape[1] == COLOUR:
        raise DataError(f"{path}: images of shape {values.shape} have 4 channels: put them on a background, as RGB")
    return None


def _as_bytes(images: NDArray[Any]) -> tuple[NDArray[np.uint8] | None, list[str]]:
    """Pixels scaled to bytes; `None` if their range is not that of pixels."""
    if images.dtype == np.uint8:
        return np.ascontiguousarray(images), []
    low, high = float(images.min(initial=0)), float(images.max(initial=0))
    if low < 0 or high > DEPTHS[-1]:
        return None, []
    if images.dtype.kind == "f":
        if high > DEPTHS[0]:
            return None, []
        full, what = (1.0, "0..1") if high <= 1 else (255.0, "0..255")
    else:
        full = 1.0 if images.dtype.kind == "b" else float(next(most for most in DEPTHS if high <= most))
        what = f"0..{full:.0f}"
    scaled = np.rint(images.astype(np.float64) * (255 / full)).astype(np.uint8)
    return scaled, [f"pixels of {images.dtype} taken as {what}, scaled to 8 bits"]


def _fingerprint(*arrays: NDArray[Any]) -> str:
    """Twelve digits that stand for the contents of arrays."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:12]
