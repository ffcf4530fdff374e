"""A record that was changed, cut or damaged is noticed by whoever reads it; runs of other machines are told apart."""

import json
import shutil

import pytest

from agscl.cli import main
from agscl.experiments.digests import require_untouched
from agscl.runs import RunFolder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "run"
    words = ["run", "digits", "--method", "ags-cl", "--method.lam", "inf", "--tasks", "3", "--epochs", "1"]
    assert main([*words, "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def copy(made, tmp_path):
    return RunFolder(shutil.copytree(made, tmp_path / "run"))


def changed(path, change):
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def flip(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


def cut(folder):
    changed(folder.result, lambda r: r.update(tasks=r["tasks"][:2]))
    shutil.copy(folder.state_after(1), folder.state)


def cut_all(folder):
    cut(folder)
    folder.state_after(2).unlink()
    changed(
        folder.result, lambda r: (r["sequence"].update(tasks=2), r.update(accuracy=[x[:2] for x in r["accuracy"][:2]]))
    )
    changed(folder.experiment, lambda r: r.update(tasks=2))


def nudge(folder):
    changed(folder.result, lambda r: r["tasks"][2]["accuracy"].__setitem__(0, r["tasks"][2]["accuracy"][0] - 0.009))


EDITS = {
    "a state": lambda f: flip(f.state_after(0)),
    "the last state": lambda f: [flip(f.state_after(2)), flip(f.state)],
    "a table": lambda f: shutil.copy(f.evaluations, f.nodes),
    "no table": lambda f: f.evaluations.unlink(),
    "an accuracy": nudge,
    "a mean": lambda f: changed(f.result, lambda r: r["measures"].update(average_accuracy=0.9999)),
    "a matrix": lambda f: changed(f.result, lambda r: r["accuracy"][2].__setitem__(0, 0.5)),
    "the number of epochs": lambda f: changed(f.experiment, lambda r: r["training"].update(epochs=40)),
    "the seed": lambda f: changed(f.experiment, lambda r: r.update(seed=1)),
    "the last task": cut,
    "the last task and its state": cut_all,
    "a version": lambda f: changed(f.result, lambda r: r["environment"].update(torch="0.1")),
    "an added state": lambda f: shutil.copy(f.state_after(2), f.state_after(3)),
}


@pytest.mark.parametrize("edit", EDITS)
def test_whatever_was_changed_there_is_no_certificate(copy, edit, capsys):
    EDITS[edit](copy)
    assert main(["verify", str(copy.path)]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert not (copy.path / "certificate.json").exists()


def test_an_untouched_run_is_certified_also_when_it_was_moved_and_resumed(copy, capsys):
    assert require_untouched(copy)
    words = ["run", "digits", "--method", "ags-cl", "--method.lam", "inf", "--tasks", "3", "--epochs", "1", "--resume"]
    assert main([*words, "--out", str(copy.path)]) == 0
    assert main(["verify", str(copy.path)]) == 0
    assert "no digests" not in capsys.readouterr().out


def test_a_run_from_before_digests_is_certified_with_a_note(copy, capsys):
    changed(copy.result, lambda record: record.pop("digests"))
    assert main(["verify", str(copy.path)]) == 0
    assert "kept no digests" in capsys.readouterr().out


@pytest.mark.parametrize("value", [5.0, -1.0, 1.0001])
@pytest.mark.parametrize(
    "words", [["compare"], ["report", "--out", "x.html"], ["figure", "4", "--out", "x.svg"], ["verify"]], ids=str
)
def test_impossible_accuracies_are_refused_everywhere(copy, value, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    changed(copy.result, lambda r: (r["tasks"][0].update(accuracy=[value]), r["accuracy"][0].__setitem__(0, value)))
    figure = words[1:2] if words[0] == "figure" else []
    assert main([words[0], *figure, str(copy.path), *words[1 + len(figure) :]]) == 2
    assert "is no share from 0 to 1" in capsys.readouterr().err
    assert main(["runs", str(copy.path)]) == 0
    assert "unreadable" in capsys.readouterr().out


def test_a_sequence_that_says_nothing_is_no_traceback(copy, capsys):
    changed(copy.result, lambda record: record.update(sequence={}))
    assert main(["compare", str(copy.path)]) in (0, 2)
    assert main(["verify", str(copy.path)]) == 2
    assert "another digest" in capsys.readouterr().err


def test_other_versions_and_machines_are_named_beside_the_table_and_in_the_page(made, tmp_path, capsys):
    words = [
        "run",
        "digits",
        "--method",
        "ags-cl",
        "--method.lam",
        "inf",
        "--tasks",
        "3",
        "--epochs",
        "1",
        "--seed",
        "1",
    ]
    assert main([*words, "--out", str(tmp_path / "other")]) == 0
    changed(tmp_path / "other" / "result.json", lambda r: r["environment"].update(torch="1.13", compute="cuda:0, bf16"))
    capsys.readouterr()
    assert main(["compare", str(made), str(tmp_path / "other"), "--export", str(tmp_path / "x.md")]) == 0
    said = capsys.readouterr().out
    assert main(["report", str(made), str(tmp_path / "other"), "--out", str(tmp_path / "x.html")]) == 0
    for text in (said, (tmp_path / "x.md").read_text(), (tmp_path / "x.html").read_text()):
        assert "of different torch" in text
        assert "1.13: ags-cl seed 1" in text
        assert "cuda:0, bf16: ags-cl seed 1" in text


@pytest.mark.parametrize("seed", [2**63, 2**64, 10**30])
@pytest.mark.parametrize("preset", ["digits", "cartpole3"])
def test_seeds_too_large_for_a_record_are_refused_at_once(seed, preset, tmp_path, capsys):
    words = ["run", preset, "--method", "fine-tuning", "--seed", str(seed), "--out", str(tmp_path / "run")]
    assert main(words) == 2
    assert "seed must be at most 9223372036854775807" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_largest_seed_is_read_back(tmp_path):
    words = ["run", "digits", "--method", "fine-tuning", "--tasks", "2", "--epochs", "1", "--seed", str(2**63 - 1)]
    assert main([*words, "--out", str(tmp_path / "run")]) == 0
    assert main(["compare", str(tmp_path / "run")]) == 0
