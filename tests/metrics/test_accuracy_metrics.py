"""Measures of an accuracy matrix against separately written NumPy formulas."""

from importlib import import_module
from inspect import getmembers, isfunction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from agscl import metrics

SHARES = st.floats(0, 1, allow_subnormal=False)
POSITIVE = st.floats(0.01, 1)


def matrices(smallest=2, elements=SHARES):
    return st.integers(smallest, 6).flatmap(lambda t: arrays(np.float64, (t, t), elements=elements))


def matrices_and_vectors(elements=SHARES):
    sizes = st.integers(2, 6)
    return sizes.flatmap(
        lambda t: st.tuples(arrays(np.float64, (t, t), elements=elements), arrays(np.float64, t, elements=elements))
    )


def hide_upper(R):
    hidden = R.copy()
    hidden[np.triu_indices(len(R), 1)] = np.nan
    return hidden


@given(matrices(smallest=1))
def test_average_accuracy_is_the_mean_of_the_last_row(R):
    assert metrics.average_accuracy(R) == pytest.approx(sum(R[-1]) / len(R))


@given(matrices(smallest=1))
def test_learning_accuracy_is_the_mean_of_the_diagonal(R):
    assert metrics.learning_accuracy(R) == pytest.approx(np.trace(R) / len(R))


@given(matrices())
def test_backward_transfer_compares_the_end_with_each_task_just_learned(R):
    T = len(R)
    expected = sum(R[T - 1, i] - R[i, i] for i in range(T - 1)) / (T - 1)
    assert metrics.backward_transfer(R) == pytest.approx(expected)


@given(matrices_and_vectors())
def test_forward_transfer_compares_the_row_before_with_the_baseline(case):
    R, baseline = case
    T = len(R)
    expected = sum(R[i - 1, i] - baseline[i] for i in range(1, T)) / (T - 1)
    assert metrics.forward_transfer(R, baseline) == pytest.approx(expected)


@given(matrices())
def test_forgetting_compares_the_best_earlier_row_with_the_end(R):
    T = len(R)
    expected = sum(max(R[m, j] for m in range(T - 1)) - R[T - 1, j] for j in range(T - 1)) / (T - 1)
    assert metrics.forgetting(R) == pytest.approx(expected)


@given(matrices())
def test_forgetting_of_a_matrix_without_its_upper_triangle_uses_the_rows_that_are_there(R):
    T = len(R)
    expected = sum(max(R[m, j] for m in range(j, T - 1)) - R[T - 1, j] for j in range(T - 1)) / (T - 1)
    assert metrics.forgetting(hide_upper(R)) == pytest.approx(expected)


@given(matrices_and_vectors(POSITIVE))
def test_plasticity_is_the_mean_ratio_to_the_reference(case):
    R, reference = case
    expected = sum(R[i, i] / reference[i] for i in range(len(R))) / len(R)
    assert metrics.plasticity(R, reference) == pytest.approx(expected)


@given(matrices(elements=POSITIVE))
def test_a_reference_matrix_stands_for_its_diagonal(R):
    reference = R[::-1].copy()
    assert metrics.plasticity(R, reference) == metrics.plasticity(R, np.diag(reference))


@given(matrices(smallest=1, elements=POSITIVE))
def test_stability_is_the_mean_share_of_the_best_accuracy_left(R):
    T = len(R)
    expected = sum(R[T - 1, j] / max(R[i, j] for i in range(j, T)) for j in range(T)) / T
    assert metrics.stability(R) == pytest.approx(expected)


def test_a_task_with_nothing_to_lose_is_stable():
    assert metrics.stability([[0.0, 0.0], [0.0, 0.5]]) == 1


@given(matrices_and_vectors())
def test_intransigence_is_the_shortfall_of_each_task(case):
    R, reference = case
    expected = [reference[k] - R[k, k] for k in range(len(R))]
    assert metrics.intransigence(R, reference).tolist() == pytest.approx(expected)


@given(matrices())
def test_the_upper_triangle_changes_nothing_but_forgetting_and_forward_transfer(R):
    for measure in (metrics.average_accuracy, metrics.learning_accuracy, metrics.backward_transfer):
        assert measure(R) == measure(hide_upper(R))
    assert metrics.stability(R) == metrics.stability(hide_upper(R))


@given(matrices(elements=POSITIVE))
def test_tensors_and_nested_lists_are_taken_alike(R):
    assert metrics.stability(torch.tensor(R)) == metrics.stability(R.tolist()) == metrics.stability(R)


@given(st.integers(2, 6), POSITIVE)
def test_a_learner_that_keeps_everything_forgets_nothing(T, accuracy):
    R = np.full((T, T), accuracy)
    assert metrics.forgetting(R) == metrics.backward_transfer(R) == 0
    assert metrics.stability(R) == metrics.plasticity(R, R) == 1


@pytest.mark.parametrize("R", [[0.5], [[0.5, 0.5]], [[[0.5]]], 0.5])
def test_an_array_that_is_not_square_is_refused(R):
    with pytest.raises(ValueError, match="square"):
        metrics.average_accuracy(R)


@pytest.mark.parametrize(
    "measure", [metrics.forgetting, metrics.backward_transfer, lambda R: metrics.forward_transfer(R, [0.5])]
)
def test_measures_between_tasks_need_two_tasks(measure):
    with pytest.raises(ValueError, match="at least 2"):
        measure([[0.5]])


def test_an_unmeasured_accuracy_of_a_learned_task_is_refused():
    with pytest.raises(ValueError, match="NaN"):
        metrics.average_accuracy([[0.5, 0.1], [np.nan, 0.5]])


def test_forward_transfer_needs_the_entries_above_the_diagonal():
    with pytest.raises(ValueError, match="before it is learned"):
        metrics.forward_transfer([[0.5, np.nan], [0.5, 0.5]], [0.1, 0.1])


def test_a_reference_of_the_wrong_length_is_refused():
    with pytest.raises(ValueError, match="one accuracy each"):
        metrics.plasticity([[0.5, 0.1], [0.5, 0.5]], [0.5])


def test_a_reference_of_zero_is_refused():
    with pytest.raises(ValueError, match="0"):
        metrics.plasticity([[0.5, 0.1], [0.5, 0.5]], [0.5, 0.0])


@given(matrices(smallest=1))
def test_the_average_so_far_is_the_mean_of_each_row_up_to_the_diagonal(R):
    expected = [sum(R[t, : t + 1]) / (t + 1) for t in range(len(R))]
    assert metrics.average_accuracy_so_far(hide_upper(R)) == pytest.approx(expected)


def test_every_measure_says_what_it_is():
    functions = {name for name in metrics.MEASURES if hasattr(metrics, name)}
    assert {"average_accuracy", "plasticity", "stability", "forgetting", "sparsity", "aopc"} <= functions
    for measure in metrics.MEASURES.values():
        assert all((measure.title, measure.unit, measure.formula, measure.source))


def test_measures_of_policies_are_titled_as_their_tables_name_them_and_keep_their_own_formulas():
    for name, key in metrics.POLICY_MEASURES.items():
        assert metrics.MEASURES[key].title == name.replace("_", " ")
        assert not metrics.MEASURES[key].in_percent
        assert name == key or metrics.MEASURES[key].formula != metrics.MEASURES[name].formula


@pytest.mark.parametrize("name", ["accuracy", "aopc", "capacity", "inference", "interval", "reinforcement"])
def test_every_public_function_shows_an_example(name):
    module = import_module(f"agscl.metrics.{name}")
    functions = {
        name: member for name, member in getmembers(module, isfunction) if member.__module__ == module.__name__
    }
    for function, member in functions.items():
        assert function.startswith("_") or ">>>" in member.__doc__, function
    assert functions
