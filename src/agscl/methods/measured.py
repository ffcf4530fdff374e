"""The name under which methods outside this library import the consolidated penalty."""

from .weights.consolidated_penalty import MeasuredPenalty as MeasuredPenalty
from .weights.consolidated_penalty import accumulate as accumulate
from .weights.consolidated_penalty import average as average
from .weights.consolidated_penalty import separate as separate
