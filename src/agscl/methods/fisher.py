"""The name under which the Fisher information is imported outside this library."""

from .weights.fisher import KINDS as KINDS
from .weights.fisher import fisher_diagonal as fisher_diagonal
