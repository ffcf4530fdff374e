"""Measures of scores, each against its formula written out in loops of NumPy."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from agscl.metrics import reinforcement as measures

SCORES = st.floats(-1000, 1000, allow_nan=False)


def squares():
    return st.integers(1, 5).flatmap(lambda n: arrays(np.float64, (n, n), elements=SCORES))


def test_random_actions_are_0_and_the_reference_is_1_even_where_scores_are_negative() -> None:
    random, reference = [-20.0, 100.0], [-10.0, 300.0]
    assert measures.relative([random, reference], random, reference).tolist() == [[0, 0], [1, 1]]


def test_a_reference_no_better_than_random_actions_measures_nothing() -> None:
    assert math.isnan(measures.relative([5.0], [1.0], [1.0])[0])


def test_without_random_scores_relative_is_the_papers_ratio() -> None:
    assert measures.relative([50.0, 30.0], [0.0, 0.0], [100.0, 20.0]).tolist() == [0.5, 1.5]


def test_accumulated_counts_tasks_not_yet_learned_as_nothing() -> None:
    assert measures.accumulated([[1.0, math.nan], [0.5, 2.0]]).tolist() == [1.0, 2.5]


@given(squares())
@example(np.array([[5e-324, -4.0], [-4.0, -4.0]]))
def test_plasticity_is_the_diagonal_and_stability_the_last_row_over_the_best(A: np.ndarray) -> None:
    assert measures.plasticity_by_task(A).tolist() == [A[i, i] for i in range(len(A))]
    for task, found in enumerate(measures.stability_by_task(A).tolist()):
        *_, last = column = A[task:, task].tolist()
        best = max(column)
        assert found == pytest.approx(last / best, nan_ok=True) if best > 0 else math.isnan(found)


@given(squares())
def test_forgetting_and_performance_of_continual_world(A: np.ndarray) -> None:
    tasks = range(len(A))
    assert measures.performance(A) == pytest.approx(sum(A[-1, j] for j in tasks) / len(A))
    assert measures.reward_forgetting(A) == pytest.approx(sum(A[i, i] - A[-1, i] for i in tasks) / len(A), abs=1e-9)


@given(arrays(np.float64, (3, 4), elements=st.floats(-1, 2)), arrays(np.float64, (3, 4), elements=st.floats(-1, 0.9)))
def test_transfer_is_the_area_won_of_the_area_that_was_left(own: np.ndarray, alone: np.ndarray) -> None:
    areas = [(np.clip(a, 0, 1).mean(), np.clip(b, 0, 1).mean()) for a, b in zip(own, alone, strict=True)]
    expected = np.mean([(a - b) / (1 - b) for a, b in areas])
    assert measures.reward_transfer(own, alone) == pytest.approx(expected)


def test_an_agent_that_is_the_reference_transfers_nothing() -> None:
    curves = [[0.1, 0.4, 0.8], [0.0, 0.2, 0.3]]
    assert measures.reward_transfer(curves, curves) == 0


@given(st.integers(1, 4).flatmap(lambda n: arrays(np.float64, (n + 1, n), elements=SCORES)))
def test_coras_matrices_of_forgetting_and_transfer(scores: np.ndarray) -> None:
    tasks = scores.shape[1]
    forgetting, transfer = measures.isolated_forgetting(scores), measures.isolated_transfer(scores)
    for i in range(tasks):
        largest = np.abs(scores[:, i]).max()
        for j in range(tasks):
            change = (scores[j + 1, i] - scores[j, i]) / largest if largest else 0.0
            assert forgetting[i, j].item() == pytest.approx(-change if i < j else math.nan, nan_ok=True)
            assert transfer[i, j].item() == pytest.approx(change if j < i else math.nan, nan_ok=True)


def test_scores_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"have shape \(T, T\), got \(1, 2\)"):
        measures.performance([[1.0, 2.0]])
    with pytest.raises(ValueError, match=r"have shape \(T \+ 1, T\), got \(2, 2\)"):
        measures.isolated_forgetting([[1.0, 2.0], [1.0, 2.0]])
