"""Continual learning that freezes what matters, exactly.

Names are imported when they are first used, so that the command line can answer without loading torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import metrics as metrics
    from .guard import Capacity as Capacity
    from .guard import CapacityWarning as CapacityWarning
    from .guard import Diverged as Diverged
    from .guard import Guard as Guard
    from .guard import protect as protect
    from .methods import AGSCL as AGSCL
    from .methods import CPR as CPR
    from .methods import EWC as EWC
    from .methods import GPM as GPM
    from .methods import HAT as HAT
    from .methods import MAS as MAS
    from .methods import SI as SI
    from .methods import WSN as WSN
    from .methods import FineTuning as FineTuning
    from .methods import GatedAGSCL as GatedAGSCL
    from .methods import Joint as Joint
    from .methods import LwF as LwF
    from .methods import PackNet as PackNet
    from .methods import RWalk as RWalk
    from .methods import SingleTask as SingleTask
    from .nodes import NodeGraph as NodeGraph
    from .nodes import NodeLayer as NodeLayer
    from .nodes import Slice as Slice
    from .nodes import TraceError as TraceError
    from .nodes import trace as trace

    __version__: str

_ROOMS = {
    "guard": ("Capacity", "CapacityWarning", "Diverged", "Guard", "protect"),
    "methods": (
        *("AGSCL", "CPR", "EWC", "GPM", "HAT", "MAS", "SI", "WSN"),
        *("FineTuning", "GatedAGSCL", "Joint", "LwF", "PackNet", "RWalk", "SingleTask"),
    ),
    "nodes": ("NodeGraph", "NodeLayer", "Slice", "TraceError", "trace"),
}
_HOMES = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> object:
    """Import a public name, or the room of the metrics, on first use; find the version when it is wanted."""
    if name == "__version__":
        return import_module("importlib.metadata").version("agscl")
    if name == "metrics":
        return import_module(".metrics", __name__)
    if name not in _HOMES:
        raise AttributeError(f"module 'agscl' has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    """The public names."""
    return sorted([*_HOMES, "metrics"])
