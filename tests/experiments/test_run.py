"""Running an experiment: what the folder holds, that it repeats, and what it leaves alone."""

import json
import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from agscl import AGSCL, FineTuning, metrics
from agscl.experiments import Experiment, run
from agscl.experiments.supervised.comparison import compare
from agscl.experiments.supervised.presets import SUPERVISED_PRESETS
from agscl.runs import RunFolder
from agscl.training import Compute, Training

EXPERIMENT = Experiment(
    preset="digits", method=AGSCL(mu=1, lam=400), training=Training(epochs=2, batch_size=64), seed=3
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = RunFolder(tmp_path_factory.mktemp("run") / "new" / "folder")
    return run(EXPERIMENT, folder), folder


def test_the_folder_holds_what_was_asked_what_happened_and_what_came_out(finished):
    result, folder = finished
    assert sorted(file.name for file in folder.path.iterdir() if not file.name.startswith(".")) == [
        "events.jsonl",
        "experiment.json",
        "nodes.parquet",
        "result.json",
        "result.parquet",
        "state.safetensors",
        "states",
    ]
    assert Experiment.from_json(folder.experiment.read_bytes()) == EXPERIMENT
    assert len(folder.events.read_text().splitlines()) == 5 * (1 + 2 + 1)
    content = json.loads(folder.result.read_text())
    matrix = torch.tensor([[math.nan if x is None else x for x in row] for row in content["accuracy"]])
    assert torch.equal(matrix.nan_to_num(-1), result.accuracy.float().nan_to_num(-1))
    assert content["measures"]["forgetting"] == metrics.forgetting(result.accuracy)
    assert sorted(content["sequence"]["class_order"]) == list(range(10))


def test_the_final_weights_are_in_the_folder(finished):
    _, folder = finished
    tensors = load_file(folder.state)
    sequence = SUPERVISED_PRESETS["digits"].sequence(EXPERIMENT.seed)
    model = SUPERVISED_PRESETS["digits"].model(sequence)
    prefix = "model."
    weights = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
    model.load_state_dict(weights)
    inputs, labels = next(sequence.tasks[4].test.batches(1000))
    accuracy = (model.eval()(inputs, 4).argmax(dim=1) == labels).double().mean()
    assert accuracy.item() == finished[0].history.tasks[-1].accuracy[-1]
    assert any(name.startswith("guard.") for name in tensors)


def test_the_same_experiment_gives_the_same_run(tmp_path, precision):
    experiment = replace(EXPERIMENT, compute=Compute(device="cpu", precision=precision))
    folders = [RunFolder(tmp_path / name) for name in ("one", "two")]
    one, two = ([task.accuracy for task in run(experiment, folder).history.tasks] for folder in folders)
    assert one == two
    assert folders[0].state.read_bytes() == folders[1].state.read_bytes()


def test_another_seed_gives_another_run(finished, tmp_path):
    other = run(replace(EXPERIMENT, seed=4), RunFolder(tmp_path))
    assert other.record != finished[0].record


def test_a_run_leaves_the_number_of_threads_alone(tmp_path, monkeypatch):
    chosen = []
    set_threads = torch.set_num_threads
    monkeypatch.setattr(torch, "set_num_threads", lambda number: (chosen.append(number), set_threads(number)))
    before = torch.get_num_threads()
    run(replace(EXPERIMENT, training=Training(epochs=1)), RunFolder(tmp_path))
    assert chosen == [SUPERVISED_PRESETS["digits"].threads, before]
    assert torch.get_num_threads() == before


def test_a_run_leaves_the_global_generator_alone(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run(replace(EXPERIMENT, training=Training(epochs=1)), RunFolder(tmp_path))
    assert torch.equal(torch.rand(3), expected)


def test_a_folder_that_holds_a_run_is_refused(finished):
    with pytest.raises(ValueError, match="holds another run"):
        run(EXPERIMENT, finished[1])


def test_a_folder_that_holds_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("important")
    with pytest.raises(ValueError, match="holds other files"):
        run(EXPERIMENT, RunFolder(tmp_path))
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        run(EXPERIMENT, RunFolder(tmp_path / "file" / "run"))
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_runs_are_compared_by_the_same_measures_and_plasticity_by_fine_tuning(finished):
    result = finished[0]
    reference = replace(result, experiment=replace(EXPERIMENT, method=FineTuning()))
    compared = compare([result, reference])
    assert compared["ags-cl"] == compared["fine-tuning"]
    assert compared["ags-cl"]["plasticity"] == pytest.approx(1)
    assert "plasticity" not in compare([result])["ags-cl"]


def test_what_a_run_killed_at_its_very_end_left_behind_is_removed(finished):
    result, folder = finished
    before = sorted(path.name for path in folder.path.iterdir())
    folder.checkpoints.mkdir()
    (folder.checkpoints / "00000001-x.safetensors").write_bytes(b"")
    (folder.path / ".lock-holder.json").write_text("{}")
    (folder.path / ".result.json.7.part").write_bytes(b"")
    assert run(result.experiment, folder, resume=True).history == result.history
    assert sorted(path.name for path in folder.path.iterdir()) == before


@pytest.mark.parametrize("resume", [True, False])
def test_a_run_killed_while_it_wrote_what_was_asked_begins_anew(tmp_path, resume):
    folder = RunFolder(tmp_path)
    for name in (".lock", ".lock-holder.json", ".experiment.json.7.part"):
        (tmp_path / name).write_bytes(b"")
    with folder.claimed(EXPERIMENT.to_json(), resume=resume):
        assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", ".lock-holder.json", "experiment.json"]
