"""Methods: how a network is protected from forgetting. Each is a frozen dataclass of its hyper-parameters."""

from .agscl import AGSCL as AGSCL
from .fine_tuning import FineTuning as FineTuning
from .method import Learned as Learned
from .method import Memory as Memory
from .method import Method as Method
from .method import Network as Network
from .method import Protection as Protection
from .method import Step as Step
from .method import Training as Training

AnyMethod = AGSCL | FineTuning
"""All methods; the command line, configuration files and the documentation's table come from this union."""

METHODS: dict[str, type[AnyMethod]] = {"ags-cl": AGSCL, "fine-tuning": FineTuning}
"""Methods by their name on the command line."""
