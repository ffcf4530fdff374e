"""``agscl data``: get data sets, look at them, check them."""

from __future__ import annotations

import argparse

from agscl.benchmarks.cache import Cache, Manifest
from agscl.benchmarks.catalogue import CATALOGUE, DataSet, data_set
from agscl.benchmarks.importing import download_set, import_set
from agscl.benchmarks.own.keep import import_own
from agscl.experiments.kinds import preset_names

from .console import Output, table
from .progress import reading


def run(arguments: argparse.Namespace) -> int:
    """Run one part of the command; returns 0."""
    output, cache = Output(), Cache(arguments.data_root)
    match arguments.part:
        case "list":
            if arguments.json:
                output.data([_here(name, cache) for name in dict.fromkeys([*CATALOGUE, *cache.names()])])
                return 0
            heads = ["name", "data set", "classes", "here", "how to get it"]
            rows = [_listed(entry, cache) for entry in CATALOGUE.values()]
            rows += [_own(name, cache) for name in cache.names() if name not in CATALOGUE]
            output.show(table(heads, rows, left=5, whole=True))
        case "download":
            with reading() as report:
                manifest = download_set(arguments.name, cache, report)
            output.say(_described(manifest))
        case "import":
            output.say(_imported(arguments, cache))
        case "verify":
            output.say(f"{_described(cache.verify(_known(arguments.name, cache)))}; all checksums agree")
        case "remove":
            cache.remove(_known(arguments.name, cache))
            output.say(f"{arguments.name} removed from {cache.root}")
        case "where":
            output.say(str(cache.root))
    return 0


def _known(name: str, cache: Cache) -> str:
    """A name that is here, or one of the catalogue; a `ValueError` lists those there are."""
    own = [other for other in cache.names() if other not in CATALOGUE]
    return name if name in own else data_set(name, own).name


def _imported(arguments: argparse.Namespace, cache: Cache) -> str:
    """Import a set of the catalogue or one with a name of its own, and say what was found."""
    if arguments.name in CATALOGUE:
        checksums = [digest.lower() for digest in arguments.checksum]
        with reading() as report:
            manifest = import_set(
                arguments.name,
                arguments.path,
                cache,
                size=arguments.size,
                checksums=checksums,
                replace=arguments.replace,
                report=report,
            )
        return _described(manifest)
    if arguments.name in preset_names():
        raise ValueError(f"{arguments.name!r} is a preset: choose another name for own data")
    with reading() as report:
        manifest = import_own(
            arguments.name, arguments.path, cache, size=arguments.size, replace=arguments.replace, report=report
        )
    return _described(manifest)


def _here(name: str, cache: Cache) -> dict[str, object]:
    """What is known of a set: whether it is here, and what it holds."""
    about: dict[str, object] = {"name": name, "own": name not in CATALOGUE, "here": name in cache}
    try:
        manifest = cache.manifest(name)
    except ValueError as error:
        return about | ({"error": str(error)} if name in cache else {})
    counts = {"classes": len(manifest.classes), "images": manifest.count, "test_images": manifest.num_test}
    return about | counts | {"fingerprint": manifest.fingerprint, "notes": list(manifest.notes)}


def _own(name: str, cache: Cache) -> list[str]:
    """A set that is not of the catalogue."""
    try:
        manifest = cache.manifest(name)
    except ValueError:
        return [name, "own", "?", "damaged: remove it", "agscl data remove"]
    kept = f"decoded from {manifest.origin}" if manifest.origin else f"own, from {manifest.source}"
    return [name, kept, str(len(manifest.classes)), f"{manifest.count:,} images", "agscl data remove frees its room"]


def _listed(entry: DataSet, cache: Cache) -> list[str]:
    state = "no"
    if entry.name in cache:
        try:
            count = cache.manifest(entry.name).count
            state = f"{count:,} images" + (", a subset" if entry.count and count not in entry.count else "")
        except ValueError:
            state = "damaged: import it again"
    way = "download" if entry.torchvision else f"import, from {entry.origin}"
    return [entry.name, entry.title, str(entry.num_classes), state, way]


def _described(manifest: Manifest) -> str:
    channels, height, width = manifest.image_shape
    colour = "grey" if channels == 1 else "colour"
    split = f"{manifest.count - manifest.num_test:,} + {manifest.num_test:,}"
    line = f"{manifest.name}: {split} {colour} images, {height}x{width}, {len(manifest.classes)} classes"
    return "; ".join([line, *manifest.notes])
