"""The figure of nodes that fill up: counted again by hand from a run's table of nodes."""

import polars
import pytest

from agscl.experiments.records import read_runs
from agscl.figures.catalogue import figure_named, make
from agscl.methods import AGSCL
from figures.recorded import PLAIN, write
from report.made_up import experiment, write_run

pytest.importorskip("matplotlib")


def table(*folders):
    kind = figure_named("nodes")
    return kind.data(kind.select(read_runs(folders)), None)


def test_every_node_is_counted_once_in_the_task_that_first_needed_it(tmp_path):
    layers = {"b": 30, "a": 20}
    folder = write_run(tmp_path / "one", experiment(), tasks=3, layers=layers)
    found = table(folder)
    assert found["panel"].unique(maintain_order=True).to_list() == ["b", "a"]  # as in the network
    totals = found.group_by("panel", "after").agg(polars.col("mean").sum())["mean"]
    assert totals.to_list() == pytest.approx([100] * 6)
    nodes = polars.read_parquet(folder / "nodes.parquet").filter(polars.col("layer") == "b")
    needed = [
        set(nodes.filter((polars.col("after") == t) & (polars.col("state") == "frozen"))["node"]) for t in range(3)
    ]
    fresh = needed[2] - needed[1] - needed[0]
    (share,) = found.filter((polars.col("panel") == "b") & (polars.col("after") == 3) & (polars.col("state") == "3"))[
        "mean"
    ]
    assert share == pytest.approx(100 * len(fresh) / 30)


def test_several_seeds_are_averaged_and_several_methods_refused(tmp_path):
    folders = [write_run(tmp_path / str(seed), experiment(seed=seed), tasks=2) for seed in range(2)]
    one, two, both = table(folders[0]), table(folders[1]), table(*folders)
    assert both["mean"].to_list() == pytest.approx(((one["mean"] + two["mean"]) / 2).to_list())
    other = write_run(tmp_path / "other", experiment(AGSCL(mu=1.0, lam=2.0)), tasks=2)
    with pytest.raises(ValueError, match=r"of one method, and these runs are of digits ags-cl .*mu=1"):
        table(folders[0], other)


def test_runs_that_rate_no_nodes_are_refused(tmp_path):
    from figures.recorded import result

    with pytest.raises(ValueError, match=r"a method that rates nodes"):
        table(*write(tmp_path, result(PLAIN)))


def test_fifty_tasks_are_drawn_with_a_short_legend(tmp_path):
    folder = write_run(tmp_path / "long", experiment(), tasks=50, layers={"fc": 400})
    image = make(figure_named("nodes"), read_runs([folder]), ".svg").image
    assert 8 <= image.count(b"<!-- needed since task") <= 12
    assert b"<!-- dead -->" in image
