"""Seeds, all from one number."""

from __future__ import annotations

import numpy as np


def derived_seed(seed: int, task: int, purpose: str, count: int = 0) -> int:
    """A seed for one purpose, below 2^30; different purposes, tasks and counts give unrelated ones."""
    entropy = [seed, task, count, *purpose.encode()]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0]) >> 2
