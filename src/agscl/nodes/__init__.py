"""Nodes: the neurons and channels of any model, found by tracing it."""

from .activity import Activity as Activity
from .call import Call as Call
from .call import TraceError as TraceError
from .compact import compact as compact
from .compact import removable as removable
from .expand import Expansion as Expansion
from .expand import expand as expand
from .graph import Head as Head
from .graph import NodeGraph as NodeGraph
from .graph import NodeLayer as NodeLayer
from .graph import Reading as Reading
from .graph import Site as Site
from .graph import Slice as Slice
from .reach import dead_nodes as dead_nodes
from .trace import trace as trace
