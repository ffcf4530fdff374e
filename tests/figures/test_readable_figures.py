"""Figures that can be read whatever the intervals are, in a paper too."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agscl.cli import main
from agscl.experiments.records import read_runs
from agscl.figures.catalogue import FIGURES, figure_named, make
from agscl.figures.style import ends_of_axis, label_points
from figures.recorded import FULL, PLAIN, result, write

plt = pytest.importorskip("matplotlib.figure")

WAYS = [dataclasses.replace(FULL, proximal=way) for way in ("epoch", "step", "gradient")]
RHOS = [dataclasses.replace(FULL, rho=rho) for rho in (0.0, 0.3, 1.0)]
STRENGTHS = [dataclasses.replace(FULL, lam=lam) for lam in (1.0, 9.0, 90.0)]
APART = {0: ((0.9,), (0.8, 1.0)), 1: ((0.7,), (0.6, 0.8))}
"""Two seeds whose intervals reach 127 points to either side."""

finite = st.floats(-1e3, 1e3)


@given(points=st.lists(finite, min_size=1), half=st.floats(0, 1e3), least=st.floats(0.01, 10))
def test_an_axis_shows_every_point_and_hardly_more_than_the_points_need(points, half, least):
    ends = [end for point in points for end in (point - half, point + half)]
    low, high = ends_of_axis(points, [*ends, math.nan], least=least)
    span = max(points) - min(points)
    assert low <= min(points) + 1e-9
    assert high >= max(points) - 1e-9
    assert high - low <= max(1.7 * span, span + least) + least + 1e-6
    if half <= 0.35 * span:
        assert low <= min(ends) + 1e-9
        assert high >= max(ends) - 1e-9


def drawn(name, results, tmp_path):
    """The axes of each panel."""
    kind = figure_named(name)
    table = kind.data(kind.select(read_runs(write(tmp_path, *results))), None)
    panels = table.partition_by("panel", maintain_order=True)
    axes = plt.Figure().subplots(1, len(panels), squeeze=False)[0]
    for panel, place in zip(panels, axes, strict=True):
        kind.draw(panel, place)
    return axes


@pytest.mark.parametrize(("name", "methods"), [("6c", STRENGTHS), ("rho", RHOS), ("proximal", WAYS)])
def test_two_seeds_that_disagree_leave_the_points_apart(name, methods, tmp_path):
    found = [result(method, seed, rows) for method in [*methods, PLAIN] for seed, rows in APART.items()]
    for axes in drawn(name, found, tmp_path):
        low, high = axes.get_ylim()
        assert high - low < (0.5 if name == "6c" else 30)  # the intervals are 2.5, or 254 %, long
        for line in axes.lines:
            assert all(low <= y <= high for y in line.get_ydata())


@pytest.mark.parametrize(("name", "methods", "style"), [("rho", RHOS, "-"), ("proximal", WAYS, "None")])
def test_numbers_are_joined_by_a_line_and_words_are_not(name, methods, style, tmp_path):
    for axes in drawn(name, map(result, methods), tmp_path):
        assert {line.get_linestyle() for line in axes.lines} == {style}


def test_labels_cover_neither_points_nor_each_other():
    axes = plt.Figure().subplots()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    label_points(axes, [(0.5, 0.5, "400", "k"), (0.505, 0.505, "4000", "k"), (0.9, 0.1, "1", "k")])
    assert {text.get_text() for text in axes.texts} >= {"400", "1"}
    crowd = plt.Figure().subplots()
    crowd.set(xlim=(0, 1), ylim=(0, 1))
    label_points(crowd, [(0.5 + 0.001 * n, 0.5, "1000", "k") for n in range(30)])
    assert 1 <= len(crowd.texts) <= 5


def test_bare_figures_keep_title_and_small_print_out_of_the_drawing(tmp_path):
    found = read_runs(write(tmp_path, *(result(FULL, seed, rows) for seed, rows in APART.items())))
    kind = figure_named("4")
    full, bare = (make(kind, found, ".svg", bare=bare) for bare in (False, True))
    for text in (kind.title, "cut off at the axes"):
        comment = f"<!-- {text}".encode()
        assert comment in full.image or text.encode() in full.image.partition(b"</metadata>")[2]
        assert text.encode() not in bare.image.partition(b"</metadata>")[2]
    assert bare.caption == full.caption
    assert bare.caption[0].encode() in bare.image  # in the metadata


def test_without_bands_the_drawing_has_none_and_the_numbers_have(tmp_path):
    found = read_runs(write(tmp_path, *(result(FULL, seed, rows) for seed, rows in APART.items())))
    full, without = (make(figure_named("4"), found, ".svg", bands=bands) for bands in (True, False))
    assert full.image.count(b"FillBetween") > without.image.count(b"FillBetween") == 0
    assert without.table.equals(full.table)
    assert without.caption[0] == "Mean over the seeds."


@pytest.mark.parametrize("name", sorted(set(FIGURES) - {"3", "7", "nodes"}))
def test_figures_of_one_seed_speak_of_no_mean(name, tmp_path):
    methods = {"rho": RHOS, "proximal": WAYS, "6b": [FULL, dataclasses.replace(FULL, rho=0.0, cut=False)]}
    results = map(result, [*methods.get(name, [FULL]), PLAIN])
    caption = make(figure_named(name), read_runs(write(tmp_path, *results)), ".svg").caption
    assert not [line for line in caption if "ean over" in line or "interval" in line.replace("so no interval", "")]


def test_the_command_has_both(tmp_path, capsys):
    write(tmp_path / "runs", result(), result(FULL, 1))
    out = tmp_path / "four.svg"
    assert main(["figure", "4", str(tmp_path / "runs"), "--out", str(out), "--bare", "--no-bands"]) == 0
    assert "Mean over the seeds." in capsys.readouterr().out
    assert "half_width" in out.with_suffix(".csv").read_text()
