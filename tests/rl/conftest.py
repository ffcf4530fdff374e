"""One thread and a seed for every test of reinforcement learning."""

import pytest
import torch

from agscl.runs.random import seeded


@pytest.fixture(autouse=True)
def one_thread_and_a_seed():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with seeded(0):
        yield
    torch.set_num_threads(before)
