"""The main job shows the effect: fine-tuning forgets, AGS-CL does not, and it learns as well."""

from pathlib import Path

import pytest

from agscl.experiments import Experiment, run
from agscl.experiments.supervised.comparison import compare
from agscl.experiments.supervised.presets import SUPERVISED_PRESETS
from agscl.runs import RunFolder
from agscl.sweeps.best import Best

RESULTS = Path(__file__).parents[2] / "results"


def test_the_values_for_digits_are_those_that_the_recorded_sweep_chose():
    assert SUPERVISED_PRESETS["digits"].tuned == Best.read(RESULTS / "digits" / "best.json").methods


@pytest.mark.parametrize("seed", [0, 1])
def test_on_digits_fine_tuning_forgets_and_ags_cl_does_not(seed, tmp_path):
    preset = SUPERVISED_PRESETS["digits"]
    results = [
        run(
            Experiment(preset="digits", method=method, training=preset.training, seed=seed),
            RunFolder(tmp_path / name),
        )
        for name, method in preset.methods.items()
    ]
    compared = compare(results)
    assert compared["fine-tuning"]["forgetting"] > 0.05
    assert abs(compared["ags-cl"]["forgetting"]) < 0.02
    assert compared["ags-cl"]["plasticity"] > 0.98
    assert compared["ags-cl"]["average_accuracy"] > compared["fine-tuning"]["average_accuracy"] + 0.03


def test_on_digits_capacity_is_used_as_tasks_come(tmp_path):
    preset = SUPERVISED_PRESETS["digits"]
    experiment = Experiment(preset="digits", method=preset.methods["ags-cl"], training=preset.training)
    tasks = run(experiment, RunFolder(tmp_path)).history.tasks
    sparsities = [task.sparsity for task in tasks]
    used = [task.used_capacity for task in tasks[1:]]
    assert sparsities == sorted(sparsities, reverse=True)
    assert used == sorted(used)
    assert sparsities[0] > sparsities[-1] > 0
    assert used[-1] > used[0]
