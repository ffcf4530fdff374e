"""The learning-rate rule against a plain simulation of the paper's."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agscl.training import Training
from agscl.training.plateau import Plateau


def official_rates(losses, training):
    """Learning rate before each epoch, until it falls below the floor: counters as in the official code."""
    rate, best, patience, rates = training.learning_rate, math.inf, training.patience, []
    for loss in losses:
        if rate < training.floor:
            break
        rates.append(rate)
        if loss < best:
            best, patience = loss, training.patience
        else:
            patience -= 1
            if patience <= 0:
                rate, patience = rate / training.decay, training.patience
    return rates


def rates(losses, training):
    plateau, used = Plateau(training.learning_rate), []
    for loss in losses:
        if plateau.finished(training):
            break
        used.append(plateau.learning_rate)
        plateau = plateau.after(loss, training)
    return used


@given(
    losses=st.lists(st.integers(0, 20).map(float), max_size=120),
    patience=st.integers(1, 7),
    decay=st.floats(1.5, 10),
    floor=st.floats(1e-6, 1e-3),
)
def test_the_learning_rate_follows_the_papers_rule(losses, patience, decay, floor):
    training = Training(patience=patience, decay=decay, floor=floor)
    assert rates(losses, training) == official_rates(losses, training)


def test_five_epochs_without_improvement_divide_the_rate_by_three():
    training = Training()
    assert rates([1.0] * 8, training)[5:7] == [1e-3, 1e-3 / 3]


@given(st.lists(st.floats(0, 10), min_size=1))
def test_an_epoch_improves_exactly_when_it_is_the_best_so_far(losses):
    training, plateau = Training(), Plateau(1e-3)
    for number, loss in enumerate(losses):
        plateau = plateau.after(loss, training)
        assert plateau.improved == (loss < min(losses[:number], default=math.inf))
        assert plateau.best == min(losses[: number + 1])


def test_milestones_alone_decide_where_there_are_any():
    training = Training(milestones=(3, 5, 5), decay=10, patience=1)
    assert rates([1.0] * 7, training) == [1e-3, 1e-3, 1e-3, 1e-4, 1e-4, *[1e-6] * 2]
    assert rates([7.0 - n for n in range(7)], training) == rates([1.0] * 7, training)


def test_milestones_move_with_the_number_of_epochs():
    training = Training(epochs=40, milestones=(30,))
    assert training.with_epochs(4).milestones == (3,)
    assert training.with_epochs(80).milestones == (60,)
    assert training.with_epochs(1) == Training(epochs=1, milestones=(1,))
    assert Training().with_epochs(7) == Training(epochs=7)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "rmsprop"}, "optimizer must be 'adam' or 'sgd'"),
        ({"momentum": 0.9}, "without optimizer='sgd'"),
        ({"optimizer": "sgd", "momentum": 1.0}, "momentum must be in"),
        ({"milestones": (5, 3)}, "ascending"),
        ({"milestones": (0,)}, "from 1 up"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Training(**settings)
