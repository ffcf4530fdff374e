"""The data folder: what was stored comes back, anything else is named and refused, nothing is half-made."""

import json
import multiprocessing
import os
import signal
import time
from itertools import count

import numpy as np
import pytest
import torch

from agscl.benchmarks import cache as cache_module
from agscl.benchmarks.cache import Cache
from agscl.benchmarks.errors import DataError
from agscl.benchmarks.importing import import_set
from agscl.benchmarks.raw import Piece, RawSet


@pytest.fixture
def arrays(originals):
    images = originals.random_images(12, (3, 8, 8))
    return images, np.arange(12) % 4, np.arange(12) % 3 == 0


@pytest.fixture
def stored(cache, originals, arrays):
    with cache.locked("birds"):
        cache.store("birds", originals.raw_set(*arrays, "abcd"), "birds.npz")
    return cache


def array_path(cache, array):
    return cache.root / cache.manifest("birds").folder / f"{array}.npy"


def visible(root):
    return sorted(path.name for path in root.iterdir() if not path.name.endswith(".lock"))


def test_a_stored_set_comes_back(stored, arrays):
    found = stored.load("birds")
    for tensor, array in zip((found.images, found.labels, found.is_test), arrays, strict=True):
        assert np.array_equal(tensor.numpy(), array)
    assert found.classes == ("a", "b", "c", "d")
    assert found.fingerprint == stored.verify("birds").fingerprint


def test_loaded_images_are_a_memory_map_that_cannot_change_the_file(stored, arrays):
    found = stored.load("birds")
    found.images.zero_()
    assert np.array_equal(stored.load("birds").images.numpy(), arrays[0])
    stored.verify("birds")


def test_equal_content_has_equal_fingerprints_wherever_it_lies(stored, tmp_path, originals, arrays):
    other = Cache(tmp_path / "elsewhere")
    with other.locked("birds"):
        other.store("birds", originals.raw_set(*arrays, "abcd"), "another.npz")
    assert other.manifest("birds").fingerprint == stored.manifest("birds").fingerprint


@pytest.mark.parametrize("array", ["images", "labels", "is_test"])
@pytest.mark.parametrize("damage", ["truncated", "tampered", "foreign", "missing", "empty"])
def test_a_damaged_file_is_named_and_refused(stored, array, damage):
    path = array_path(stored, array)
    content = path.read_bytes()
    match damage:
        case "truncated":
            path.write_bytes(content[:-3])
        case "tampered":
            path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        case "foreign":
            np.save(path, np.zeros(5, np.float32))
        case "missing":
            path.unlink()
        case "empty":
            path.write_bytes(b"")
    for look in (stored.load, stored.verify):
        with pytest.raises(DataError, match=rf"{array}\.npy"):
            look("birds")


def test_an_array_of_objects_is_not_unpickled(stored):
    np.save(array_path(stored, "labels"), np.array([{}] * 12, dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"labels\.npy"):
        stored.load("birds")


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"name": "bees"},
        {"sha256": {"images": "0" * 64}},
        {"count": "12"},
        {"surprise": 1},
        {"image_shape": [3, 8]},
    ],
    ids=str,
)
def test_a_foreign_record_is_refused(stored, change):
    path = stored.root / "birds.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=r"birds\.json"):
        stored.load("birds")


def test_an_unreadable_record_is_refused(stored):
    (stored.root / "birds.json").write_text('{"format": 1, "na')
    with pytest.raises(DataError, match=r"birds\.json is damaged"):
        stored.load("birds")


def test_big_sets_are_checked_by_verify_and_not_when_opened(stored, monkeypatch):
    path = array_path(stored, "images")
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    monkeypatch.setattr(cache_module, "CHECKED_WHEN_OPENED", 100)
    stored.load("birds")
    with pytest.raises(DataError, match=r"images\.npy was changed"):
        stored.verify("birds")


@pytest.mark.parametrize("name", ["", "..", "a/b", "../birds", "Birds", "a--b", ".a"])
def test_names_cannot_leave_the_folder(cache, name):
    with pytest.raises(ValueError, match="data set's name"), cache.locked(name):
        pass
    with pytest.raises(ValueError, match="data set's name"):
        cache.load(name)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (DataError("broken image"), pytest.raises(DataError, match="broken image")),
        (KeyboardInterrupt(), pytest.raises(KeyboardInterrupt)),
        (OSError(28, "disk full"), pytest.raises(DataError, match=r"birds, from interrupted\.npz, takes .* is full")),
    ],
)
def test_an_interrupted_import_leaves_the_old_set_and_nothing_else(stored, arrays, error, told):
    before = visible(stored.root)

    def pieces():
        yield Piece(arrays[0][:6], arrays[1][:6], arrays[2][:6])
        raise error

    raw = RawSet(("a", "b", "c", "d"), (3, 8, 8), 12, pieces())
    with told, stored.locked("birds"):
        stored.store("birds", raw, "interrupted.npz")
    assert visible(stored.root) == before
    stored.verify("birds")


@pytest.mark.parametrize("announced", [11, 13])
def test_more_or_fewer_images_than_announced_are_refused(cache, arrays, announced):
    raw = RawSet(("a", "b", "c", "d"), (3, 8, 8), announced, iter([Piece(*arrays)]))
    with pytest.raises(DataError, match="announced"), cache.locked("birds"):
        cache.store("birds", raw, "liar.npz")
    assert visible(cache.root) == []


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (np.zeros((12, 3, 8, 7), np.uint8), np.zeros(12, np.int64)),
        (np.zeros((12, 3, 8, 8), np.float32), np.zeros(12, np.int64)),
        (np.zeros((12, 3, 8, 8), np.uint8), np.full(12, 4)),
        (np.zeros((12, 3, 8, 8), np.uint8), np.full(12, -1)),
        (np.zeros((12, 3, 8, 8), np.uint8), np.zeros(11, np.int64)),
        (np.zeros((12, 3, 8, 8), np.uint8), np.zeros(12, np.int32)),
    ],
)
def test_pieces_that_do_not_fit_their_header_are_refused(cache, images, labels):
    raw = RawSet(("a", "b", "c", "d"), (3, 8, 8), 12, iter([Piece(images, labels, np.zeros(12, bool))]))
    with pytest.raises(DataError), cache.locked("birds"):
        cache.store("birds", raw, "misfit.npz")
    assert visible(cache.root) == []


def test_a_new_import_replaces_the_old_one_while_it_is_in_use(stored, originals, arrays):
    old = stored.load("birds")
    images = 255 - arrays[0]
    with stored.locked("birds"):
        stored.store("birds", originals.raw_set(images, *arrays[1:], "abcd"), "new.npz")
    assert np.array_equal(old.images.numpy(), arrays[0])
    assert np.array_equal(stored.load("birds").images.numpy(), images)
    assert visible(stored.root) == [stored.manifest("birds").folder, "birds.json"]


def test_importing_the_same_again_leaves_the_files_alone_and_heals_damaged_ones(stored, originals, arrays):
    path = array_path(stored, "images")
    before = path.stat().st_mtime_ns
    with stored.locked("birds"):
        stored.store("birds", originals.raw_set(*arrays, "abcd"), "birds.npz")
    assert path.stat().st_mtime_ns == before
    path.write_bytes(b"")
    with stored.locked("birds"):
        stored.store("birds", originals.raw_set(*arrays, "abcd"), "birds.npz")
    stored.verify("birds")


def import_npz(root, path, barrier):
    barrier.wait()
    for _ in range(5):
        import_set("svhn", path, Cache(root), replace=True)


def test_processes_that_import_at_once_do_not_collide(originals, tmp_path):
    paths = []
    for seed in range(3):
        images, labels = originals.random_images(200, (32, 32, 3), seed), np.arange(200) % 10
        paths.append(tmp_path / f"{seed}.npz")
        np.savez(paths[-1], x_train=images, y_train=labels, x_test=images[:20], y_test=labels[:20])
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(3)
    workers = [context.Process(target=import_npz, args=(tmp_path / "data", path, barrier)) for path in paths]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    cache = Cache(tmp_path / "data")
    cache.verify("svhn")
    assert visible(cache.root) == [cache.manifest("svhn").folder, "svhn.json"]


def import_for_ever(root):
    images = np.zeros((10, 3, 8, 8), np.uint8)
    pieces = (Piece(images, np.zeros(10, np.int64), np.zeros(10, bool)) for _ in count())
    cache = Cache(root)
    with cache.locked("birds"):
        cache.store("birds", RawSet(("a",), (3, 8, 8), 10**7, pieces), "endless")


def test_a_killed_import_is_invisible_and_cleared_up_by_the_next(originals, arrays, tmp_path):
    cache = Cache(tmp_path / "data")
    worker = multiprocessing.get_context("spawn").Process(target=import_for_ever, args=(cache.root,))
    worker.start()
    deadline = time.monotonic() + 60
    while not list(cache.root.glob(".birds.*.part/images.npy")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    assert "birds" not in cache
    assert list(cache.root.glob(".birds.*.part"))
    with cache.locked("birds"):
        cache.store("birds", originals.raw_set(*arrays, "abcd"), "birds.npz")
    assert visible(cache.root) == [cache.manifest("birds").folder, "birds.json"]
    assert torch.equal(cache.load("birds").images, torch.from_numpy(arrays[0]))
