"""Nodes: the neurons and channels of any model, found by tracing it."""

from .activity import Activity as Activity
from .call import Call as Call
from .call import TraceError as TraceError
from .graph import Head as Head
from .graph import NodeGraph as NodeGraph
from .graph import NodeLayer as NodeLayer
from .graph import Reading as Reading
from .graph import Site as Site
from .graph import Slice as Slice
from .trace import trace as trace
