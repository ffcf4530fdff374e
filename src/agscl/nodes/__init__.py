"""Nodes: the neurons and channels of any model, found by tracing it."""

from .activity import Activity as Activity
from .graph import Head as Head
from .graph import NodeGraph as NodeGraph
from .graph import NodeLayer as NodeLayer
from .graph import Reading as Reading
from .graph import Slice as Slice
from .surgery.compact import compact as compact
from .surgery.compact import removable as removable
from .surgery.expand import Expansion as Expansion
from .surgery.expand import expand as expand
from .surgery.reach import inert_nodes as inert_nodes
from .tracing.call import Call as Call
from .tracing.call import TraceError as TraceError
from .tracing.trace import trace as trace

dead_nodes = inert_nodes
"""The earlier name of `inert_nodes`."""
