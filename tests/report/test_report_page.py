"""What the report says is what the runs hold: nothing mixed in, nothing invented, nothing let through unescaped."""

import json
import math
import re
import statistics
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t as student

from agscl.cli import main
from agscl.experiments import Result
from agscl.experiments.records import read_runs
from agscl.methods import AGSCL, EWC
from agscl.report import page
from agscl.report.charts.nodemap import LayerStates
from agscl.runs.tables import Rating, nodes, read_nodes, write_table
from agscl.training import History, TaskFinished
from figures.played import FINE_TUNING, PROTECTED, stored
from report.made_up import AGS_CL, DRAWN, ENVIRONMENT, PLAIN, experiment, write_run

VOID = {"meta", "input", "br", "hr", "img", "link"}


class Outline(HTMLParser):
    """The page's elements, with a check that every one is closed; tables by caption, text by element."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tables, self.attributes, self.texts = [], {}, [], []
        self._rows, self._cell, self._caption = [], None, None
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.attributes.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self._rows, self._caption = [], ""
        if tag == "tr":
            self._rows.append([])
        if tag in ("td", "th"):
            self._cell = ""

    def handle_startendtag(self, tag, attrs):
        self.attributes.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag in ("td", "th"):
            self._rows[-1].append(self._cell)
            self._cell = None
        if tag == "table":
            self.tables.setdefault(self._caption, []).append(self._rows)

    def handle_data(self, data):
        if self._cell is not None:
            self._cell += data
        if self.open and self.open[-1] == "caption":
            self._caption += data
        self.texts.append(data)

    @property
    def text(self):
        return " ".join("".join(self.texts).split())


def report(*paths):
    return Outline(page(read_runs(paths)).decode())


def headline(outline):
    """The first table: rows by method, cells by measure."""
    ((head, *rows),) = (tables[0] for caption, tables in outline.tables.items() if caption.startswith("Measures"))
    heads = [title.partition("\N{NO-BREAK SPACE}")[0] for title in head]
    return {row[0]: dict(zip(heads, row, strict=True)) for row in rows}


def matrix_of(path):
    rows = json.loads((path / "result.json").read_text())["accuracy"]
    return np.array([[np.nan if x is None else x for x in row] for row in rows])


@pytest.fixture
def three(tmp_path):
    """Three seeds of AGS-CL and of fine-tuning."""
    for seed in range(3):
        write_run(tmp_path / f"ags-{seed}", experiment(seed=seed))
        write_run(tmp_path / f"plain-{seed}", experiment(PLAIN, seed=seed))
    return tmp_path


def test_means_and_intervals_are_those_of_the_runs(three):
    own = [matrix_of(three / f"ags-{seed}") for seed in range(3)]
    free = [matrix_of(three / f"plain-{seed}") for seed in range(3)]
    expected = {
        "average accuracy": [R[-1].mean() for R in own],
        "forgetting": [np.mean(np.nanmax(R[:-1, :-1], axis=0) - R[-1, :-1]) for R in own],
        "plasticity": [np.mean(np.diag(R) / np.diag(A)) for R, A in zip(own, free, strict=True)],
    }
    for name, values in expected.items():
        half = student.ppf(0.975, 2) * statistics.stdev(values) / math.sqrt(3)
        shown = f"{100 * statistics.fmean(values):.1f}" + (f" ± {100 * half:.1f}" if half else "")
        assert headline(report(three))["AGS-CL"][name] == shown


def test_an_incomplete_run_is_named_and_counts_nowhere(three):
    before = report(three).tables
    write_run(three / "broken-off", experiment(seed=9), complete=False)
    started = {"event": "TaskStarted", "task": 0, "name": "a", "tasks": 5, "epochs": 1}
    finished = {"event": "TaskFinished", "task": 0}
    lines = [json.dumps(started), json.dumps(finished), '{"event": "TaskFin']
    (three / "broken-off" / "events.jsonl").write_text("\n".join(lines))
    after = report(three)
    assert {caption: after.tables[caption] for caption in before if caption != "Configuration"} == {
        caption: tables for caption, tables in before.items() if caption != "Configuration"
    }
    assert "digits, ags-cl, seed 9 incomplete (1 of 5 tasks learned): not averaged in" in after.text
    assert "1 of these runs is incomplete" in after.text


def test_one_seed_has_no_interval_and_the_page_says_so(tmp_path):
    write_run(tmp_path / "one")
    outline = report(tmp_path)
    assert not any("±" in cell for row in headline(outline).values() for cell in row.values())
    assert "One seed, so no interval: AGS-CL." in outline.text


def test_a_page_of_one_seed_speaks_of_no_mean(tmp_path):
    write_run(tmp_path / "one")
    write_run(tmp_path / "plain", experiment(PLAIN))
    text = report(tmp_path).text.lower()
    assert "mean over" not in text
    assert "interval" not in text.replace("so no interval", "")


def test_every_matrix_names_its_rows_and_columns(three):
    drawings = re.findall(r"<svg[^>]*Accuracy \(%\) on each task.*?</svg>", page(read_runs([three])).decode())
    assert len(drawings) == 2
    assert all("after task" in drawing and "accuracy on task" in drawing for drawing in drawings)


@pytest.mark.parametrize(
    ("frozen", "words"),
    [([1, 3, 4], "all frozen since task 3"), ([1, 2, 3], "half of them frozen since task 2"), ([0, 0, 1], "")],
)
def test_a_layer_says_since_when_it_is_full(frozen, words):
    states = [["frozen"] * count + ["free"] * (4 - count) for count in frozen]
    assert LayerStates("fc", states, [0.0] * 4).filled == words


def test_a_missing_reference_is_said_plainly(tmp_path):
    write_run(tmp_path / "one")
    text = report(tmp_path).text
    assert "Plasticity needs a fine-tuning run of the same seed; there is none among these runs." in text


def test_different_settings_are_never_mixed(tmp_path):
    write_run(tmp_path / "a", experiment(AGS_CL))
    write_run(tmp_path / "b", experiment(AGSCL(mu=5.0, lam=400.0)))
    write_run(tmp_path / "c", experiment(AGS_CL, fraction=0.5))
    outline = report(tmp_path)
    captions = [tables for caption, tables in outline.tables.items() if caption.startswith("Measures")]
    assert sum(len(tables) for tables in captions) == 2  # the half preset is a benchmark of its own
    assert {"AGS-CL mu=10", "AGS-CL mu=5"} <= {row[0] for tables in captions for table in tables for row in table}


def test_a_run_given_twice_and_a_copy_of_it_count_once(tmp_path):
    first = write_run(tmp_path / "a")
    write_run(tmp_path / "b")
    outline = report(tmp_path, first, tmp_path / "a")
    assert headline(outline)["AGS-CL"]["seeds"] == "1"
    assert outline.text.count("repeats another run of these: not counted twice") == 1


RECORDS = ("experiment.json", "result.json", "result.parquet", "nodes.parquet")


def test_a_record_is_read_once(three):
    """Every file of every run is opened at most once from the folders to the page."""
    stored(three, FINE_TUNING, PROTECTED)
    opened = Counter()

    def opening(event, arguments):
        if event == "open" and watching and Path(str(arguments[0])).name in RECORDS:
            opened[str(arguments[0])] += 1

    watching = True
    sys.addaudithook(opening)
    page(read_runs([three]))
    watching = False
    kinds = Counter(Path(path).name for path in opened)
    assert [kinds[name] for name in RECORDS] == [8, 8, 2, 3]  # policies have evaluations, AGS-CL has nodes
    assert set(opened.values()) == {1}


HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(1)> & ' </style> {{ 7 * 7 }} %s"


def test_values_from_run_folders_are_escaped(tmp_path):
    names = [HOSTILE, *"bcde"]
    folder = tmp_path / "<b>&"
    write_run(folder, names=names, layers={HOSTILE: 30})
    result = json.loads((folder / "result.json").read_text())
    result["environment"][HOSTILE] = HOSTILE
    (folder / "result.json").write_text(json.dumps(result))
    outline = report(folder)
    assert [tag for tag, _ in outline.attributes if tag == "script"] == ["script"]
    assert not [tag for tag, _ in outline.attributes if tag in ("img", "b")]
    assert not [name for _, attributes in outline.attributes for name in attributes if name.startswith("on")]
    assert " ".join(HOSTILE.split()) in outline.text
    (data,) = [json.loads(a["data-tasks"]) for _, a in outline.attributes if "data-tasks" in a]
    assert data == names
    assert HOSTILE in [a.get("data-name") for _, a in outline.attributes]


def test_the_page_needs_nothing_else(three):
    text = page(read_runs([three])).decode()
    outline = Outline(text)
    assert not re.search(r"(?:src|srcset|action)=|@import|url\(|https?:", text)
    assert all(a["href"].startswith("#") for _, a in outline.attributes if "href" in a)
    targets = {a["id"] for _, a in outline.attributes if "id" in a}
    assert {a["href"][1:] for _, a in outline.attributes if "href" in a} <= targets
    (policy,) = [a["content"] for _, a in outline.attributes if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert not [a for _, a in outline.attributes if "style" in a]


def test_every_drawing_has_a_text_and_a_table(three):
    outline = report(three)
    drawings = [a for tag, a in outline.attributes if tag == "svg" and a.get("role") == "img"]
    assert all(len(a["aria-label"]) > 20 for a in drawings)
    figures = sum(tag == "figure" for tag, _ in outline.attributes)
    assert sum(tag == "summary" for tag, _ in outline.attributes) >= figures > 5


def test_the_node_map_of_gated_nodes_knows_all_tasks_that_use_a_node(tmp_path):
    folder, used = write_run(tmp_path / "one", tasks=2, layers={"fc": 3}), [[True, False, True], [True, True, False]]
    states = [["frozen", "free", "frozen"], ["frozen"] * 3]
    write_table(folder / "nodes.parquet", nodes(Rating(t, "fc", [1.0] * 3, states[t], used[t]) for t in range(2)))
    outline = report(folder)
    (layer,) = [a for _, a in outline.attributes if "data-first" in a]
    assert json.loads(layer["data-used"]) == [[0, 1], [1], [0]]
    counts = outline.tables["Nodes frozen / free / dead after each task"][0]
    assert [row[1] for row in counts[1:]] == ["2 / 1 / 0; uses 2, 2 new", "3 / 0 / 0; uses 2, 1 new"]


def test_the_node_map_shows_every_node_in_the_colour_of_its_first_task(tmp_path):
    folder = write_run(tmp_path / "one", layers={"first": 70, "second": 130})
    table = read_nodes(folder / "nodes.parquet")
    outline = report(folder)
    layers = [a for _, a in outline.attributes if "data-first" in a]
    assert [a["data-name"] for a in layers] == ["first", "second"]
    for layer in layers:
        own = table.filter(table["layer"] == layer["data-name"])
        first = [-1] * own["node"].n_unique()
        for row in own.sort("after", descending=True).iter_rows(named=True):
            if row["state"] == "frozen":
                first[row["node"]] = row["after"]
        assert json.loads(layer["data-first"]) == first
        dead = own.filter((own["state"] == "dead") & (own["after"] == 4))["node"].to_list()
        assert json.loads(layer["data-dead"])[-1] == dead
    cells = [a for _, a in outline.attributes if a.get("class") == "cell free"]
    assert [a["d"].count("M") for a in cells] == [70, 130]
    counts = outline.tables["Nodes frozen / free / dead after each task"][0]
    for row in counts[1:]:
        assert [sum(map(int, cell.split(" / "))) for cell in row[1:]] == [70, 130]


def test_fifty_tasks_are_all_there(tmp_path):
    write_run(tmp_path / "long", tasks=50)
    content = page(read_runs([tmp_path]))
    outline = Outline(content.decode())
    assert len(content) < 1_000_000
    (curve,) = outline.tables["Average accuracy (%) over the tasks so far"]
    assert [row[0] for row in curve[1:]] == [str(number) for number in range(1, 51)]


def test_one_task_is_a_report_too(tmp_path):
    write_run(tmp_path / "short", tasks=1)
    assert "Forgetting" not in report(tmp_path).texts


def test_a_run_of_an_unknown_kind_is_shown_as_its_record(tmp_path):
    (tmp_path / "experiment.json").write_text('{"preset": "cartpole3", "method": {"name": "ags-cl"}, "seed": 4}')
    record = {
        "format": 1,
        "kind": "unheard of",
        "scores": [[1.5, None]],
        "nested": {"<i>": [{"a": 1}, {"a": 2}]},
    }
    (tmp_path / "result.json").write_text(json.dumps(record))
    outline = report(tmp_path)
    assert "cartpole3, ags-cl, seed 4" in outline.text
    (table,) = outline.tables["Result"]
    assert ["scores[0]", "1.5, -"] in table
    assert ["nested.<i>[1].a", "2"] in table


def refusal(capsys, *arguments):
    code = main(list(map(str, arguments)))
    return code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("result.json", '{"format": 99, "accuracy": []}', "format 99"),
        ("result.json", "{", "no JSON"),
        ("result.json", "[]", "no JSON object"),
        ("result.json", '{"odd": "\\ud800"}', "no JSON"),
        ("result.json", "[" * 100_000, "no JSON"),
        ("result.json", '{"seconds": 1e999}', "not finite or too large"),
        ("result.json", '{"format": 1, "accuracy": []}', "tasks"),
        ("experiment.json", '{"preset": "digits", "strange": 1}', "strange"),
        ("nodes.parquet", "no parquet", "Parquet"),
    ],
)
def test_a_damaged_or_unknown_run_is_refused_in_one_line(tmp_path, capsys, file, content, message):
    folder = write_run(tmp_path / "run")
    (folder / file).write_text(content)
    code, line = refusal(capsys, "report", folder, "--out", tmp_path / "page.html")
    assert (code, line.count("\n")) == (2, 1)
    assert message in line
    assert not (tmp_path / "page.html").exists()


def test_a_folder_that_is_no_run_is_refused_in_one_line(tmp_path, capsys):
    for path in (tmp_path, tmp_path / "nowhere"):
        code, line = refusal(capsys, "report", path, "--out", tmp_path / "page.html")
        assert (code, line.count("\n")) == (2, 1)


def test_a_table_of_nodes_with_holes_is_refused(tmp_path, capsys):
    folder = write_run(tmp_path / "run")
    read_nodes(folder / "nodes.parquet")[1:].write_parquet(folder / "nodes.parquet")
    code, line = refusal(capsys, "report", folder, "--out", tmp_path / "page.html")
    assert code == 2
    assert "lacks nodes" in line


def test_the_command_writes_the_page(three, tmp_path, capsys):
    file = tmp_path / "page.html"
    assert main(["report", str(three), "--out", str(file)]) == 0
    assert str(file) in capsys.readouterr().out.replace("\n", "")
    assert file.read_bytes().startswith(b"<!doctype html>")


def test_a_missing_package_is_named_in_one_line(three, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    code, line = refusal(capsys, "report", three, "--out", tmp_path / "page.html")
    assert (code, line.count("\n")) == (2, 1)
    assert "pip install 'agscl[report]'" in line


def test_methods_without_ratings_of_nodes_have_no_map(tmp_path):
    write_run(tmp_path / "plain", experiment(PLAIN))
    assert "nodemap" not in {a.get("class") for _, a in report(tmp_path).attributes}


def test_a_perfect_run_can_be_drawn(tmp_path):
    """All accuracies 1 and no memory: no scale has any width."""
    nothing = {"sparsity": None, "used_capacity": None, "memory_bytes": 0, "regularization_bytes": 0, "seconds": 0.0}
    tasks = tuple(TaskFinished(n, "x", 1, (1.0,) * (n + 1), **nothing) for n in range(3))
    asked = experiment(EWC(lam=1.0))
    (tmp_path / "experiment.json").write_bytes(asked.to_json())
    (tmp_path / "result.json").write_bytes(Result(asked, History(tasks), DRAWN, ENVIRONMENT).to_json())
    text = page(read_runs([tmp_path])).decode()
    assert not re.search(r"\bnan\b|\binf\b", text.partition("<script>")[0], flags=re.IGNORECASE)
    assert headline(Outline(text))["EWC"]["average accuracy"] == "100.0"
