"""``agscl data``: get data sets, look at them, check them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from agscl.benchmarks.cache import Cache, Manifest
    from agscl.benchmarks.catalogue import DataSet
    from agscl.benchmarks.raw import Report

    from .parser import Commands, Parser


def add_parser(commands: Commands) -> None:
    """Add the command and its five parts."""
    description = "Download or import data sets into one folder, list them, check them."
    parser = commands.add_parser("data", help="get and check data sets", description=description)
    parts = parser.add_subparsers(metavar="WHAT", required=True)
    _part(parts, "list", "list the data sets, and which of them are here").set_defaults(run=list_sets)
    download = _part(parts, "download", "download a data set through torchvision")
    download.add_argument("name", metavar="NAME", help="a data set of `agscl data list`")
    download.set_defaults(run=download_one)
    _add_import(parts)
    verify = _part(parts, "verify", "compare a data set with its checksums")
    verify.add_argument("name", metavar="NAME", help="a data set of `agscl data list`")
    verify.set_defaults(run=verify_one)
    _part(parts, "where", "print the folder that holds the data sets").set_defaults(run=show_where)


def _add_import(parts: Commands) -> None:
    parser = _part(parts, "import", "import a data set from files that you have")
    parser.add_argument("name", metavar="NAME", help="a data set of `agscl data list`")
    parser.add_argument(
        "--from",
        dest="path",
        metavar="PATH",
        type=Path,
        required=True,
        help="torchvision's folder, the original archive or folder, a tree of image folders, or an .npz file",
    )
    parser.add_argument("--size", type=int, metavar="PIXELS", help="side of stored images (cub200)")
    parser.add_argument(
        "--checksum",
        action="append",
        default=[],
        metavar="DIGEST",
        help="md5 or sha256 of an archive or pickle that you trust; pickles that are not known need it",
    )
    parser.set_defaults(run=import_one)


def _part(parts: Commands, name: str, description: str) -> Parser:
    parser = parts.add_parser(name, help=description, description=description[0].upper() + description[1:] + ".")
    parser.add_argument(
        "--data-root",
        type=Path,
        metavar="DIR",
        help="folder of the data sets (default: the platform's cache)",
    )
    return parser


def list_sets(arguments: argparse.Namespace) -> int:
    """``agscl data list``."""
    from rich.console import Console
    from rich.table import Table

    from agscl.benchmarks.catalogue import CATALOGUE

    cache = _cache(arguments)
    table = Table("name", "data set", "classes", "here", "how to get it")
    for entry in CATALOGUE.values():
        way = "download" if entry.torchvision else f"import, from {entry.origin}"
        table.add_row(entry.name, entry.title, str(entry.num_classes), _state(entry, cache), way)
    Console().print(table)
    return 0


def download_one(arguments: argparse.Namespace) -> int:
    """``agscl data download NAME``."""
    from agscl.benchmarks.importing import download_set

    with _progress() as (console, report):
        manifest = download_set(arguments.name, _cache(arguments), report)
        console.print(_described(manifest))
    return 0


def import_one(arguments: argparse.Namespace) -> int:
    """``agscl data import NAME --from PATH``."""
    from agscl.benchmarks.importing import import_set

    with _progress() as (console, report):
        manifest = import_set(
            arguments.name,
            arguments.path,
            _cache(arguments),
            size=arguments.size,
            checksums=[digest.lower() for digest in arguments.checksum],
            report=report,
        )
        console.print(_described(manifest))
    return 0


def verify_one(arguments: argparse.Namespace) -> int:
    """``agscl data verify NAME``."""
    from rich.console import Console

    from agscl.benchmarks.catalogue import data_set

    manifest = _cache(arguments).verify(data_set(arguments.name).name)
    Console().print(f"{_described(manifest)}; all checksums agree")
    return 0


def show_where(arguments: argparse.Namespace) -> int:
    """``agscl data where``."""
    from rich.console import Console

    Console().print(str(_cache(arguments).root), soft_wrap=True, highlight=False)
    return 0


def _cache(arguments: argparse.Namespace) -> Cache:
    from agscl.benchmarks.cache import Cache

    return Cache(arguments.data_root)


def _state(entry: DataSet, cache: Cache) -> str:
    if entry.name not in cache:
        return "no"
    try:
        manifest = cache.manifest(entry.name)
    except ValueError:
        return "damaged: import it again"
    complete = not entry.count or manifest.count in entry.count
    return f"{manifest.count:,} images" + ("" if complete else ", a subset")


def _described(manifest: Manifest) -> str:
    channels, height, width = manifest.image_shape
    colour = "grey" if channels == 1 else "colour"
    split = f"{manifest.count - manifest.num_test:,} + {manifest.num_test:,}"
    return f"{manifest.name}: {split} {colour} images, {height}x{width}, {len(manifest.classes)} classes"


@contextmanager
def _progress() -> Iterator[tuple[Console, Report]]:
    """A console for results, and progress bars on stderr (none where that is not a terminal)."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    bars: dict[str, TaskID] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    stderr = Console(stderr=True)
    with Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as display:

        def report(what: str, done: int, total: int) -> None:
            if what not in bars:
                bars[what] = display.add_task(what, total=total)
            display.update(bars[what], completed=done, total=total)

        yield Console(soft_wrap=True, highlight=False), report
