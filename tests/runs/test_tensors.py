"""Groups of tensors and states of optimizers come back as they were."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim import SGD, Adam, Adamax, NAdam, RMSprop

from agscl.runs.tensors import load_optimizer, load_states, optimizer_tensors
from agscl.tensors import prefixed, under

names = st.text("abc.", min_size=1, max_size=4)


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), st.lists(names, unique=True, max_size=4), max_size=4))
def test_every_group_comes_back_from_under_its_prefix(groups):
    made = {group: {name: torch.rand(1) for name in members} for group, members in groups.items()}
    together = prefixed(**made)
    assert len(together) == sum(map(len, made.values()))
    assert all(under(group, together) == members for group, members in made.items())


def test_states_that_do_not_fit_are_refused_in_one_line():
    model, guest = nn.Linear(2, 3), {"weight": torch.zeros(2, 2), "bias": torch.zeros(2)}
    load_states("no", (model, {"weight": torch.ones(3, 2), "bias": torch.ones(3)}))
    assert model.weight.sum() == 6
    with pytest.raises(ValueError, match=r"^the state does not fit: size mismatch for bias: .*$"):
        load_states("the state does not fit", (model, model.state_dict()), (nn.Linear(2, 3), guest))


def step(model, optimizer):
    optimizer.zero_grad()
    model(torch.ones(3, 4)).square().sum().backward()
    optimizer.step()


OPTIMIZERS = [
    lambda parameters: Adam(parameters, lr=0.1),
    lambda parameters: Adam(parameters, lr=0.1, amsgrad=True),
    lambda parameters: Adamax(parameters, lr=0.1),
    lambda parameters: NAdam(parameters, lr=0.1),
    lambda parameters: RMSprop(parameters, lr=0.1, momentum=0.5, centered=True),
    lambda parameters: SGD(parameters, lr=0.1),
    lambda parameters: SGD(parameters, lr=0.1, momentum=0.9),
]


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_an_optimizer_that_was_loaded_goes_on_exactly(make):
    torch.manual_seed(0)
    model = nn.Linear(4, 2)
    optimizer = make(model.parameters())
    for _ in range(3):
        step(model, optimizer)
    other = copy.deepcopy(model)
    tensors = {name: tensor.clone() for name, tensor in optimizer_tensors(optimizer).items()}
    step(model, optimizer)
    resumed = make(other.parameters())
    load_optimizer(resumed, tensors)
    step(other, resumed)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


def test_loading_nothing_makes_an_optimizer_forget_and_keeps_its_settings():
    model = nn.Linear(4, 2)
    optimizer = Adam(model.parameters(), lr=0.1)
    step(model, optimizer)
    optimizer.param_groups[0]["lr"] = 0.01
    load_optimizer(optimizer, {})
    assert not optimizer.state
    assert optimizer.param_groups[0]["lr"] == 0.01
