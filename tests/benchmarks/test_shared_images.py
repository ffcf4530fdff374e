"""The real images beside the project, through the real import; skipped where they are not."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from agscl.benchmarks import LoadOptions, cifar100, cub200, eight, omniglot
from agscl.benchmarks.cache import Cache
from agscl.benchmarks.importing import import_set

SUBSETS = {
    "cifar10": ("cifar10_subset.npz", 3000, 600),
    "mnist": ("mnist_subset.npz", 10_000, 2000),
    "fashion-mnist": ("fashion_mnist_subset.npz", 10_000, 2000),
    "notmnist": ("notmnist_small.npz", 15_364, 3360),
    "svhn": ("svhn_subset.npz", 2500, 1000),
    "gtsrb": ("gtsrb_subset.npz", 2580, 860),
}


@pytest.fixture(scope="module")
def root(shared_data, tmp_path_factory):
    """A data folder with all the real images but CIFAR-100."""
    cache = Cache(tmp_path_factory.mktemp("real"))
    for name, (file, _, _) in SUBSETS.items():
        import_set(name, shared_data / file, cache)
    import_set("omniglot", shared_data / "omniglot.npz", cache)
    return cache.root


@pytest.mark.parametrize("name", SUBSETS)
def test_images_and_labels_are_those_of_the_file(root, shared_data, name):
    file, train, test = SUBSETS[name]
    images = Cache(root).load(name)
    assert (len(images), int(images.is_test.sum())) == (train + test, test)
    with np.load(shared_data / file) as arrays:
        original, labels = arrays["x_train"], arrays["y_train"]
    channels_last = images.images[:train].permute(0, 2, 3, 1).numpy()
    assert np.array_equal(channels_last, original.reshape(channels_last.shape))
    assert np.array_equal(images.labels[:train].numpy(), labels)


def test_seven_of_the_eight_sets_are_normalised_colour_images(root):
    sequence = eight(1, LoadOptions(data_root=root), sets=list(SUBSETS))
    assert dict(zip((task.name for task in sequence.tasks), sequence.num_classes, strict=True)) == {
        name: 43 if name == "gtsrb" else 10 for name in SUBSETS
    }
    for task in sequence.tasks:
        inputs = torch.cat([x for x, _ in task.train.batches(1000)])
        assert inputs.shape[1:] == (3, 32, 32)
        assert abs(float(inputs.mean())) < 0.3
        assert 0.8 < float(inputs.std()) < 1.05


def test_omniglot_has_fifty_alphabets_and_1623_characters(root):
    sequence = omniglot(0, LoadOptions(data_root=root))
    assert len(sequence.tasks) == 50
    assert sum(sequence.num_classes) == 1623
    assert (min(sequence.num_classes), max(sequence.num_classes)) == (14, 55)
    sizes = [sum(len(getattr(task, part)) for task in sequence.tasks) for part in ("train", "validation", "test")]
    assert sizes == [1623 * 16, 1623 * 2, 1623 * 2]


def test_neighbours_tell_real_classes_apart_so_labels_belong_to_their_images(root):
    for name in ("mnist", "notmnist"):
        task = eight(1, LoadOptions(data_root=root, fraction=0.3), sets=[name]).tasks[0]
        drawn = torch.Generator().manual_seed(0)
        (x, y), (test, truth) = (next(part.batches(2000, generator=drawn)) for part in (task.train, task.test))
        nearest = torch.cdist(test.flatten(1), x.flatten(1)).argmin(dim=1)
        assert (y[nearest] == truth).float().mean() > 0.8


@pytest.fixture(scope="module")
def unpacked(shared_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unpacked")
    subprocess.run([sys.executable, str(shared_data / "unpack.py"), str(folder), "cub"], check=True)
    return folder


def test_fifty_kinds_of_birds_come_with_the_official_split(unpacked, tmp_path):
    cache = Cache(tmp_path)
    manifest = import_set("cub200", unpacked / "CUB_200_2011", cache, size=64)
    assert (manifest.count, len(manifest.classes)) == (2889, 50)
    lines = (unpacked / "CUB_200_2011" / "train_test_split.txt").read_text().splitlines()
    marks = dict(line.split() for line in lines)
    numbers = (line.split()[0] for line in (unpacked / "CUB_200_2011" / "images.txt").read_text().splitlines())
    official = cache.load("cub200")
    assert official.is_test.tolist() == [marks[number] == "0" for number in numbers]
    sequence = cub200(0, LoadOptions(data_root=tmp_path), size=56)
    assert (sequence.num_classes, sequence.input_shape) == ((5,) * 10, (3, 56, 56))
    assert not sequence.record["data"][0]["complete"]


def test_complete_cifar100_has_5000_images_per_task(shared_data, tmp_path):
    subprocess.run([sys.executable, str(shared_data / "unpack.py"), str(tmp_path), "cifar100"], check=True)
    cache = Cache(tmp_path / "data")
    import_set("cifar100", tmp_path / "cifar100.npz", cache)
    sequence = cifar100(1, LoadOptions(data_root=cache.root))
    assert sequence.record["data"][0]["complete"]
    for task in sequence.tasks:
        assert [len(part) for part in (task.train, task.validation, task.test)] == [4500, 500, 1000]
        assert torch.bincount(next(task.test.batches(1000))[1]).tolist() == [100] * 10
