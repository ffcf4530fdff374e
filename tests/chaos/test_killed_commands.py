"""Commands that are killed leave all that they write or nothing; the same command then works."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from agscl.benchmarks.cache import Cache
from agscl.cli import main
from agscl.guard.programs import require_new, write_programs
from chaos.faults import points, writing
from hostile.cases import THOROUGH

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked from one that has loaded torch")

TASKS = ["--tasks", "2", "--epochs", "1"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Rows and images of four classes, and a run on the rows."""
    root = tmp_path_factory.mktemp("place")
    labels = np.arange(40) % 4
    np.savez(root / "rows.npz", x=np.random.default_rng(0).normal(size=(40, 5)) + labels[:, None], y=labels)
    np.savez(root / "pets.npz", x=np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8), y=labels)
    words = ["run", f"npz:{root / 'rows.npz'}", *TASKS, "--method", "ags-cl", "--out", str(root / "run")]
    assert main(words) == 0
    return root


def command(name, place, out):
    return {
        "import": ["data", "import", "my-pets", "--from", f"{place}/pets.npz", "--data-root", str(out / "data")],
        "report": ["report", f"{place}/run", "--out", str(out / "page.html")],
        "figure": ["figure", "6b", f"{place}/run", "--out", str(out / "six.svg")],
        "export": ["export", f"{place}/run", "--out", str(out / "small")],
        "compare": ["compare", f"{place}/run", "--export", str(out / "table.csv")],
        "runs": ["runs", f"{place}/run", "--out", str(out / "table.md")],
    }[name]


def written(folder):
    """Every file that anybody reads, and how much room the others take."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    hidden = [path for path in files if any(part.startswith(".") for part in path.relative_to(folder).parts)]
    seen = {str(path.relative_to(folder)): path.read_bytes() for path in files if path not in hidden}
    return seen, sum(path.stat().st_size for path in hidden if path.name[-5:] != ".lock")


WRITING = ["import", "report", "figure", *(["compare", "runs", "export"] if THOROUGH else [])]


@pytest.mark.parametrize("name", WRITING)
def test_a_command_killed_at_a_write_leaves_all_or_nothing_and_works_again(alive, place, tmp_path, name):
    (tmp_path / "whole").mkdir()
    assert alive(command(name, place, tmp_path / "whole"), 0, "", str(tmp_path / "count")) == 0
    expected, _ = written(tmp_path / "whole")
    assert expected
    for at in points(int((tmp_path / "count").read_text())):
        for fault in ("kill", "half"):
            out = tmp_path / f"{at}-{fault}"
            out.mkdir()
            assert alive(command(name, place, out), at, fault) == -signal.SIGKILL
            seen, _ = written(out)
            assert seen.keys() <= expected.keys() or name == "import", "arrays without their record are no set"
            if name == "import":
                assert Cache(out / "data").names() in ([], ["my-pets"])
            assert alive(command(name, place, out)) == 0, (at, fault)
            seen, left = written(out)
            assert seen.keys() == expected.keys(), (at, fault)
            assert left == 0, (at, fault)


@pytest.mark.parametrize("fault", ["kill", "half", "full"])
def test_programs_are_whole_only_with_what_describes_them(context, errors, tmp_path, fault):
    names = {"model.safetensors", "model.pt2", "model.onnx", "model.json"}
    for at in range(1, 40):
        out = tmp_path / f"{fault}-{at}"
        process = context.Process(target=writing, args=(str(errors), str(out), at, fault))
        process.start()
        process.join()
        whole = names == {path.name for path in out.glob("*")}
        assert whole or not (out / "model.json").exists()
        if process.exitcode == 0:
            break
        assert fault != "full" or whole or not out.exists()
        if not whole:
            require_new(out)
            write_programs(out, dict.fromkeys(sorted(names - {"model.json"}), b"again"), b"{}")
            assert names == {path.name for path in out.iterdir()}
    assert at > 8, "all of its writes were tried"
    with pytest.raises(ValueError, match="is not empty"):
        require_new(out)


@pytest.mark.parametrize("name", ["import", "report", *(["export"] if THOROUGH else [])])
def test_a_full_disk_is_one_line_and_leaves_nothing(alive, place, tmp_path, errors, name):
    (tmp_path / "whole").mkdir()
    assert alive(command(name, place, tmp_path / "whole"), 0, "", str(tmp_path / "count")) == 0
    for at in points(int((tmp_path / "count").read_text())):
        out = tmp_path / str(at)
        out.mkdir()
        code = alive(command(name, place, out), at, "full")
        said = errors.read_text()
        if code:
            assert (code, said.count("\n")) == (2, 1), said
            assert str(tmp_path) in said, "it names the file"
            assert "make room" in said
            assert "bytes" in said or name != "import", "an import says what it takes"
        assert written(out)[1] == 0
        assert alive(command(name, place, out)) == 0, at


def test_leftovers_of_one_set_are_cleared_by_the_next_import_of_another(alive, place, tmp_path):
    words = command("import", place, tmp_path)
    assert alive(words, 4, "half") == -signal.SIGKILL
    assert list((tmp_path / "data").glob(".my-pets.*.part"))
    others = [word.replace("my-pets", "birds") for word in words]
    assert alive(others) == 0
    assert not list((tmp_path / "data").glob(".my-pets.*.part"))
    assert Cache(tmp_path / "data").names() == ["birds"]


def test_what_a_user_keeps_beside_the_sets_is_not_cleared(alive, place, tmp_path):
    data = tmp_path / "data"
    for name in ("photos-202401010000", "my-pets-0123456789ab"):
        (data / name).mkdir(parents=True)
        (data / name / "mine.txt").write_text("mine")
    (data / "bird-0123456789ab").mkdir()
    (data / "bird.json").write_text("a damaged record")
    (data / "bird-0123456789ab" / "images.npy").write_text("may be mended")
    assert alive(command("import", place, tmp_path)) == 0
    assert (data / "photos-202401010000" / "mine.txt").exists()
    assert (data / "bird-0123456789ab" / "images.npy").exists()


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 75), ("SIGINT", 130), ("SIGHUP", 75)])
def test_a_signal_ends_an_import_without_a_trace(alive, place, tmp_path, errors, name, code):
    whole = tmp_path / "whole"
    assert alive(command("import", place, whole), 0, "", str(tmp_path / "count")) == 0
    for at in points(int((tmp_path / "count").read_text())):
        out = tmp_path / str(at)
        assert alive(command("import", place, out), at, name) == code, at
        assert errors.read_text().count("\n") == 1
        seen, left = written(out)
        assert not seen or Cache(out / "data").names() == ["my-pets"], at
        assert left == 0, at


def test_a_killed_figure_leaves_no_worker_and_goes_on(place, tmp_path):
    words = ["figure", "6b", "--preset", f"npz:{place}/rows.npz", "--tasks", "2", "--epochs", "4000", "--seeds", "1"]
    words += ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "six.svg"), "--processes", "1"]
    with subprocess.Popen([sys.executable, "-m", "agscl", *words], stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 120
        while not (holders := list(tmp_path.rglob(".lock-holder.json"))) and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.2)
        worker = json.loads(holders[0].read_text())["process"]
        process.kill()
    deadline = time.monotonic() + 30
    while _alive(worker) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _alive(worker)
    assert not (tmp_path / "six.svg").exists()


def _alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.skipif(not THOROUGH, reason="two threads on a busy machine take minutes")
def test_a_run_resumed_under_another_number_of_threads_keeps_every_bit(alive, place, tmp_path):
    words = [
        "run",
        f"npz:{place}/pets.npz",
        *TASKS,
        "--method",
        "ags-cl",
        "--network",
        "convnet",
        "--precision",
        "fp32",
    ]
    words += ["--checkpoint-steps", "1", "--resume", "--out"]
    assert alive([*words, str(tmp_path / "whole")], 0, "", str(tmp_path / "count"), 2) == 0
    count = int((tmp_path / "count").read_text())
    assert alive([*words, str(tmp_path / "run")], count // 2, "kill", "", 2) == -signal.SIGKILL
    assert alive([*words, str(tmp_path / "run")], 0, "", "", 1) == 0
    whole, run = ((tmp_path / name / "state.safetensors").read_bytes() for name in ("whole", "run"))
    assert whole == run
    assert json.loads((tmp_path / "run" / "result.json").read_text())["environment"]["threads"] == "2"
