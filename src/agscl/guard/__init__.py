"""The guard: hooks a method into any optimizer, and so protects any training loop."""

from .capacity import Capacity as Capacity
from .capacity import CapacityWarning as CapacityWarning
from .file import read_state as read_state
from .file import write_state as write_state
from .guard import Guard as Guard
from .guard import protect as protect
from .steps import Diverged as Diverged
