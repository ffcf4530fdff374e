"""The training loop of one task and of a sequence of tasks; the library's own, not the only one possible."""

from agscl.runs.checkpointer import Every as Every
from agscl.runs.interruption import Interruption as Interruption
from agscl.runs.interruption import Stopped as Stopped
from agscl.runs.machine import Compute as Compute
from agscl.runs.machine import Machine as Machine

from .events import EpochFinished as EpochFinished
from .events import Event as Event
from .events import RateLowered as RateLowered
from .events import Resumed as Resumed
from .events import TaskFinished as TaskFinished
from .events import TaskStarted as TaskStarted
from .history import History as History
from .history import SequenceProgress as SequenceProgress
from .learner import Learner as Learner
from .sequence import learn_sequence as learn_sequence
from .settings import Training as Training
from .tensorboard import tensorboard as tensorboard
