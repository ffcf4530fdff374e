"""Input that is made to do harm, or is a slip, ends in one line that names it: no traceback, no hang, no bomb."""

import io
import json
import os
import shutil
import struct
import zipfile

import numpy as np
import polars
import pytest

from agscl.cli import main
from agscl.runs.export import export
from agscl.runs.files import write_bytes
from agscl.runs.tables import read_nodes
from hostile.watch import confined


@pytest.fixture
def refused(capsys):
    def run(*words, saying):
        capsys.readouterr()
        assert main([str(word) for word in words]) == 2
        error = capsys.readouterr().err
        assert saying in error
        assert error.startswith("agscl")
        assert len(error.splitlines()) == 1

    return run


@pytest.mark.parametrize("width", ["1e5", "1e9", "1e300"])
def test_a_width_beyond_all_memory_is_refused(refused, tmp_path, width):
    refused("run", "digits", "--method", "ags-cl", "--width", width, "--out", tmp_path / "a", saying="width")


def test_a_device_that_computes_nothing_is_refused(refused, tmp_path):
    words = ["run", "digits", "--method", "ags-cl", "--device", "meta", "--out", tmp_path / "a"]
    refused(*words, saying="'meta' cannot be used")


def test_named_pipes_and_devices_are_not_opened(refused, tmp_path):
    (tmp_path / "letters" / "A").mkdir(parents=True)
    os.mkfifo(tmp_path / "letters" / "A" / "x.png")
    (tmp_path / "letters" / "A" / "y.png").symlink_to("/dev/zero")
    root = ["--data-root", tmp_path / "d"]
    refused("data", "import", "notmnist", "--from", tmp_path / "letters", *root, saying="nothing that can be read")
    refused("data", "import", "mine", "--from", tmp_path / "letters", *root, saying="no folders with images")
    os.mkfifo(tmp_path / "letters" / "train-images-idx3-ubyte")
    refused("data", "import", "mnist", "--from", tmp_path / "letters", *root, saying="letters")


def test_a_header_whose_shape_is_no_number_is_refused(refused, tmp_path):
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (True,)}\n"
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + b"\0")
    words = ["data", "import", "mnist", "--from", tmp_path / "x.npz", "--data-root", tmp_path / "d"]
    refused(*words, saying="x.npy")


def test_an_archive_of_empty_files_is_refused_early(refused, tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for number in range(1200):
            archive.writestr(f"{number}.png", b"")
    words = ["data", "import", "mnist", "--from", tmp_path / "x.zip", "--data-root", tmp_path / "d"]
    refused(*words, saying="more than 1,000 empty files")


def test_a_table_of_few_bytes_that_unfolds_to_gigabytes_takes_no_memory(tmp_path):
    rows = {"after": [0] * 64, "layer": ["x" * 20_000_000] * 64, "node": [0] * 64, "importance": [0.0] * 64}
    table = polars.DataFrame({**rows, "state": ["free"] * 64})
    table.to_arrow()
    from pyarrow import parquet

    arrow = table.to_arrow()
    position = arrow.schema.get_field_index("layer")
    arrow = arrow.set_column(position, "layer", arrow["layer"].cast("string").dictionary_encode())
    parquet.write_table(arrow, tmp_path / "nodes.parquet", compression="zstd", use_dictionary=True, store_schema=False)
    assert (tmp_path / "nodes.parquet").stat().st_size < 100_000
    with confined(tmp_path), pytest.raises(ValueError, match="grows beyond reason"):
        read_nodes(tmp_path / "nodes.parquet")


@pytest.mark.parametrize("text", ["=cmd|'/c calc'!A0", "+1+1", "-1", "@SUM(A1)", "\t=1"])
def test_no_text_in_a_csv_is_a_formula(tmp_path, text):
    export(tmp_path / "x.csv", polars.DataFrame({"preset": [text, "plain"], "n": [-1, 2]}), ["preset"], [])
    assert polars.read_csv(io.BytesIO((tmp_path / "x.csv").read_bytes()))["preset"].to_list() == [f"'{text}", "plain"]
    assert polars.read_csv(tmp_path / "x.csv")["n"].to_list() == [-1, 2], "numbers stay numbers"


@pytest.mark.parametrize("target", ["afile/x.html", "full", "nowhere/x.html"])
def test_an_error_of_the_disk_names_the_file_that_was_meant(tmp_path, target):
    (tmp_path / "afile").write_text("")
    (tmp_path / "full" / "more").mkdir(parents=True)
    with pytest.raises(OSError, match=r"\[Errno") as refused_:
        write_bytes(tmp_path / target, b"x")
    assert refused_.value.filename == str(tmp_path / target)
    assert ".part" not in str(refused_.value)


@pytest.mark.parametrize(
    "damage", [{"threads": 0}, {"threads": 1_000_000}, {"events": -5}, {"epoch": -1}, {"batches": -1}]
)
def test_checkpoints_of_impossible_numbers_are_refused(refused, tmp_path, damage):
    from agscl.runs.checkpoint import Checkpoint, CheckpointFolder

    words = ["run", "digits", "--method", "fine-tuning", "--tasks", "2", "--epochs", "1", "--out", tmp_path / "run"]
    assert main([str(word) for word in words]) == 0
    shutil.copy(tmp_path / "run" / "experiment.json", tmp_path / "kept.json")
    checkpoints = CheckpointFolder(tmp_path / "run" / "checkpoint")
    progress = {
        "finished": [],
        "epoch": 0,
        "batches": 0,
        "loss": 0.0,
        "seconds": 0.0,
        "epoch_seconds": 0.0,
        "scaler": {},
    }
    plateau = {"learning_rate": 0.001}
    from dataclasses import asdict

    from agscl.training.plateau import Plateau

    record = {"progress": {**progress, "plateau": {**asdict(Plateau(0.001)), **plateau}}, "events": 0, "threads": 1}
    for name, value in damage.items():
        (record if name in record else record["progress"])[name] = value
    for path in tmp_path.glob("run/*"):
        if path.name != "experiment.json":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    checkpoints.write(Checkpoint(json.dumps(record), {"x": __import__("torch").zeros(1)}))
    refused(*words, "--resume", saying="checkpoint")


def test_a_tables_name_may_be_a_folder(refused, tmp_path):
    np.savez(tmp_path / "x.npz", x=np.zeros(3))
    refused("report", tmp_path, "--out", ".", saying="holds no run")
