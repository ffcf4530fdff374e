"""Atomic writes: in full or not at all."""

import errno

import pytest
import torch
from safetensors.torch import load_file

from agscl.runs.files import write_bytes, write_tensors


def test_a_file_is_replaced_as_a_whole(tmp_path):
    file = tmp_path / "file"
    write_bytes(file, b"old")
    write_bytes(file, b"new")
    assert file.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [file]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    file = tmp_path / "file"
    write_bytes(file, b"old")

    def fail(descriptor):
        raise OSError(errno.ENOSPC, "the disk is full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="full") as raised:
        write_bytes(file, b"new")
    assert raised.value.filename == str(file)
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_tensors_survive_whatever_their_layout(tmp_path):
    whole = torch.arange(12.0).view(3, 4)
    tensors = {"whole": whole, "part": whole[1], "turned": whole.T, "count": torch.tensor(3)}
    write_tensors(tmp_path / "state", tensors)
    loaded = load_file(tmp_path / "state")
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())
