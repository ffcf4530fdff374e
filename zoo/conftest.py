"""The zoo: `make zoo` holds more than sixty models to the law, and writes the table in docs/node-graph.md from it."""

from __future__ import annotations

from pathlib import Path

import pytest
from table import Row, write

rows: list[Row] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--images", type=Path, default=None, help="folder with GTSRB, Fashion-MNIST and MNIST as .npz")


@pytest.fixture
def record() -> list[Row]:
    """Where tests note what they found of a model."""
    return rows


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if exitstatus == 0 and len(rows) == session.config.stash.get(WANTED, -1):
        write(rows)


WANTED = pytest.StashKey[int]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    config.stash[WANTED] = sum("record" in getattr(item, "fixturenames", ()) for item in items)
