"""``agscl data``: get data sets, look at them, check them."""

from __future__ import annotations

import argparse

from agscl.benchmarks.cache import Cache, Manifest
from agscl.benchmarks.catalogue import CATALOGUE, DataSet, data_set
from agscl.benchmarks.importing import download_set, import_set

from .console import Output, table
from .progress import reading


def run(arguments: argparse.Namespace) -> int:
    """Run one part of the command; returns 0."""
    output, cache = Output(), Cache(arguments.data_root)
    match arguments.part:
        case "list":
            heads = ["name", "data set", "classes", "here", "how to get it"]
            output.show(table(heads, [_listed(entry, cache) for entry in CATALOGUE.values()], left=5, whole=True))
        case "download":
            with reading() as report:
                manifest = download_set(arguments.name, cache, report)
            output.say(_described(manifest))
        case "import":
            checksums = [digest.lower() for digest in arguments.checksum]
            with reading() as report:
                manifest = import_set(
                    arguments.name, arguments.path, cache, size=arguments.size, checksums=checksums, report=report
                )
            output.say(_described(manifest))
        case "verify":
            output.say(f"{_described(cache.verify(data_set(arguments.name).name))}; all checksums agree")
        case "where":
            output.say(str(cache.root))
    return 0


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
    return f"{manifest.name}: {split} {colour} images, {height}x{width}, {len(manifest.classes)} classes"
