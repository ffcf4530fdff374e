"""Own data from a command to a result: every command works on it, later and elsewhere, or refuses by name."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from agscl.benchmarks.cache import Cache
from agscl.benchmarks.own.source import OwnSource, identity, open_source
from agscl.cli import main
from agscl.experiments import Experiment
from agscl.experiments.command import command
from agscl.experiments.supervised.networks import canonical

QUICK = ["--epochs", "1", "--image-size", "8"]
CLASSES = ("ant", "bee", "cat", "dog")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder of four classes, the same as a table, features, and a file of tasks."""
    root = tmp_path_factory.mktemp("own")
    random = np.random.default_rng(0)
    lines = ["path,label"]
    for label, name in enumerate(CLASSES):
        (root / "photos" / name).mkdir(parents=True)
        for number in range(8):
            pixels = random.integers(60 * label, 60 * label + 60, (9, 9, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "photos" / name / f"{number}.png")
            lines.append(f"photos/{name}/{number}.png,{name}")
    (root / "photos.csv").write_text("\n".join(lines))
    labels = np.arange(60) % 6 + 1
    np.savez(root / "rows.npz", features=random.normal(size=(60, 5)) + labels[:, None], labels=labels)
    (root / "tasks.json").write_text(json.dumps({"pets": ["dog", "cat"], "insects": ["bee", "ant"]}))
    return root


@pytest.fixture(scope="module")
def hard(data):
    """A run whose early tasks do not change."""
    words = ["run", f"folder:{data / 'photos'}", "--tasks", 2, *QUICK, "--method", "ags-cl", "--method.lam", "inf"]
    assert agscl(*words, "--out", data / "hard", "--data-root", data / "d") == 0
    return data / "hard"


def agscl(*words):
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def made(data):
    """A run of each method on the folder."""
    out = data / "runs"
    assert agscl("run", f"folder:{data / 'photos'}", "--tasks", 2, *QUICK, "--out", out, "--data-root", data / "d") == 0
    return out


def test_one_line_says_what_was_found(data, tmp_path, capsys):
    (data / "photos" / "notes.txt").write_text("notes")
    words = ["run", f"folder:{data / 'photos'}", "--tasks", 2, *QUICK, "--method", "fine-tuning"]
    assert agscl(*words, "--out", tmp_path / "run", "--data-root", data / "d") == 0
    (data / "photos" / "notes.txt").unlink()
    captured = capsys.readouterr()
    first = captured.err.splitlines()[0]
    assert first.startswith("photos: 4 classes, 32 colour images of 8x8 pixels: ")
    assert "left out: 1 file beside the folders of classes (notes.txt)" in first
    assert "folder:photos, seed 0" in captured.out


@pytest.mark.parametrize(
    "words", [["compare"], ["runs"], ["report", "--out", "page.html"], ["figure", "4", "--out", "f.svg"]]
)
def test_runs_of_own_data_are_read_like_any(made, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    name, *options = words
    figure = options[:1] if name == "figure" else []
    assert agscl(name, *figure, made, *options[len(figure) :]) == 0
    text = capsys.readouterr().out + "".join(path.read_text() for path in tmp_path.glob("page.html"))
    assert "folder:photos" in text


def test_a_run_is_verified_in_another_process(hard, data):
    code = (
        "import sys; from agscl.cli import main; "
        f"sys.exit(main(['verify', {str(hard)!r}, '--data-root', {str(data / 'd')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Certificate granted" in done.stdout


def test_a_figure_makes_its_runs_from_own_data_once_wherever_the_data_lies(data, tmp_path, monkeypatch, capsys):
    shutil.copytree(data / "photos", tmp_path / "photos")
    shutil.copy(data / "photos.csv", tmp_path)
    monkeypatch.chdir(tmp_path)
    made = ["--task-file", data / "tasks.json", *QUICK, "--seeds", "1", "--processes", "1", "--data-root", "d"]
    words = ["figure", "3", "--runs", "runs", "--out", "f.svg", *made]
    assert agscl(*words, "--preset", "folder:photos,csv:photos.csv") == 0
    captured = capsys.readouterr()
    assert "[2/2]" in captured.err
    assert {"folder:photos", "csv:photos"} <= {line.partition(": scaled")[0] for line in captured.out.splitlines()}
    (tmp_path / "else,where").mkdir()
    shutil.move(tmp_path / "photos", tmp_path / "else,where")
    assert agscl(*words, "--preset", "folder:else,where/photos") == 0
    assert "finished" not in capsys.readouterr().err


def test_no_figure_or_table_is_written_over_the_data(data, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(data / "photos", tmp_path / "photos")
    shutil.copy(data / "photos.csv", tmp_path)
    before = (tmp_path / "photos.csv").read_bytes()
    made = ["--tasks", "2", *QUICK, "--seeds", "1", "--data-root", "d"]
    for words in (
        ["figure", "4", "--preset", "csv:photos.csv", "--out", "photos.svg"],
        ["compare", "csv:photos.csv", "--export", "photos.csv"],
    ):
        assert agscl(*words, *made) == 2
        assert "photos.csv is the data itself" in capsys.readouterr().err
    assert (tmp_path / "photos.csv").read_bytes() == before


@pytest.mark.parametrize(("number", "preset"), [("7", "digits"), ("4", "cartpole3")])
def test_a_figure_makes_no_runs_that_it_cannot_show(number, preset, tmp_path, capsys):
    assert agscl("figure", number, "--preset", preset, "--runs", tmp_path / "runs", "--out", tmp_path / "f.svg") == 2
    assert f"{preset} is none" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_runs_of_own_data_are_found_by_what_asked_for_them(made, data, capsys):
    assert agscl("runs", made, "--preset", f"folder:{data / 'photos'}", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)) == 2


def test_a_run_holds_what_repeats_it(made, data):
    text = (made / "ags-cl" / "experiment.json").read_text()
    experiment = Experiment.from_json(text)
    assert experiment.own.data == identity(
        open_source(OwnSource.parse(f"folder:{data / 'photos'}"), 8, Cache(data / "d"))
    )
    assert experiment.to_json().decode() == text
    words = command(experiment)
    for part in (f"folder:{data / 'photos'}", "--tasks=2", "--network=mlp", "--image-size=8", "--epochs=1"):
        assert part in words


def test_data_that_changed_is_no_longer_the_data_of_a_run(data, tmp_path, capsys):
    shutil.copytree(data / "photos", tmp_path / "photos")
    words = [
        "run",
        f"folder:{tmp_path / 'photos'}",
        "--tasks",
        2,
        *QUICK,
        "--method",
        "ags-cl",
        "--method.lam",
        "inf",
        "--out",
        tmp_path / "run",
    ]
    assert agscl(*words, "--data-root", tmp_path / "d") == 0
    shutil.move(tmp_path / "photos", tmp_path / "elsewhere")
    assert agscl("verify", tmp_path / "run", "--data-root", tmp_path / "d") == 0, "what was decoded is still there"
    shutil.rmtree(tmp_path / "d")
    assert agscl("verify", tmp_path / "run", "--data-root", tmp_path / "d") == 2
    assert "is not a folder" in capsys.readouterr().err
    shutil.move(tmp_path / "elsewhere", tmp_path / "photos")
    (tmp_path / "photos" / "ant" / "0.png").unlink()
    assert agscl("verify", tmp_path / "run", "--data-root", tmp_path / "d") == 2
    assert "is not the data of this run any more" in capsys.readouterr().err
    assert agscl(*words, "--resume", "--data-root", tmp_path / "d") == 2
    assert "holds a run with another own" in capsys.readouterr().err


def test_tasks_from_a_file_and_features_and_tables(data, tmp_path, capsys):
    made = ["--epochs", "1", "--method", "fine-tuning", "--data-root", tmp_path / "d"]
    by_file = ["--task-file", data / "tasks.json", "--image-size", "8"]
    assert agscl("run", f"csv:{data / 'photos.csv'}", *by_file, *made, "--out", tmp_path / "csv") == 0
    assert agscl("run", f"npz:{data / 'rows.npz'}", "--tasks", "3", *made, "--out", tmp_path / "npz") == 0
    assert [task["name"] for task in json.loads((tmp_path / "csv" / "result.json").read_text())["tasks"]] == [
        "pets",
        "insects",
    ]
    assert json.loads((tmp_path / "npz" / "experiment.json").read_text())["own"]["network"] == "mlp"
    assert agscl("compare", tmp_path / "csv", tmp_path / "npz") == 2
    assert "different settings" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["folder:photos"], "say how many tasks with --tasks N"),
        (["folder:photos", "--tasks", "2", "--task-file", "tasks.json"], "not both"),
        (["folder:photos", "--tasks", "3"], "4 classes cannot be cut into 3 tasks of equal size"),
        (["folder:photos", "--tasks", "4"], "nothing to tell apart"),
        (["folder:nowhere", "--tasks", "2"], "is not a folder"),
        (["npz:rows.npz", "--tasks", "3", "--network", "convnet"], "network convnet: needs square images"),
        (["folder:photos", "--tasks", "2", "--network", "resnet81"], "did you mean resnet18"),
        (["folder:photos", "--tasks", "2", "--image-size", "2"], "must be 4 to 1024"),
        (["npz:rows.npz", "--tasks", "3", "--image-size", "9"], "leave the size away"),
        (["digits", "--network", "mlp"], "--network is for own data"),
        (["digits", "--batch-size", "3"], "--batch-size is for own data"),
        (["digit"], "did you mean digits?"),
        (["folder:photos", "--tasks", "2", "--method", "agscl"], "did you mean ags-cl?"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(data, words, message, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(data)
    assert agscl("run", *words, "--out", tmp_path / "run", "--data-root", data / "d") == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(captured.err.splitlines()) <= 2, "at most the line of what was found, and the error"
    assert not (tmp_path / "run").exists()


def test_options_of_methods_reach_the_one_that_is_meant(data, tmp_path, capsys):
    words = ["compare", f"npz:{data / 'rows.npz'}", "--tasks", "3", "--seeds", "1", "--epochs", "1", "--processes", "1"]
    assert agscl(*words, "--methods", "ags-cl,ewc", "--method.lam", "7", "--out", tmp_path / "a") == 2
    assert "ags-cl and ewc have it; say --method.ags-cl.lam" in capsys.readouterr().err
    assert agscl(*words, "--methods", "ewc", "--out", tmp_path / "a") == 2
    assert "has no tuned method 'ewc': ewc needs a value for 'lam'" in capsys.readouterr().err
    assert (
        agscl(*words, "--methods", "ags-cl,ewc", "--method.mu", "2", "--method.ewc.lam", "7", "--out", tmp_path / "a")
        == 0
    )
    methods = {path.parts[-3]: json.loads(path.read_text())["method"] for path in tmp_path.rglob("experiment.json")}
    assert (methods["ewc"]["lam"], methods["ags-cl"]["mu"], methods["ags-cl"]["lam"]) == (7.0, 2.0, 400.0)


def test_a_network_is_found_in_the_library_then_torchvision_then_timm():
    pytest.importorskip("torchvision", reason="an extra")
    pytest.importorskip("timm", reason="an extra")
    names = {"resnet18": "resnet18", "resnet50": "torchvision:resnet50", "resnet26": "timm:resnet26"}
    assert {name: canonical(name) for name in names} == names
