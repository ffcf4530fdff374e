"""Folders of images: ``train``, ``val`` and ``test`` with a folder for each class, or just a folder for each class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agscl.benchmarks.errors import DataError
from agscl.benchmarks.found import Found
from agscl.benchmarks.raw import RawSet

from .decode import Fit, Sample, decoded
from .source import Shape
from .walk import holds_images, images_below, is_hidden, subfolders

SIDES = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""Names of the parts of a split, in small letters."""

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


@dataclass(frozen=True)
class Tree:
    """The images of a folder before any is read.

    Attributes:
        classes: Names of the classes, in alphabetical order.
        samples: The images, side by side of the split and class by class.
        found: What was left out.
    """

    classes: tuple[str, ...]
    samples: tuple[Sample, ...]
    found: Found

    def read(self, shape: Shape, *, fit: Fit = "crop") -> RawSet:
        """The set, decoded as its pieces are asked for."""
        pieces = decoded(self.samples, shape, fit=fit, found=self.found)
        validates = any(sample.is_validation for sample in self.samples)
        return RawSet(self.classes, shape, len(self.samples), pieces, has_validation=validates, found=self.found)


def read_tree(root: Path, shape: Shape, *, fit: Fit = "stretch") -> RawSet | None:
    """Read a tree of image folders, as `list_tree` finds them.

    Args:
        root: The folder.
        shape: ``(C, H, W)`` of the result.
        fit: How images of other sizes are made to fit.

    Returns:
        The set; without ``test`` none is marked for testing. ``None`` if there are no folders with images.

    Raises:
        DataError: As `list_tree`.
    """
    tree = list_tree(root) if root.is_dir() else None
    return None if tree is None else tree.read(shape, fit=fit)


def list_tree(root: Path) -> Tree | None:
    """The images of a folder by class, as deep as they lie, links followed.

    Hidden files and folders (``.ipynb_checkpoints``, ``__MACOSX``) are left out, and so is what is no image or no
    regular file. A single folder in between, as archives have it, is stepped through.

    Returns:
        ``None`` if there are no folders with images.

    Raises:
        DataError: If it cannot be told what is a class, a class has no image that can be read but images of another
            format, or the sides of a split have other classes than ``train``.
    """
    root, found = _stepped_through(root), Found()
    sides = _sides(root, found)
    by_side = {
        side: {name: list(_images(folder / name, root, found)) for name in _classes(folder, root, found)}
        for side, folder in sides.items()
    }
    train = {name: images for name, images in by_side["train"].items() if images}
    if not train:
        return None
    for side, images in by_side.items():
        if unknown := sorted(name for name, own in images.items() if own and name not in train):
            raise DataError(f"{sides[side]} has classes that {sides['train']} lacks: {', '.join(unknown)}")
    for name in by_side["train"].keys() - train.keys():
        found.leave_out("folder without an image", name)
    classes = tuple(sorted(train))
    samples = tuple(
        Sample(path, label, side == "test", side == "validation")
        for side in ("train", "validation", "test")
        for label, name in enumerate(classes)
        for path in by_side.get(side, {}).get(name, [])
    )
    return Tree(classes, samples, found)


def _stepped_through(root: Path) -> Path:
    while len(folders := subfolders(root)) == 1 and not holds_images(root) and not holds_images(folders[0]):
        root = folders[0]
    return root


def _sides(root: Path, found: Found) -> dict[str, Path]:
    """The folders of the split; only ``train``, the root itself, if there is no split.

    A folder that is called ``train`` and holds images of its own is a class: of vehicles, say.
    """
    sides: dict[str, Path] = {}
    others = []
    for folder in subfolders(root):
        side = next((side for side, names in SIDES.items() if folder.name.lower() in names), None)
        if side is None or holds_images(folder):
            others.append(folder)
        elif side in sides:
            raise DataError(f"{root} holds both {sides[side].name} and {folder.name}: which is meant?")
        else:
            sides[side] = folder
    if not sides:
        return {"train": root}
    filled = [folder.name for folder in others if next(images_below(folder, root, Found()), None) is not None]
    if filled:
        split = ", ".join(folder.name for folder in sides.values())
        raise DataError(
            f"{root} holds a split ({split}) and other folders of images ({', '.join(filled[:3])}): "
            "what is a class? Move one of them out"
        )
    if "train" not in sides:
        raise DataError(f"{root} holds {', '.join(folder.name for folder in sides.values())} but no folder train")
    for folder in others:
        found.leave_out("folder beside train", folder.name)
    return sides


def _classes(side: Path, root: Path, found: Found) -> list[str]:
    """Names of the folders of one side; what lies beside them is left out."""
    for path in sorted(side.iterdir()):
        if is_hidden(path.name):
            found.leave_out("hidden", str(path.relative_to(root)))
        elif not path.is_dir():
            found.leave_out("file beside the folders of classes", str(path.relative_to(root)))
    return [folder.name for folder in subfolders(side)]


def _images(folder: Path, root: Path, found: Found) -> Iterator[Path]:
    """The images of a class; refuses one all of whose images are of formats that cannot be read."""
    if not folder.is_dir():
        return
    own = Found()
    count = 0
    for path in images_below(folder, root, own):
        if path.name in UNREADABLE_ORIGINALS:
            own.leave_out("that never was an image", str(path.relative_to(root)))
            continue
        if path.parent != folder:
            found.remark("below a folder of its class", str(path.relative_to(root)))
        count += 1
        yield path
    for reason, names in own.left.items():
        if not count and reason.startswith("image "):
            raise DataError(
                f"class {folder.name!r} would be lost: its {len(names)} files are {reason} "
                f"({names[0]}, ...); convert them to PNG or JPEG, or move the folder out"
            )
        for name in names:
            found.leave_out(reason, name)
