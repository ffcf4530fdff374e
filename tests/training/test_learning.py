"""The loops of one task and of a sequence: what they compute, what they report, what they refuse."""

import copy
import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

import agscl
from agscl.benchmarks.task import TaskSequence
from agscl.runs.events import JsonLines
from agscl.training import EpochFinished, Resumed, TaskFinished, TaskStarted, Training, learn_sequence
from agscl.training.evaluation import evaluate
from agscl.training.progress import TaskProgress
from agscl.training.task import train


def learn_task(learner, task, index):
    """Trains one task from its start; returns the number of epochs."""
    progress = TaskProgress(learner, task, index)
    train(progress)
    return progress.epoch


def validation_loss(model, task, index):
    model.eval()
    with torch.no_grad():
        logits = model(task.validation.inputs)[index]
        return cross_entropy(logits.double(), task.validation.labels).item()


def train_by_hand(model, task, index, training, generator):
    """The loop as the paper words it, written out plainly; returns the best weights."""
    optimizer = torch.optim.Adam(model.parameters(), lr=training.learning_rate)
    best_loss, best, waited = math.inf, None, 0
    for _ in range(training.epochs):
        model.train()
        for inputs, labels in task.train.batches(training.batch_size, generator=generator):
            optimizer.zero_grad()
            cross_entropy(model(inputs)[index], labels).backward()
            optimizer.step()
        loss = validation_loss(model, task, index)
        if loss < best_loss:
            best_loss, best, waited = loss, copy.deepcopy(model.state_dict()), 0
        else:
            waited += 1
        if waited == training.patience:
            optimizer.param_groups[0]["lr"] /= training.decay
            waited = 0
            if optimizer.param_groups[0]["lr"] < training.floor:
                break
    return best


def equal(state, other):
    return state.keys() == other.keys() and all(torch.equal(state[name], other[name]) for name in state)


@pytest.mark.parametrize(
    "training",
    [
        Training(epochs=4, batch_size=16),
        Training(epochs=25, batch_size=50, learning_rate=0.3, patience=1, floor=1e-2),
    ],
)
def test_fine_tuning_equals_the_loop_written_by_hand(make_learner, sequence, training):
    learner = make_learner(training)
    by_hand = copy.deepcopy(learner.model)
    generator = torch.Generator().manual_seed(1)
    learn_task(learner, sequence.tasks[0], 0)
    best = train_by_hand(by_hand, sequence.tasks[0], 0, training, generator)
    assert equal(learner.model.state_dict(), best)


def test_sgd_with_milestones_equals_the_loop_written_by_hand(make_learner, sequence):
    task = sequence.tasks[0]
    learner = make_learner(
        Training(epochs=4, batch_size=50, learning_rate=0.1, optimizer="sgd", momentum=0.9, milestones=(2,), decay=10)
    )
    model, generator, states = copy.deepcopy(learner.model), torch.Generator().manual_seed(1), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for epoch in range(4):
        optimizer.param_groups[0]["lr"] = 0.1 if epoch < 2 else 0.1 / 10
        model.train()
        for inputs, labels in task.train.batches(50, generator=generator):
            optimizer.zero_grad()
            cross_entropy(model(inputs)[0], labels).backward()
            optimizer.step()
        states.append((validation_loss(model, task, 0), copy.deepcopy(model.state_dict())))
    learn_task(learner, task, 0)
    assert equal(learner.model.state_dict(), min(states, key=lambda pair: pair[0])[1])
    assert [event.learning_rate for event in learner.loggers[0].of(EpochFinished)] == [0.1, 0.1, 0.01, 0.01]


def test_the_weights_of_the_lowest_validation_loss_are_kept(make_learner, sequence):
    learner = make_learner(Training(epochs=30, batch_size=50, learning_rate=0.5))
    learn_task(learner, sequence.tasks[0], 0)
    losses = [event.validation_loss for event in learner.loggers[0].of(EpochFinished)]
    assert min(losses) < losses[-1]
    assert evaluate(learner.model, sequence.tasks[0].validation, 0).loss == pytest.approx(min(losses))


def test_training_stops_when_the_rate_falls_below_the_floor(make_learner, sequence):
    learner = make_learner(Training(epochs=500, learning_rate=1.0, patience=2, decay=10, floor=0.05))
    epochs = learn_task(learner, sequence.tasks[0], 0)
    events = learner.loggers[0].of(EpochFinished)
    assert epochs == len(events) < 500
    assert {event.learning_rate for event in events} == {1.0, 0.1}


def test_other_heads_do_not_move(make_learner, sequence):
    learner = make_learner()
    before = copy.deepcopy(learner.model.heads.state_dict())
    learn_task(learner, sequence.tasks[0], 0)
    after = learner.model.heads.state_dict()
    assert [name for name in before if not torch.equal(before[name], after[name])] == ["0.weight", "0.bias"]


def test_a_term_that_a_method_adds_to_the_loss_is_trained(make_learner, sequence):
    class PullToZero:
        """A guard whose method adds weight decay to the loss."""

        has_extra_loss = settled = True

        def __init__(self, guard):
            self.attach, self.averaged, self.shapes = guard.attach, guard.averaged, []

        def extra_loss(self, batch, forward):
            self.shapes.append([tuple(logits.shape) for logits in forward(batch)])
            return sum(p.square().sum() for p in plain.model.parameters())

    plain, free = make_learner(), make_learner()
    guard = PullToZero(plain.guard)
    learn_task(replace(plain, guard=guard), sequence.tasks[0], 0)
    learn_task(free, sequence.tasks[0], 0)
    norms = [sum(p.square().sum() for p in learner.model.parameters()) for learner in (plain, free)]
    assert norms[0] < norms[1]
    assert guard.shapes[0] == [(16, 2), (16, 3), (16, 2)]


def test_a_sequence_fills_the_accuracy_matrix_on_and_below_the_diagonal(make_learner, sequence):
    learner = make_learner()
    history = learn_sequence(learner, sequence)
    measured = ~history.accuracy.isnan()
    assert torch.equal(measured, torch.ones(3, 3).tril().bool())
    last = [evaluate(learner.model, task.test, index).accuracy for index, task in enumerate(sequence.tasks)]
    assert history.accuracy[-1].tolist() == last


def test_events_tell_the_course_of_the_sequence(make_learner, sequence):
    learner = make_learner()
    history = learn_sequence(learner, sequence)
    kinds = [type(event).__name__ for event in learner.loggers[0].events]
    assert kinds == ["TaskStarted", *["EpochFinished"] * 3, "TaskFinished"] * 3
    assert tuple(learner.loggers[0].of(TaskFinished)) == history.tasks
    assert [event.name for event in learner.loggers[0].of(TaskStarted)] == ["t0", "t1", "t2"]


def test_methods_that_rate_nodes_report_sparsity_and_used_capacity(make_learner, sequence):
    rated = learn_sequence(make_learner(method=agscl.AGSCL(mu=0.1, lam=math.inf)), sequence)
    assert all(0 <= task.sparsity <= 1 for task in rated.tasks)
    assert rated.tasks[0].used_capacity is None
    assert rated.tasks[2].used_capacity >= 1 - rated.tasks[1].sparsity - 1e-12
    assert all(task.sparsity is None for task in learn_sequence(make_learner(), sequence).tasks)


def test_the_same_seeds_give_the_same_weights(make_learner, sequence):
    first, second = make_learner(), make_learner()
    for learner in (first, second):
        torch.manual_seed(2)
        learn_sequence(learner, sequence)
    assert equal(first.model.state_dict(), second.model.state_dict())


def test_the_order_of_examples_does_not_depend_on_the_global_generator(make_learner, sequence):
    first, second = make_learner(), make_learner()
    learn_task(first, sequence.tasks[0], 0)
    torch.rand(7)
    learn_task(second, sequence.tasks[0], 0)
    assert equal(first.model.state_dict(), second.model.state_dict())


@pytest.mark.skipif(sys.platform != "linux", reason="the device that is always full is Linux's")
def test_an_event_that_the_disk_has_no_room_for_names_its_file():
    with pytest.raises(OSError, match="/dev/full"):
        JsonLines(Path("/dev/full")).emit(Resumed(task=0, name="a", tasks=1, epochs=1, epoch=0))


def test_json_lines_hold_every_event(make_learner, sequence, tmp_path):
    learner = make_learner()
    file = JsonLines(tmp_path / "events.jsonl")
    learn_sequence(replace(learner, loggers=[*learner.loggers, file]), sequence)
    lines = [json.loads(line) for line in file.path.read_text().splitlines()]
    assert [line.pop("event") for line in lines] == [type(e).__name__ for e in learner.loggers[0].events]
    assert tuple(lines[-1]["accuracy"]) == learner.loggers[0].events[-1].accuracy


def test_evaluation_is_exact_over_all_examples(make_learner, make_examples):
    model, examples = make_learner().model.eval(), make_examples(1500, 2, 3)
    logits = model(examples.inputs, 0).detach().double().numpy()
    labels = examples.labels.numpy()
    log_sums = torch.tensor(logits).logsumexp(dim=1).numpy()
    result = evaluate(model, examples, 0)
    assert result.accuracy == (logits.argmax(axis=1) == labels).mean()
    assert result.loss == pytest.approx((log_sums - logits[range(1500), labels]).mean(), rel=1e-5)


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_a_task_without_examples_is_refused(make_learner, sequence, make_examples, part):
    empty = replace(sequence.tasks[0], **{part: make_examples(0, 2, 0)})
    with pytest.raises(ValueError, match="has no examples"):
        learn_sequence(make_learner(), TaskSequence("empty", (empty, *sequence.tasks[1:]), (6,)))


@pytest.mark.parametrize("label", [-1, 2])
@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_labels_outside_the_head_are_refused(make_learner, sequence, in_memory, part, label):
    examples = getattr(sequence.tasks[0], part)
    labels = examples.labels.clone()
    labels[5] = label
    task = replace(sequence.tasks[0], **{part: in_memory(examples.inputs, labels)})
    with pytest.raises(ValueError, match="do not fit a head of 2 classes"):
        learn_sequence(make_learner(), TaskSequence("wrong", (task, *sequence.tasks[1:]), (6,)))


@pytest.mark.parametrize("part", ["train", "validation"])
def test_a_loss_that_is_not_a_number_stops_the_run(make_learner, sequence, in_memory, part):
    examples = getattr(sequence.tasks[0], part)
    task = replace(sequence.tasks[0], **{part: in_memory(examples.inputs * math.nan, examples.labels)})
    with pytest.raises(ValueError, match=r"'t0' diverged in epoch 1, .*became nan"):
        learn_task(make_learner(), task, 0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("batch_size", 0),
        ("patience", 0),
        ("learning_rate", 0.0),
        ("learning_rate", math.nan),
        ("decay", 1.0),
        ("floor", -1.0),
    ],
)
def test_settings_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        Training(**{name: value})
