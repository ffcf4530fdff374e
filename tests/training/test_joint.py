"""Joint training: all tasks so far as one, every example answered by its own head."""

import copy
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy

from agscl.training import Training, learn_sequence
from agscl.training.joint import JoinedExamples, join, joined_logits


def test_every_example_comes_once_an_epoch_with_labels_that_count_on(make_examples):
    parts = tuple(make_examples(count, 3, seed) for seed, count in enumerate((50, 7, 23)))
    joined = JoinedExamples(parts, (3, 3, 3))
    for generator in (None, torch.Generator().manual_seed(0)):
        batches = list(joined.batches(16, generator=generator))
        assert len(joined) == sum(len(labels) for _, labels in batches) == 80
        rows = {(*tuple(row.tolist()), int(label)) for x, y in batches for row, label in zip(x, y, strict=True)}
        expected = {
            (*tuple(row.tolist()), int(label) + 3 * number)
            for number, part in enumerate(parts)
            for row, label in zip(part.inputs, part.labels, strict=True)
        }
        assert rows == expected


def test_batches_hold_a_like_share_of_every_task(make_examples):
    joined = JoinedExamples(tuple(make_examples(40, 2, seed) for seed in range(3)), (2, 2, 2))
    for _, labels in joined.batches(12, generator=torch.Generator().manual_seed(0)):
        assert (torch.bincount(labels // 2, minlength=3) == 4).all()


def test_the_loss_of_an_example_is_that_of_its_own_head():
    generator = torch.Generator().manual_seed(0)
    outputs = [torch.randn(6, classes, generator=generator, requires_grad=True) for classes in (2, 4, 3)]
    labels = torch.tensor([0, 1, 2, 5, 6, 8])
    found = cross_entropy(joined_logits(outputs, labels), labels, reduction="none")
    own = [(0, 0), (0, 1), (1, 0), (1, 3), (2, 0), (2, 2)]
    expected = [cross_entropy(outputs[h][i : i + 1], torch.tensor([c])) for i, (h, c) in enumerate(own)]
    assert torch.allclose(found, torch.stack(expected))
    found.sum().backward()
    assert all(logits.grad.isfinite().all() for logits in outputs)
    assert not outputs[0].grad[2:].any()


def test_joining_one_task_changes_nothing(sequence, make_learner):
    results = []
    for joint in (False, True):
        learner = replace(make_learner(Training(epochs=2, batch_size=10)), joint=joint)
        first = replace(sequence, tasks=sequence.tasks[:1])
        results.append((learn_sequence(learner, first), list(learner.model.parameters())))
    assert results[0][0].accuracy.tolist() == results[1][0].accuracy.tolist()
    for ours, theirs in zip(results[0][1], results[1][1], strict=True):
        torch.testing.assert_close(ours, theirs)


def test_joint_training_reaches_every_head_learned_so_far(sequence, make_learner):
    learner = replace(make_learner(Training(epochs=3, batch_size=16)), joint=True)
    before = [copy.deepcopy(head.weight.detach()) for head in learner.model.heads]
    history = learn_sequence(learner, sequence)
    assert history.accuracy.shape == (3, 3)
    assert not any(torch.equal(head.weight, old) for head, old in zip(learner.model.heads, before, strict=True))
    assert len(join(sequence.tasks[:2]).train) == 100


def test_labels_without_an_output_are_refused(sequence, make_learner, in_memory):
    learner = replace(make_learner(Training(epochs=1, batch_size=16)), joint=True)
    bad = replace(sequence.tasks[1], train=in_memory(torch.randn(20, 6), torch.full((20,), 9)))
    broken = replace(sequence, tasks=(sequence.tasks[0], bad))
    with pytest.raises(ValueError, match="labels from"):
        learn_sequence(learner, broken)
