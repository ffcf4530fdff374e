"""Sets of one's own have names of their own: imported, listed, learned, verified, removed; no other name takes them."""

import json

import numpy as np
import pytest
from PIL import Image

from agscl.benchmarks.cache import Cache
from agscl.cli import main


@pytest.fixture
def agscl(tmp_path, capsys, monkeypatch):
    """Run a command on a data folder of its own; gives its exit code and what it said."""
    monkeypatch.setenv("COLUMNS", "250")

    def run(*words):
        code = main([*map(str, words), "--data-root", str(tmp_path / "data")])
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return run


@pytest.fixture
def pets(tmp_path):
    for label, name in enumerate(("cat", "dog", "eel", "fox")):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(6):
            pixels = np.random.default_rng(10 * label + number).integers(0, 256, (9, 9, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / name / f"{number}.png")
    return tmp_path / "pets"


def test_a_set_of_ones_own_lives_under_its_name(agscl, pets, tmp_path):
    (pets / "notes.txt").write_text("notes")
    code, said = agscl("data", "import", "my-pets", "--from", pets, "--size", "8")
    assert code == 0
    assert "my-pets: 24 + 0 colour images, 8x8, 4 classes" in said
    assert "left out: 1 file beside the folders of classes (notes.txt)" in said
    assert "│ my-pets" in agscl("data", "list")[1]
    assert "all checksums agree" in agscl("data", "verify", "my-pets")[1]
    words = ["--tasks", "2", "--epochs", "1", "--method", "fine-tuning"]
    assert agscl("run", "my-pets", *words, "--out", tmp_path / "run")[0] == 0
    assert json.loads((tmp_path / "run" / "experiment.json").read_text())["own"]["source"] == "set:my-pets"
    assert agscl("data", "remove", "my-pets")[0] == 0
    assert "my-pets" not in agscl("data", "list")[1]
    assert [path.name for path in (tmp_path / "data").iterdir() if not path.name.startswith(".")] == []
    assert agscl("data", "remove", "my-pets")[0] == 2


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "gtsrb", "facescrub", "omniglot", "cub200", "mnist", "svhn"])
@pytest.mark.parametrize("form", ["folder", "npz", "one class right"])
def test_a_foreign_set_takes_no_name_of_the_catalogue(agscl, pets, tmp_path, name, form):
    source = pets
    if form == "npz":
        source = tmp_path / "pets.npz"
        images = np.zeros((8, 32, 32, 3) if name != "mnist" else (8, 28, 28), np.uint8)
        np.savez(source, x=images, y=np.arange(8) % 2, classes=np.array(["zebra", "unicorn"]))
    if form == "one class right":
        (pets / "eel").rename(
            pets / {"cifar10": "airplane", "cifar100": "apple", "cub200": "013.Bobolink"}.get(name, "0")
        )
    code, said = agscl("data", "import", name, "--from", source)
    assert code == 2
    assert "is not" in said
    assert "no" in agscl("data", "list")[1]
    assert Cache(tmp_path / "data").names() == []


def test_another_set_of_the_same_name_replaces_only_when_asked(agscl, pets):
    assert agscl("data", "import", "my-pets", "--from", pets, "--size", "8")[0] == 0
    assert agscl("data", "import", "my-pets", "--from", pets, "--size", "8")[0] == 0, "the same once more is no other"
    (pets / "cat" / "0.png").unlink()
    code, said = agscl("data", "import", "my-pets", "--from", pets, "--size", "8")
    assert code == 2
    assert "my-pets is here already, 24 images of 4 classes from pets: --replace" in said
    assert "24 images" in agscl("data", "list")[1]
    assert "23 + 0" in agscl("data", "import", "my-pets", "--from", pets, "--size", "8", "--replace")[1]


def test_a_set_of_the_catalogue_is_not_replaced_by_less_of_it_without_a_word(agscl, tmp_path):
    for count in (20, 10):
        images = np.random.default_rng(0).integers(0, 256, (count, 28, 28), dtype=np.uint8)
        np.savez(tmp_path / f"{count}.npz", x=images, y=np.arange(count) % 10)
    assert agscl("data", "import", "mnist", "--from", tmp_path / "20.npz")[0] == 0
    assert agscl("data", "import", "mnist", "--from", tmp_path / "10.npz")[0] == 2
    assert agscl("data", "import", "mnist", "--from", tmp_path / "10.npz", "--replace")[0] == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("digits", "is a preset"),
        ("own-pets", "cannot name own data"),
        ("My_Pets", "lower-case letters"),
        ("cifar-100", "did you mean cifar100?"),
        ("minst", "did you mean mnist?"),
    ],
)
def test_names_that_mean_something_else_are_refused(agscl, pets, name, message):
    code, said = agscl("data", "import", name, "--from", pets)
    assert code == 2
    assert message in said


@pytest.mark.parametrize("form", ["zip", "npz", "csv"])
def test_archives_arrays_and_tables_are_imported_too(agscl, pets, tmp_path, form):
    import shutil

    if form == "zip":
        (tmp_path / "x" / "__MACOSX").mkdir(parents=True)
        shutil.move(pets, tmp_path / "x" / "pets")
        source = shutil.make_archive(str(tmp_path / "pets"), "zip", tmp_path / "x")
    elif form == "npz":
        source = tmp_path / "pets.npz"
        np.savez(source, x=np.arange(24 * 64, dtype=np.uint16).reshape(24, 8, 8), y=np.arange(24) % 4 + 1)
    else:
        source = tmp_path / "pets.csv"
        lines = [f"{path.relative_to(tmp_path)},{path.parent.name}" for path in sorted(pets.rglob("*.png"))]
        source.write_text("\n".join(["file,class", *lines]))
    code, said = agscl("data", "import", "my-pets", "--from", source)
    assert code == 0, said
    assert "24 + 0" in said
    assert "4 classes" in said
