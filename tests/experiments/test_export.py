"""Exports: smaller, plain, and the same logits for any batch size."""

import json
import sys

import pytest
import torch
from safetensors.torch import load_file

from agscl.cli import main
from agscl.experiments import Experiment, run
from agscl.experiments.export import Served
from agscl.experiments.states import State
from agscl.experiments.supervised.run import load_run
from agscl.methods import AGSCL, GatedAGSCL
from agscl.runs import RunFolder
from agscl.training import Compute, Training

onnxruntime = pytest.importorskip("onnxruntime")

SHORT = Training(epochs=3, batch_size=64)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, precision):
    """A short run of hard freezing on two tasks."""
    method, compute = AGSCL(mu=40, lam=float("inf"), rho=0), Compute(precision=precision, device="cpu")
    experiment = Experiment(preset="digits", method=method, training=SHORT, tasks=2, compute=compute)
    folder = RunFolder(tmp_path_factory.mktemp("run") / "hard")
    run(experiment, folder)
    return experiment, folder


@pytest.fixture(scope="module")
def exported(finished, tmp_path_factory):
    """The exports of task 0 and of both tasks, by name."""
    out = tmp_path_factory.mktemp("out")
    for task in ("0", "all"):
        assert main(["export", str(finished[1].path), "--task", task, "--out", str(out / task)]) == 0
    return out


def logits(finished, x):
    experiment, folder = finished
    model = load_run(experiment).learner.model
    state = load_file(folder.state)
    model.load_state_dict({n.removeprefix("model."): t for n, t in state.items() if n.startswith("model.")})
    with torch.no_grad():
        return model.eval()(x)


@pytest.mark.parametrize("batch", [1, 7])
@pytest.mark.parametrize("task", ["0", "all"])
def test_every_file_gives_the_full_models_logits(task, batch, finished, exported):
    folder, x = exported / task, torch.rand(batch, 1, 8, 8)
    expected = logits(finished, x)[: 1 if task == "0" else 2]
    program = torch.export.load(folder / "model.pt2").module()(x)
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == ["task_0", "task_1"][: len(expected)]
    from_onnx = [torch.from_numpy(array) for array in session.run(None, {"x": x.numpy()})]
    for found in ([program] if task == "0" else program, from_onnx):
        for one, other in zip(found, expected, strict=True):
            assert (one - other).abs().max() <= 1e-5 * other.abs().max().clamp_min(1)


def test_the_description_says_what_is_left_and_what_it_costs(exported):
    one, every = (json.loads((exported / task / "model.json").read_text()) for task in ("0", "all"))
    assert [output["task"] for output in every["outputs"]] == [0, 1]
    assert one["after"]["parameters"] < every["after"]["parameters"] < every["before"]["parameters"]
    assert one["after"]["flops"] < one["before"]["flops"]
    tensors = load_file(exported / "0" / "model.safetensors")
    assert {name: list(tensor.shape) for name, tensor in tensors.items()} == one["tensors"]
    assert sum(tensor.numel() for tensor in tensors.values()) == one["after"]["parameters"]
    assert all(set(one["layers"][name]) <= set(nodes) for name, nodes in every["layers"].items())
    assert set(one["differences"]) == {"model.safetensors", "model.pt2", "model.onnx"}
    assert all(difference <= 1e-5 for difference in one["differences"].values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "2"], "--task must be all or a number from 0 to 1, not '2'"),
        (["--task", "first"], "--task must be all or a number from 0 to 1, not 'first'"),
        ([], "is not empty: choose a new folder with --out"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, finished, exported, capsys):
    assert main(["export", str(finished[1].path), *arguments, "--out", str(exported)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_a_folder_without_a_finished_run_is_refused(finished, tmp_path, capsys):
    assert main(["export", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "holds no run" in capsys.readouterr().err
    (tmp_path / "experiment.json").write_bytes(finished[1].experiment.read_bytes())
    assert main(["export", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "is incomplete" in capsys.readouterr().err


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_told_before_anything_is_written(package, finished, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["export", str(finished[1].path), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.endswith(f"{package} is needed here: pip install 'agscl[export]'\n")
    assert not (tmp_path / "out").exists()


def test_a_method_with_a_network_for_each_task_exports_one_at_a_time(tmp_path, capsys):
    experiment = Experiment(preset="digits", method=GatedAGSCL(begin=1, end=2), training=SHORT, tasks=2)
    folder = RunFolder(tmp_path / "run")
    run(experiment, folder)
    assert main(["export", str(folder.path), "--task", "all", "--out", str(tmp_path / "all")]) == 2
    assert "gated-ags-cl answers each task with a network of its own: export one" in capsys.readouterr().err
    loaded, sizes = load_run(experiment), []
    State.read(folder.state).restore(loaded.learner.model, loaded.learner.guard)
    x = torch.rand(3, 1, 8, 8)
    for task in (0, 1):
        assert main(["export", str(folder.path), "--task", str(task), "--out", str(tmp_path / str(task))]) == 0
        loaded.learner.guard.use_task(task)
        with torch.no_grad():
            expected = loaded.learner.model.eval()(x)[task]
        found = torch.export.load(tmp_path / str(task) / "model.pt2").module()(x)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
        about = json.loads((tmp_path / str(task) / "model.json").read_text())
        sizes.append(about["after"]["parameters"] / about["before"]["parameters"])
    assert sizes[0] < sizes[1] < 1  # the second task uses nodes of the first, and more


def test_a_network_of_one_task_answers_with_a_tensor_and_of_several_with_a_tuple():
    trunk, heads = torch.nn.Linear(2, 3), [torch.nn.Linear(3, 2), torch.nn.Linear(3, 4)]
    assert Served(trunk, heads[:1])(torch.zeros(5, 2)).shape == (5, 2)
    assert [out.shape[1] for out in Served(trunk, heads)(torch.zeros(5, 2))] == [2, 4]
