"""The certificate: granted to hard freezing, refused to what drifts, never given for states of something else."""

import json
import shutil
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from agscl.cli import main
from agscl.experiments import Experiment, preset_named, run
from agscl.experiments.certificate import certify
from agscl.experiments.supervised.run import load_run
from agscl.methods import AGSCL, GPM, HAT, MAS, WSN, FineTuning, GatedAGSCL, PackNet, SingleTask
from agscl.runs import RunFolder
from agscl.training import Compute

TRAINING = preset_named("digits").training.with_epochs(1)
METHODS = {
    "gated": GatedAGSCL(begin=1, end=1),
    "packnet": PackNet(train_epochs=1),
    "gpm": GPM(),
    "hard": AGSCL(mu=10.0, lam=float("inf")),
    "soft": AGSCL(mu=10.0, lam=40.0),
    "fine-tuning": FineTuning(),
    "hat": HAT(),
    "wsn": WSN(c=0.3),
    "single-task": SingleTask(),
    "mas": MAS(lam=0.1),
}


def experiment(method, tasks=3, precision="auto"):
    compute = Compute(device="cpu", precision=precision)
    return Experiment(preset="digits", method=method, training=TRAINING, tasks=tasks, compute=compute)


@pytest.fixture(scope="module")
def runs(tmp_path_factory, precision):
    """A short run of each method."""
    folder = tmp_path_factory.mktemp("runs")
    for name, method in METHODS.items():
        run(experiment(method, precision=precision), RunFolder(folder / name))
    return folder


@pytest.fixture
def copy(runs, tmp_path):
    """A copy of a run, to be changed."""

    def copied(name):
        folder = RunFolder(shutil.copytree(runs / name, tmp_path / name, ignore=lambda *_: ["certificate.json"]))
        result = json.loads(folder.result.read_text())
        del result["digests"]
        folder.result.write_text(json.dumps(result))  # as a forger leaves it who knows of them
        return folder

    return copied


def certificate(folder):
    return certify(load_run(Experiment.from_json(folder.experiment.read_bytes())), folder)


@pytest.mark.parametrize("name", ["hard", "hat", "wsn", "single-task", "gated", "packnet"])
def test_methods_that_keep_every_task_are_granted_it(runs, name):
    given = certificate(RunFolder(runs / name))
    assert given.granted
    assert [(drift.task, drift.after) for drift in given.drifts] == [(0, 1), (0, 2), (1, 2)]
    assert all(drift.largest == drift.changed == 0 for drift in given.drifts)
    assert given.movements == ()


def test_it_is_given_in_float32_whatever_the_run_trained_in_and_says_so(runs, precision):
    folder = RunFolder(runs / "hard")
    given = certificate(folder)
    assert json.loads(folder.result.read_text())["environment"]["compute"] == f"cpu, {precision}"
    assert (given.precision, given.environment["compute"]) == ("fp32", "cpu, fp32")
    assert json.loads(given.to_json())["precision"] == "fp32"


def test_no_convolution_is_rounded_while_logits_are_compared(runs, monkeypatch):
    loaded, seen = load_run(experiment(METHODS["hard"])), []
    loaded.learner.model.register_forward_hook(lambda *_: seen.append(torch.backends.cudnn.allow_tf32))
    certify(loaded, RunFolder(runs / "hard"))
    assert seen.count(False) == 1 + 2 + 3
    assert torch.backends.cudnn.allow_tf32


def outputs(folder, after, task, precision="fp32"):
    """Logits of a plain network straight from a state file, without guard or trainer."""
    sequence = preset_named("digits").sequence(0, experiment(FineTuning()).load_options())
    model = preset_named("digits").model(sequence)
    tensors = load_file(folder.state_after(after))
    model.load_state_dict({n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")})
    (batch,) = sequence.tasks[task].test.batches(10_000)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        return model.eval()(batch[0], task)


@pytest.mark.parametrize("name", ["soft", "fine-tuning", "mas"])
def test_drift_is_measured_as_the_stored_networks_show_it(runs, name):
    folder = RunFolder(runs / name)
    given = certificate(folder)
    assert not given.granted
    for drift in given.drifts:
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


@pytest.mark.parametrize(
    ("name", "most"), [("heads.0.bias", 1e-5), ("heads.0.weight", 1e-3), ("trunk.layers.1.weight", 1e-3)]
)
def test_the_last_bits_of_a_logit_are_enough(copy, name, most):
    folder = copy("hard")
    for path in (folder.state_after(2), folder.state):
        rewrite(path, lambda tensors: tensors[f"model.{name}"].add_(1e-6))
    given = certificate(folder)
    assert not given.granted
    assert 0 < next(drift for drift in given.drifts if (drift.task, drift.after) == (0, 2)).largest < most


def test_a_difference_that_is_not_finite_is_null(runs):
    given = certificate(RunFolder(runs / "hard"))
    endless = replace(given, drifts=(replace(given.drifts[0], largest=float("inf")), *given.drifts[1:]))
    assert json.loads(endless.to_json())["drifts"][0]["largest"] is None


def lifted(tensors):
    """The same answers in float32; in bfloat16, where the neighbours of 1000 are 996 and 1004, both logits are one."""
    tensors["model.heads.0.bias"] += 1000


def alone(folder):
    """The test accuracies of the tasks, without all else that says something of them."""
    result = json.loads(folder.result.read_text())
    return {key: value for key, value in result.items() if key not in ("accuracy", "measures", "validation")}


def accuracy(folder, after, task, precision):
    labels = next(load_run(experiment(FineTuning())).sequence.tasks[task].test.batches(10_000))[1]
    return (outputs(folder, after, task, precision).argmax(dim=1) == labels).double().mean().item()


def test_accuracies_are_held_against_the_record_in_the_precision_that_recorded_them(copy):
    folder = copy("hard")
    for path in (*map(folder.state_after, range(3)), folder.state):
        rewrite(path, lifted)
    assert accuracy(folder, 0, 0, "fp32") - accuracy(folder, 0, 0, "bf16") > 0.1
    result = alone(folder)

    def record(precision, compute):
        for after, task in enumerate(result["tasks"]):
            task["accuracy"] = [accuracy(folder, after, earlier, precision) for earlier in range(after + 1)]
        result["environment"]["compute"] = compute
        folder.result.write_text(json.dumps(result))

    for precision, compute in (("fp32", "cpu, fp32"), ("bf16", "cpu, bf16"), ("bf16", "cuda, bf16, channels last")):
        record(precision, compute)
        assert certificate(folder).granted
    for precision, compute in (("fp32", "cpu, bf16"), ("bf16", "cpu, fp32")):
        record(precision, compute)
        with pytest.raises(ValueError, match="the run recorded"):
            certificate(folder)


def test_one_answer_of_a_few_may_fall_otherwise_on_another_machine_below_float32_and_two_may_not(copy, precision):
    folder = copy("fine-tuning")
    written = alone(folder)
    few = len(load_run(experiment(FineTuning())).sequence.tasks[0].test)
    assert few < 100
    for off, accepted in ((0, True), (1, precision == "bf16"), (2, False)):
        result = json.loads(json.dumps(written))
        result["tasks"][0]["accuracy"][0] -= off / few
        folder.result.write_text(json.dumps(result))
        with nullcontext() if accepted else pytest.raises(ValueError, match="the run recorded"):
            certificate(folder)


def test_validation_accuracies_are_held_against_the_states_too(copy):
    folder = copy("fine-tuning")
    result = json.loads(folder.result.read_text())
    result["validation"][1][0] -= 0.5
    folder.result.write_text(json.dumps(result))
    with pytest.raises(ValueError, match=r"task 0's validation examples correctly, the run recorded"):
        certificate(folder)


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


def test_a_certificate_from_before_the_precision_was_written_is_read(copy, capsys):
    folder = copy("hard")
    assert main(["verify", str(folder.path)]) == 0
    file = folder.path / "certificate.json"
    content = json.loads(file.read_text())
    del content["precision"]
    file.write_text(json.dumps(content))
    assert main(["verify", str(folder.path)]) == 0
    assert json.loads(file.read_text())["precision"] == "fp32"
    capsys.readouterr()


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
