"""What the terminal shows of a result."""

import pytest

from agscl.cli.console import Output
from agscl.cli.run import show
from agscl.experiments import Result
from agscl.runs import RunFolder
from report.made_up import write_run


@pytest.mark.parametrize(
    ("tasks", "width", "fits"), [(10, 80, True), (11, 80, False), (11, 100, True), (50, 200, False)]
)
def test_the_matrix_is_shown_where_it_fits_and_every_task_has_a_row(tmp_path, tasks, width, fits):
    result = Result.read(RunFolder(write_run(tmp_path / "run", tasks=tasks)))
    console = Output(record=True, width=width, force_terminal=True)
    show(console, [result])
    text = console.export_text()
    assert ("accuracy (%) on each task" in text) == fits
    assert "…" not in text
    *_, last = (line for line in text.splitlines() if line.startswith(f"│ {tasks}  "))
    learned, end = f"{100 * result.history.tasks[-1].accuracy[-1]:.1f}", last.split("│")[3].strip()
    assert last.split("│")[2].strip() == learned == end
