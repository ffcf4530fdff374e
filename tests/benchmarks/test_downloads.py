"""Downloads go through torchvision's own code, here from a server on this machine with tiny originals."""

import functools
import http.server
import inspect
import shutil
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest

from agscl.benchmarks import catalogue
from agscl.benchmarks.catalogue import CATALOGUE
from agscl.benchmarks.errors import DataError
from agscl.benchmarks.importing import download_set
from agscl.extras import MissingExtraError

datasets = pytest.importorskip("torchvision.datasets", reason="torchvision is an extra")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def served(tmp_path):
    """A folder and the address at which its files can be fetched."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture
def cifar100(originals, served, tmp_path, monkeypatch):
    """CIFAR-100, tiny, where torchvision and the catalogue expect the original; returns its images."""
    folder, address = served
    files, images, _ = originals.cifar(tmp_path, hundred=True)
    archive = originals.pack(files, folder / "cifar-100-python.tar.gz")
    digests = {path.name: originals.md5(path) for path in (archive, *files.iterdir())}
    theirs = datasets.CIFAR100
    monkeypatch.setattr(theirs, "url", f"{address}{archive.name}")
    monkeypatch.setattr(theirs, "tgz_md5", digests[archive.name])
    monkeypatch.setattr(theirs, "train_list", [["train", digests["train"]]])
    monkeypatch.setattr(theirs, "test_list", [["test", digests["test"]]])
    monkeypatch.setattr(theirs, "meta", theirs.meta | {"md5": digests["meta"]})
    entry = replace(CATALOGUE["cifar100"], checksums=digests)
    monkeypatch.setattr(catalogue, "CATALOGUE", {"cifar100": entry})
    return images


def leftovers(cache):
    return sorted(path.name for path in cache.root.iterdir() if not path.name.endswith(".lock"))


def test_a_download_becomes_a_set_and_leaves_nothing_else(cifar100, cache):
    manifest = download_set("cifar100", cache)
    assert np.array_equal(cache.load("cifar100").images.numpy(), cifar100)
    assert leftovers(cache) == [manifest.folder, "cifar100.json"]


def test_an_intact_set_is_not_downloaded_again(cifar100, cache, served):
    first = download_set("cifar100", cache)
    shutil.rmtree(served[0])
    assert download_set("cifar100", cache) == first


@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_a_failed_download_leaves_nothing(cifar100, cache, served, damage):
    archive = served[0] / "cifar-100-python.tar.gz"
    if damage == "truncated":
        archive.write_bytes(archive.read_bytes()[:-100])
    else:
        archive.unlink()
    with pytest.raises(DataError, match="downloading cifar100 failed"):
        download_set("cifar100", cache)
    assert leftovers(cache) == []


@pytest.mark.parametrize("name", ["cub200", "facescrub", "notmnist"])
def test_what_torchvision_lacks_is_explained(cache, name):
    with pytest.raises(DataError, match=rf"get it from http.*agscl data import {name} --from PATH"):
        download_set(name, cache)


def test_mnist_comes_through_torchvisions_mirrors(originals, served, cache, tmp_path, monkeypatch):
    folder, address = served
    shutil.rmtree(folder)
    images, _ = originals.idx(folder)
    digests = {path.name: originals.md5(path) for path in folder.iterdir()}
    monkeypatch.setattr(datasets.MNIST, "mirrors", [address])
    monkeypatch.setattr(datasets.MNIST, "resources", list(digests.items()))
    monkeypatch.setattr(catalogue, "CATALOGUE", {"mnist": replace(CATALOGUE["mnist"], checksums=digests)})
    download_set("mnist", cache)
    assert np.array_equal(cache.load("mnist").images.numpy(), images[:, None])


@pytest.mark.parametrize("name", [entry.name for entry in CATALOGUE.values() if entry.torchvision])
def test_torchvision_has_what_the_catalogue_says(name):
    class_name, parts = CATALOGUE[name].torchvision
    signature = inspect.signature(getattr(datasets, class_name))
    assert [signature.bind("root", download=True, **part) for part in parts]


@pytest.mark.parametrize("name", [entry.name for entry in CATALOGUE.values() if entry.torchvision])
def test_checksums_agree_with_torchvisions(name):
    ours = CATALOGUE[name].checksums
    theirs = theirs_of(getattr(datasets, CATALOGUE[name].torchvision[0]))
    assert theirs.items() <= ours.items()


def theirs_of(dataset):
    """Checksums that torchvision keeps in its classes."""
    if hasattr(dataset, "resources"):
        return dict(dataset.resources)
    if hasattr(dataset, "zips_md5"):
        return {f"{name}.zip": digest for name, digest in dataset.zips_md5.items()}
    if hasattr(dataset, "split_list"):
        return {name: digest for _, name, digest in (dataset.split_list[side] for side in ("train", "test"))}
    if hasattr(dataset, "train_list"):
        batches = dict([*dataset.train_list, *dataset.test_list])
        return batches | {dataset.filename: dataset.tgz_md5, dataset.meta["filename"]: dataset.meta["md5"]}
    return {}


def test_a_missing_torchvision_is_named_with_its_extra(cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'agscl\[vision\]'"):
        download_set("mnist", cache)
    assert leftovers(cache) == []
