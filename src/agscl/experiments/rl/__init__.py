"""A run of reinforcement learning as a value, and from there to a result in a run folder."""

from .experiment import RLExperiment as RLExperiment
from .result import RLResult as RLResult
