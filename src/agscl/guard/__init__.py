"""The guard: hooks a method into any optimizer, and so protects any training loop."""

from .guard import Guard as Guard
from .guard import protect as protect
from .steps import Diverged as Diverged
