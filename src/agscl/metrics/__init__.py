"""Measures of what was learned and kept: pure functions of accuracy matrices, importances and weights."""

from .accuracy import average_accuracy as average_accuracy
from .accuracy import average_accuracy_so_far as average_accuracy_so_far
from .accuracy import backward_transfer as backward_transfer
from .accuracy import forgetting as forgetting
from .accuracy import forward_transfer as forward_transfer
from .accuracy import intransigence as intransigence
from .accuracy import learning_accuracy as learning_accuracy
from .accuracy import plasticity as plasticity
from .accuracy import stability as stability
from .aopc import aopc as aopc
from .aopc import prediction_curve as prediction_curve
from .aopc import pruning_order as pruning_order
from .capacity import LayerCapacity as LayerCapacity
from .capacity import full_since as full_since
from .capacity import node_states as node_states
from .capacity import sparsity as sparsity
from .capacity import sparsity_by_layer as sparsity_by_layer
from .capacity import used_capacity as used_capacity
from .capacity import used_capacity_by_layer as used_capacity_by_layer
from .capacity import zero_nodes as zero_nodes
from .inference import InferenceCost as InferenceCost
from .inference import inference_cost as inference_cost
from .interval import Difference as Difference
from .interval import Interval as Interval
from .interval import Range as Range
from .interval import interquartile_mean as interquartile_mean
from .interval import iqm_interval as iqm_interval
from .interval import mean_interval as mean_interval
from .interval import paired_difference as paired_difference
from .measures import MEASURES as MEASURES
from .measures import POLICY_MEASURES as POLICY_MEASURES
from .measures import Measure as Measure

dead_nodes = zero_nodes
"""The earlier name of `zero_nodes`."""
