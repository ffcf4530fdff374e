"""The state of every random generator, as tensors: what it takes to go on with the same draws; and seeds for more."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

CPU = torch.device("cpu")


def capture(device: torch.device = CPU) -> dict[str, Tensor]:
    """The state of Python's, NumPy's and PyTorch's global generators, and of the device's own."""
    version, words, gauss = random.getstate()
    legacy = np.random.get_state(legacy=False)  # noqa: NPY002 - the global generator is what is saved
    key, position = legacy["state"]["key"], legacy["state"]["pos"]
    states = {
        "python": torch.tensor([version, *words]),
        "python-gauss": torch.tensor([] if gauss is None else [gauss], dtype=torch.float64),
        "numpy": torch.tensor([*key.tolist(), position, legacy["has_gauss"]]),
        "numpy-gauss": torch.tensor(legacy["gauss"], dtype=torch.float64),
        "torch": torch.get_rng_state(),
    }
    if device.type != "cpu":
        states["device"] = torch.get_device_module(device).get_rng_state()
    return states


def restore(states: Mapping[str, Tensor], device: torch.device = CPU) -> None:
    """Put all generators into states that `capture` gave."""
    version, *words = states["python"].tolist()
    gauss = states["python-gauss"].tolist()
    random.setstate((version, tuple(words), gauss[0] if gauss else None))
    *key, position, has_gauss = states["numpy"].tolist()
    state = {"key": np.array(key, dtype=np.uint32), "pos": position}
    numbers = {"has_gauss": has_gauss, "gauss": states["numpy-gauss"].item()}
    np.random.set_state({"bit_generator": "MT19937", "state": state, **numbers})  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    if device.type != "cpu":
        torch.get_device_module(device).set_rng_state(states["device"])


@contextmanager
def seeded(seed: int, device: torch.device = CPU) -> Iterator[None]:
    """Seed all generators within the context, and restore their states behind it.

    >>> with seeded(7):
    ...     first = random.random()
    >>> with seeded(7):
    ...     random.random() == first
    True
    """
    before = capture(device)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.manual_seed(seed)
    try:
        yield
    finally:
        restore(before, device)


def derived_seed(seed: int, task: int, purpose: str, count: int = 0) -> int:
    """A seed for one purpose, below 2^30; different purposes, tasks and counts give unrelated ones."""
    entropy = [seed, task, count, *purpose.encode()]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0]) >> 2
