"""The notebooks run from top to bottom, and their outputs are not in git: they are made when the site is."""

import nbformat
import pytest
from nbclient import NotebookClient

from guide.pages import DOCS

NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(notebook, tmp_path):
    NotebookClient(
        nbformat.read(notebook, as_version=4), timeout=120, resources={"metadata": {"path": tmp_path}}
    ).execute()


def test_there_are_some_and_they_hold_no_outputs():
    assert len(NOTEBOOKS) >= 4
    for notebook in NOTEBOOKS:
        cells = [cell for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
        assert not [cell for cell in cells if cell.outputs or cell.execution_count]
