"""The run folder's tables: one row per evaluation, and one row per node and task; polars frames, Parquet on disk.

Plain sequences come in, so that whoever learned can write them without this room knowing how learning works.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .files import write_bytes

if TYPE_CHECKING:
    from polars import DataFrame
    from pyarrow import Array, Schema, Table

_EVALUATIONS = {"after": "Int64", "task": "Int64", "name": "String", "accuracy": "Float64"}
_NODES = {"after": "Int64", "layer": "String", "node": "Int64", "importance": "Float64", "state": "String"}
_USED_NODES = {**_NODES, "used": "Boolean"}
STATES = ("frozen", "dead", "free")
"""What a node can be after a task; see `agscl.metrics.node_states`."""
MAX_RATIO = 100
"""Equal rows are packed into next to nothing: a table that grows more than this when unpacked is a bomb."""
ALWAYS_ALLOWED = 2**26
"""Bytes that any table may take."""
BATCH = 128
"""Rows unpacked at once."""


@dataclass(frozen=True)
class Rating:
    """What one layer's nodes were worth after a task.

    Attributes:
        after: Index of the last task learned, from 0.
        layer: Name of the layer.
        importance: Of each node.
        states: One of `STATES` for each node.
        used: Whether the last task learned uses each node, of methods that give each task nodes of its own; else empty.
    """

    after: int
    layer: str
    importance: Sequence[float]
    states: Sequence[str]
    used: Sequence[bool] = ()


def evaluations(accuracy: Sequence[Sequence[float]], names: Sequence[str]) -> DataFrame:
    """One row per evaluation: ``after``, ``task``, ``name`` (the task's), ``accuracy``.

    Args:
        accuracy: After each task learned, the accuracy on each task so far, in [0, 1].
        names: Name of each task.
    """
    rows = [
        {"after": after, "task": task, "name": names[task], "accuracy": value}
        for after, row in enumerate(accuracy)
        for task, value in enumerate(row)
    ]
    return frame(rows, _EVALUATIONS)


def nodes(ratings: Iterable[Rating]) -> DataFrame:
    """One row per node and task: ``after``, ``layer``, ``node``, ``importance``, ``state``, ``used`` if it is known.

    Raises:
        ValueError: If a layer has not as many states as nodes, or a state is unknown.
    """
    rows: list[dict[str, Any]] = []
    for rating in ratings:
        if len(rating.importance) != len(rating.states):
            counts = f"{len(rating.importance)} importances and {len(rating.states)} states"
            raise ValueError(f"layer {rating.layer!r} has {counts}: one of each a node")
        if odd := set(rating.states) - set(STATES):
            raise ValueError(f"unknown state {min(odd)!r} of a node; there are: {', '.join(STATES)}")
        used: Sequence[bool | None] = rating.used or [None] * len(rating.states)
        rated = enumerate(zip(rating.importance, rating.states, used, strict=True))
        rows += [
            {"after": rating.after, "layer": rating.layer, "node": n, "importance": omega, "state": state, "used": uses}
            for n, (omega, state, uses) in rated
        ]
    table = frame(rows, _USED_NODES)
    return table.drop("used") if table["used"].is_null().all() else table


def frame(rows: Sequence[Mapping[str, Any]], types: Mapping[str, str]) -> DataFrame:
    """A table from its rows, values by name.

    Args:
        rows: One mapping a row.
        types: The columns and the names of their polars types, in order.
    """
    import polars

    return polars.DataFrame(rows, schema={name: getattr(polars, kind)() for name, kind in types.items()})


def write_table(path: Path, table: DataFrame) -> None:
    """Write a table as Parquet."""
    content = io.BytesIO()
    table.write_parquet(content)
    write_bytes(path, content.getvalue())


def read_evaluations(path: Path) -> DataFrame:
    """The table that `evaluations` made; raises as `read_table` does."""
    return read_table(path, _EVALUATIONS)


def read_nodes(path: Path) -> DataFrame:
    """The table that `nodes` made; raises as `read_table` does."""
    return read_table(path, _NODES, _USED_NODES)


def read_table(path: Path, *types: Mapping[str, str]) -> DataFrame:
    """A table from a Parquet file.

    Args:
        path: The file.
        types: Its columns and their types, in order; it may be one of several kinds.

    Raises:
        ValueError: If the file is damaged, has other columns or grows beyond reason when unpacked, or a value is
            missing or not finite.
        OSError: If it cannot be read.
    """
    import polars
    import pyarrow

    content = path.read_bytes()
    try:
        read = _unpacked(content, path)
        read.validate(full=True)
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{path} is no Parquet table: {' '.join(str(error).split())}") from error
    expected = [frame([], each).to_arrow().schema for each in types]
    if not any(map(read.schema.equals, expected)):
        raise ValueError(f"{path} has columns {_listed(read.schema) or 'none'}; expected {_listed(expected[0])}")
    table = polars.DataFrame(read)
    finite = (column.is_finite().all() for column in table if column.dtype == polars.Float64)
    if any(column.has_nulls() for column in table) or not all(finite):
        raise ValueError(f"{path} is damaged: a value is missing or not finite")
    return table


def _unpacked(content: bytes, path: Path) -> Table:
    """All rows of a Parquet file, read by pyarrow: polars' own reader aborts the process on some damage.

    Rows are counted as they come; one page of them is bounded by the format alone, at 2 GiB.
    """
    from pyarrow import Table
    from pyarrow.parquet import ParquetFile

    plain = ParquetFile(io.BytesIO(content)).schema_arrow
    texts = [field.name for field in plain if str(field.type) in ("string", "large_string")]
    file, batches, size = ParquetFile(io.BytesIO(content), read_dictionary=texts), [], 0
    for batch in file.iter_batches(BATCH, use_threads=False):
        size += batch.nbytes + sum(_unfolded(column) for column in batch.columns)
        if size > max(MAX_RATIO * len(content), ALWAYS_ALLOWED):
            raise ValueError(f"{path} grows beyond reason when unpacked: refused")
        batches.append(batch)
    return Table.from_batches(batches, file.schema_arrow).cast(plain)


def _unfolded(column: Array) -> int:
    """Bytes that texts take which a page holds once each, however often they are used."""
    from pyarrow import compute, types

    if not types.is_dictionary(column.type) or not len(column.dictionary):
        return 0
    lengths = compute.binary_length(column.dictionary)
    return int(compute.sum(lengths.take(column.indices)).as_py() or 0)


def _listed(schema: Schema) -> str:
    return ", ".join(f"{field.name} ({field.type})" for field in schema)
