"""Two commands never share a folder: not when they begin in one second, and not when they were given the same one."""

from argparse import Namespace
from concurrent.futures import ThreadPoolExecutor

import pytest

from agscl.cli import main
from agscl.cli.run import folder_for, held
from agscl.runs import RunFolder


def test_commands_that_begin_in_one_second_have_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: folder_for(Namespace(out=None, resume=False), "digits").path, range(8)))
    assert len(set(folders)) == 8
    assert all(folder.is_dir() and folder.name.startswith("digits-") for folder in folders)


def test_a_folder_of_several_runs_is_held_by_one_command(tmp_path, capsys):
    with held(RunFolder(tmp_path / "out")):
        assert main(["compare", "digits", "--out", str(tmp_path / "out"), "--seeds", "1"]) == 2
        assert "is in use by process" in capsys.readouterr().err
        with pytest.raises(ValueError, match="is in use by process"), held(RunFolder(tmp_path / "out")):
            pass
    assert not (tmp_path / "out").exists(), "nothing came of it"


@pytest.mark.parametrize("more", [[], ["--method", "fine-tuning"]])
def test_a_run_that_cannot_begin_leaves_no_folder(tmp_path, monkeypatch, more):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "cifar100", "--data-root", "empty", *more]) == 2
    assert not (tmp_path / "runs").exists()
