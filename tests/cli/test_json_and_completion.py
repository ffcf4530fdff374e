"""What other programs and shells read: JSON and nothing else on stdout, and scripts that complete."""

import json
import shutil
import subprocess

import numpy as np
import pytest

from agscl.cli import main
from agscl.experiments import PRESETS
from agscl.methods import METHODS


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "run"
    words = ["run", "digits", "--method", "ags-cl", "--method.lam", "inf", "--tasks", "2", "--epochs", "1"]
    assert main([*words, "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def said(capsys):
    def run(*words, code=0):
        capsys.readouterr()
        assert main([*map(str, words), "--json"]) == code
        return json.loads(capsys.readouterr().out)

    return run


def test_lists_and_runs_are_json(said, made, tmp_path):
    listed = said("list")
    assert {preset["name"] for preset in listed["presets"]} >= set(PRESETS)
    assert set(METHODS) <= set(listed["methods"])
    assert listed["methods"]["ewc"]["lam"] == "(needed)"
    (row,) = said("runs", made)
    result = json.loads((made / "result.json").read_text())
    assert (row["preset"], row["seed"], row["status"]) == ("digits", 0, "complete")
    assert row["average_accuracy"] == result["measures"]["average_accuracy"]


def test_comparisons_and_certificates_are_json(said, made, tmp_path):
    shutil.copytree(made, tmp_path / "all" / "one")
    (tmp_path / "all" / "two").mkdir()
    shutil.copy(made / "experiment.json", tmp_path / "all" / "two")
    compared = said("compare", tmp_path / "all")
    assert compared["rows"][0]["method"] == "ags-cl"
    assert compared["rows"][0]["average_accuracy_low"] is None, "one seed has no interval"
    assert any(remark.startswith("INCOMPLETE") for remark in compared["remarks"])
    certificate = said("verify", made)
    assert (certificate["granted"], certificate["digests"], certificate["precision"]) == (True, True, "fp32")


def test_a_comparison_that_is_run_writes_json_alone_on_stdout(said, tmp_path):
    words = ["compare", "digits", "--methods", "fine-tuning", "--seeds", "1", "--epochs", "1", "--tasks", "2"]
    compared = said(*words, "--processes", "1", "--out", tmp_path / "out")
    assert [row["method"] for row in compared["rows"]] == ["fine-tuning"]
    assert compared["remarks"] == [f"run folders: {tmp_path / 'out'}"]


def test_data_sets_are_json(said, tmp_path):
    np.savez(tmp_path / "set.npz", x=np.zeros((20, 28, 28), np.uint8), y=np.arange(20) % 10)
    root = ["--data-root", str(tmp_path / "data")]
    assert main(["data", "import", "mnist", "--from", str(tmp_path / "set.npz"), *root]) == 0
    assert main(["data", "import", "mine", "--from", str(tmp_path / "set.npz"), *root]) == 0
    sets = {entry["name"]: entry for entry in said("data", "list", *root)}
    assert (sets["mnist"]["here"], sets["mnist"]["images"], sets["svhn"]["here"]) == (True, 20, False)
    assert sets["mine"]["own"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_for_shells_know_every_command(shell, capsys):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for word in ("compare", "verify", "digits", "cifar100", "task-file", "import"):
        assert word in script
    if shutil.which(shell):
        assert subprocess.run([shell, "-n"], input=script, text=True, check=False).returncode == 0


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
@pytest.mark.parametrize(
    ("words", "expected"),
    [("agscl comp", "compare completion"), ("agscl run digi", "digits"), ("agscl data imp", "import"),
     ("agscl run digits --task-", "--task-file"), ("agscl data download cifar1", "cifar10 cifar100")],
)  # fmt: skip
def test_bash_completes(words, expected, capsys):
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    given = words.split()
    ask = f"COMP_WORDS=({words}); COMP_CWORD={len(given) - 1}; _agscl; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["bash", "-c", f"{script}\n{ask}"], capture_output=True, text=True, check=True)
    assert sorted(done.stdout.split()) == expected.split()
