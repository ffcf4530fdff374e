"""Figure 7 and what it is made of, from runs that were made up number by number."""

import math
from dataclasses import replace

import pytest

import agscl
from agscl.cli import main
from agscl.experiments.groups import groups
from agscl.experiments.policies.comparison import summary
from agscl.figures.catalogue import FIGURES, make
from figures.played import ALONE, FINE_TUNING, PROTECTED, stored
from laws.agents import QUICK


def test_relative_measures_against_fine_tuning_and_single_task() -> None:
    found = {
        method: {n: m.value for n, m in own.items()} for method, own in summary([FINE_TUNING, PROTECTED, ALONE]).items()
    }
    assert found["fine-tuning"]["performance"] == pytest.approx((0 + 1) / 2)
    assert found["fine-tuning"]["forgetting"] == pytest.approx((1 + 0) / 2)
    assert found["ags-cl"]["plasticity"] == pytest.approx((0.75 + 0.5) / 2)
    assert found["ags-cl"]["stability"] == pytest.approx((10 / 15 + 1) / 2)
    areas = [(0.5 + 0.75) / 2, (0.2 + 0.5) / 2], [(0.5 + 1) / 2, (0 + 1) / 2]
    transfer = [(own - alone) / (1 - alone) for own, alone in zip(*areas, strict=True)]
    assert found["ags-cl"]["forward_transfer"] == pytest.approx(sum(transfer) / 2)
    assert found["single-task"]["forward_transfer"] == 0


def test_one_seed_gives_no_interval_and_two_do() -> None:
    again = [replace(r, experiment=replace(r.experiment, seed=1)) for r in (FINE_TUNING, PROTECTED)]
    one, two = summary([FINE_TUNING, PROTECTED]), summary([FINE_TUNING, PROTECTED, *again])
    assert math.isnan(one["ags-cl"]["performance"].low)
    assert two["ags-cl"]["performance"].low == pytest.approx(two["ags-cl"]["performance"].value)


def test_runs_of_different_settings_are_not_mixed() -> None:
    longer = replace(PROTECTED.experiment, training=replace(QUICK, steps=512))
    with pytest.raises(ValueError, match=r"different settings \(training.steps"):
        groups([FINE_TUNING, replace(PROTECTED, experiment=longer)])
    with pytest.raises(ValueError, match="two runs with seed 0 that differ"):
        groups([PROTECTED, replace(PROTECTED, history=FINE_TUNING.history)])
    assert groups([PROTECTED, PROTECTED]) == groups([PROTECTED])


def test_settings_of_one_method_are_groups_apart_and_never_in_one_figure(tmp_path) -> None:
    stronger = replace(PROTECTED, experiment=replace(PROTECTED.experiment, method=agscl.AGSCL(mu=1, lam=1.0), seed=1))
    assert [group.seeds for group in groups([PROTECTED, stronger])] == [(0,), (1,)]
    other = replace(FINE_TUNING, experiment=replace(FINE_TUNING.experiment, seed=1))
    (tmp_path / "0").mkdir()
    (tmp_path / "1").mkdir()
    runs = [*stored(tmp_path / "0", FINE_TUNING, PROTECTED), *stored(tmp_path / "1", other, stronger)]
    with pytest.raises(ValueError, match="cartpole3 has several settings of one method"):
        make(FIGURES["7"], runs, ".svg")


def test_figure_7_has_the_curve_of_the_sum_and_the_place_of_every_task(tmp_path) -> None:
    figure = make(FIGURES["7"], stored(tmp_path, FINE_TUNING, PROTECTED), ".svg")
    rows = figure.table.filter(figure.table["method"] == "ags-cl")
    curve = rows.filter(rows["time"].is_not_null())
    assert curve["time"].to_list() == [128, 256, 384, 512]
    assert curve["mean"].to_list() == pytest.approx([0.5, 0.75, 0.75 + 0.2, 0.5 + 0.5])
    places = rows.filter(rows["name"].is_not_null())
    assert places["plasticity"].to_list() == pytest.approx([0.75, 0.5])
    assert places["stability"].to_list() == pytest.approx([10 / 15, 1])
    assert b"<svg" in figure.image
    assert (
        "cartpole3: scaled down: 2 tasks, 256 agent steps a task instead of 30,000. ags-cl mu=0.1 lam=100 eta=0.9 "
        "rho=0.3 proximal=epoch cut=True (seed 0); fine-tuning (seed 0). One seed, so no interval: ags-cl, fine-tuning."
    ) in figure.caption


def test_figure_7_without_its_reference_or_without_runs_says_what_is_missing(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"seed 0 is missing: agscl run cartpole3 --method fine-tuning --seed 0"):
        make(FIGURES["7"], stored(tmp_path, PROTECTED), ".svg")
    with pytest.raises(ValueError, match="finished runs of reinforcement learning"):
        make(FIGURES["7"], [], ".svg")


def test_recorded_runs_are_compared_with_fine_tuning(tmp_path, capsys) -> None:
    stored(tmp_path, FINE_TUNING, PROTECTED)
    assert main(["compare", str(tmp_path)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "cartpole3: random actions 0, fine-tuning 1" in shown
    assert "scaled down: 2 tasks, 256 agent steps a task instead of 30,000; seed 0" in shown
    assert main(["compare", str(tmp_path / "ags-cl")]) == 2
    assert "scores are relative to fine-tuning: add its runs" in capsys.readouterr().err
