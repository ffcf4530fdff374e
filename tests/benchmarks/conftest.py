"""Writers of every original format at tiny size, and small data sets in a cache."""

import csv
import gzip
import hashlib
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from agscl.benchmarks.cache import Cache
from agscl.benchmarks.catalogue import CATALOGUE
from agscl.benchmarks.raw import Piece, RawSet

SHARED = Path(__file__).parents[3] / "shared" / "data"


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def random_images(count, shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def write_cifar(root, *, hundred, train=40, test=20):
    """The folder of one of the CIFAR sets; returns it with images and labels of both sides."""
    folder = root / ("cifar-100-python" if hundred else "cifar-10-batches-py")
    folder.mkdir(parents=True)
    classes, key = (100, "fine_labels") if hundred else (10, "labels")
    names = [f"class {number:03d}" for number in range(classes)]
    if not hundred:
        names = list(CATALOGUE["cifar10"].classes)
    meta, meta_key = ("meta", "fine_label_names") if hundred else ("batches.meta", "label_names")
    (folder / meta).write_bytes(pickle.dumps({meta_key: names}, protocol=2))
    images, labels = random_images(train + test, (3, 32, 32)), np.arange(train + test) % classes
    batches = (
        {"train": slice(0, train)}
        if hundred
        else {f"data_batch_{n + 1}": slice(n * train // 5, (n + 1) * train // 5) for n in range(5)}
    )
    batches["test" if hundred else "test_batch"] = slice(train, None)
    for name, rows in batches.items():
        entries = {"data": images[rows].reshape(-1, 3072), key: labels[rows].tolist()}
        (folder / name).write_bytes(pickle.dumps(entries, protocol=2))
    return folder, images, labels


def write_idx(folder, *, train=30, test=10, seed=0):
    """The four gzipped files of MNIST."""
    folder.mkdir(parents=True)
    images, labels = random_images(train + test, (28, 28), seed), np.arange(train + test, dtype=np.uint8) % 10
    for prefix, rows in (("train", slice(0, train)), ("t10k", slice(train, None))):
        pixels, digits = images[rows], labels[rows]
        header = struct.pack(">IIII", 0x0803, *pixels.shape)
        _gzip(folder / f"{prefix}-images-idx3-ubyte.gz", header + pixels.tobytes())
        header = struct.pack(">II", 0x0801, len(digits))
        _gzip(folder / f"{prefix}-labels-idx1-ubyte.gz", header + digits.tobytes())
    return images, labels


def _gzip(path, content):
    path.write_bytes(gzip.compress(content, mtime=0))


def write_svhn(folder, *, train=20, test=10):
    folder.mkdir(parents=True)
    images, labels = random_images(train + test, (32, 32, 3)), np.arange(train + test) % 10
    for name, rows in (("train", slice(0, train)), ("test", slice(train, None))):
        digits = np.where(labels[rows] == 0, 10, labels[rows]).astype(np.uint8)[:, None]
        savemat(folder / f"{name}_32x32.mat", {"X": images[rows].transpose(1, 2, 3, 0), "y": digits})
    return images, labels


def write_omniglot(root):
    """Two alphabets in one half, one in the other; 4 drawings of 105x105 pixels of each character."""
    layout = {"images_background": {"Greek": 3, "Balinese": 2}, "images_evaluation": {"Tengwar": 2}}
    for half, alphabets in layout.items():
        for alphabet, characters in alphabets.items():
            for character in range(1, characters + 1):
                folder = root / half / alphabet / f"character{character:02d}"
                folder.mkdir(parents=True)
                for drawer in range(1, 5):
                    page = np.full((105, 105), 255, np.uint8)
                    page[character * 10 : character * 10 + 20, drawer * 15 : drawer * 15 + 20] = 0
                    Image.fromarray(page).convert("1").save(folder / f"{character:04d}_{drawer:02d}.png")
    return {"Balinese": 2, "Greek": 3, "Tengwar": 2}


def write_gtsrb(root, *, original):
    """Training folders with tables and test images with one table; signs of various sizes, plain colours."""
    training = root / "GTSRB" / ("Final_Training/Images" if original else "Training")
    test = root / "GTSRB" / "Final_Test" / "Images"
    test.mkdir(parents=True)
    colours = {}
    for label in range(3):
        folder = training / f"{label:05d}"
        folder.mkdir(parents=True)
        rows = []
        for number in range(4):
            colours[len(colours)] = colour = (label * 60, number * 50, 100)
            name = f"00000_{number:05d}.ppm"
            Image.new("RGB", (25 + number, 30), colour).save(folder / name)
            rows.append((name, 25 + number, 30, 1, 1, 20, 20, label))
        _write_table(folder / f"GT-{label:05d}.csv", rows)
    rows = []
    for number in range(6):
        Image.new("RGB", (40, 35), (number * 40, 7, 9)).save(test / f"{number:05d}.ppm")
        rows.append((f"{number:05d}.ppm", 40, 35, 1, 1, 20, 20, number % 3))
    _write_table(root / "GT-final_test.csv", rows)
    return colours


def _write_table(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(["Filename", "Width", "Height", "Roi.X1", "Roi.Y1", "Roi.X2", "Roi.Y2", "ClassId"])
        writer.writerows(rows)


def write_cub(root, *, classes=4, images=5):
    folder = root / "CUB_200_2011"
    names = [f"{number:03d}.Bird_{number}" for number in range(1, classes + 1)]
    paths = [f"{name}/Bird_{number:04d}.jpg" for name in names for number in range(images)]
    for position, path in enumerate(paths):
        (folder / "images" / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (60, 48), (position * 9, 80, 30)).save(folder / "images" / path, quality=95)
    _write_lines(folder / "images.txt", enumerate(paths, 1))
    _write_lines(folder / "classes.txt", enumerate(names, 1))
    _write_lines(folder / "train_test_split.txt", ((n + 1, int(n % images < 3)) for n in range(len(paths) + 2)))
    return folder


def _write_lines(path, pairs):
    path.write_text("".join(f"{number} {value}\n" for number, value in pairs))


def write_features(folder, name, shape, classes, *, train=None, test=None):
    """A pair of pickles as the HAT code ships them."""
    folder.mkdir(parents=True)
    sides = {"train": train or classes * 2, "test": test or classes}
    images = random_images(sum(sides.values()), shape)
    start = 0
    for side, count in sides.items():
        entries = {
            "features": images[start : start + count].astype(np.float32),
            "labels": np.arange(count) % classes,
        }
        file = name.format(side)
        (folder / file).write_bytes(pickle.dumps(entries, protocol=4))
        start += count
    return images


def write_image_folders(root, sides=("train", "test"), classes=("ant", "bee", "cat"), *, each=6, size=(20, 16)):
    number = 0
    for side in sides:
        for label, name in enumerate(classes):
            folder = root / side / name
            folder.mkdir(parents=True)
            for position in range(each):
                Image.new("RGB", size, (label * 80, position * 20, number % 251)).save(folder / f"{position}.png")
                number += 1
    return root


def pack(folder, archive):
    """A folder as a .zip or .tar.gz with the folder's name inside."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
            for path in files:
                target.write(path, path.relative_to(folder.parent))
    else:
        with tarfile.open(archive, "w" if archive.suffix == ".tar" else "w:gz") as target:
            target.add(folder, arcname=folder.name)
    return archive


def raw_set(images, labels, is_test, classes):
    """A data set in memory as a reader would deliver it, in two pieces."""
    half = len(images) // 2
    parts = [Piece(images[s], np.asarray(labels[s], np.int64), is_test[s]) for s in (slice(half), slice(half, None))]
    return RawSet(tuple(classes), images.shape[1:], len(images), iter(parts))


def store_random(cache, name, shape, counts, names=None):
    """Put random images into a cache; counts: classes, training and test images of each class."""
    classes, train, test = counts
    labels = np.tile(np.arange(classes), train + test)
    is_test = np.repeat([False, True], [classes * train, classes * test])
    images = random_images(len(labels), shape, seed=len(name))
    with cache.locked(name):
        cache.store(name, raw_set(images, labels, is_test, names or map(str, range(classes))), "made up")


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "data")


@pytest.fixture(scope="session")
def tiny_root(tmp_path_factory):
    """A data folder with every set of the catalogue: all classes, few images."""
    cache = Cache(tmp_path_factory.mktemp("tiny"))
    for name in ("cifar10", "cifar100", "svhn", "gtsrb", "facescrub"):
        store_random(cache, name, (3, 32, 32), (CATALOGUE[name].num_classes, 5, 2))
    for name in ("mnist", "fashion-mnist", "notmnist"):
        store_random(cache, name, (1, 28, 28), (10, 10, 3))
    store_random(cache, "cub200", (3, 32, 32), (200, 3, 2))
    characters = [f"Alphabet{a:02d}/character{c:02d}" for a in range(50) for c in range(1, 3 + a % 4)]
    store_random(cache, "omniglot", (1, 28, 28), (len(characters), 20, 0), names=characters)
    return cache.root


@pytest.fixture(scope="session")
def shared_data():
    """Real images beside the project; users do not have them."""
    if not SHARED.is_dir():
        pytest.skip("the folder of real images, ../shared/data, is not here")
    return SHARED


@pytest.fixture(scope="session")
def originals():
    """The writers of original formats."""
    return SimpleNamespace(
        cifar=write_cifar,
        cub=write_cub,
        features=write_features,
        gtsrb=write_gtsrb,
        idx=write_idx,
        image_folders=write_image_folders,
        md5=md5,
        omniglot=write_omniglot,
        pack=pack,
        random_images=random_images,
        raw_set=raw_set,
        svhn=write_svhn,
    )
