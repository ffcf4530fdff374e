"""What every kind of run has: a preset, an experiment and a result. Two kinds stand side by side, see `kinds`."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from torch import nn

from agscl.guard import Guard
from agscl.methods import AnyMethod
from agscl.rl.history import PolicyHistory
from agscl.runs import RunFolder
from agscl.runs.checkpointer import Checkpointer, Conditions
from agscl.runs.events import Logger
from agscl.runs.machine import Compute
from agscl.training import History

from .codec import adapter, method_options, name_of, read_json
from .overrides import AS_PUBLISHED, Overrides
from .result_file import FORMAT

if TYPE_CHECKING:
    from polars import DataFrame


LARGEST_SEED = 2**63 - 1
"""Records and tables hold whole numbers of 64 bits with a sign."""


def check_seed(seed: int) -> None:
    """Refuse a seed that is negative or too large for a record, with a `ValueError`."""
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    if seed > LARGEST_SEED:
        raise ValueError(f"seed must be at most {LARGEST_SEED} (2^63 - 1), got {seed}")


class AnyPreset(ABC):
    """All of an experiment but the method and the seed.

    Attributes:
        description: One line.
        methods: Tuned methods by name; those compared when no method is chosen.
        baselines: Other tuned methods by name; `agscl compare` runs these too.
        threads: CPU threads while it runs (small networks are fastest on one); `None` leaves PyTorch's choice.
    """

    description: str
    methods: Mapping[str, AnyMethod]
    baselines: Mapping[str, AnyMethod]
    threads: int | None

    @property
    @abstractmethod
    def needs(self) -> Sequence[str]:
        """Data sets or extras that it needs."""

    @property
    def tuned(self) -> dict[str, AnyMethod]:
        """All tuned methods by name."""
        return {**self.methods, **self.baselines}


class AnyExperiment(ABC):
    """A run as a value: equal experiments are equal runs, and JSON holds all of it.

    It has no fields of its own, so that a kind decides on their order in ``experiment.json``.

    Attributes:
        preset: Name of the preset.
        method: The method with its hyper-parameters.
        seed: Draws everything random: the tasks, the initial weights, the order of the examples, and all else.
        compute: Device, precision and layout; they change the last digits of the results.
        tuning: How a sweep chose the method's values; `None` if none did.
    """

    preset: str
    method: AnyMethod
    seed: int
    compute: Compute
    tuning: str | None = None

    not_settings: ClassVar[frozenset[str]] = frozenset({"method", "seed"})
    """Fields in which runs that are compared may differ."""

    @property
    @abstractmethod
    def full(self) -> AnyPreset:
        """The preset, or the own data in its place."""

    @property
    @abstractmethod
    def asked_for(self) -> str:
        """What asks for the preset on a command line."""

    @property
    @abstractmethod
    def keeps_states(self) -> bool:
        """Whether the run keeps weights and the guard's state; without them it leaves numbers alone."""

    @property
    def method_name(self) -> str:
        """Name of the method."""
        return name_of(self.method)

    @property
    def options(self) -> dict[str, object]:
        """Hyper-parameters of the method by name; CPR's strength is one where it is used."""
        return {**method_options(self.method), **self.added_options}

    @property
    def added_options(self) -> Mapping[str, object]:
        """What is added to the method, by name."""
        return {}

    def setting(self) -> dict[str, object]:
        """All but method and seed, by name: what runs must have in common to be compared."""
        setting: dict[str, object] = {}
        for field in fields(self):  # type: ignore[arg-type] # every kind of experiment is a dataclass
            value = getattr(self, field.name)
            if field.name in self.not_settings:
                continue
            if is_dataclass(value):
                compared = [part.name for part in fields(value) if part.compare]
                setting |= {f"{field.name}.{name}": getattr(value, name) for name in compared}
            else:
                setting[field.name] = value
        return setting

    @classmethod
    @abstractmethod
    def of_preset(cls, preset: str, method: AnyMethod, seed: int, overrides: Overrides = AS_PUBLISHED) -> Self:
        """The preset with a method, changed as the overrides say.

        Raises:
            ValueError: If something is unknown, out of range, or means nothing to this kind of run.
        """

    @abstractmethod
    def again(self, overrides: Overrides) -> Self:
        """The same preset or own data, method and seed with other overrides; raises as `of_preset` does."""

    @property
    @abstractmethod
    def overrides(self) -> Overrides:
        """What is changed about the preset, as far as overrides can say it."""

    def to_json(self) -> bytes:
        """The experiment as JSON; equal experiments give equal bytes."""
        kind = type(self)
        typed = kind.from_json(adapter(kind).dump_json(self))  # where a float belongs, 1 becomes 1.0
        return adapter(kind).dump_json(typed, indent=2) + b"\n"

    @classmethod
    def from_json(cls, text: bytes | str) -> Self:
        """An experiment from what `to_json` made.

        Raises:
            ValueError: If a key is unknown or missing, or a value is of the wrong type or out of its range.
        """
        return read_json(cls, text, "experiment")


class AnyResult(ABC):
    """One finished run.

    Attributes:
        experiment: Its configuration.
        history: The record of each task.
        environment: Versions and machine that it was run with.
    """

    experiment: AnyExperiment
    history: History | PolicyHistory
    environment: Mapping[str, str]

    @property
    def method(self) -> str:
        """Name of the method."""
        return self.experiment.method_name

    @property
    def names(self) -> list[str]:
        """Names of the tasks."""
        return [task.name for task in self.history.tasks]

    @abstractmethod
    def outcome(self) -> object:
        """What two runs of one experiment must have in common."""

    def drawn(self) -> str:
        """What the seed drew besides weights, as text: two runs of one seed are compared only if it is equal."""
        return ""

    @abstractmethod
    def scale(self) -> Mapping[str, object]:
        """How much of the preset was run, and whether that is all."""

    @abstractmethod
    def scale_in_words(self) -> str:
        """How much of the preset was run, for people."""

    @abstractmethod
    def caveats(self) -> list[str]:
        """What a reader of its numbers has to know, one sentence each."""

    @abstractmethod
    def table(self) -> DataFrame:
        """The content of ``result.parquet``: every evaluation, one row each."""

    @abstractmethod
    def content(self) -> dict[str, Any]:
        """What ``result.json`` holds, but for the format."""

    def to_json(self) -> bytes:
        """The content of ``result.json``."""
        return json.dumps({"format": FORMAT, **self.content()}, indent=2, allow_nan=False).encode() + b"\n"

    @classmethod
    @abstractmethod
    def parse(cls, config: bytes, content: bytes, folder: RunFolder) -> Self:
        """A result from the contents of ``experiment.json`` and ``result.json``; tables are read from the folder.

        Raises:
            ValueError: If it is no whole result that this version can read.
            OSError: If a table cannot be read.
        """

    @classmethod
    def read(cls, folder: RunFolder) -> Self:
        """The result that a finished run wrote; raises as `parse` does, and if there is none."""
        folder.require_complete()
        return cls.parse(folder.experiment.read_bytes(), folder.result.read_bytes(), folder)


@dataclass(frozen=True)
class Ready:
    """A run that is loaded and can begin.

    Attributes:
        model: What learns; changed in place.
        guard: Protects the model.
        progress: Dataclass of the numbers in its checkpoints.
        learn: Learns all tasks, from the newest checkpoint if there is one; gives the result.
        conditions: What it is computed with and from.
    """

    model: nn.Module
    guard: Guard
    progress: type[Any]
    learn: Callable[[Sequence[Logger[Any]], Checkpointer[Any]], AnyResult]
    conditions: Conditions


def scale_of(results: Sequence[AnyResult]) -> str:
    """How much of the preset was run by results of one setting, and what a reader of their numbers has to know."""
    said = [results[0].scale_in_words(), *(caveat for result in results for caveat in result.caveats())]
    tuned: dict[str | None, dict[str, None]] = {}
    for result in results:
        tuned.setdefault(result.experiment.tuning, {})[result.method] = None
    for tuning, methods in tuned.items():
        if tuning is not None:
            whose = f" of {', '.join(methods)}" if len(tuned) > 1 else ""
            said.append(f"values{whose}: {tuning}")
    return "; ".join(dict.fromkeys(said))
