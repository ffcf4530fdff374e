"""FaceScrub and notMNIST as the HAT code ships them: pickles with arrays ``features`` and ``labels``."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from agscl.benchmarks.errors import DataError
from agscl.benchmarks.image_set import IMAGE_DIMS
from agscl.benchmarks.raw import Piece, RawSet, piece

from .pickled import array, read_pickle
from .source import Source

BRIGHTEST = 255


def read_facescrub(source: Source) -> RawSet | None:
    """Read ``facescrub_train_100.pkl`` and ``facescrub_test_100.pkl``: 100 people."""
    people = tuple(str(number) for number in range(100))
    return _read(source, "facescrub_train_100.pkl", "facescrub_test_100.pkl", people)


def read_notmnist(source: Source) -> RawSet | None:
    """Read ``notmnist_train.pkl`` and ``notmnist_test.pkl``: letters A to J."""
    return _read(source, "notmnist_train.pkl", "notmnist_test.pkl", tuple("ABCDEFGHIJ"))


def _read(source: Source, train: str, test: str, classes: tuple[str, ...]) -> RawSet | None:
    if source.find(train) is None:
        return None
    pieces = [_part(source, train, is_test=False), _part(source, test, is_test=True)]
    return RawSet.of(classes, pieces)


def _part(source: Source, name: str, *, is_test: bool) -> Piece:
    path = source.need(name)
    entries = read_pickle(source, path)
    features, labels = array(entries, "features", path), array(entries, "labels", path)
    if features.ndim != IMAGE_DIMS or features.shape[1] != source.shape[0]:
        raise DataError(f"{path}: 'features' has shape {features.shape}, not (N, {source.shape[0]}, H, W)")
    if features.size and not 0 <= features.min() <= features.max() <= BRIGHTEST:
        raise DataError(f"{path}: 'features' are not pixels from 0 to {BRIGHTEST}")
    images = features.astype(np.uint8)
    if images.shape[2:] != source.shape[1:]:
        pixels = torch.from_numpy(images).float()
        pixels = functional.interpolate(pixels, size=source.shape[1:], mode="bilinear", antialias=True)
        images = pixels.round().clamp(0, BRIGHTEST).to(torch.uint8).numpy()
    return piece(images, labels, is_test=is_test)
