"""Data files damaged in thousands of ways: an intact data set or one clear error comes out, and nothing else."""

import gzip
import io
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.io import loadmat, savemat

from agscl.benchmarks import from_npz
from agscl.benchmarks.cache import Cache
from agscl.benchmarks.catalogue import CATALOGUE
from agscl.benchmarks.checksums import file_digest
from agscl.benchmarks.importing import import_entry
from hostile.cases import cases
from hostile.mutations import damage, damaged
from hostile.watch import confined


@dataclass(frozen=True)
class Victim:
    """A file that may be damaged, before it is packed."""

    path: Path
    content: bytes
    packed: Callable[[bytes], bytes] = bytes


@dataclass(frozen=True)
class Target:
    """Files that may be damaged, one at a time, and what reads them."""

    victims: list[Victim]
    read: Callable[[Path], None]

    def _repr_pretty_(self, printer, cycle):
        """In the report of a failure: without the content of the files, which is long."""
        printer.text(f"{len(self.victims)} files")


def files(*paths):
    return [Victim(path, path.read_bytes()) for path in sorted(paths)]


def gzipped(*paths):
    """Files to be damaged under their compression."""
    return [Victim(path, gzip.decompress(path.read_bytes()), partial(gzip.compress, compresslevel=1)) for path in paths]


def members(path):
    """The members of a zip to be damaged, each with its checksum made right again."""
    with zipfile.ZipFile(path) as whole:
        contents = {info.filename: whole.read(info) for info in whole.infolist()}

    def packed(name, content):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for other, own in {**contents, name: content}.items():
                archive.writestr(other, own)
        return buffer.getvalue()

    return [Victim(path, content, partial(packed, name)) for name, content in contents.items()]


def imports(name, source, *, vouched=()):
    """A reader that imports a set into a fresh cache and then checks that the cache is intact or empty."""
    entry = replace(CATALOGUE[name], checksums={}, num_classes=max(CATALOGUE[name].num_classes, 20))

    def read(box):
        cache = Cache(box / "data")
        trusted = frozenset(file_digest(path, "sha256") for path in vouched)
        try:
            import_entry(entry, source, cache, trusted)
        except ValueError:
            assert name not in cache
            assert [path.suffix for path in cache.root.iterdir()] == [".lock"]
            raise
        finally:
            (box / "data" / f".{name}.lock").unlink()
        cache.verify(name)
        images = cache.load(name)
        assert len(images) == len(images.images) > 0

    return read


def npz(folder, originals):
    images, labels = originals.random_images(6, (32, 32, 3)), np.arange(6) % 2
    np.savez(folder / "set.npz", x_train=images, y_train=labels, x_test=images[:2], y_test=labels[:2])
    return Target([*files(folder / "set.npz"), *members(folder / "set.npz")], imports("svhn", folder / "set.npz"))


def packed_npz(folder, originals):
    images, labels = originals.random_images(6, (4, 4, 3)), np.arange(6) % 2
    np.savez_compressed(folder / "own.npz", x=images // 64, y=labels, classes=np.array(["a", "b"]))
    victims = [*files(folder / "own.npz"), *members(folder / "own.npz")]
    return Target(victims, lambda box: check_sequence(from_npz(folder / "own.npz", 1)))


def check_sequence(sequence):
    for examples in (sequence.tasks[0].train, sequence.tasks[0].test):
        for inputs, labels in examples.batches(4):
            assert inputs.isfinite().all()
            assert 0 <= labels.min() <= labels.max() < sequence.tasks[0].num_classes


def omniglot_npz(folder, originals):
    names, pairs = np.array(["Greek", "Latin"]), np.array([0, 0, 1, 1])
    images = originals.random_images(4, (28, 28))
    np.savez(folder / "omniglot.npz", x=images, alphabet=pairs, character=pairs, alphabets=names)
    return Target(members(folder / "omniglot.npz"), imports("omniglot", folder / "omniglot.npz"))


def idx(folder, originals):
    originals.idx(folder / "raw", train=6, test=4)
    gz = sorted((folder / "raw").iterdir())
    return Target([*files(*gz), *gzipped(*gz)], imports("mnist", folder / "raw"))


def matlab(folder, originals):
    originals.svhn(folder / "svhn", train=4, test=3)
    return Target(files(*(folder / "svhn").iterdir()), imports("svhn", folder / "svhn"))


def packed_matlab(folder, originals):
    originals.svhn(folder / "svhn", train=2, test=1)
    path = folder / "svhn/test_32x32.mat"
    content = {name: values for name, values in loadmat(path).items() if name in ("X", "y")}
    savemat(path, content, do_compression=True)
    whole = path.read_bytes()
    (size,) = struct.unpack_from("<I", whole, 132)
    first = zlib.decompress(whole[136 : 136 + size])

    def packed(element):
        squeezed = zlib.compress(element, 1)
        return whole[:128] + struct.pack("<II", 15, len(squeezed)) + squeezed + whole[136 + size :]

    return Target([*files(path), Victim(path, first, packed)], imports("svhn", folder))


def cifar(folder, originals):
    source, _, _ = originals.cifar(folder, hundred=True, train=4, test=3)
    pickles = sorted(source.iterdir())
    return Target(files(*pickles), imports("cifar100", source, vouched=pickles))


def features(folder, originals):
    originals.features(folder / "letters", "notmnist_{}.pkl", (1, 28, 28), 3)
    pickles = sorted((folder / "letters").iterdir())
    return Target(files(*pickles), imports("notmnist", folder / "letters", vouched=pickles))


def gtsrb(folder, originals):
    originals.gtsrb(folder, original=True)
    return Target(files(*folder.rglob("*.csv")), imports("gtsrb", folder))


def cub(folder, originals):
    originals.cub(folder, classes=2, images=2)
    return Target(files(*folder.rglob("*.txt")), imports("cub200", folder))


def image(ending, **options):
    """A maker of a tree of images, one of which may be damaged."""

    def make(folder, originals):
        originals.image_folders(folder / "tree", ("train", "test"), ("00000", "00001"), each=1)
        victim = folder / f"tree/train/00000/victim.{ending}"
        Image.fromarray(originals.random_images(1, (9, 7, 3))[0]).save(victim, **options)
        return Target(files(victim), imports("gtsrb", folder / "tree"))

    return make


def archive(ending):
    """A maker of an archive of a tree of images."""

    def make(folder, originals):
        tree = originals.image_folders(folder / "tree", ("train", "test"), ("00000", "00001"), each=1, size=(4, 4))
        if ending == "zip":
            victim = originals.pack(tree, folder / "signs.zip")
        else:
            victim = folder / f"signs.{ending}"
            with tarfile.open(victim, f"w:{ending.partition('.')[2]}") as target:
                target.add(tree, arcname="tree")
        inner = gzipped(victim) if ending == "tar.gz" else []
        return Target([*files(victim), *inner], imports("gtsrb", victim))

    return make


def cached(file):
    """A maker of a stored set, one file of which may be damaged."""

    def make(folder, originals):
        images, labels = originals.random_images(4, (3, 8, 8)), np.arange(4) % 2
        cache = Cache(folder)
        with cache.locked("birds"):
            cache.store("birds", originals.raw_set(images, labels, np.arange(4) > 2, "ab"), "made up")
        (victim,) = folder.rglob(file)

        def read(box):
            loaded = cache.load("birds")
            assert np.array_equal(loaded.images.numpy(), images)
            assert np.array_equal(loaded.labels.numpy(), labels)

        return Target(files(victim), read)

    return make


MAKERS = {
    "npz": npz,
    "packed npz": packed_npz,
    "omniglot npz": omniglot_npz,
    "idx": idx,
    "matlab": matlab,
    "packed matlab": packed_matlab,
    "cifar": cifar,
    "features": features,
    "gtsrb": gtsrb,
    "cub": cub,
    "png": image("png"),
    "jpeg": image("jpg"),
    "ppm": image("ppm"),
    "bmp": image("bmp"),
    "webp": image("webp"),
    "tiff": image("tif", compression="tiff_deflate"),
    "zip": archive("zip"),
    "tar": archive("tar"),
    "tar.gz": archive("tar.gz"),
    "tar.bz2": archive("tar.bz2"),
    "cache manifest": cached("birds.json"),
    "cache images": cached("images.npy"),
    "cache labels": cached("labels.npy"),
}


@pytest.fixture(scope="module", params=MAKERS)
def target(request, originals, tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    made = MAKERS[request.param](folder, originals)
    made.read(tmp_path_factory.mktemp("whole"))
    return made


@cases(20)
@given(which=st.integers(0, 9), edits=damage)
def test_a_damaged_data_file_is_read_right_or_refused(target, tmp_path_factory, which, edits):
    check(target, tmp_path_factory.getbasetemp() / "box", which, edits)


def check(target, box, which, edits):
    victim = target.victims[which % len(target.victims)]
    whole = victim.path.read_bytes()
    victim.path.write_bytes(victim.packed(damaged(victim.content, edits)))
    shutil.rmtree(box, ignore_errors=True)
    box.mkdir()
    try:
        with confined(box):
            target.read(box)
    except ValueError:
        pass
    finally:
        victim.path.write_bytes(whole)
