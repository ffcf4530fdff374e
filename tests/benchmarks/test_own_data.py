"""A user's own folder, .npz or torch data sets become tasks in one call."""

import json
import os
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from agscl.benchmarks import LoadOptions, from_datasets, from_folder, from_npz
from agscl.benchmarks.cache import Cache
from agscl.benchmarks.errors import DataError


@pytest.fixture
def options(tmp_path):
    return LoadOptions(data_root=tmp_path / "data")


def everything(sequence):
    return [
        (x.numpy().tobytes(), y.tolist())
        for task in sequence.tasks
        for part in (task.train, task.validation, task.test)
        for x, y in part.batches(50)
    ]


def test_a_folder_with_a_test_side_becomes_tasks(originals, options, tmp_path):
    root = originals.image_folders(tmp_path / "insects", classes=tuple("abcdef"), each=10)
    sequence = from_folder(root, 3, 1, options, size=16)
    assert (sequence.name, sequence.num_classes, sequence.input_shape) == ("insects", (2, 2, 2), (3, 16, 16))
    assert sorted(name for group in sequence.record["task_classes"] for name in group) == list("abcdef")
    assert [len(part) for part in (sequence.tasks[0].train, sequence.tasks[0].validation)] == [18, 2]
    assert len(sequence.tasks[0].test) == 20


def test_a_folder_without_a_test_side_gives_a_fifth_to_testing(originals, options, tmp_path):
    root = originals.image_folders(tmp_path / "insects", sides=("",), each=10)
    task = from_folder(root, 1, 1, options, size=16).tasks[0]
    assert [len(part) for part in (task.train, task.validation, task.test)] == [21, 3, 6]


def test_images_keep_their_shape_when_they_are_made_square(options, tmp_path):
    for name in ("left", "right"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(4):
            image = Image.new("RGB", (60, 20), (255, 0, 0))
            image.paste((0, 255, number * 20), (20, 0, 40, 20))
            image.save(tmp_path / "photos" / name / f"{number}.png")
    from_folder(tmp_path / "photos", 1, 0, options, size=20)
    cache = Cache(options.data_root)
    name = next(path.stem for path in cache.root.glob("own-*.json"))
    images = cache.load(name).images
    assert images[:, 0].eq(0).all()
    assert images[:, 1].eq(255).all()


def test_a_folder_is_decoded_once_and_again_after_a_change(originals, options, tmp_path):
    root = originals.image_folders(tmp_path / "insects", each=4)
    seen = []
    for _ in range(2):
        from_folder(root, 1, 1, options, size=16, report=lambda what, done, total: seen.append((done, total)))
    assert seen == [(24, 24)]
    path = root / "train" / "ant" / "0.png"
    os.utime(path, ns=(0, 0))
    from_folder(root, 1, 1, options, size=16, report=lambda what, done, total: seen.append((done, total)))
    assert len(seen) == 2


def test_an_npz_of_python_2_is_read_in_silence(tmp_path):
    np.savez(tmp_path / "old.npz", x=np.zeros((20, 8, 8), np.uint8), y=np.arange(20) % 2)
    with zipfile.ZipFile(tmp_path / "old.npz") as new:
        contents = {name: new.read(name) for name in new.namelist()}
    with zipfile.ZipFile(tmp_path / "old.npz", "w") as old:
        for name, content in contents.items():
            old.writestr(name, content.replace(b"20,", b"20L,").replace(b"  \n", b" \n", 1))
    assert from_npz(tmp_path / "old.npz", 1).num_classes == (2,)


def test_names_that_are_no_text_are_escaped(originals, options, tmp_path):
    odd = os.fsdecode(b"caf\xe9")
    folder = originals.image_folders(tmp_path / odd, classes=(odd, "b"), each=10)
    images, labels = originals.random_images(20, (8, 8, 3)), np.arange(20) % 2
    np.savez(tmp_path / f"{odd}.npz", x=images, y=labels, classes=np.array([odd, "\ud800"]))
    for sequence in (from_folder(folder, 1, 0, options, size=8), from_npz(tmp_path / f"{odd}.npz", 1)):
        assert sequence.name == "caf\\udce9"
        assert "caf\\udce9" in sequence.record["task_classes"][0]
        assert json.loads(json.dumps(sequence.record, ensure_ascii=False).encode()) == sequence.record


def test_folders_that_cannot_be_tasks_are_refused(originals, options, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no folders with images"):
        from_folder(tmp_path / "empty", 1, 0, options)
    with pytest.raises(DataError, match="is not a folder"):
        from_folder(tmp_path / "nowhere", 1, 0, options)
    root = originals.image_folders(tmp_path / "insects")
    with pytest.raises(ValueError, match="3 classes cannot be cut into 2"):
        from_folder(root, 2, 0, options)
    (root / "train/ant/0.png").write_text("not an image")
    with pytest.raises(DataError, match=r"ant/0\.png"):
        from_folder(root, 3, 0, options)


@pytest.mark.parametrize("split", [True, False])
def test_an_npz_becomes_tasks(originals, tmp_path, split):
    images, labels = originals.random_images(80, (10, 12)), np.arange(80) % 4
    arrays = {"x": images, "y": labels}
    if split:
        arrays = {"x_train": images[:60], "y_train": labels[:60], "x_test": images[60:], "y_test": labels[60:]}
    np.savez(tmp_path / "mine.npz", classes=np.array(["n", "e", "s", "w"]), **arrays)
    sequence = from_npz(tmp_path / "mine.npz", 2, 3)
    assert (sequence.name, sequence.num_classes, sequence.input_shape) == ("mine", (2, 2), (1, 10, 12))
    assert len(sequence.tasks[0].test) == (10 if split else 8)
    assert sorted(name for group in sequence.record["task_classes"] for name in group) == list("ensw")
    assert everything(sequence) == everything(from_npz(tmp_path / "mine.npz", 2, 3))


class Squares(Dataset):
    """Examples of any size, without a list of labels, labelled 10, 20, 30."""

    def __init__(self, count, offset=0):
        self.count, self.offset = count, offset

    def __len__(self):
        return self.count

    def __getitem__(self, position):
        return torch.full((1, 4, 4), float(position + self.offset)), 10 * (1 + position % 3)


def pairs():
    return [(Squares(30), Squares(9, 100)), (Squares(30, 200), Squares(9, 300))]


@pytest.mark.parametrize("workers", [0, 1])
def test_torch_data_sets_become_tasks(workers):
    sequence = from_datasets(pairs(), 1, workers=workers, names=["small", "large"])
    assert [task.name for task in sequence.tasks] == ["small", "large"]
    assert (sequence.num_classes, sequence.input_shape) == ((3, 3), (1, 4, 4))
    task = sequence.tasks[0]
    assert [len(part) for part in (task.train, task.validation, task.test)] == [27, 3, 9]
    values = {}
    for part in ("train", "validation", "test"):
        for x, y in getattr(task, part).batches(4, generator=torch.Generator().manual_seed(0)):
            assert torch.equal(y, (x[:, 0, 0, 0].long() - (100 if part == "test" else 0)) % 3)
            values.setdefault(part, []).extend(x[:, 0, 0, 0].tolist())
    assert sorted(values["train"] + values["validation"]) == list(range(30))
    assert sorted(values["test"]) == list(range(100, 109))


def test_reading_torch_data_sets_draws_from_the_given_generator_only():
    examples = from_datasets(pairs(), 1).tasks[0].train
    before = torch.get_rng_state()
    runs = [
        torch.cat([x for x, _ in examples.batches(8, generator=torch.Generator().manual_seed(seed))])
        for seed in (0, 0, 1)
    ]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])
    stored = torch.cat([x for x, _ in examples.batches(8)])[:, 0, 0, 0]
    assert stored.tolist() == sorted(stored.tolist())


def test_torch_data_sets_are_scaled_down_and_ordered_by_the_seed():
    sequences = [
        from_datasets(pairs() * 3, seed, LoadOptions(fraction=0.5, tasks=4), order_by="seed") for seed in range(3)
    ]
    assert len({tuple(sequence.record["task_order"]) for sequence in sequences}) > 1
    assert {len(sequence.tasks) for sequence in sequences} == {4}
    assert {len(sequence.tasks[0].train) for sequence in sequences} == {15}
    assert sequences[0].record["scaled_down"]


class Endless(IterableDataset):
    def __iter__(self):
        return iter(())


def test_torch_data_sets_that_cannot_be_tasks_are_refused():
    images, labels = torch.rand(6, 1, 4, 4), torch.arange(6) % 2
    fine = TensorDataset(images, labels)
    with pytest.raises(ValueError, match="no length"):
        from_datasets([(Endless(), fine)])
    with pytest.raises(ValueError, match="labels that the training set lacks"):
        from_datasets([(fine, TensorDataset(images, labels + 5))])
    with pytest.raises(ValueError, match="inputs of one shape"):
        from_datasets([(fine, fine), (TensorDataset(torch.rand(6, 1, 5, 5), labels),) * 2])
    with pytest.raises(ValueError, match="float tensors"):
        from_datasets([(TensorDataset((images * 255).byte(), labels),) * 2])
