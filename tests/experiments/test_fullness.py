"""A run says since when it has had nothing free to learn with: in its record, terminal, page and figures."""

import json
import math
import warnings
from dataclasses import replace

import pytest

from agscl.cli import main
from agscl.experiments import Experiment, run
from agscl.experiments.fullness import fullness, fullness_of
from agscl.experiments.records import read_run
from agscl.experiments.states import State
from agscl.figures.catalogue import FIGURES
from agscl.methods import AGSCL, EWC, WSN, FineTuning, GatedAGSCL
from agscl.metrics import LayerCapacity
from agscl.report import page
from agscl.runs import RunFolder
from agscl.runs.tables import read_nodes
from agscl.training import Compute, TaskFinished, Training


def task(number, capacity=None, sparsity=None):
    return TaskFinished(number, "x", 1, (1.0,) * (number + 1), sparsity, None, 0, 0, 1.0, capacity)


def layer(name, free, **more):
    return LayerCapacity(name, 4, 4 - free, free, 0, **more)


def test_a_network_is_full_since_its_last_layer_is():
    tasks = [task(n, (layer("a", free), layer("b", 0))) for n, free in enumerate((2, 1, 0, 0))]
    assert fullness(tasks) == ["no free node since task 3"]
    assert fullness(tasks[:2]) == ["no free node in b since task 1 (1 of 2 layers)"]


def test_a_layer_that_was_made_larger_is_not_full():
    tasks = [task(n, (layer("a", free),)) for n, free in enumerate((0, 3, 0))]
    assert fullness(tasks[:2]) == []
    assert fullness(tasks) == ["no free node since task 3"]


def test_weights_are_called_so_and_dead_layers_are_named():
    assert fullness([task(0, (layer("a", 0, unit="weights"),))]) == ["no free weight since task 1"]
    assert fullness([task(0, (layer("a", 4, idle=True), layer("b", 4)))]) == ["no node of a was active in task 1"]


def test_older_records_tell_by_their_sparsity():
    assert fullness([task(n, sparsity=s) for n, s in enumerate((0.5, 0.0, 0.0))]) == ["no free node since task 2"]
    assert fullness([task(0), task(1)]) == fullness([task(0, sparsity=0.1)]) == []


def experiment(method, epochs=2):
    training = Training(epochs=epochs, batch_size=64)
    return Experiment(
        preset="digits", method=method, training=training, tasks=2, compute=Compute(precision="fp32", device="cpu")
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    gated = GatedAGSCL(begin=1, end=1)
    methods = [AGSCL(mu=0, lam=math.inf, rho=0), WSN(c=1.0), EWC(lam=3), FineTuning(), gated]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the record says it: no warning in the middle of the progress
        return {m.name: (run(experiment(m), RunFolder(root / m.name)), RunFolder(root / m.name)) for m in methods}


def test_the_record_counts_what_the_table_of_nodes_says(runs):
    result, folder = runs["ags-cl"]
    nodes = read_nodes(folder.nodes)
    written = json.loads(folder.result.read_bytes())["capacity"]
    for after, finished in enumerate(result.history.tasks):
        for each, record in zip(finished.capacity, written[after], strict=True):
            states = nodes.filter(after=after, layer=each.name)["state"].to_list()
            counts = {state: states.count(state) for state in ("frozen", "free", "dead")}
            assert counts.items() <= record.items()
            assert (record["nodes"], record["name"]) == (len(states), each.name)


def test_the_table_of_nodes_says_which_task_uses_a_node_where_tasks_have_their_own(runs):
    assert "used" not in read_nodes(runs["ags-cl"][1].nodes).columns
    folder = runs["gated-ags-cl"][1]
    table, state = read_nodes(folder.nodes), State.read(folder.state).guard
    for task in range(2):
        for layer in table["layer"].unique():
            used = table.filter(after=task, layer=layer)["used"].to_list()
            assert used == (state[f"method.gain.{task}.{layer}"] != 0).tolist()


def test_a_recorded_run_reads_back_with_its_capacity(runs):
    for result, folder in runs.values():
        assert read_run(folder).result == result


def test_methods_that_fill_up_say_so_and_others_do_not(runs):
    said = {name: fullness_of([result]) for name, (result, _) in runs.items()}
    assert said["wsn"] == ["wsn: no free weight since task 1 (seed 0)"]
    assert said["ewc"] == said["fine-tuning"] == []
    last = runs["ags-cl"][0].history.tasks[-1].capacity
    full = [each.name for each in last if each.free == 0]
    assert len(full) == 1
    assert said["ags-cl"] == [f"ags-cl: no free node in {full[0]} since task 2 (1 of 3 layers) (seed 0)"]


def test_seeds_with_the_same_finding_share_a_line(runs):
    result, _ = runs["wsn"]
    others = [replace(result, experiment=replace(result.experiment, seed=seed)) for seed in (1, 2, 5)]
    assert fullness_of([result, *others]) == ["wsn: no free weight since task 1 (seeds 0-2, 5)"]


def test_terminal_page_and_figure_say_it(runs, tmp_path, capsys):
    arguments = "run digits --method wsn --method.c 1 --tasks 1 --epochs 1 --device cpu --precision fp32 --out"
    assert main([*arguments.split(), str(tmp_path / "run")]) == 0
    assert "wsn: no free weight since task 1 (seed 0)" in " ".join(capsys.readouterr().out.split())
    stored = [read_run(folder) for _, folder in runs.values()]
    assert "wsn: no free weight since task 1 (seed 0)" in page(stored).decode()
    (line,) = FIGURES["6b"].remarks([stored[1].result])
    assert line == "wsn: no free weight since task 1 (seed 0)"
