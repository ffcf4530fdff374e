"""Own data as a preset: what an experiment must hold so that the same run can be made again from the same data."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

from pydantic import ConfigDict

from agscl.benchmarks.cache import Cache
from agscl.benchmarks.errors import DataError
from agscl.benchmarks.image_set import ImageSet
from agscl.benchmarks.options import LoadOptions
from agscl.benchmarks.own.source import SIDE, OwnSet, OwnSource, found_in, identity, identity_of, open_source
from agscl.benchmarks.own.tasks import NamedTask, cut, read_task_file
from agscl.benchmarks.raw import Report, no_report
from agscl.benchmarks.task import TaskSequence
from agscl.experiments.codec import by_name
from agscl.experiments.overrides import Overrides
from agscl.methods import AGSCL, FineTuning
from agscl.training import Training

from .networks import canonical, fitting, headed
from .presets import Preset

TRAINING = Training(epochs=40, batch_size=32)
"""Where nothing else is asked for."""

METHODS = by_name(AGSCL(mu=10.0, lam=400.0), FineTuning())
"""What is compared where nothing else is asked for; the values are those of CIFAR-100, nothing is tuned."""


@dataclass(frozen=True, kw_only=True)
class OwnData:
    """Own data, its tasks and its network.

    Two are equal if the data are, wherever they lie.

    Attributes:
        source: Where the data was: ``folder:PATH`` and the like.
        data: Digest of the examples, their classes and their split.
        num_tasks: Number of tasks of equal size; `None` if they are named.
        tasks: The tasks by the names of their classes.
        task_file: The file that named them.
        network: Full name of the network.
        image_size: Side to which images of folders and tables are scaled; `None`: as they are stored.
        augment: Whether training images are shifted and mirrored at random.
    """

    __pydantic_config__: ClassVar[ConfigDict] = {"extra": "forbid", "strict": True}

    source: str = field(compare=False)
    data: str
    num_tasks: int | None = None
    tasks: tuple[NamedTask, ...] = ()
    task_file: str | None = field(default=None, compare=False)
    network: str
    image_size: int | None = None
    augment: bool = False

    def __post_init__(self) -> None:
        OwnSource.parse(self.source)
        if (self.num_tasks is None) == (not self.tasks):
            raise ValueError("own data needs a number of tasks or their names, and not both")

    @property
    def name(self) -> str:
        """Short, for people: the kind of the source and the name of the folder or file."""
        return own_name(self.source)

    @property
    def preset(self) -> Preset:
        """All of an experiment but the method and the seed."""
        count = f"{self.num_tasks or len(self.tasks)} tasks"
        return Preset(
            description=f"own data, {self.name}: {count}; {self.network}",
            sequence=partial(_sequence, self),
            model=headed(self.network),
            training=TRAINING,
            methods=METHODS,
        )

    def changes(self) -> dict[str, object]:
        """Overrides that ask for the same, by name."""
        return {
            "tasks": self.num_tasks,
            "task_file": self.task_file,
            "network": self.network,
            "image_size": self.image_size,
            "augment": self.augment,
        }


def own_name(text: str) -> str:
    """Short, for people, of what asks for own data.

    >>> own_name("folder:/data/my/photos")
    'folder:photos'
    """
    source = OwnSource.parse(text)
    return f"{source.kind}:{source.name}"


def own_data(
    text: str, overrides: Overrides, data_root: Path | None = None, report: Report = no_report
) -> tuple[OwnData, str]:
    """Own data that a user asks for, read once, and what was found in it, in one line.

    Args:
        text: ``folder:PATH``, ``npz:FILE``, ``csv:FILE``, or ``set:NAME``.
        overrides: Tasks, network, size.
        data_root: Folder of the data sets; default: the platform's cache folder.
        report: Told about progress.

    Raises:
        ValueError: If the data cannot be read right, or is not enough for the tasks; or there is no such network.
    """
    if (overrides.tasks is None) == (overrides.task_file is None):
        raise ValueError(f"{text}: say how many tasks with --tasks N, or which with --task-file FILE (not both)")
    source = OwnSource.parse(text)
    tasks = () if overrides.task_file is None else read_task_file(Path(overrides.task_file))
    size = overrides.image_size or (SIDE if source.kind in ("folder", "csv") else None)
    network = None if overrides.network is None else canonical(overrides.network)
    own = open_source(source, size, Cache(data_root), report)
    shape = own.image_shape if isinstance(own, ImageSet) else tuple(own.values.shape[1:])
    data = OwnData(
        source=str(source),
        data=identity(own),
        num_tasks=overrides.tasks,
        tasks=tasks,
        task_file=None if overrides.task_file is None else str(Path(overrides.task_file).absolute()),
        network=network or fitting(shape),
        image_size=size,
        augment=overrides.augment,
    )
    options = LoadOptions(fraction=overrides.fraction, data_root=data_root, augment=overrides.augment)
    sequence = cut(own, overrides.tasks if overrides.tasks is not None else tasks, 0, options)
    data.preset.model(sequence, overrides.width)
    return data, f"{found_in(own)}; network {data.network}"


def _sequence(own: OwnData, seed: int, options: LoadOptions) -> TaskSequence:
    tasks = own.tasks if own.num_tasks is None else own.num_tasks
    return cut(_opened(own, Cache(options.data_root)), tasks, seed, replace(options, augment=own.augment))


def _opened(own: OwnData, cache: Cache) -> OwnSet:
    """The data of a run: what is kept of it, or what is where it was, if it is still the same."""
    source = OwnSource.parse(own.source)
    for name in cache.names():
        try:
            if identity_of(cache.manifest(name)) == own.data:
                return replace(cache.load(name), name=source.name)
        except DataError:
            continue
    found = open_source(source, own.image_size, cache)
    if (now := identity(found)) != own.data:
        raise DataError(f"{source.place} is not the data of this run any more: digest {own.data} then, {now} now")
    return found
