"""Laws of all benchmarks: classes are shared out, parts are disjoint, all chance comes from the seed."""

import json
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agscl.benchmarks import (
    LoadOptions,
    cifar10_100,
    cifar100,
    cub200,
    digits,
    eight,
    omniglot,
    permuted_digits,
    permuted_mnist,
    rotated_digits,
    split_mnist,
)
from agscl.benchmarks.image_set import ImageSet
from agscl.benchmarks.sampling import hold_out, order, partition, pixel_orders, stream, thin
from agscl.benchmarks.sequences import split_classes
from agscl.benchmarks.split import prepare, with_drawn_test

BENCHMARKS = {
    "cifar100": (cifar100, (10,) * 10, (3, 32, 32)),
    "cifar100 in 20": (partial(cifar100, num_tasks=20), (5,) * 20, (3, 32, 32)),
    "cifar100 in consecutive classes": (partial(cifar100, shuffle_classes=False), (10,) * 10, (3, 32, 32)),
    "cifar10-100": (cifar10_100, (10,) * 11, (3, 32, 32)),
    "omniglot": (omniglot, None, (1, 28, 28)),
    "omniglot shuffled": (partial(omniglot, shuffle_tasks=True), None, (1, 28, 28)),
    "cub200": (partial(cub200, size=24), (20,) * 10, (3, 24, 24)),
    "cub200 of the paper": (partial(cub200, size=28, split="paper"), (20,) * 10, (3, 28, 28)),
    "eight": (eight, None, (3, 32, 32)),
    "split-mnist": (split_mnist, (2,) * 5, (1, 28, 28)),
    "permuted-mnist": (permuted_mnist, (10,) * 10, (1, 28, 28)),
    "digits": (digits, (2,) * 5, (1, 8, 8)),
    "permuted-digits": (permuted_digits, (10,) * 10, (1, 8, 8)),
    "rotated-digits": (rotated_digits, (10,) * 6, (1, 8, 8)),
}


@pytest.fixture(params=BENCHMARKS, scope="module")
def benchmark_case(request, tiny_root):
    make, classes, shape = BENCHMARKS[request.param]
    return lambda seed, **options: make(seed, LoadOptions(data_root=tiny_root, **options)), classes, shape


def contents(examples):
    """Every example as (bytes of its input, label)."""
    return [
        (x.numpy().tobytes(), int(y))
        for inputs, labels in examples.batches(64)
        for x, y in zip(inputs, labels, strict=True)
    ]


def test_tasks_have_the_announced_shape_and_only_their_labels(benchmark_case):
    make, classes, shape = benchmark_case
    sequence = make(1)
    assert sequence.input_shape == shape
    if classes is not None:
        assert sequence.num_classes == classes
    assert len({task.name for task in sequence.tasks}) == len(sequence.tasks)
    for task in sequence.tasks:
        inputs, labels = next(task.train.batches(len(task.train)))
        assert (tuple(inputs.shape[1:]), inputs.dtype, labels.dtype) == (shape, torch.float32, torch.int64)
        assert set(labels.tolist()) == set(range(task.num_classes))
        assert inputs.isfinite().all()


def test_no_test_or_validation_image_is_trained_on(benchmark_case):
    make, _, _ = benchmark_case
    for task in make(2).tasks:
        train, validation, test = (
            {pixels for pixels, _ in contents(part)} for part in (task.train, task.validation, task.test)
        )
        assert not train & validation
        assert not train & test
        assert not validation & test
        assert train
        assert test


def test_equal_seeds_give_equal_sequences_and_others_differ(benchmark_case):
    make, _, _ = benchmark_case
    one, same, other = make(3), make(3), make(4)
    assert one.record == same.record
    assert contents(one.tasks[0].train) == contents(same.tasks[0].train)
    assert contents(one.tasks[0].train) != contents(other.tasks[0].train)


def test_the_record_is_json_and_says_what_was_scaled_down(benchmark_case):
    make, _, _ = benchmark_case
    whole, part = make(5), make(5, tasks=2, fraction=0.5)
    assert json.loads(json.dumps(whole.record))["seed"] == 5
    assert (whole.record["scaled_down"], part.record["scaled_down"]) == (False, True)
    assert (part.record["tasks"], part.record["tasks_in_full"]) == (2, len(whole.tasks))
    assert part.record["fraction"] == 0.5
    assert [task.name for task in part.tasks] == [task.name for task in whole.tasks[:2]]
    assert len(part.tasks[0].train) < len(whole.tasks[0].train)
    assert len(part.tasks[0].test) == len(whole.tasks[0].test)


def test_streaming_gives_the_same_batches(benchmark_case):
    make, _, _ = benchmark_case
    resident, streamed = make(6, tasks=1), make(6, tasks=1, stream=True)
    for part in ("train", "validation", "test"):
        assert contents(getattr(resident.tasks[0], part)) == contents(getattr(streamed.tasks[0], part))


def test_augmentation_changes_training_batches_only(benchmark_case):
    make, _, _ = benchmark_case
    plain, augmented = make(7, tasks=1).tasks[0], make(7, tasks=1, augment=True).tasks[0]
    assert contents(plain.test) == contents(augmented.test)
    assert contents(plain.train) == contents(augmented.train)
    batches = [next(t.train.batches(32, generator=torch.Generator().manual_seed(0))) for t in (plain, augmented)]
    assert torch.equal(batches[0][1], batches[1][1])
    assert batches[0][0].shape == batches[1][0].shape
    assert not torch.equal(batches[0][0], batches[1][0])


def test_training_inputs_of_a_set_are_normalised(tiny_root):
    sequence = cifar100(0, LoadOptions(data_root=tiny_root))
    inputs = torch.cat([x for task in sequence.tasks for x, _ in task.train.batches(100)])
    assert torch.allclose(inputs.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-4)
    assert torch.allclose(inputs.std(dim=(0, 2, 3)), torch.ones(3), atol=1e-3)


@pytest.fixture
def image_set(originals):
    """30 classes of 8 images, 2 of them for testing."""
    labels = torch.arange(240) % 30
    images = torch.from_numpy(originals.random_images(240, (1, 4, 4)))
    return ImageSet("made up", images, labels, torch.arange(240) >= 180, tuple(map(str, range(30))))


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("num_tasks", [1, 3, 10, 30])
def test_classes_are_partitioned_among_tasks(image_set, num_tasks, shuffle):
    source = prepare(image_set, 1, LoadOptions())
    sequence = split_classes("split", source, 1, num_tasks, shuffle_classes=shuffle)
    groups = sequence.record["task_classes"]
    assert sorted(name for group in groups for name in group) == sorted(image_set.classes)
    total = sum(len(part) for t in sequence.tasks for part in (t.train, t.validation, t.test))
    assert total == len(image_set)


def test_labels_are_positions_in_the_recorded_classes(image_set):
    sequence = split_classes("split", prepare(image_set, 1, LoadOptions()), 1, 10)
    by_pixels = {x.numpy().tobytes(): int(y) for x, y in zip(image_set.images, image_set.labels, strict=True)}
    mean, std = sequence.tasks[0].train.pipeline.mean[0], sequence.tasks[0].train.pipeline.std[0]
    for task, group in zip(sequence.tasks, sequence.record["task_classes"], strict=True):
        for inputs, labels in task.test.batches(100):
            pixels = ((inputs * std + mean) * 255).round().to(torch.uint8)
            names = [image_set.classes[by_pixels[image.numpy().tobytes()]] for image in pixels]
            assert names == [group[label] for label in labels]


def test_another_validation_share_leaves_the_class_order_alone(tiny_root):
    records = [
        cifar100(1, LoadOptions(data_root=tiny_root, validation=share)).record["task_classes"] for share in (0.1, 0.4)
    ]
    assert records[0] == records[1]


def test_omniglot_comes_in_alphabetical_order_unless_it_is_shuffled(tiny_root):
    options = LoadOptions(data_root=tiny_root)
    plain = [[task.name for task in omniglot(seed, options).tasks] for seed in (0, 1)]
    shuffled = [[task.name for task in omniglot(seed, options, shuffle_tasks=True).tasks] for seed in (0, 1)]
    assert plain[0] == plain[1] == sorted(plain[0])
    assert len(plain[0]) == 50
    assert shuffled[0] != shuffled[1]
    assert sorted(shuffled[0]) == plain[0]


def test_each_omniglot_character_has_sixteen_two_and_two_drawings(tiny_root):
    for task in omniglot(1, LoadOptions(data_root=tiny_root)).tasks[:5]:
        sizes = [len(part) / task.num_classes for part in (task.train, task.validation, task.test)]
        assert sizes == [16, 2, 2]


def test_seed_zero_shuffles_like_any_other(tiny_root):
    options = LoadOptions(data_root=tiny_root)
    assert eight(0, options).record["task_order"] != sorted(eight(0, options).record["task_order"])
    orders = {tuple(eight(seed, options).record["task_order"]) for seed in range(5)}
    assert len(orders) == 5


def test_some_of_the_eight_can_be_left_out_and_the_record_says_so(tiny_root):
    sequence = eight(1, LoadOptions(data_root=tiny_root), sets=("mnist", "svhn"))
    assert {task.name for task in sequence.tasks} == {"mnist", "svhn"}
    assert (sequence.record["tasks"], sequence.record["tasks_in_full"], sequence.record["scaled_down"]) == (2, 8, True)
    with pytest.raises(ValueError, match="not among the eight data sets: imagenet"):
        eight(1, LoadOptions(data_root=tiny_root), sets=("imagenet",))


def test_each_of_the_eight_draws_its_validation_images_by_the_seed(tiny_root):
    drawn = [contents(eight(s, LoadOptions(data_root=tiny_root), sets=("svhn",)).tasks[0].validation) for s in (0, 1)]
    assert drawn[0] != drawn[1]


def test_letters_digits_and_signs_are_never_mirrored(tiny_root):
    sequence = eight(1, LoadOptions(data_root=tiny_root, augment=True))
    mirrored = {task.name for task in sequence.tasks if task.train.pipeline.flip}
    assert mirrored == {"cifar10", "cifar100", "fashion-mnist", "facescrub"}


def test_the_papers_cub_split_trains_on_the_first_four_fifths_of_each_class(tiny_root):
    official, paper = (
        cub200(1, LoadOptions(data_root=tiny_root, validation=0.01), split=split, size=28)
        for split in ("official", "paper")
    )
    counts = [[len(t.train) + len(t.validation), len(t.test)] for t in (official.tasks[0], paper.tasks[0])]
    assert counts == [[60, 40], [80, 20]]
    with pytest.raises(ValueError, match="split must be"):
        cub200(1, LoadOptions(data_root=tiny_root), split="half")


def test_permuted_tasks_hold_the_same_images_with_other_pixel_orders():
    tasks = permuted_digits(1).tasks
    first, second = (next(task.test.batches(50))[0].flatten(1) for task in tasks[:2])
    assert not torch.equal(first, second)
    assert torch.equal(first.sort(dim=1).values, second.sort(dim=1).values)


def test_a_rotation_by_no_angle_is_the_image_itself():
    tasks = {task.name: task for task in rotated_digits(1).tasks}
    upright, plain = (next(task.test.batches(50))[0] for task in (tasks["0 degrees"], permuted_digits(1).tasks[0]))
    assert torch.equal(upright, plain)
    assert not torch.equal(next(tasks["90 degrees"].test.batches(50))[0], plain)


@given(count=st.integers(1, 60), share=st.floats(0, 0.95), seed=st.integers(0, 50), classes=st.integers(1, 6))
def test_holding_out_splits_every_class(count, share, seed, classes):
    labels = torch.from_numpy(np.random.default_rng(seed).integers(0, classes, count))
    kept, aside = hold_out(labels, share, stream(seed, "test"))
    assert sorted([*kept.tolist(), *aside.tolist()]) == list(range(count))
    for label in labels.unique():
        members, out = int((labels == label).sum()), int((labels[aside] == label).sum())
        assert out < members
        if share and members > 1:
            assert out >= 1
            assert abs(out - share * members) <= 1


@given(count=st.integers(1, 60), fraction=st.floats(0.01, 1), seed=st.integers(0, 50))
def test_thinning_keeps_a_share_of_every_class_and_never_loses_one(count, fraction, seed):
    labels = torch.arange(count) % 5
    kept = thin(labels, fraction, stream(seed, "test"))
    assert len(set(kept.tolist())) == len(kept)
    assert kept.tolist() == sorted(kept.tolist())
    for label in labels.unique():
        members, left = int((labels == label).sum()), int((labels[kept] == label).sum())
        assert fraction * members <= left < fraction * members + 1


@given(count=st.integers(0, 100), seed=st.integers(), purpose=st.text(max_size=5))
def test_an_order_is_a_permutation_fixed_by_seed_and_purpose(count, seed, purpose):
    assert sorted(order(count, seed, purpose)) == list(range(count))
    assert order(count, seed, purpose) == order(count, seed, purpose)


def test_orders_for_different_purposes_are_independent():
    assert order(50, 0, "class order") != order(50, 0, "task order") != order(50, 1, "task order")


@given(size=st.integers(1, 8), num_tasks=st.integers(1, 8))
def test_a_partition_keeps_the_order_in_equal_groups(size, num_tasks):
    classes = list(range(size * num_tasks))
    groups = partition(classes, num_tasks)
    assert [label for group in groups for label in group] == classes
    assert {len(group) for group in groups} == {size}


@settings(max_examples=10)
@given(seed=st.integers(0, 1000))
def test_pixel_orders_start_with_the_natural_one(seed):
    orders = pixel_orders(4, 64, seed)
    assert orders[0].tolist() == list(range(64))
    assert len({tuple(drawn.tolist()) for drawn in orders}) == 4
    assert all(sorted(drawn.tolist()) == list(range(64)) for drawn in orders)


@pytest.mark.parametrize("num_tasks", [0, 3, 11, -1])
def test_classes_that_cannot_be_shared_out_are_refused(num_tasks):
    with pytest.raises(ValueError, match="10 classes cannot be cut"):
        digits(0, num_tasks=num_tasks)


@pytest.mark.parametrize(
    "bad",
    [{"tasks": 0}, {"fraction": 0}, {"fraction": 1.1}, {"validation": 0}, {"validation": 1}, {"device": "toaster"}],
)
def test_options_outside_their_ranges_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        LoadOptions(**bad)


def test_a_set_without_test_images_needs_one_drawn(image_set):
    none = ImageSet("x", image_set.images, image_set.labels, torch.zeros(240, dtype=torch.bool), image_set.classes)
    with pytest.raises(ValueError, match="240 training and 0 test images"):
        prepare(none, 0, LoadOptions())
    assert int(with_drawn_test(none, 0.25, 0).is_test.sum()) == 60


def test_images_that_do_not_fit_are_not_padded(image_set):
    with pytest.raises(ValueError, match="cannot be padded to 5"):
        prepare(image_set, 0, LoadOptions(), side=5)


def test_a_missing_data_set_is_named_with_the_way_to_get_it(tmp_path):
    with pytest.raises(ValueError, match=r"'cifar100' is not in .* `agscl data list`"):
        cifar100(0, LoadOptions(data_root=tmp_path))
