"""Folders of images: ``train/CLASS/*.png`` and ``test/CLASS/*.png``, or just ``CLASS/*.png``."""

from __future__ import annotations

from pathlib import Path

from agscl.benchmarks.errors import DataError
from agscl.benchmarks.raw import RawSet

from .decode import Fit, Sample, decoded, is_image
from .source import Shape

TEST_NAMES = ("test", "val", "valid", "validation")
UNREADABLE_ORIGINALS = frozenset(
    {
        "RGVtb2NyYXRpY2FCb2xkT2xkc3R5bGUgQm9sZC50dGY=.png",
        "Q3Jvc3NvdmVyIEJvbGRPYmxpcXVlLnR0Zg==.png",
        "RnJlaWdodERpc3BCb29rSXRhbGljLnR0Zg==.png",
        "SG90IE11c3RhcmQgQlROIFBvc3Rlci50dGY=.png",
        "Um9tYW5hIEJvbGQucGZi.png",
        "TmlraXNFRi1TZW1pQm9sZEl0YWxpYy5vdGY=.png",
        "VHJhbnNpdCBCb2xkLnR0Zg==.png",
    }
)
"""Files of notMNIST that are not images in the original archives."""


def read_tree(root: Path, shape: Shape, *, fit: Fit = "stretch") -> RawSet | None:
    """Read a tree of image folders.

    Args:
        root: Folder with ``train`` and ``test`` (or ``val``), or directly with one folder per class. A
            single folder in between, as archives have it, is stepped through.
        shape: ``(C, H, W)`` of the result.
        fit: How images of other sizes are made to fit.

    Returns:
        The set, classes in alphabetical order; without ``test`` none is marked for testing. ``None`` if
        there are no folders with images.

    Raises:
        DataError: If the two sides of the split have different classes.
    """
    if not root.is_dir():
        return None
    root = _stepped_through(root)
    test = next((root / name for name in TEST_NAMES if (root / name).is_dir()), None)
    if (root / "train").is_dir() and test is not None:
        sides = [(root / "train", False), (test, True)]
    else:
        sides = [(root, False)]
    classes = _class_folders(sides[0][0])
    if not classes:
        return None
    for side, _ in sides[1:]:
        if unknown := set(_class_folders(side)) - set(classes):
            raise DataError(f"{side} has classes that {sides[0][0]} lacks: {', '.join(sorted(unknown))}")
    samples = [
        Sample(path, label, is_test)
        for side, is_test in sides
        for label, name in enumerate(classes)
        for path in _images(side / name)
    ]
    return RawSet(tuple(classes), shape, len(samples), decoded(samples, shape, fit=fit))


def _stepped_through(root: Path) -> Path:
    while (
        len(children := [path for path in root.iterdir() if not path.name.startswith(".")]) == 1
        and children[0].is_dir()
        and not _images(children[0])
    ):
        root = children[0]
    return root


def _class_folders(side: Path) -> list[str]:
    return sorted(path.name for path in side.iterdir() if path.is_dir() and _images(path))


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if is_image(path) and path.name not in UNREADABLE_ORIGINALS)
