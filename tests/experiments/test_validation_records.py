"""A run keeps its accuracy on validation examples; one that is for choosing values never looks at a test example."""

import json
from dataclasses import replace

import pytest
import torch

from agscl.benchmarks import digits
from agscl.benchmarks.options import LoadOptions
from agscl.experiments import Experiment, Overrides, Preset, Result, run
from agscl.experiments.command import command
from agscl.experiments.states import State
from agscl.experiments.supervised import presets
from agscl.experiments.supervised.run import load_run
from agscl.methods import HAT, WSN, FineTuning, Joint, PackNet
from agscl.models import MLP, MultiHead
from agscl.runs import RunFolder
from agscl.training import Training
from agscl.training.evaluation import evaluate

SMALL = Overrides(epochs=2, tasks=3)


class Forbidden:
    """Examples that nobody may read."""

    def __init__(self, examples):
        self.examples = examples

    def __len__(self):
        return len(self.examples)

    def batches(self, batch_size, *, generator=None):
        raise AssertionError("a test example was asked for")


def guarded(seed, options):
    sequence = digits(seed, options)
    return replace(sequence, tasks=tuple(replace(task, test=Forbidden(task.test)) for task in sequence.tasks))


@pytest.fixture
def forbidden(monkeypatch):
    """A preset whose test examples raise if anybody reads them."""
    preset = Preset(
        description="digits whose tests are closed",
        sequence=guarded,
        model=lambda sequence, width: MultiHead(MLP(64, (20,)), 20, sequence.num_classes),
        training=Training(epochs=2, batch_size=32),
        methods={"fine-tuning": FineTuning()},
    )
    monkeypatch.setitem(presets.SUPERVISED_PRESETS, "forbidden", preset)
    return "forbidden"


@pytest.mark.parametrize("method", [FineTuning(), HAT(), WSN(), PackNet(), Joint()], ids=lambda method: method.name)
def test_a_run_for_choosing_values_asks_for_no_test_example(tmp_path, forbidden, method):
    experiment = Experiment.of_preset(forbidden, method, 0, SMALL)
    with pytest.raises(AssertionError, match="test example"):
        run(experiment, RunFolder(tmp_path / "tested"))
    result = run(replace(experiment, evaluated_on="validation"), RunFolder(tmp_path / "tuned"))
    assert torch.equal(result.accuracy.nan_to_num(), result.validation.nan_to_num())
    assert any("validation examples" in caveat for caveat in result.caveats())
    assert not list((tmp_path / "tuned").rglob("*.safetensors"))


def test_the_validation_matrix_is_that_of_the_weights_after_each_task_and_comes_back_from_the_folder(tmp_path):
    experiment = Experiment.of_preset("digits", WSN(c=0.3), 0, SMALL)
    result = run(experiment, RunFolder(tmp_path))
    again = Result.read(RunFolder(tmp_path))
    assert torch.equal(result.validation.nan_to_num(-1), again.validation.nan_to_num(-1))
    assert (again.to_json(), again.validation.isnan().sum()) == (result.to_json(), 3)
    loaded = load_run(experiment)
    for after in range(3):
        State.read(RunFolder(tmp_path).state_after(after)).restore(loaded.learner.model, loaded.learner.guard)
        for task in range(after + 1):
            loaded.learner.guard.use_task(task)
            examples = loaded.sequence.tasks[task].validation
            assert evaluate(loaded.learner.model, examples, task).accuracy == result.validation[after, task]


@pytest.mark.parametrize("damage", [lambda rows: rows[:-1], lambda rows: [[0.5] * 3] * 3, lambda rows: [[2.0]] * 3])
def test_records_without_the_matrix_are_read_and_such_with_a_wrong_one_refused(tmp_path, damage):
    folder = RunFolder(tmp_path)
    run(Experiment.of_preset("digits", FineTuning(), 0, replace(SMALL, epochs=1)), folder)
    record = json.loads(folder.result.read_text())
    folder.result.write_text(json.dumps({name: part for name, part in record.items() if name != "validation"}))
    assert Result.read(folder).validation is None
    folder.result.write_text(json.dumps({**record, "validation": damage(record["validation"])}))
    with pytest.raises(ValueError, match=r"result\.json"):
        Result.read(folder)


def test_one_seed_for_the_tests_marks_the_same_examples_whatever_draws_the_rest():
    sequences = [digits(seed, LoadOptions(test_seed=7)) for seed in (0, 1)]
    names = [[task.name for task in sequence.tasks] for sequence in sequences]
    assert names[0] != names[1]
    tests = [{image for task in sequence.tasks for image in images(task.test)} for sequence in sequences]
    assert tests[0] == tests[1]
    learned = {image for task in sequences[1].tasks for part in (task.train, task.validation) for image in images(part)}
    assert not tests[0] & learned
    alone = {image for task in digits(1).tasks for part in (task.train, task.validation) for image in images(part)}
    assert tests[0] & alone  # without it, what one seed tests another learns


def images(examples):
    """Each image as the order of its pixels by brightness, which is the same whatever images are normalised by."""
    for batch, _ in examples.batches(999):
        levels = [row.unique(return_inverse=True)[1] for row in batch.flatten(1)]
        yield from (tuple(level.tolist()) for level in levels)


def test_an_order_seed_draws_the_order_alone_and_the_command_of_the_run_says_so():
    plain = Experiment.of_preset("digits", FineTuning(), 0, Overrides(tasks=3))
    other = Experiment.of_preset("digits", FineTuning(), 0, Overrides(tasks=3, order_seed=5, test_seed=2))
    whole = digits(0, LoadOptions(test_seed=2))
    drawn = load_run(other).sequence
    names = [task.name for task in whole.tasks]
    assert [task.name for task in drawn.tasks] == [names[position] for position in drawn.record["reordered"][:3]]
    assert [task.name for task in drawn.tasks] != [task.name for task in load_run(plain).sequence.tasks]
    assert (drawn.record["tasks"], drawn.record["tasks_in_full"], drawn.record["scaled_down"]) == (3, 5, True)
    assert command(other).endswith("--tasks=3 --test-seed=2 --order-seed=5 --seed=0")
