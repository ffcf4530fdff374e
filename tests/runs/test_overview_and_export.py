"""Many runs as one table, and tables as text."""

import os
import subprocess
from shutil import which

import polars
import pytest

from agscl.runs.export import ENDINGS, export, latex, markdown
from agscl.runs.overview import overview
from figures.recorded import FULL, PLAIN, result, write, write_incomplete


def test_every_run_is_a_row_whatever_became_of_it(tmp_path):
    write(tmp_path, result(FULL, 3), result(PLAIN))
    write_incomplete(tmp_path, result(seed=7).experiment)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "experiment.json").write_text("{")
    rows = {row["run"].rpartition("/")[2]: row for row in overview([tmp_path]).iter_rows(named=True)}
    assert {name: row["status"] for name, row in rows.items()} == {
        "broken": "unreadable",
        "incomplete": "incomplete",
        "run-0": "complete",
        "run-1": "complete",
    }
    assert rows["run-0"]["options"] == "mu=10 lam=400 eta=0.9 rho=0.3 proximal=epoch cut=True"
    assert (rows["run-0"]["seed"], rows["run-0"]["tasks"]) == (3, 2)
    assert rows["run-0"]["average_accuracy"] == pytest.approx(0.9)
    assert (rows["incomplete"]["tasks"], rows["incomplete"]["average_accuracy"]) == (1, None)


def test_runs_of_any_kind_are_listed(tmp_path):
    (path,) = write(tmp_path, result())
    (path / "experiment.json").write_text('{"preset": "balance", "method": "plain", "seed": 1}')
    (path / "result.json").write_text('{"measures": {"reward": 3.5, "note": "good"}}')
    (row,) = overview([path]).iter_rows(named=True)
    assert (row["preset"], row["method"], row["seed"], row["reward"]) == ("balance", "plain", 1, 3.5)
    assert "note" not in row


def test_a_run_that_is_named_twice_is_listed_once(tmp_path):
    (path,) = write(tmp_path, result())
    assert len(overview([tmp_path, path])) == 1


def test_a_folder_whose_name_is_no_text_is_listed(tmp_path):
    odd = tmp_path / os.fsdecode(b"caf\xe9")
    odd.mkdir()
    write(odd, result())
    assert overview([odd])["run"][0].endswith("caf\\udce9/run-0")


def test_nothing_to_list_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no run"):
        overview([tmp_path])
    with pytest.raises(ValueError, match="is no folder"):
        overview([tmp_path / "absent"])


HEADS, ROWS = ["method", "accuracy %"], [["a|b_1", "50.0 ± 1.5"], ["c&d", "7"]]


def test_markdown_is_a_pipe_table():
    assert markdown(HEADS, ROWS) == ("| method | accuracy % |\n| --- | ---: |\n| a\\|b_1 | 50.0 ± 1.5 |\n| c&d | 7 |\n")


def test_notes_stand_below_in_markdown_and_above_as_comments_in_latex():
    notes = ["scaled down: 50 % of the examples", "against ewc"]
    assert markdown(HEADS, ROWS, notes) == markdown(HEADS, ROWS) + "".join(f"\n{note}\n" for note in notes)
    assert latex(HEADS, ROWS, notes) == "".join(f"% {note}\n" for note in notes) + latex(HEADS, ROWS)


def test_latex_escapes_what_it_would_interpret():
    text = latex(HEADS, [*ROWS, ["~^\\", "{$}#"]])
    assert r"a|b\_1 & 50.0 $\pm$ 1.5 \\" in text
    assert r"c\&d & 7 \\" in text
    assert r"\textasciitilde{}\textasciicircum{}\textbackslash{} & \{\$\}\# \\" in text


@pytest.mark.skipif(which("pdflatex") is None, reason="no LaTeX here")
def test_latex_compiles(tmp_path):
    page = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}" + latex(HEADS, ROWS) + "\\end{document}"
    (tmp_path / "page.tex").write_text(page)
    subprocess.run(["pdflatex", "-halt-on-error", "page.tex"], cwd=tmp_path, check=True, capture_output=True)


def test_csv_has_all_digits_and_other_endings_are_refused(tmp_path):
    numbers = polars.DataFrame({"method": ["a"], "value": [1 / 3]})
    export(tmp_path / "new" / "table.csv", numbers, HEADS, ROWS)
    assert polars.read_csv(tmp_path / "new" / "table.csv")["value"].item() == 1 / 3
    for ending in ENDINGS[1:]:
        export(tmp_path / f"table{ending}", numbers, HEADS, ROWS)
    with pytest.raises(ValueError, match=r"ends in none of .csv, .md, .tex"):
        export(tmp_path / "table.xlsx", numbers, HEADS, ROWS)
