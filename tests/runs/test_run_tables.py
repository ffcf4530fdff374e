"""The run folder's tables: what goes in comes out, and other files are refused."""

import polars
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agscl.runs.tables import STATES, Rating, evaluations, nodes, read_evaluations, read_nodes, write_table
from hostile.watch import confined

ROWS = st.integers(0, 5).flatmap(
    lambda tasks: st.tuples(*(st.lists(st.floats(0, 1), min_size=t, max_size=t) for t in range(1, tasks + 1)))
)


@given(ROWS)
def test_every_evaluation_is_a_row(matrix):
    table = evaluations(matrix, [f"task {t}" for t in range(len(matrix))])
    expected = [(i, j, f"task {j}", value) for i, row in enumerate(matrix) for j, value in enumerate(row)]
    assert table.rows() == expected


@given(st.lists(st.lists(st.tuples(st.floats(0, 9), st.sampled_from(STATES)), max_size=4), max_size=4))
def test_every_node_is_a_row_for_each_task(layers):
    ratings = [
        Rating(after, "fc", [omega for omega, _ in layer], [state for _, state in layer])
        for after, layer in enumerate(layers)
    ]
    expected = [(after, "fc", n, *node) for after, layer in enumerate(layers) for n, node in enumerate(layer)]
    assert nodes(ratings).rows() == expected


def test_tables_survive_the_disk(tmp_path):
    rated = nodes([Rating(0, "fc", [0.0, 2.5], ["dead", "frozen"])])
    gated = nodes([Rating(0, "fc", [0.0, 2.5], ["dead", "frozen"], [False, True])])
    assert gated["used"].to_list() == [False, True]
    assert gated.drop("used").equals(rated)
    learned = evaluations([[0.5], [0.25, 1.0]], ["cats", "dogs"])
    for table, read in ((rated, read_nodes), (gated, read_nodes), (learned, read_evaluations)):
        write_table(tmp_path / "table.parquet", table)
        assert read(tmp_path / "table.parquet").equals(table)
    assert [file.name for file in tmp_path.iterdir()] == ["table.parquet"]


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "table.parquet"
    write_table(path, polars.DataFrame({"after": [1]}))
    with pytest.raises(ValueError, match=r"has columns after \(int64\); expected after \(int64\), task"):
        read_evaluations(path)
    path.write_bytes(b"no table at all")
    with pytest.raises(ValueError, match="is no Parquet table"):
        read_nodes(path)
    with pytest.raises(FileNotFoundError):
        read_nodes(tmp_path / "absent.parquet")


def test_ratings_must_be_whole():
    with pytest.raises(ValueError, match="layer 'fc' has 1 importances and 2 states"):
        nodes([Rating(0, "fc", [0.0], ["dead", "free"])])
    with pytest.raises(ValueError, match="unknown state 'lost'"):
        nodes([Rating(0, "fc", [0.0], ["lost"])])


def test_a_page_that_announces_minus_one_values_is_refused(tmp_path):
    """Zigzag-encoded, -1 is the byte 1; polars' own reader asks for 2^61 bytes then, and the process is gone."""
    path = tmp_path / "table.parquet"
    write_table(path, evaluations([[0.5], [0.25, 1.0]], ["cats", "dogs"]))
    whole = path.read_bytes()
    refused = 0
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + b"\x01" + whole[place + 1 :])
        try:
            with confined(tmp_path):
                read_evaluations(path)
        except ValueError:
            refused += 1
    assert refused > len(whole) / 4


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_a_value_that_is_missing_or_not_finite_is_refused(tmp_path, value):
    path = tmp_path / "table.parquet"
    write_table(path, nodes([Rating(0, "fc", [0.5, value], ["free", "free"])]))
    with pytest.raises(ValueError, match="a value is missing or not finite"):
        read_nodes(path)


@pytest.mark.parametrize(("rows", "name"), [(5_000_000, "x"), (10_000, "x" * 100_000)])
def test_a_small_file_of_very_many_equal_rows_is_refused(tmp_path, rows, name):
    path = tmp_path / "table.parquet"
    write_table(path, evaluations([[0.5]], [name])[[0] * rows])
    assert path.stat().st_size < 100_000
    with pytest.raises(ValueError, match="grows beyond reason"):
        read_evaluations(path)
    assert pyarrow.default_memory_pool().max_memory() < 2**28
