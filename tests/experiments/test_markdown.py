"""Tables in Markdown files say what the records say, and nothing else in the file is touched."""

import json
import re
import shutil
from pathlib import Path

import pytest

from agscl.cli.main import main
from agscl.experiments.markdown import with_tables
from figures.played import FINE_TUNING, PROTECTED, write_policies

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
PART = "before\n<!-- runs: {} -->\nold\n<!-- end of runs -->\nafter {{}} \\1\n"


def test_the_tables_beside_the_records_are_those_of_the_records():
    assert main(["tables", str(RESULTS / "README.md"), "--check"]) == 0


def test_a_number_in_a_table_is_the_number_in_the_record():
    folder = RESULTS / "cifar100" / "fine-tuning"
    written = with_tables(PART.format("cifar100"), RESULTS)
    measures = json.loads((folder / "result.json").read_bytes())["measures"]
    (row,) = re.findall(r"^\| fine-tuning \|.*$", written, re.MULTILINE)
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    expected = [f"{100 * measures['average_accuracy']:.1f}", f"{100 * measures['learning_accuracy']:.1f}"]
    assert cells[1:4] == ["0", *expected]


def test_all_other_text_stays_and_writing_twice_changes_nothing():
    once = with_tables(PART.format("cifar100/ags-cl omniglot"), RESULTS)
    assert once.startswith("before\n<!-- runs: cifar100/ags-cl omniglot -->\n`cifar100`, 10 tasks, scaled down")
    assert once.endswith("<!-- end of runs -->\nafter {} \\1\n")
    assert "old" not in once
    assert with_tables(once, RESULTS) == once


def test_runs_that_computed_in_another_way_share_a_table_that_says_so():
    written = with_tables(PART.format("cifar100-100-epochs"), RESULTS)
    assert written.count("| method | seeds |") == 1
    assert "bf16, channels last, live |" in written


def test_published_figures_stand_apart_and_one_seed_proves_no_agreement():
    written = with_tables(PART.format("cifar100-100-epochs"), RESULTS)
    own, published = written.split("Published for this benchmark")
    assert "64.2" not in own
    assert "| ags-cl | 64.2 | 5 | README of the official code |" in published
    assert "one seed: not known" in published
    assert "✓" not in published
    assert "Published" not in with_tables(PART.format("cifar100"), RESULTS)  # scaled down: nothing to set beside it


def test_policies_have_their_relative_measures_and_their_raw_scores(tmp_path):
    for result in (FINE_TUNING, PROTECTED):
        write_policies(tmp_path / result.method, result)
    written = with_tables(PART.format("fine-tuning ags-cl"), tmp_path)
    rows = [
        [cell.strip() for cell in row.strip("|").split("|")] for row in re.findall(r"^\|.*$", written, re.MULTILINE)
    ]
    # Random actions score -10 and 20; fine-tuning learned the tasks to 10 and 120, and ends with -10 on the first.
    assert rows[2][:1] + rows[2][3:7] == ["fine-tuning", "0.50", "0.50", "1.00", "0.50"]
    assert rows[3][:1] + rows[3][3:5] == ["ags-cl", "0.50", "0.12"]  # (10/20 + 50/100) / 2, and (15/20 - 10/20) / 2
    assert rows[4:] == [
        ["method", "plain", "mirrored"],
        ["---", "---", "---"],
        ["random actions", "-10.0", "20.0"],
        ["fine-tuning", "10.0 → -10.0", "120.0 → 120.0"],
        ["ags-cl", "5.0 → 0.0", "70.0 → 70.0"],
    ]


def test_a_file_that_is_not_up_to_date_is_found_and_written(tmp_path, capsys):
    shutil.copytree(RESULTS / "cifar100", tmp_path / "cifar100")
    file = tmp_path / "README.md"
    file.write_text(PART.format("cifar100"))
    assert main(["tables", str(file), "--check"]) == 1
    assert "old" in file.read_text()
    assert main(["tables", str(file)]) == 0
    assert main(["tables", str(file), "--check"]) == 0
    assert "agscl tables" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["no table", PART.format("nowhere")])
def test_a_file_without_tables_or_runs_is_refused_in_one_line(text, tmp_path, capsys):
    file = tmp_path / "README.md"
    file.write_text(text)
    assert main(["tables", str(file)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert file.read_text() == text
