"""The picture of runs: what its axes show."""

import io

import pytest
import torch

from agscl import AGSCL, FineTuning
from agscl.experiments import Experiment, Result
from agscl.figures.palette import LOOKS
from agscl.figures.summary import draw_capacity, draw_matrix, picture
from agscl.training import History, TaskFinished, Training

matplotlib_figure = pytest.importorskip("matplotlib.figure")
image = pytest.importorskip("matplotlib.image")


def result(method, rows, sparsity=None, used=None):
    tasks = tuple(
        TaskFinished(number, f"t{number}", 3, tuple(row), sparsity, used if number else None, 0, 0, 1.0)
        for number, row in enumerate(rows)
    )
    experiment = Experiment(preset="digits", method=method, training=Training())
    return Result(experiment, History(tasks), {})


AGS = result(AGSCL(mu=1, lam=1), [[0.5], [0.75, 1.0]], sparsity=0.25, used=0.5)
FINE = result(FineTuning(), [[1.0], [0.0, 1.0]], used=0.1)


def axis():
    return matplotlib_figure.Figure().subplots()


def test_a_matrix_shows_every_measured_accuracy_in_percent():
    shown = axis()
    draw_matrix(shown, AGS)
    assert {(text.get_position(), text.get_text()) for text in shown.texts} == {
        ((0, 0), "50"),
        ((0, 1), "75"),
        ((1, 1), "100"),
    }
    assert shown.get_title() == "AGS-CL: accuracy (%) on each task"


def test_capacity_shows_only_methods_that_rate_nodes():
    shown = axis()
    draw_capacity(shown, [AGS, FINE])
    lines = {line.get_label(): line.get_xydata().tolist() for line in shown.lines}
    assert lines == {"AGS-CL: sparsity": [[1, 25], [2, 25]], "AGS-CL: used capacity": [[2, 50]]}
    assert {line.get_color() for line in shown.lines} == {LOOKS["ags-cl"].color}


@pytest.mark.parametrize("results", [[AGS], [FINE], [AGS, FINE], [AGS, FINE, AGS]])
def test_any_number_of_runs_makes_one_png(results):
    pixels = torch.from_numpy(image.imread(io.BytesIO(picture(results)), format="png"))
    assert pixels.std() > 0
