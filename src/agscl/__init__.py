"""Continual learning that freezes what matters, exactly."""

from .guard import Guard as Guard
from .guard import protect as protect
from .methods import AGSCL as AGSCL
from .methods import CPR as CPR
from .methods import EWC as EWC
from .methods import HAT as HAT
from .methods import MAS as MAS
from .methods import SI as SI
from .methods import WSN as WSN
from .methods import FineTuning as FineTuning
from .methods import LwF as LwF
from .methods import RWalk as RWalk
from .nodes import NodeGraph as NodeGraph
from .nodes import NodeLayer as NodeLayer
from .nodes import Slice as Slice
from .nodes import TraceError as TraceError
from .nodes import trace as trace
