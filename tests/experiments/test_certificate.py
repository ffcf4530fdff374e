"""The certificate: granted to hard freezing, refused to what drifts, never given for states of something else."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from agscl.cli import main
from agscl.experiments import Experiment, preset_named, run
from agscl.experiments.certificate import certify
from agscl.experiments.supervised.run import load_run
from agscl.methods import AGSCL, HAT, MAS, WSN, FineTuning, SingleTask
from agscl.runs import RunFolder

TRAINING = preset_named("digits").training.with_epochs(1)
METHODS = {
    "hard": AGSCL(mu=10.0, lam=float("inf")),
    "soft": AGSCL(mu=10.0, lam=40.0),
    "fine-tuning": FineTuning(),
    "hat": HAT(),
    "wsn": WSN(c=0.3),
    "single-task": SingleTask(),
    "mas": MAS(lam=0.1),
}


def experiment(method, tasks=3):
    return Experiment(preset="digits", method=method, training=TRAINING, tasks=tasks)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A short run of each method."""
    folder = tmp_path_factory.mktemp("runs")
    for name, method in METHODS.items():
        run(experiment(method), RunFolder(folder / name))
    return folder


@pytest.fixture
def copy(runs, tmp_path):
    """A copy of a run, to be changed."""

    def copied(name):
        return RunFolder(shutil.copytree(runs / name, tmp_path / name, ignore=lambda *_: ["certificate.json"]))

    return copied


def certificate(folder):
    return certify(load_run(Experiment.from_json(folder.experiment.read_bytes())), folder)


@pytest.mark.parametrize("name", ["hard", "hat", "wsn", "single-task"])
def test_methods_that_keep_every_task_are_granted_it(runs, name):
    found = certificate(RunFolder(runs / name))
    assert found.granted
    assert [(drift.task, drift.after) for drift in found.drifts] == [(0, 1), (0, 2), (1, 2)]
    assert all(drift.largest == drift.changed == 0 for drift in found.drifts)
    assert found.movements == ()


def outputs(folder, after, task):
    """Logits of a plain network straight from a state file, without guard or trainer."""
    sequence = preset_named("digits").sequence(0, experiment(FineTuning()).load_options())
    model = preset_named("digits").model(sequence)
    tensors = load_file(folder.state_after(after))
    model.load_state_dict({n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")})
    (batch,) = sequence.tasks[task].test.batches(10_000)
    with torch.no_grad():
        return model.eval()(batch[0], task)


@pytest.mark.parametrize("name", ["soft", "fine-tuning", "mas"])
def test_drift_is_measured_as_the_stored_networks_show_it(runs, name):
    folder = RunFolder(runs / name)
    found = certificate(folder)
    assert not found.granted
    for drift in found.drifts:
        then, now = outputs(folder, drift.task, drift.task), outputs(folder, drift.after, drift.task)
        assert drift.largest == pytest.approx((now - then).abs().max().item())
        assert drift.changed == pytest.approx((now.argmax(1) != then.argmax(1)).double().mean().item())
        assert drift.identical == torch.equal(then, now)


def test_nodes_that_moved_are_named(runs):
    folder = RunFolder(runs / "fine-tuning")
    then, now = (load_file(folder.state_after(task)) for task in (0, 2))
    layer = "model.trunk.layers.1"
    weight, bias = (now[f"{layer}.{name}"] != then[f"{layer}.{name}"] for name in ("weight", "bias"))
    moved = weight.any(dim=1) | bias
    movement = next(m for m in certificate(folder).movements if (m.task, m.layer) == (0, "trunk.layers.1"))
    assert movement.nodes == tuple(moved.nonzero().flatten().tolist())
    assert movement.counted == 200
    assert movement.importance == ()


def test_only_important_nodes_count_where_nodes_are_rated(runs):
    folder = RunFolder(runs / "soft")
    importance = load_file(folder.state_after(0))["guard.method.importance.trunk.layers.1"]
    movements = [m for m in certificate(folder).movements if (m.task, m.layer) == (0, "trunk.layers.1")]
    assert movements
    for movement in movements:
        assert movement.counted == int((importance > 0).sum())
        assert movement.importance == tuple(importance[list(movement.nodes)].tolist())
        assert min(movement.importance) > 0


def rewrite(path, change):
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def nudged(tensors):
    tensors["model.heads.0.bias"] += 1e-6


def test_the_last_bits_of_a_logit_are_enough(copy):
    folder = copy("hard")
    for path in (folder.state_after(2), folder.state):
        rewrite(path, nudged)
    found = certificate(folder)
    assert not found.granted
    assert 0 < next(drift for drift in found.drifts if (drift.task, drift.after) == (0, 2)).largest < 1e-5


def test_the_command_writes_the_certificate_and_says_what_it_found(runs, capsys):
    for name, code, said in (("hard", 0, "Certificate granted"), ("fine-tuning", 1, "nodes that moved")):
        assert main(["verify", str(runs / name)]) == code
        assert said in capsys.readouterr().out
        content = json.loads((runs / name / "certificate.json").read_text())
        assert content["granted"] == (code == 0)
        assert sorted(content["states"]) == [f"states/task-{task:03d}.safetensors" for task in range(3)]
        assert len(set(content["logits"])) == 3


def test_verifying_again_gives_the_same_bytes(runs, capsys):
    files = []
    for _ in range(2):
        assert main(["verify", str(runs / "hat")]) == 0
        files.append((runs / "hat" / "certificate.json").read_bytes())
    assert files[0] == files[1]


def refused(capsys, folder):
    code = main(["verify", str(folder.path)])
    line = capsys.readouterr().err
    assert (code, line.count("\n")) == (2, 1)
    return line


def scaled(tensors):
    tensors["model.heads.0.weight"] *= -1


def renamed(tensors):
    tensors["model.stranger"] = tensors.pop("model.heads.0.bias")


def test_a_state_that_is_not_the_runs_own_is_refused(copy, capsys):
    folder = copy("hard")
    shutil.copy(folder.state_after(0), folder.state_after(1))
    assert "not the state after task 1" in refused(capsys, folder)


@pytest.mark.parametrize(("change", "said"), [(scaled, "the run recorded"), (renamed, "does not fit the run")])
def test_a_tampered_state_is_refused(copy, capsys, change, said):
    folder = copy("fine-tuning")
    rewrite(folder.state_after(1), change)
    assert said in refused(capsys, folder)


def test_a_final_state_that_was_exchanged_is_refused(copy, capsys):
    folder = copy("hard")
    rewrite(folder.state, scaled)
    assert "is not the state after the last task" in refused(capsys, folder)


def test_states_that_changed_since_the_certificate_are_refused(copy, capsys):
    folder = copy("fine-tuning")
    assert main(["verify", str(folder.path)]) == 1
    capsys.readouterr()
    rewrite(folder.state_after(1), lambda tensors: tensors["model.trunk.layers.1.bias"].add_(1e-7))
    assert "has changed since" in refused(capsys, folder)


def test_a_damaged_or_missing_state_is_refused(copy, capsys):
    folder = copy("hard")
    content = folder.state_after(1).read_bytes()
    folder.state_after(1).write_bytes(content[: len(content) // 2])
    assert "damaged" in refused(capsys, folder)
    folder.state_after(1).unlink()
    assert "task-001.safetensors is missing" in refused(capsys, folder)


def test_an_incomplete_run_and_no_run_are_refused(copy, capsys, tmp_path):
    folder = copy("hard")
    folder.result.unlink()
    assert "incomplete" in refused(capsys, folder)
    assert "holds no run" in refused(capsys, RunFolder(tmp_path / "nowhere"))


def test_one_task_proves_nothing(tmp_path, capsys):
    folder = RunFolder(tmp_path / "one")
    run(experiment(FineTuning(), tasks=1), folder)
    assert "one task only" in refused(capsys, folder)
