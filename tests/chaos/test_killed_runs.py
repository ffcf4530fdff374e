"""A run that is killed at any instant, or whose disk is full, goes on as if nothing had happened, byte for byte."""

import hashlib
import json
import os
import random
import signal
import sys
import time

import pytest

from chaos.faults import life, points
from hostile.cases import THOROUGH

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked from one that has loaded torch")

INSTANTS = 25 if THOROUGH else 1
"""Kills by the clock."""

RUN = ["run", "digits", "--method", "ags-cl", "--tasks", "2", "--precision", "fp32", "--resume"]
SHORT, LONG = ["--epochs", "3"], ["--epochs", "40"]
OFTEN = [*SHORT, "--checkpoint-steps", "2"]


def command(folder, *more):
    return [*RUN, "--out", str(folder), *more]


def outcome(folder):
    """Everything that a run leaves, without its times."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    digests = {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    result = json.loads((folder / "result.json").read_text())
    for name in ("result.json", "events.jsonl", "summary.png", ".lock"):
        digests[name] = ""
    return digests, result["accuracy"], result["sequence"], events(folder)


def events(folder):
    """What happened, without times and without deaths."""
    records = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    timeless = [{name: value for name, value in record.items() if name != "seconds"} for record in records]
    return [record for record in timeless if record["event"] != "Resumed"]


@pytest.fixture(scope="module")
def undisturbed(alive, tmp_path_factory):
    """What a run leaves that nothing happened to, how often it writes, and how long it takes."""
    base = tmp_path_factory.mktemp("undisturbed")
    start = time.monotonic()
    assert alive(command(base / "run", *OFTEN), 0, "", str(base / "count")) == 0
    return outcome(base / "run"), int((base / "count").read_text()), time.monotonic() - start


@pytest.mark.parametrize("fault", ["kill", "half"])
def test_a_run_killed_at_a_write_goes_on_exactly(alive, undisturbed, tmp_path, fault):
    expected, count, _ = undisturbed
    for at in points(count):
        folder = tmp_path / str(at)
        assert alive(command(folder, *OFTEN), at, fault) == -signal.SIGKILL, at
        assert alive(command(folder, *OFTEN)) == 0, at
        assert outcome(folder) == expected, at


def test_a_run_killed_at_any_instant_goes_on_exactly(alive, undisturbed, tmp_path):
    expected, _, seconds = undisturbed
    draw = random.Random()
    for number in range(INSTANTS):
        folder, instant, start = tmp_path / str(number), draw.uniform(0, seconds), time.monotonic()
        code = alive(command(folder, *OFTEN), until=lambda: time.monotonic() - start > instant)  # noqa: B023
        assert code in (-signal.SIGKILL, 0), instant
        assert alive(command(folder, *OFTEN)) == 0, instant
        assert outcome(folder) == expected, instant


def test_a_run_killed_again_and_again_goes_on_exactly(alive, undisturbed, tmp_path):
    expected, count, _ = undisturbed
    draw, codes = random.Random(), []
    for _ in range(1000 if THOROUGH else 3):
        codes.append(
            alive(command(tmp_path / "run", *OFTEN), draw.randint(1, count // 3), draw.choice(["kill", "half"]))
        )
        if codes[-1] == 0:
            break
    assert set(codes) <= {0, -signal.SIGKILL}
    assert alive(command(tmp_path / "run", *OFTEN)) == 0
    assert outcome(tmp_path / "run") == expected


def test_a_full_disk_is_one_line_and_loses_nothing(alive, undisturbed, tmp_path, errors):
    expected, count, _ = undisturbed
    for at in points(count):
        folder = tmp_path / str(at)
        code = alive(command(folder, *OFTEN), at, "full")
        error = errors.read_text()
        assert code in (0, 2), (at, error)
        if code:
            assert error.splitlines()[-1].startswith("agscl: error: "), (at, error)
            assert "No space left on device; make room" in error, (at, error)
            assert "Traceback" not in error, (at, error)
        assert alive(command(folder, *OFTEN)) == 0, at
        assert outcome(folder) == expected, at


def test_a_flipped_byte_in_a_checkpoint_costs_a_warning_and_the_steps_since_the_one_before(
    alive, undisturbed, tmp_path, errors
):
    expected, count, _ = undisturbed
    folder = tmp_path / "run"
    assert alive(command(folder, *OFTEN), count // 2, "kill") == -signal.SIGKILL
    _, newest = sorted((folder / "checkpoint").glob("*.safetensors"))
    content = bytearray(newest.read_bytes())
    content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    newest.write_bytes(content)
    assert alive(command(folder, *OFTEN)) == 0
    assert f"checkpoint {newest} is damaged" in errors.read_text()
    assert outcome(folder) == expected


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_signal_saves_and_leaves_with_its_own_code(alive, tmp_path, errors, number, code):
    assert alive(command(tmp_path / "whole", *LONG)) == 0
    folder = tmp_path / "run"
    assert alive(command(folder, *LONG), until=(folder / "events.jsonl").exists, number=number) == code
    assert "stopped; go on with --resume" in errors.read_text().splitlines()[-1]
    assert len(list((folder / "checkpoint").iterdir())) == 1
    assert alive(command(folder, *LONG)) == 0
    assert outcome(folder) == outcome(tmp_path / "whole")


def test_two_processes_never_share_a_folder(alive, context, tmp_path, errors):
    first = context.Process(target=life, args=(f"{errors}-first", command(tmp_path / "run", "--epochs", "1000")))
    first.start()
    while not (tmp_path / "run/events.jsonl").exists():
        time.sleep(0.01)
    assert alive(command(tmp_path / "run", "--epochs", "1000")) == 2
    assert f"in use by process {first.pid} " in errors.read_text()
    first.kill()
    first.join()


def test_a_folder_that_cannot_be_written_is_one_line(alive, tmp_path, errors):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    tmp_path.chmod(0o500)
    assert alive(command(tmp_path / "run")) == 2
    assert errors.read_text().count("\n") == 1
