"""Methods: how a network is protected from forgetting. Each is a frozen dataclass of its hyper-parameters.

What an author of a method needs is offered here as well: the protocol (`Protection`, `StepHooks`, `LossTerm`, ...), a
ready penalty (`MeasuredPenalty`, and how it merges tasks), `freeze` and `freeze_statistics`, and helpers for values and
states.
"""

from typing import get_args

from agscl.processes import from_first as from_first
from agscl.processes import sum_with_counts as sum_with_counts
from agscl.tensors import prefixed as prefixed

from .agscl import AGSCL as AGSCL
from .fine_tuning import FineTuning as FineTuning
from .fine_tuning import Joint as Joint
from .freezing import freeze as freeze
from .freezing import freeze_statistics as freeze_statistics
from .method import Expandable as Expandable
from .method import Learned as Learned
from .method import LossTerm as LossTerm
from .method import Memory as Memory
from .method import Method as Method
from .method import Network as Network
from .method import Protection as Protection
from .method import RunningTask as RunningTask
from .method import Step as Step
from .method import StepHooks as StepHooks
from .method import Usage as Usage
from .method import check_range as check_range
from .method import num_bytes as num_bytes
from .method import same_shapes as same_shapes
from .outputs.cpr import CPR as CPR
from .outputs.lwf import LwF as LwF
from .space import LogUniform as LogUniform
from .space import OneOf as OneOf
from .space import Space as Space
from .space import Uniform as Uniform
from .space import space_of as space_of
from .subnetworks.gated import GatedAGSCL as GatedAGSCL
from .subnetworks.hat import HAT as HAT
from .subnetworks.packnet import PackNet as PackNet
from .subnetworks.single_task import SingleTask as SingleTask
from .subnetworks.wsn import WSN as WSN
from .weights.consolidated_penalty import MeasuredPenalty as MeasuredPenalty
from .weights.consolidated_penalty import accumulate as accumulate
from .weights.consolidated_penalty import average as average
from .weights.consolidated_penalty import separate as separate
from .weights.ewc import EWC as EWC
from .weights.gpm import GPM as GPM
from .weights.mas import MAS as MAS
from .weights.rwalk import RWalk as RWalk
from .weights.si import SI as SI

AnyMethod = (
    AGSCL | GatedAGSCL | EWC | SI | RWalk | MAS | HAT | WSN | PackNet | GPM | LwF | FineTuning | Joint | SingleTask
)
"""All methods; the command line, configuration files and the documentation's table come from this union.

`CPR` is not in it: it is an option of each of them.
"""

METHODS: dict[str, type[AnyMethod]] = {method.name: method for method in get_args(AnyMethod)}
"""Methods by their name on the command line."""
