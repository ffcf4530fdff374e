"""Own data is read right or refused by name, and what was left out or changed is always counted."""

import json
import os

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset, TensorDataset

from agscl.benchmarks import LoadOptions, from_csv, from_datasets, from_folder, from_npz
from agscl.benchmarks.cache import Cache
from agscl.benchmarks.errors import DataError
from agscl.benchmarks.own.labels import as_classes
from agscl.benchmarks.own.source import OwnSource, found_in, identity, open_source


@pytest.fixture
def options(tmp_path):
    return LoadOptions(data_root=tmp_path / "data")


def noise(path, seed=0, size=(9, 7), mode="RGB", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path, **options)
    return path


@pytest.fixture
def photos(tmp_path):
    """Four classes of six images."""
    root = tmp_path / "photos"
    for label, name in enumerate(("ant", "bee", "cat", "dog")):
        for number in range(6):
            noise(root / name / f"{number}.png", seed=10 * label + number)
    return root


def opened(root, tmp_path, size=8):
    return open_source(OwnSource("folder", str(root)), size, Cache(tmp_path / "data"))


def pixels_of(root, tmp_path, size=8):
    """Stored images by the name of their file, for folders of one image a class."""
    own = opened(root, tmp_path, size)
    return {own.classes[label]: own.images[row] for row, label in enumerate(own.labels.tolist())}


@pytest.mark.parametrize("change", ["repaint", "add", "relink", "link", "same size and time"])
def test_any_change_behind_a_link_is_seen(photos, tmp_path, change):
    mine = tmp_path / "mine"
    mine.mkdir()
    for name in ("ant", "bee"):
        (mine / name).symlink_to(photos / name)
    before = opened(mine, tmp_path)
    times = (photos / "ant" / "0.png").stat()
    match change:
        case "repaint":
            noise(photos / "ant" / "0.png", seed=99)
        case "add":
            noise(photos / "ant" / "9.png", seed=99)
        case "relink":
            (mine / "ant").unlink()
            (mine / "ant").symlink_to(photos / "cat")
        case "link":
            (mine / "cat").symlink_to(photos / "cat")
        case "same size and time":
            content = (photos / "ant" / "1.png").read_bytes()
            (photos / "ant" / "0.png").write_bytes(content)
            os.utime(photos / "ant" / "0.png", ns=(times.st_atime_ns, times.st_mtime_ns))
    after = opened(mine, tmp_path)
    assert identity(before) != identity(after)
    assert len(list((tmp_path / "data").glob("own-*.json"))) == 1, "what was decoded before is removed"


def test_what_is_no_image_of_a_class_is_left_out_and_counted(photos, tmp_path):
    noise(photos / ".ipynb_checkpoints" / "0.png")
    noise(photos / "__MACOSX" / "0.png")
    noise(photos / "ant" / ".hidden.png")
    (photos / "empty").mkdir()
    (photos / "notes.txt").write_text("notes")
    (photos / "ant" / "notes.txt").write_text("notes")
    (photos / "ant" / "gone.png").symlink_to(photos / "nowhere.png")
    (photos / "ant" / "endless.png").symlink_to("/dev/zero")
    os.mkfifo(photos / "ant" / "pipe.png")
    (photos / "ant" / "above").symlink_to(photos / "ant")
    (photos / "ant" / "raw.heic").write_bytes(b"x")
    own = opened(photos, tmp_path)
    assert (own.classes, len(own)) == (("ant", "bee", "cat", "dog"), 24)
    line = found_in(own)
    assert "photos: 4 classes, 24 colour images of 8x8 pixels" in line
    for words in (".ipynb_checkpoints", "__MACOSX", ".hidden.png", "folder without an image (empty)", "notes.txt",
                  "link to nothing (ant/gone.png)", "2 no regular file", "format that is not read: .heic",
                  "folder linked twice (ant/above)"):  # fmt: skip
        assert words in line
    assert "\n" not in line


@pytest.mark.parametrize("ending", ["gif", "jfif", "webp", "jpe", "JPG", "tiff", "bmp"])
def test_no_class_is_lost_for_its_ending(photos, tmp_path, ending):
    for number in range(6):
        formats = {"jfif": "JPEG", "jpe": "JPEG", "JPG": "JPEG"}
        noise(photos / "emu" / f"{number}.{ending}", format=formats.get(ending, ending.upper()))
    assert opened(photos, tmp_path).classes == ("ant", "bee", "cat", "dog", "emu")


@pytest.mark.parametrize("name", ["0.heic", "0.dcm", "0"])
def test_a_class_of_images_that_cannot_be_read_is_refused(photos, tmp_path, name):
    (photos / "emu").mkdir()
    noise(tmp_path / "x.png")
    (photos / "emu" / name).write_bytes((tmp_path / "x.png").read_bytes())
    with pytest.raises(DataError, match="class 'emu' would be lost"):
        opened(photos, tmp_path)


def test_images_are_found_however_deep_they_lie(photos, tmp_path):
    for number in range(3):
        noise(photos / "emu" / "more" / "and more" / f"{number}.png", seed=100 + number)
        noise(photos / "dog" / "more" / f"{number}.png", seed=200 + number)
    own = opened(photos, tmp_path)
    assert torch.bincount(own.labels).tolist() == [6, 6, 6, 9, 3]
    assert "6 below a folder of its class" in found_in(own)


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Train", "Validation", "TEST"), ("training", "dev", "testing")]
)
def test_the_parts_of_a_split_are_what_their_folders_say(tmp_path, options, names):
    sizes = (5, 3, 2)
    for side, (name, count) in enumerate(zip(names, sizes, strict=True)):
        for label in ("ant", "bee"):
            for number in range(count):
                noise(tmp_path / "photos" / name / label / f"{number}.png", seed=hash((side, label, number)) % 2**32)
    task = from_folder(tmp_path / "photos", 1, options=options, size=8).tasks[0]
    assert [len(part) for part in (task.train, task.validation, task.test)] == [10, 6, 4]
    tree = tmp_path / "photos" / names[1] / "fox"
    noise(tree / "0.png")
    with pytest.raises(DataError, match=r"has classes that .* lacks: fox"):
        from_folder(tmp_path / "photos", 1, options=options, size=8)


def test_a_class_may_be_called_train(photos, tmp_path):
    for number in range(6):
        noise(photos / "train" / f"{number}.png")
    assert "train" in opened(photos, tmp_path).classes


def test_a_folder_that_may_mean_two_things_is_refused(photos, tmp_path):
    noise(photos / "train" / "ant" / "0.png")
    with pytest.raises(DataError, match=r"holds a split \(train\) and other folders of images"):
        opened(photos, tmp_path)


def grey(path, values, mode):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def test_deep_float_and_transparent_images_look_as_in_a_viewer(tmp_path):
    ramp = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    root = tmp_path / "pixels"
    grey(root / "plain" / "0.png", ramp, "L")
    grey(root / "deep" / "0.png", ramp.astype(np.uint16) * 257, "I;16")
    grey(root / "tiff" / "0.tif", ramp.astype(np.uint16) * 257, "I;16")
    grey(root / "float" / "0.tif", ramp.astype(np.float32) / 255, "F")
    drawing = np.zeros((8, 8, 4), np.uint8)
    drawing[2:4, :, 3] = 255
    grey(root / "alpha" / "0.png", drawing, "RGBA")
    pixels = pixels_of(root, tmp_path)
    for name in ("deep", "tiff", "float"):
        assert torch.equal(pixels[name], pixels["plain"])
    assert pixels["alpha"][:, 0, 0].tolist() == [255] * 3
    assert pixels["alpha"][:, 2, 0].tolist() == [0] * 3
    line = found_in(opened(root, tmp_path))
    for words in ("2 of 16 bits a channel, scaled to 8", "1 of floats up to 1", "1 with transparency, put on white"):
        assert words in line


@pytest.mark.parametrize("mode", ["P", "LA", "L", "RGB"])
def test_whatever_is_transparent_is_put_on_white(tmp_path, mode):
    root = tmp_path / "pixels"
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 0)).convert({"P": "P", "LA": "LA"}.get(mode, mode))
    (root / "a").mkdir(parents=True)
    transparency = {"P": image.getpixel((0, 0)), "L": 0, "RGB": (0, 0, 0)}
    image.save(root / "a" / "0.png", **({"transparency": transparency[mode]} if mode in transparency else {}))
    noise(root / "b" / "0.png")
    assert pixels_of(root, tmp_path)["a"].eq(255).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_turned_as_their_exif_says(tmp_path, orientation):
    upright = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8))
    stored = {1: [], 2: [0], 3: [3], 4: [1], 5: [5], 6: [2], 7: [6], 8: [4]}[orientation]
    turned = upright
    for step in stored:
        turned = turned.transpose(Image.Transpose(step))
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "p" / "a").mkdir(parents=True)
    turned.save(tmp_path / "p" / "a" / "0.png", exif=exif)
    noise(tmp_path / "p" / "b" / "0.png", seed=1)
    assert np.array_equal(pixels_of(tmp_path / "p", tmp_path)["a"].permute(1, 2, 0).numpy(), np.asarray(upright))


def test_images_of_one_colour_and_twins_are_warned_about(photos, tmp_path):
    Image.new("RGB", (8, 8), (255, 255, 255)).save(photos / "ant" / "white.png")
    (photos / "bee" / "twin.png").write_bytes((photos / "ant" / "0.png").read_bytes())
    line = found_in(opened(photos, tmp_path))
    assert "1 WARNING: of one colour alone (ant/white.png)" in line
    assert "1 WARNING: the same as an image of another class (bee/twin.png)" in line


def test_all_damaged_images_are_named_at_once(photos, tmp_path):
    for name in ("ant", "dog"):
        (photos / name / "0.png").write_bytes(b"\x89PNG\r\n no more")
    with pytest.raises(DataError, match=r"ant/0\.png.*dog/0\.png") as refused:
        opened(photos, tmp_path)
    assert "BytesIO" not in str(refused.value)
    assert not list((tmp_path / "data").glob("*.json"))


def test_a_class_without_a_test_image_is_refused_before_training(photos, options):
    for number in range(1, 6):
        (photos / "ant" / f"{number}.png").unlink()
    with pytest.raises(DataError, match="class 'ant' has 1 example; it needs 2 at least"):
        from_folder(photos, 2, options=options, size=8)


def test_tasks_are_named_in_a_file_in_any_order_and_size(photos, options, tmp_path):
    file = tmp_path / "tasks.json"
    for number in range(6):
        noise(photos / "emu" / f"{number}.png", seed=300 + number)
    file.write_text(json.dumps([{"name": "pets", "classes": ["dog", "cat"]}, ["bee", "ant", "emu"]]))
    sequence = from_folder(photos, file, options=options, size=8)
    assert [(task.name, task.num_classes) for task in sequence.tasks] == [("pets", 2), ("task 2", 3)]
    assert sequence.record["task_classes"] == [["dog", "cat"], ["bee", "ant", "emu"]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([["dog", "ct"], ["ant", "bee"]], "no class 'ct': did you mean 'cat'"),
        ([["dog", "cat"], ["ant", "dog"]], "class 'dog' twice"),
        ([["dog"], ["ant", "bee"]], "1 classes are too few"),
        ({"a": ["dog", "cat"], "b": "ant"}, "must be a list of names"),
        ([], "must hold a list of tasks"),
        ([{"name": "a", "class": ["x", "y"]}], "not 'class'"),
    ],
)
def test_task_files_that_say_something_else_are_refused(photos, options, tmp_path, content, message):
    (tmp_path / "tasks.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=message):
        from_folder(photos, tmp_path / "tasks.json", options=options, size=8)


# labels of arrays


def saved(tmp_path, **arrays):
    np.savez(tmp_path / "own.npz", **arrays)
    return tmp_path / "own.npz"


IMAGES = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)
SIX = np.arange(60) % 6


@pytest.mark.parametrize(
    "labels",
    [SIX + 1, np.array([3, 7, 11, 20, 40, 255])[SIX], SIX[:, None], np.eye(6)[SIX], np.eye(6, dtype=bool)[SIX],
     SIX.astype(np.float32), np.array(list("bdfhjl"))[SIX], SIX + 100_000, SIX.astype(np.uint8)],
    ids=["from 1", "gaps", "column", "one-hot", "bool one-hot", "floats", "texts", "large", "plain"],
)  # fmt: skip
def test_labels_of_any_kind_are_the_classes_that_there_are(tmp_path, labels):
    sequence = from_npz(saved(tmp_path, x=IMAGES, y=labels), 3)
    assert sequence.num_classes == (2, 2, 2)
    for task in sequence.tasks:
        for part in (task.train, task.validation, task.test):
            assert torch.cat([y for _, y in part.batches(60)]).unique().tolist() == [0, 1]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30), st.integers(0, 10_000), st.integers(1, 9))
def test_classes_are_the_different_labels_whatever_numbers_they_have(labels, offset, step):
    own = np.array(labels) * step + offset
    classes, (positions,), _ = as_classes([own], None, "y")
    assert [int(classes[position]) for position in positions] == own.tolist()
    assert sorted(set(positions.tolist())) == list(range(len(classes)))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": IMAGES, "y": SIX + 0.5}, "labels have fractions"),
        ({"x": IMAGES, "y": SIX - 1}, "a label is -1"),
        ({"x": IMAGES, "y": np.ones((60, 3))}, "not one-hot"),
        ({"x": IMAGES, "y": SIX[:50]}, "not as many labels as examples"),
        ({"x": IMAGES, "labels": SIX, "y": SIX}, "holds both 'labels' and 'y'"),
        ({"arr_0": IMAGES, "arr_1": SIX}, "name the arrays x and y"),
        ({"x": IMAGES}, "has no labels for 'x'"),
        ({"x": np.full((60, 4), np.nan), "y": SIX}, "60 examples hold NaN"),
        ({"x": np.zeros((60, 8, 8, 4), np.uint8), "y": SIX}, "4 channels"),
        ({"x": IMAGES, "y": SIX, "classes": np.array(["a", "b"])}, "do not fit 2 names"),
        ({"x": np.array(["a"] * 60), "y": SIX}, "must be numbers"),
        ({"x_train": IMAGES, "y_train": SIX, "x_test": IMAGES[:, :4], "y_test": SIX}, "different shapes"),
    ],
)
def test_arrays_that_are_no_examples_with_labels_are_refused(tmp_path, arrays, message):
    with pytest.raises(DataError, match=message) as refused:
        from_npz(saved(tmp_path, **arrays), 3)
    assert "own.npz" in str(refused.value)


@pytest.mark.parametrize(
    "names", [("x_train", "y_train", "x_val", "y_val", "x_test", "y_test"),
              ("train_images", "train_labels", "val_images", "val_labels", "test_images", "test_labels"),
              ("X_train", "Y_train", "X_valid", "Y_valid", "X_test", "Y_test")],
)  # fmt: skip
def test_parts_of_arrays_are_what_their_names_say(tmp_path, names):
    rows = (slice(0, 30), slice(30, 48), slice(48, 60))
    pairs = [(IMAGES[part], SIX[part]) for part in rows]
    arrays = dict(zip(names, [array for pair in pairs for array in pair], strict=True))
    sequence = from_npz(saved(tmp_path, **arrays), 1)
    assert [len(getattr(sequence.tasks[0], part)) for part in ("train", "validation", "test")] == [30, 18, 12]


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32, np.float64, "0..1", "16 bits"])
def test_pixels_of_other_types_are_those_of_bytes(tmp_path, kind):
    images = {"0..1": IMAGES / 255, "16 bits": IMAGES.astype(np.uint16) * 257}.get(kind)
    images = IMAGES.astype(kind) if images is None else images
    plain = from_npz(saved(tmp_path, x=IMAGES, y=SIX), 1).tasks[0]
    other = from_npz(saved(tmp_path, x=images, y=SIX), 1).tasks[0]
    for (x, _), (z, _) in zip(plain.test.batches(60), other.test.batches(60), strict=True):
        assert torch.equal(x, z)


def test_numbers_that_are_no_pixels_are_features_standardised_by_the_training_rows(tmp_path):
    values = np.random.default_rng(0).normal(5, 3, (60, 4))
    values[:, 3] = 1
    task = from_npz(saved(tmp_path, features=values, target=SIX), 1).tasks[0]
    train = torch.cat([x for x, _ in task.train.batches(60)])
    assert train.shape[1:] == (4,)
    assert torch.allclose(train.mean(0), torch.zeros(4), atol=1e-5)
    assert torch.allclose(train[:, :3].std(0, correction=0), torch.ones(3), atol=1e-5)


def test_a_pipe_is_never_waited_for(tmp_path, options):
    os.mkfifo(tmp_path / "own.npz")
    os.mkfifo(tmp_path / "own.csv")
    for read in (from_npz, from_csv):
        with pytest.raises(DataError, match="no regular file"):
            read(tmp_path / f"own.{read.__name__[5:]}", 1)


# tables


def test_a_table_names_images_and_their_labels(photos, options, tmp_path):
    rows = [f"photos/{name}/{number}.png;{name}" for name in ("dog", "ant") for number in range(6)]
    (tmp_path / "own.csv").write_text("\n".join(["image path;Label", *rows]))
    sequence = from_csv(tmp_path / "own.csv", 1, options=options, size=8)
    assert sequence.record["task_classes"][0] in (["ant", "dog"], ["dog", "ant"])
    assert sum(len(getattr(sequence.tasks[0], part)) for part in ("train", "validation", "test")) == 12


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["path,label", "photos/ant/0.png,ant", "photos/ant/99.png,ant"], r"line 3: .*99\.png does not exist"),
        (["path,label", "photos/ant/0.png,"], "line 2: no label"),
        (["path,label", "photos/ant/0.png,a", "photos/ant/0.png,b"], "lines 2 and 3"),
        (["a,b,c", "1,2,3"], "has the columns a, b, c"),
        (["path,file,label", "1,2,3"], "which column is meant, path or file"),
        (["path,label,split", "photos/ant/0.png,a,never"], "known part of the split"),
        ([""], "is empty"),
    ],
)
def test_tables_that_cannot_be_understood_are_refused(photos, options, tmp_path, lines, message):
    (tmp_path / "own.csv").write_text("\n".join(lines))
    with pytest.raises(DataError, match=message):
        from_csv(tmp_path / "own.csv", 1, options=options, size=8)


# torch data sets


class Counting(Dataset):
    """Counts what is read."""

    def __init__(self, count=40):
        self.targets, self.read = [3 + 2 * (n % 4) for n in range(count)], 0

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, position):
        self.read += 1
        return torch.rand(1), self.targets[position]


def test_labels_of_parts_and_joins_are_known_without_reading_them():
    whole = Counting()
    pairs = [(Subset(whole, range(start, start + 20)), Subset(whole, range(20))) for start in (0, 20)]
    both = ConcatDataset([whole, whole])
    assert from_datasets([*pairs, (both, both)]).num_classes == (4, 4, 4)
    assert whole.read <= 20


class Coarse(Dataset):
    """As torchvision: targets as they are stored, items as the target transform changes them."""

    target_transform = staticmethod(lambda label: label // 2)

    def __init__(self):
        self.targets = [n % 4 for n in range(40)]

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, position):
        return torch.rand(1), self.target_transform(self.targets[position])


@pytest.mark.parametrize("view", [lambda d: d, lambda d: Subset(d, range(24)), lambda d: ConcatDataset([d, d])])
def test_labels_are_those_of_the_items_whatever_targets_say(view):
    own = view(Coarse())
    task = from_datasets([(own, own)]).tasks[0]
    assert task.num_classes == 2
    assert all(
        set(y.tolist()) <= {0, 1} for part in (task.train, task.validation, task.test) for _, y in part.batches(7)
    )


def test_targets_that_disagree_with_the_items_are_refused():
    class Liar(Counting):
        def __getitem__(self, position):
            return torch.rand(1), 3 if position == 0 else 5

    with pytest.raises(DataError, match="its targets and its items must agree"):
        list(from_datasets([(Liar(), Liar())]).tasks[0].test.batches(9))


def test_random_transforms_in_workers_differ_from_epoch_to_epoch_and_with_the_seed():
    def epochs(seed):
        task = from_datasets([(Counting(32), Counting(8))], workers=2).tasks[0]
        generator = torch.Generator().manual_seed(seed)
        return [sorted(float(v) for x, _ in task.train.batches(4, generator=generator) for v in x) for _ in range(2)]

    first, second = epochs(5)
    assert first != second
    assert epochs(5) == [first, second]
    assert epochs(6)[0] != first


class Items(Dataset):
    def __init__(self, make, count=12):
        self.make, self.count = make, count

    def __len__(self):
        return self.count

    def __getitem__(self, position):
        return self.make(position)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda n: {"image": torch.rand(1), "label": n % 2}, "an item is dict"),
        (lambda n: (torch.rand(1), n % 2, n), "an item is 3 values"),
        (lambda n: (torch.rand(1), (n % 2, 1, 2)), "a label is"),
        (lambda n: (torch.rand(1), None), "a label is None"),
        (lambda n: (torch.rand(1), 0.7 + n % 2), r"a label is 0\.7"),
        (lambda n: (torch.rand(1).byte(), n % 2), "let the transform make float tensors"),
        (lambda n: (torch.rand(1), n % 2 if n else "a"), "labels of texts and of numbers"),
        (lambda n: (torch.rand(1), 1), "nothing to tell apart"),
    ],
)
def test_items_that_are_no_pairs_are_refused_before_training(make, message):
    with pytest.raises(DataError, match=message):
        from_datasets([(Items(make), Items(make))])


@pytest.mark.parametrize(
    "label", [lambda n: "ab"[n % 2], lambda n: torch.eye(2)[n % 2], lambda n: torch.tensor([n % 2])]
)
@pytest.mark.parametrize("workers", [0, 1])
def test_items_may_have_texts_and_one_hot_labels(label, workers):
    own = Items(lambda n: (torch.full((1,), float(n)), label(n)))
    task = from_datasets([(own, own)], workers=workers).tasks[0]
    for x, y in task.train.batches(5, generator=torch.Generator()):
        assert torch.equal(x[:, 0].long() % 2, y)


@pytest.mark.parametrize("workers", [0, 1])
def test_inputs_of_different_sizes_are_refused_in_one_line(workers):
    own = Items(lambda n: (torch.rand(1 + (n == 7)), n % 2))
    with pytest.raises(DataError, match=r"have shapes \(1,\), \(2,\)"):
        list(from_datasets([(own, own)], workers=workers).tasks[0].test.batches(12))


def test_data_sets_that_are_none_are_refused():
    own = Counting()
    for given_, message in (
        ([], "there are no data sets"),
        ([(DataLoader(own), own)], "is no data set"),
        ([own], "give a"),
    ):
        with pytest.raises(ValueError, match=message):
            from_datasets(given_)
    with pytest.raises(ValueError, match="1 names for 2 tasks"):
        from_datasets([(own, own)] * 2, names=["a"])


def test_a_third_set_is_for_validation():
    own, aside = Counting(40), Counting(8)
    task = from_datasets([(own, aside, own)]).tasks[0]
    assert [len(part) for part in (task.train, task.validation, task.test)] == [40, 8, 40]


def test_tensors_of_column_labels_are_known():
    own = TensorDataset(torch.rand(12, 3), (torch.arange(12) % 3)[:, None])
    assert from_datasets([(own, own)]).num_classes == (3,)
