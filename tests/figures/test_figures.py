"""Figures: what is in their tables, what their captions say, and what they refuse to draw."""

import dataclasses
import io

import polars
import pytest

from agscl.experiments import Overrides, experiment_of, run
from agscl.experiments.records import read_runs
from agscl.figures.catalogue import FIGURES, figure_named, make
from agscl.figures.palette import LOOKS, OTHERS, looks
from agscl.figures.pruning import RATIOS
from agscl.figures.selection import provenance
from agscl.methods import EWC, MAS, METHODS
from agscl.runs import RunFolder
from figures.recorded import FULL, PLAIN, result, write, write_incomplete

pytest.importorskip("matplotlib")

WITHOUT = dataclasses.replace(FULL, rho=0.0, cut=False)
RATES = {0: ((0.9,), (0.8, 1.0)), 1: ((0.7,), (0.6, 0.8))}


def runs(folder, *results):
    return read_runs(write(folder, *results))


def over_seeds(method, **kwargs):
    return [result(method, seed, rows, **kwargs) for seed, rows in RATES.items()]


def table(name, found):
    kind = figure_named(name)
    return kind.data(kind.select(found), None)


@pytest.mark.parametrize("name", ["4", "5"])
def test_the_curves_are_means_over_seeds_with_their_t_interval(name, tmp_path):
    found = table(name, runs(tmp_path, *over_seeds(FULL), result(PLAIN)))
    own = found.filter(polars.col("method") == "ags-cl")
    assert own["mean"].to_list() == pytest.approx([80, 80])  # (90 + 70) / 2, (mean(80, 100) + mean(60, 80)) / 2
    assert own["half_width"].to_list() == pytest.approx([12.706 * 10, 12.706 * 10], rel=1e-4)
    assert own["seeds"].unique().to_list() == ["0 1"]
    assert found.filter(polars.col("method") == "fine-tuning")["half_width"].is_nan().all()


def test_each_preset_is_a_panel(tmp_path):
    found = table("4", runs(tmp_path, result(), result(preset="permuted-digits")))
    assert found["panel"].unique(maintain_order=True).to_list() == ["digits", "permuted-digits"]


def test_memory_has_both_counts(tmp_path):
    found = table("6a", runs(tmp_path, result(), result(PLAIN)))
    columns = ["method", "regularization_bytes", "memory_bytes"]
    assert found.select(columns).rows() == [("ags-cl", 400, 4000), ("fine-tuning", 0, 0)]


def test_capacity_is_compared_with_and_without_re_initialisation(tmp_path):
    found = table("6b", runs(tmp_path, *over_seeds(FULL), *over_seeds(WITHOUT), result(PLAIN)))
    assert found["variant"].unique(maintain_order=True).to_list() == ["AGS-CL", "without re-initialisation"]
    sparsity = found.filter((polars.col("variant") == "AGS-CL") & (polars.col("measure") == "sparsity"))
    assert sparsity["mean"].to_list() == pytest.approx([50, 40])
    used = found.filter((polars.col("variant") == "AGS-CL") & (polars.col("measure") == "used capacity"))
    assert used.select("after", "mean").rows() == [(2, pytest.approx(10))]


def test_the_trade_off_has_every_variant_and_strength(tmp_path):
    variants = [
        dataclasses.replace(FULL, rho=rho, cut=cut, lam=lam)
        for rho in (0.3, 0.0)
        for cut in (True, False)
        for lam in (1.0, 9.0)
    ]
    found = table("6c", runs(tmp_path, result(PLAIN), *map(result, variants), result(MAS(lam=2.0))))
    assert {(row["variant"], row["strength"]) for row in found.iter_rows(named=True)} == {
        *(
            (name, lam)
            for name in ("AGS-CL", "without (I.1)", "without (I.2)", "without re-initialisation")
            for lam in (1, 9)
        ),
        ("mas", 2),
    }
    assert found["plasticity"].to_list() == pytest.approx([1] * len(found))
    assert found["stability"].to_list() == pytest.approx([(0.8 / 0.9 + 1) / 2] * len(found))


def test_the_ablation_of_the_width_compares_networks(tmp_path):
    wide = [
        dataclasses.replace(found, experiment=dataclasses.replace(found.experiment, width=2.0))
        for found in over_seeds(FULL)
    ]
    found = runs(tmp_path, *over_seeds(FULL), *wide)
    kind = figure_named("width")
    assert kind.data(kind.select(found), None)["value"].unique(maintain_order=True).to_list() == ["1", "2"]
    lines = [line.partition(".")[0] for line in provenance([run.result for run in found])]
    assert (
        lines[0] == "digits: scaled down: 2 of 5 tasks, at most 2 instead of 40 epochs, 100% of the training examples"
    )
    assert lines[1] == f"{lines[0]}, 2 times the network's width"
    with pytest.raises(ValueError, match=r"different settings \(width: 1.0, 2.0\)"):
        table("4", found)


def test_an_ablation_has_a_panel_for_each_measure(tmp_path):
    ways = [dataclasses.replace(FULL, proximal=way) for way in ("epoch", "step", "gradient")]
    found = table("proximal", runs(tmp_path, *map(result, ways)))
    assert found.select("panel", "value").rows() == [
        (panel, way)
        for panel in ("average accuracy", "forgetting", "sparsity")
        for way in ("epoch", "gradient", "step")
    ]
    values = table("rho", runs(tmp_path / "rho", *(result(dataclasses.replace(FULL, rho=rho)) for rho in (0.5, 0.0))))
    assert values["value"].unique(maintain_order=True).to_list() == ["0", "0.5"]


@pytest.mark.parametrize(
    ("name", "results", "message"),
    [
        (
            "4",
            [result(), result(dataclasses.replace(FULL, lam=4.0))],
            "several settings of one method .*lam=400, .*lam=4",
        ),
        ("6b", [result(PLAIN)], "this figure is about ags-cl, and none of these runs is one"),
        ("6b", [result(), result(dataclasses.replace(WITHOUT, mu=1.0))], "ags-cl with different mu"),
        ("6c", [result()], "plasticity compares with fine-tuning of the same seed, .* seeds 0 are missing"),
        ("6c", [result(PLAIN), result(EWC(lam=1.0)), result(EWC(lam=2.0, online=True))], "ewc with different online"),
        ("6c", [result(PLAIN)], "needs runs of a method with a strength"),
        ("rho", [result(), result(dataclasses.replace(WITHOUT, rho=0.5))], "ags-cl with different cut"),
        ("3", [result()], "states/task-000.safetensors is missing"),
    ],
)
def test_runs_that_do_not_make_the_figure_are_refused(name, results, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        table(name, runs(tmp_path, *results))


def test_incomplete_runs_are_named_and_never_averaged_in(tmp_path):
    write_incomplete(tmp_path, result(seed=7).experiment)
    write(tmp_path, result())
    made = make(figure_named("4"), read_runs([tmp_path]), ".svg")
    assert made.table["seeds"].unique().to_list() == ["0"]
    assert made.caption[-1] == f"Incomplete, left out: {tmp_path / 'incomplete'} (1 of 5 tasks)."
    with pytest.raises(ValueError, match="no finished run"):
        make(figure_named("4"), read_runs([tmp_path / "incomplete"]), ".svg")


def test_a_figure_names_its_runs_and_is_the_same_every_time(tmp_path):
    found = runs(tmp_path, *over_seeds(FULL), result(PLAIN))
    made = make(figure_named("4"), found, ".svg")
    assert made.caption[1] == (
        "digits: scaled down: 2 of 5 tasks, at most 2 instead of 40 epochs, 100% of the training examples. ags-cl "
        "mu=10 lam=400 eta=0.9 rho=0.3 proximal=epoch cut=True (seeds 0-1); fine-tuning (seed 0). One seed, so no "
        "interval: fine-tuning."
    )
    assert made.caption[1].encode() in made.image
    assert make(figure_named("4"), found, ".svg").image == made.image


@pytest.mark.parametrize("name", ["6a", "6b", "6c", "rho"])
def test_every_figure_can_be_drawn(name, tmp_path):
    found = runs(
        tmp_path,
        *over_seeds(FULL),
        *([] if name == "6a" else over_seeds(dataclasses.replace(FULL, rho=0.0))),
        *over_seeds(PLAIN),
    )
    made = make(figure_named(name), found, ".svg")
    assert made.image.startswith(b"<?xml")


def test_figure_3_asks_the_states_of_a_run_again(tmp_path):
    experiment = experiment_of("digits", FULL, seed=0, overrides=Overrides(tasks=2, epochs=1, fraction=0.2))
    run(experiment, RunFolder(tmp_path))
    made = make(figure_named("3"), read_runs([tmp_path]), ".svg")
    assert made.image.startswith(b"<?xml")
    assert len(made.table) == 2 * 3 * len(RATIOS)
    assert set(made.table.filter(polars.col("ratio") == 0)["mean"]) == {0.0}  # nothing is pruned yet


def test_a_long_sequence_of_all_methods_is_drawn(tmp_path):
    from matplotlib.image import imread

    tall = tuple(tuple([0.5] * number) for number in range(1, 51))
    found = runs(tmp_path, result(accuracy=tall), result(PLAIN, accuracy=tall))
    pixels = imread(io.BytesIO(make(figure_named("4"), found, ".png").image), format="png")
    assert pixels.shape[1] > pixels.shape[0] > 500
    assert pixels.std() > 0


def test_unknown_figures_and_formats_are_refused(tmp_path):
    with pytest.raises(ValueError, match="unknown figure '9'; there are: 3, 4, 5, 6a"):
        figure_named("9")
    with pytest.raises(ValueError, match=r"written as .svg, .png, .pdf, not '.gif'"):
        make(figure_named("4"), runs(tmp_path, result()), ".gif")


def test_every_method_has_its_own_look():
    assert set(LOOKS) == set(METHODS)
    everything = [*LOOKS.values(), *OTHERS]
    assert len({(look.marker, look.dashes) for look in everything}) == len(everything)
    assert len({look.shade for look in LOOKS.values()}) == len(LOOKS)
    assert not {look.shade for look in LOOKS.values()} & {look.shade for look in OTHERS}


def test_a_method_looks_alike_whatever_stands_beside_it():
    labels = ["mine", "ewc", "ags-cl mu=10", "ags-cl mu=5", "other"]
    chosen = looks(labels)
    assert chosen["ewc"] == looks(["ewc"])["ewc"] == LOOKS["ewc"]
    assert chosen["ags-cl mu=10"][1:] == LOOKS["ags-cl"][1:]
    assert len({look[1:] for look in chosen.values()}) == len(labels)
    assert [look.title for look in chosen.values()] == ["mine", "EWC", "AGS-CL mu=10", "AGS-CL mu=5", "other"]


def test_every_figure_knows_which_runs_it_needs():
    from agscl.experiments import preset_named

    counts = {name: len(kind.methods(preset_named("digits").tuned)) for name, kind in FIGURES.items() if name != "7"}
    assert counts["4"] == len(METHODS)
    assert counts["6c"] == 1 + 4 * 4 + 4
    assert min(counts.values()) >= 1
