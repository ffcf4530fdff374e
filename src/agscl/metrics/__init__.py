"""What was kept and what was learned: pure functions of accuracy matrices, importances and weights."""

from .accuracy import average_accuracy as average_accuracy
from .accuracy import backward_transfer as backward_transfer
from .accuracy import forgetting as forgetting
from .accuracy import forward_transfer as forward_transfer
from .accuracy import intransigence as intransigence
from .accuracy import learning_accuracy as learning_accuracy
from .accuracy import plasticity as plasticity
from .accuracy import stability as stability
from .capacity import sparsity as sparsity
from .capacity import used_capacity as used_capacity
from .interval import Interval as Interval
from .interval import mean_interval as mean_interval
