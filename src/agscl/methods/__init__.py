"""Methods: how a network is protected from forgetting. Each is a frozen dataclass of its hyper-parameters."""

from typing import get_args

from .agscl import AGSCL as AGSCL
from .cpr import CPR as CPR
from .ewc import EWC as EWC
from .fine_tuning import FineTuning as FineTuning
from .hat import HAT as HAT
from .joint import Joint as Joint
from .lwf import LwF as LwF
from .mas import MAS as MAS
from .method import Learned as Learned
from .method import Memory as Memory
from .method import Method as Method
from .method import Network as Network
from .method import Protection as Protection
from .method import Step as Step
from .method import Training as Training
from .rwalk import RWalk as RWalk
from .si import SI as SI
from .single_task import SingleTask as SingleTask
from .wsn import WSN as WSN

AnyMethod = AGSCL | EWC | SI | RWalk | MAS | HAT | LwF | WSN | FineTuning | Joint | SingleTask
"""All methods; the command line, configuration files and the documentation's table come from this union.

`CPR` is not in it: it is an option of each of them.
"""

METHODS: dict[str, type[AnyMethod]] = {method.name: method for method in get_args(AnyMethod)}
"""Methods by their name on the command line."""
