"""Where the data is."""

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--data-root", type=Path, default=None, help="folder of the data sets, if not the platform's cache"
    )


@pytest.fixture
def data_root(request: pytest.FixtureRequest) -> Path | None:
    root: Path | None = request.config.getoption("--data-root")
    return root
