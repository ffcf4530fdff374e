"""Each original format, written at tiny size, comes back through the real import."""

import gzip
import os
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from agscl.benchmarks.catalogue import CATALOGUE
from agscl.benchmarks.errors import DataError
from agscl.benchmarks.importing import import_entry, import_set


def with_checksums(name, *files):
    """The catalogue's entry with the checksums of the tiny files in place of the originals'."""
    import hashlib

    known = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in files}
    return replace(CATALOGUE[name], checksums=known)


def loaded(cache, name):
    images = cache.load(name)
    return images, images.images.numpy(), images.labels.numpy(), images.is_test.numpy()


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
def test_cifar_python_version_comes_back(originals, cache, tmp_path, name, packed):
    folder, images, labels = originals.cifar(tmp_path, hundred=name == "cifar100")
    entry = with_checksums(name, *folder.iterdir())
    source = originals.pack(folder, tmp_path / "tiny.tar.gz") if packed else tmp_path
    import_entry(entry, source, cache)
    found, pixels, classes, is_test = loaded(cache, name)
    assert np.array_equal(pixels, images)
    assert np.array_equal(classes, labels)
    assert is_test.sum() == 20
    assert is_test[-20:].all()
    assert len(found.classes) == entry.num_classes


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_idx_files_come_back_from_torchvisions_folder(originals, cache, tmp_path, name):
    theirs = {other: CATALOGUE[other].hint for other in ("mnist", "fashion-mnist")}
    written = {other: originals.idx(tmp_path / hint / "raw", seed=len(hint)) for other, hint in theirs.items()}
    entry = with_checksums(name, *(tmp_path / theirs[name] / "raw").iterdir())
    import_entry(entry, tmp_path, cache)
    found, pixels, classes, is_test = loaded(cache, name)
    images, labels = written[name]
    assert np.array_equal(pixels, images[:, None])
    assert np.array_equal(classes, labels)
    assert np.array_equal(is_test, np.arange(40) >= 30)
    assert found.classes == CATALOGUE[name].classes


def test_unpacked_idx_files_come_back(originals, cache, tmp_path):
    images, _ = originals.idx(tmp_path / "raw")
    for path in list((tmp_path / "raw").iterdir()):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    import_set("mnist", tmp_path / "raw", cache)
    assert np.array_equal(cache.load("mnist").images.numpy(), images[:, None])


def test_svhn_matlab_files_come_back_with_ten_as_zero(originals, cache, tmp_path):
    images, labels = originals.svhn(tmp_path / "svhn")
    import_entry(with_checksums("svhn", *(tmp_path / "svhn").iterdir()), tmp_path / "svhn", cache)
    _, pixels, classes, is_test = loaded(cache, "svhn")
    assert np.array_equal(pixels, images.transpose(0, 3, 1, 2))
    assert np.array_equal(classes, labels)
    assert is_test.sum() == 10


@pytest.mark.parametrize("packed", [False, True], ids=["folders", "archives"])
def test_omniglot_folders_come_back_with_bright_ink(originals, cache, tmp_path, packed):
    alphabets = originals.omniglot(tmp_path / "python")
    entry = CATALOGUE["omniglot"]
    source = tmp_path / "python"
    if packed:
        source = tmp_path / "zips"
        source.mkdir()
        zips = [originals.pack(half, source / f"{half.name}.zip") for half in sorted((tmp_path / "python").iterdir())]
        entry = with_checksums("omniglot", *zips)
    import_entry(entry, source, cache)
    found, pixels, classes, is_test = loaded(cache, "omniglot")
    assert found.classes == tuple(f"{a}/character{c:02d}" for a, n in alphabets.items() for c in range(1, n + 1))
    assert np.array_equal(classes, np.repeat(np.arange(7), 4))
    assert pixels.shape == (28, 1, 28, 28)
    assert not is_test.any()
    ink = 20 * 20 / 105**2
    assert np.allclose(pixels.mean(axis=(1, 2, 3)) / 255, ink, rtol=0.1)
    assert (pixels.max(axis=(1, 2, 3)) > 200).all()


@pytest.mark.parametrize("original", [True, False], ids=["original layout", "torchvision layout"])
def test_gtsrb_folders_with_tables_come_back(originals, cache, tmp_path, original):
    colours = originals.gtsrb(tmp_path / "gtsrb", original=original)
    import_set("gtsrb", tmp_path, cache)
    _, pixels, classes, is_test = loaded(cache, "gtsrb")
    assert np.array_equal(classes, [0] * 4 + [1] * 4 + [2] * 4 + [0, 1, 2, 0, 1, 2])
    assert np.array_equal(is_test, np.arange(18) >= 12)
    assert pixels.shape == (18, 3, 32, 32)
    expected = [*colours.values(), *((number * 40, 7, 9) for number in range(6))]
    assert np.array_equal(pixels[:, :, 16, 16], expected)


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
def test_cub_text_files_come_back_in_their_order(originals, cache, tmp_path, packed):
    source = originals.cub(tmp_path)
    if packed:
        source = originals.pack(source, tmp_path / "CUB_200_2011.tgz")
    entry = with_checksums("cub200", source) if packed else CATALOGUE["cub200"]
    import_entry(replace(entry, shape=(3, 24, 24)), source, cache)
    found, pixels, classes, is_test = loaded(cache, "cub200")
    assert found.classes == tuple(f"{n:03d}.Bird_{n}" for n in range(1, 5))
    assert np.array_equal(classes, np.repeat(np.arange(4), 5))
    assert np.array_equal(is_test, np.arange(20) % 5 >= 3)
    assert pixels.shape == (20, 3, 24, 24)
    assert np.allclose(pixels[:, 0].mean(axis=(1, 2)), np.arange(20) * 9, atol=3)


def test_cub_is_refused_when_an_image_or_a_split_mark_is_missing(originals, cache, tmp_path):
    folder = originals.cub(tmp_path)
    (folder / "images/002.Bird_2/Bird_0003.jpg").unlink()
    with pytest.raises(DataError, match=r"Bird_0003\.jpg"):
        import_set("cub200", folder, cache)
    (folder / "train_test_split.txt").write_text("1 0\n")
    with pytest.raises(DataError, match="where image 2 belongs"):
        import_set("cub200", folder, cache)
    assert "cub200" not in cache


HAT = {
    "facescrub": ("facescrub_{}_100.pkl", (3, 32, 32), 100),
    "notmnist": ("notmnist_{}.pkl", (1, 28, 28), 10),
}


@pytest.mark.parametrize("name", HAT)
def test_hats_pickles_come_back_when_their_archive_is_vouched_for(originals, cache, tmp_path, name):
    pattern, shape, classes = HAT[name]
    images = originals.features(tmp_path / name, pattern, shape, classes)
    archive = originals.pack(tmp_path / name, tmp_path / "hat.zip")
    import_set(name, archive, cache, checksums=[originals.md5(archive)])
    _, pixels, labels, is_test = loaded(cache, name)
    assert np.array_equal(pixels, images)
    assert np.array_equal(labels, np.arange(classes * 3) % classes)
    assert is_test.sum() == classes


def test_facescrub_of_another_size_is_scaled(originals, cache, tmp_path):
    images = originals.features(tmp_path / "faces", "facescrub_{}_100.pkl", (3, 38, 38), 100)
    digests = [originals.md5(path) for path in (tmp_path / "faces").iterdir()]
    import_set("facescrub", tmp_path / "faces", cache, checksums=digests)
    _, pixels, _, _ = loaded(cache, "facescrub")
    assert pixels.shape[1:] == (3, 32, 32)
    assert np.abs(pixels.mean(axis=(2, 3)) - images.mean(axis=(2, 3))).max() < 3


class Trap:
    """What an attacker pickles: reading it makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", HAT)
def test_pickles_that_nobody_vouches_for_are_never_read(originals, cache, tmp_path, name):
    pattern, shape, classes = HAT[name]
    originals.features(tmp_path / name, pattern, shape, classes)
    (tmp_path / name / pattern.format("train")).write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(DataError, match=r"pickle.*checksum"):
        import_set(name, tmp_path / name, cache)
    archive = originals.pack(tmp_path / name, tmp_path / "hat.zip")
    with pytest.raises(DataError, match=r"pickle.*checksum"):
        import_set(name, archive, cache, checksums=["0" * 64])
    assert not (tmp_path / "sprung").exists()
    assert name not in cache


def test_a_pickle_of_more_than_arrays_is_refused_even_when_vouched_for(originals, cache, tmp_path):
    originals.features(tmp_path / "letters", "notmnist_{}.pkl", (1, 28, 28), 10)
    trap = tmp_path / "letters" / "notmnist_train.pkl"
    trap.write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(DataError, match="not a pickle of arrays"):
        import_set("notmnist", tmp_path / "letters", cache, checksums=[originals.md5(trap)])
    assert not (tmp_path / "sprung").exists()


def test_a_changed_cifar_batch_is_never_unpickled(originals, cache, tmp_path):
    folder, _, _ = originals.cifar(tmp_path, hundred=True)
    entry = with_checksums("cifar100", *folder.iterdir())
    (folder / "train").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(DataError, match="train is truncated or not the original"):
        import_entry(entry, tmp_path, cache)
    assert not (tmp_path / "sprung").exists()


def test_notmnist_image_folders_come_back_without_the_files_that_never_were_images(originals, cache, tmp_path):
    root = originals.image_folders(tmp_path / "notMNIST_small", sides=("",), classes=tuple("ABCDEFGHIJ"), each=3)
    (root / "A" / "RGVtb2NyYXRpY2FCb2xkT2xkc3R5bGUgQm9sZC50dGY=.png").touch()
    archive = originals.pack(root, tmp_path / "notMNIST_small.tar.gz")
    manifest = import_set("notmnist", archive, cache)
    assert (manifest.count, manifest.num_test) == (30, 0)
    assert manifest.classes == tuple("ABCDEFGHIJ")


def test_image_folders_are_read_as_any_set(originals, cache, tmp_path):
    root = originals.image_folders(tmp_path / "signs", classes=("00", "01", "02"))
    manifest = import_set("gtsrb", root, cache)
    assert (manifest.count, manifest.num_test, manifest.classes) == (36, 18, ("00", "01", "02"))


def test_a_test_class_that_training_lacks_is_refused(originals, cache, tmp_path):
    root = originals.image_folders(tmp_path / "signs", classes=("00", "01"))
    shutil.move(root / "test" / "00", root / "test" / "new")
    with pytest.raises(DataError, match="new"):
        import_set("gtsrb", root, cache)


@pytest.mark.parametrize("layout", ["grey", "channels last", "channels first"])
def test_npz_comes_back_in_any_layout(originals, cache, tmp_path, layout):
    shape = (32, 32) if layout == "grey" else (32, 32, 3)
    images, labels = originals.random_images(30, shape), np.arange(30, dtype=np.int32) % 10
    expected = images[:, None] if layout == "grey" else images.transpose(0, 3, 1, 2)
    stored = expected if layout == "channels first" else images
    arrays = {"x_train": stored[:20], "y_train": labels[:20], "x_test": stored[20:], "y_test": labels[20:]}
    np.savez_compressed(tmp_path / "set.npz", **arrays)
    name = "notmnist" if layout == "grey" else "svhn"
    import_set(name, tmp_path / "set.npz", cache)
    found, pixels, classes, is_test = loaded(cache, name)
    assert np.array_equal(pixels, expected)
    assert np.array_equal(classes, labels)
    assert is_test.sum() == 10
    assert found.classes == CATALOGUE[name].classes


def test_omniglots_npz_numbers_characters_across_alphabets(originals, cache, tmp_path):
    images = originals.random_images(8, (28, 28))
    np.savez(
        tmp_path / "omniglot.npz",
        x=images,
        alphabet=np.array([1, 1, 0, 0, 0, 1, 0, 0], np.uint8),
        character=np.array([1, 2, 1, 1, 2, 2, 3, 3], np.uint8),
        alphabets=np.array(["Greek", "Latin"]),
    )
    import_set("omniglot", tmp_path / "omniglot.npz", cache)
    found, _, classes, _ = loaded(cache, "omniglot")
    assert [found.classes[label] for label in classes[:4]] == [
        "Latin/character01",
        "Latin/character02",
        "Greek/character01",
        "Greek/character01",
    ]
    assert len(found.classes) == 5


def test_truncated_images_are_named(originals, cache, tmp_path):
    root = originals.image_folders(tmp_path / "signs", classes=("00", "01", "02"))
    noise = Image.fromarray(originals.random_images(1, (40, 40, 3))[0])
    noise.save(root / "train/01/3.png")
    broken = root / "train/01/3.png"
    broken.write_bytes(broken.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"01/3\.png"):
        import_set("gtsrb", root, cache)
