"""``agscl runs``, ``agscl compare RUN`` and ``agscl figure`` as a user meets them."""

import errno

import polars
import pytest

from agscl.cli import main
from agscl.figures.catalogue import FIGURES
from figures.recorded import FULL, PLAIN, result, write, write_incomplete


@pytest.fixture
def recorded(tmp_path):
    """A folder with two seeds of AGS-CL, one of fine-tuning, and one incomplete run."""
    lower = ((0.5,), (0.4, 0.6))
    write(tmp_path / "runs", result(FULL, 0), result(FULL, 1, lower), result(PLAIN, 0, lower))
    write_incomplete(tmp_path / "runs", result(seed=7).experiment)
    return tmp_path / "runs"


def said(capsys):
    return " ".join(capsys.readouterr().out.split())


def test_runs_lists_filters_and_sorts(recorded, capsys):
    assert main(["runs", str(recorded), "--method", "ags-cl", "--sort", "average_accuracy"]) == 0
    out = capsys.readouterr().out
    rows = [line for line in out.splitlines() if line.startswith("│")]
    assert [row.split("│")[6].strip() for row in rows] == ["complete", "complete", "incomplete"]
    assert [row.split("│")[5].strip() for row in rows] == ["0", "1", "7"]
    assert "fine-tuning" not in out


def test_runs_exports_all_digits(recorded, tmp_path, capsys):
    assert main(["runs", str(recorded), "--status", "complete", "--out", str(tmp_path / "runs.csv")]) == 0
    table = polars.read_csv(tmp_path / "runs.csv")
    assert table["average_accuracy"].to_list() == pytest.approx([0.9, 0.5, 0.5])


def test_a_full_disk_is_one_line_that_names_the_file_and_says_what_to_do(recorded, tmp_path, capsys, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    file = tmp_path / "runs.csv"
    assert main(["runs", str(recorded), "--out", str(file)]) == 2
    advice = "make room, then try again (a run goes on with --resume)"
    assert capsys.readouterr().err == f"agscl: error: {file}: No space left on device; {advice}\n"
    assert not file.exists()


def test_compare_tabulates_recorded_runs_and_tests_them_on_the_same_seeds(recorded, tmp_path, capsys):
    assert main(["compare", str(recorded), "--export", str(tmp_path / "table.csv")]) == 0
    out = said(capsys)
    assert "against ags-cl" in out
    assert "-40.0" in out
    assert "INCOMPLETE" in out
    assert "1 of 5 tasks, left out" in out
    first, second = polars.read_csv(tmp_path / "table.csv").iter_rows(named=True)
    assert (first["seeds"], first["average_accuracy"]) == ("0 1", pytest.approx(0.7))
    assert "plasticity" not in first or first["plasticity"] is None  # fine-tuning of seed 1 is missing
    assert second["difference"] == pytest.approx(-0.4)


def test_an_exported_comparison_says_its_scale_and_its_baseline(recorded, tmp_path):
    tables = {}
    for ending in ("csv", "md", "tex"):
        assert main(["compare", str(recorded), "--export", str(tmp_path / f"table.{ending}")]) == 0
        tables[ending] = (tmp_path / f"table.{ending}").read_text()
    scale = "scaled down: 2 of 5 tasks, at most 2 instead of 40 epochs, 100% of the training examples"
    numbers = polars.read_csv(tmp_path / "table.csv")
    assert numbers.columns[-3:] == ["scale", "baseline", "environment"]
    assert numbers["environment"].to_list() == ["agscl 0; torch not recorded; compute not recorded"] * 2
    assert numbers["scale"].to_list() == [scale, scale]
    assert numbers["baseline"].to_list() == ["ags-cl", "ags-cl"]
    title = "digits: mean ± 95 % interval over seeds"
    below = tables["md"].partition("\n\n")[2].split("\n\n")
    assert below[0] == title
    assert below[1].startswith("against ags-cl: mean difference in accuracy")
    assert below[2:] == [scale, "one seed, so no interval: fine-tuning\n"]
    comments = [line.removeprefix("% ") for line in tables["tex"].splitlines() if line.startswith("%")]
    assert comments == [line.strip() for line in below]
    assert tables["tex"].splitlines()[len(comments)].startswith("\\begin{tabular}")


def test_exported_runs_say_how_much_of_the_preset_they_are(recorded, tmp_path):
    for ending in ("csv", "md"):
        assert main(["runs", str(recorded), "--out", str(tmp_path / f"runs.{ending}")]) == 0
    scales = polars.read_csv(tmp_path / "runs.csv")["scale"].to_list()
    assert scales == [None, *["scaled down: tasks=2 of 5 epochs=2 of 40 fraction=1 width=1"] * 3]
    head, _, _, row, *_ = (tmp_path / "runs.md").read_text().splitlines()
    assert head.split(" | ")[6:8] == ["tasks", "scale"]
    assert row.split(" | ")[7] == scales[1]


def test_a_baseline_that_is_not_compared_is_refused_before_anything_runs(tmp_path, capsys):
    out = tmp_path / "runs"
    assert main(["compare", "digits", "--methods", "ewc", "--baseline", "si", "--out", str(out)]) == 2
    assert "--baseline si is not among the methods: ewc" in capsys.readouterr().err
    assert not out.exists()


def test_compare_says_that_the_reference_of_plasticity_is_missing(recorded, capsys):
    assert main(["compare", str(recorded / "run-0"), str(recorded / "run-1"), "--statistic", "iqm"]) == 0
    out = said(capsys)
    assert "interquartile mean [95 % bootstrap interval]" in out
    assert "no plasticity: it compares with fine-tuning of the same seed" in out


def test_figure_writes_the_drawing_and_its_numbers(recorded, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    out = tmp_path / "new" / "figure.svg"
    assert main(["figure", "4", str(recorded), "--out", str(out)]) == 0
    assert out.read_text().startswith("<?xml")
    assert polars.read_csv(out.with_suffix(".csv"))["mean"].len() == 4
    assert "ags-cl mu=10 lam=400 eta=0.9 rho=0.3" in said(capsys)


def test_figure_makes_the_runs_that_are_missing_and_only_those(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    arguments = ["figure", "3", "--preset", "digits", "--seeds", "1", "--tasks", "2", "--epochs", "1"]
    arguments += ["--processes", "1", "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "figure.png")]
    arguments += ["--precision", "fp32"]
    assert main(arguments) == 0
    assert "[1/1] ags-cl seed=0 finished" in capsys.readouterr().err
    drawn = (tmp_path / "figure.png").read_bytes()
    assert main(arguments) == 0
    assert capsys.readouterr().err == ""
    assert (tmp_path / "figure.png").read_bytes() == drawn
    table = polars.read_csv(tmp_path / "figure.csv")
    assert len(table) == 2 * 3 * 11
    assert table.filter(polars.col("ratio") == 0)["mean"].to_list() == [0] * 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["runs", "{}/absent"], "is no folder"),
        (["runs", "{}", "--method", "ewc"], "no run is left by these filters"),
        (["runs", "{}", "--sort", "colour"], "there is no column 'colour'"),
        (["runs", "{}", "--out", "table.xlsx"], "ends in none of .csv, .md, .tex"),
        (["compare", "{}", "--baseline", "ewc"], "there is no row 'ewc' to compare with"),
        (["compare", "{}", "--export", "table.txt"], "ends in none of .csv, .md, .tex"),
        (["compare", "{}/incomplete"], "nothing to compare"),
        (["compare", "digits", "{}"], "digits is no folder"),
        (["figure", "4"], "name run folders to draw, or --preset"),
        (["figure", "8", "{}"], "unknown figure '8'"),
        (["figure", "4", "{}", "--out", "figure.gif"], "ends in none of them"),
        (["figure", "4", "--preset", "digits", "--seeds", "0"], "--seeds must be at least 1"),
        (["figure", "6b", "--preset", "nothing"], "unknown preset 'nothing'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, recorded, capsys):
    assert main([argument.format(recorded) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_help_names_every_figure(capsys):
    with pytest.raises(SystemExit):
        main(["figure", "--help"])
    text = capsys.readouterr().out.replace(",", " ").split()
    assert set(FIGURES) <= set(text)
