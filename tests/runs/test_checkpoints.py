"""Checkpoints are whole or passed over; one process at a time holds a run's folder."""

import json
import os
import subprocess
import sys
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agscl.runs import RunFolder
from agscl.runs.checkpoint import Checkpoint, CheckpointFolder
from agscl.runs.lock import HOLDER, LOCK, locked


def checkpoint(number):
    return Checkpoint(
        json.dumps({"number": number}), {"w": torch.arange(6.0).view(2, 3).t(), "n": torch.tensor(number)}
    )


def same(one, other):
    return one.record == other.record and all(torch.equal(one.tensors[n], other.tensors[n]) for n in ("w", "n"))


def test_the_newest_checkpoint_comes_back(tmp_path):
    folder = CheckpointFolder(tmp_path / "checkpoint")
    assert folder.newest() is None
    for number in range(3):
        folder.write(checkpoint(number))
        assert same(folder.newest(), checkpoint(number))


def test_the_last_two_are_kept(tmp_path):
    folder = CheckpointFolder(tmp_path / "checkpoint")
    for number in range(5):
        folder.write(checkpoint(number))
    assert len(list(folder.path.iterdir())) == 2


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_flipped_bit_is_noticed_and_the_one_before_is_used(data, tmp_path_factory):
    folder = CheckpointFolder(tmp_path_factory.mktemp("run") / "checkpoint")
    for number in range(2):
        path = folder.write(checkpoint(number))
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="is damaged"):
        assert same(folder.newest(), checkpoint(0))


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_a_file_cut_short_is_noticed(data, tmp_path_factory):
    folder = CheckpointFolder(tmp_path_factory.mktemp("run") / "checkpoint")
    path = folder.write(checkpoint(0))
    path.write_bytes(path.read_bytes()[: data.draw(st.integers(0, path.stat().st_size - 1))])
    with pytest.warns(UserWarning, match="is damaged"):
        assert folder.newest() is None


def test_a_failed_write_leaves_the_earlier_one(tmp_path, monkeypatch):
    folder = CheckpointFolder(tmp_path / "checkpoint")
    folder.write(checkpoint(0))

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        folder.write(checkpoint(1))
    assert len(list(folder.path.iterdir())) == 1
    assert same(folder.newest(), checkpoint(0))


def test_another_version_is_refused(tmp_path, monkeypatch):
    folder = CheckpointFolder(tmp_path / "checkpoint")
    monkeypatch.setattr("agscl.runs.checkpoint.VERSION", "3")
    folder.write(checkpoint(0))
    monkeypatch.undo()
    with pytest.raises(ValueError, match="version 3, this agscl reads version 2"):
        folder.newest()


def test_clearing_removes_the_folder(tmp_path):
    folder = CheckpointFolder(tmp_path / "checkpoint")
    folder.clear()
    folder.write(checkpoint(0))
    folder.clear()
    assert not folder.path.exists()


HOLD = """
import sys
from pathlib import Path
from agscl.runs.lock import locked

with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def held(tmp_path):
    """A folder that another process holds."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        yield tmp_path, process
        process.stdin.close()


def test_a_second_process_is_refused_by_the_name_of_the_first(held):
    folder, process = held
    with pytest.raises(ValueError, match=f"in use by process {process.pid} on"), locked(folder):
        pass
    (folder / "experiment.json").write_text("{}")
    for resume in (True, False):
        with pytest.raises(ValueError, match=f"process {process.pid}"), RunFolder(folder).claimed(b"{}", resume=resume):
            pass


def test_a_process_that_was_killed_holds_nothing(held):
    folder, process = held
    process.kill()
    process.wait()
    assert (folder / HOLDER).exists()
    with locked(folder):
        assert json.loads((folder / HOLDER).read_text())["process"] == os.getpid()
    assert not (folder / HOLDER).exists()


def test_a_folder_is_claimed_again_to_resume(tmp_path):
    folder = RunFolder(tmp_path / "run")
    with folder.claimed(b"asked"):
        assert folder.experiment.read_bytes() == b"asked"
    with folder.claimed(b"other", resume=True):
        assert folder.experiment.read_bytes() == b"asked"
    with pytest.raises(ValueError, match="holds another run"), folder.claimed(b"asked"):
        pass


@pytest.mark.parametrize("resume", [True, False])
def test_a_folder_of_other_files_is_left_alone(tmp_path, resume):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds other files"), RunFolder(tmp_path).claimed(b"", resume=resume):
        pass
    assert not (tmp_path / LOCK).exists()


def test_whole_checkpoints_warn_of_nothing(tmp_path):
    folder = CheckpointFolder(tmp_path / "checkpoint")
    folder.write(checkpoint(0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        folder.newest()
