"""``agscl data``: what it prints, what it returns, and how it refuses."""

import numpy as np
import pytest

from agscl.benchmarks.catalogue import CATALOGUE
from agscl.cli import data
from agscl.cli.arguments import parser_for


@pytest.fixture
def run(tmp_path, capsys):
    """Run the command on a data folder of its own; returns what it printed."""

    def run(*arguments):
        given = ["data", *arguments, "--data-root", str(tmp_path / "data")]
        assert data.run(parser_for(given).parse_args(given)) == 0
        return capsys.readouterr().out

    return run


@pytest.fixture
def digits_npz(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (30, 28, 28), dtype=np.uint8)
    labels = np.arange(30) % 10
    path = tmp_path / "digits.npz"
    np.savez(path, x_train=images[:20], y_train=labels[:20], x_test=images[20:], y_test=labels[20:])
    return path


def test_list_shows_every_set_and_what_is_here(run, digits_npz, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert all(name in run("list") for name in CATALOGUE)
    run("import", "mnist", "--from", str(digits_npz))
    line = next(line for line in run("list").splitlines() if "│ mnist" in line)
    assert "30 images, a subset" in line


def test_an_imported_set_verifies_until_it_is_damaged(run, digits_npz, tmp_path):
    assert run("import", "mnist", "--from", str(digits_npz)) == "mnist: 20 + 10 grey images, 28x28, 10 classes\n"
    assert run("verify", "mnist").rstrip().endswith("all checksums agree")
    images = next((tmp_path / "data").glob("mnist-*/images.npy"))
    images.write_bytes(images.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"images\.npy is truncated or damaged"):
        run("verify", "mnist")


def test_list_says_that_a_record_is_damaged(run, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "svhn.json").write_text("{")
    assert "damaged" in run("list")


def test_where_prints_the_folder(run, tmp_path):
    assert run("where") == f"{tmp_path / 'data'}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["verify", "nothing"], "no data set is called 'nothing'"),
        (["import", "mnist", "--from", "/nowhere/at/all"], "does not exist"),
        (["import", "mnist", "--from", ".", "--size", "64"], "always 28 pixels"),
        (["import", "cub200", "--from", ".", "--size", "4"], "16 to 1024"),
        (["import", "mnist", "--from", ".", "--checksum", "xyz"], "a checksum is"),
        (["verify", "mnist"], "is not in"),
        (["verify", "../mnist"], "no data set is called"),
        (["download", "cub200"], "cannot be downloaded"),
    ],
)
def test_bad_input_is_refused_in_one_line(run, arguments, message):
    with pytest.raises(ValueError, match=message) as refused:
        run(*arguments)
    assert "\n" not in str(refused.value)
