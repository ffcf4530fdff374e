"""The proximal maps minimise their objective, give exact zeros and exact anchors, and never NaN."""

import math

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize
from torch import Tensor

from agscl.methods.agscl.proximal import attract, shrink

Vectors = st.integers(1, 5).flatmap(
    lambda size: st.tuples(*[arrays(np.float64, size, elements=st.floats(-10, 10, width=32))] * 2)
)
Thresholds = st.floats(0, 20, width=32)


def row(vector: np.ndarray) -> Tensor:
    return torch.from_numpy(vector)[None]


@given(Vectors, Thresholds)
def test_attract_is_as_good_as_a_numerical_solver(vectors: tuple[np.ndarray, np.ndarray], threshold: float) -> None:
    weight, anchor = vectors

    def objective(v: np.ndarray) -> float:
        return float(0.5 * np.sum((v - weight) ** 2) + threshold * np.linalg.norm(v - anchor))

    ours = attract(row(weight), row(anchor), threshold)[0].numpy()
    starts = [weight, anchor, (weight + anchor) / 2]
    theirs = min(minimize(objective, start, method="Nelder-Mead").fun for start in starts)
    assert objective(ours) <= theirs + 1e-6 * (1 + abs(theirs))


@given(Vectors, Thresholds)
def test_the_step_is_the_lemma_of_the_paper(vectors: tuple[np.ndarray, np.ndarray], threshold: float) -> None:
    weight, anchor = vectors
    distance = np.linalg.norm(weight - anchor)
    gamma = max(0.0, 1 - threshold / distance) if distance > 0 else 0.0
    expected = gamma * weight + (1 - gamma) * anchor
    np.testing.assert_allclose(attract(row(weight), row(anchor), threshold)[0], expected, atol=1e-9)


@given(Vectors, Thresholds)
def test_both_maps_bring_no_two_points_further_apart(vectors: tuple[np.ndarray, np.ndarray], threshold: float) -> None:
    first, second = (row(vector) for vector in vectors)
    before = (first - second).norm()
    assert (shrink(first, threshold) - shrink(second, threshold)).norm() <= before + 1e-9


def test_short_nodes_become_exactly_zero_and_near_ones_exactly_their_anchor() -> None:
    weight = torch.tensor([[0.3, 0.4], [3.0, 4.0]])
    assert shrink(weight, 0.5).tolist()[0] == [0.0, 0.0]
    assert torch.allclose(shrink(weight, 0.5)[1], torch.tensor([2.7, 3.6]))
    anchor = torch.tensor([[0.1, 0.1], [0.1, 0.1]])
    assert torch.equal(attract(weight, anchor, torch.tensor([1.0, 0.0]))[0], anchor[0])


@given(st.floats(0, 1))
def test_zero_rows_and_zero_thresholds_give_no_nan(threshold: float) -> None:
    zero = torch.zeros(2, 3)
    assert torch.equal(shrink(zero, threshold), zero)
    assert torch.equal(shrink(zero, 0.0), zero)
    assert torch.equal(attract(zero, zero, threshold), zero)


def test_an_infinite_threshold_freezes() -> None:
    weight, anchor = torch.randn(4, 3), torch.randn(4, 3)
    assert torch.equal(attract(weight, anchor, math.inf), anchor)
