"""Writing in place: whoever reads the tensor later reads what was written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, fx
from torch.utils._pytree import tree_leaves

from .call import Call
from .labels import Label


class InPlaceWrites:
    """Follows operations of a traced model that change a tensor in place, by the tensors' version counters.

    All later operations on the tensor then take the result of the write, so that its label holds for them and a probe
    that computes them writes as well.
    """

    def __init__(self) -> None:
        self._values: dict[fx.Node, Tensor] = {}
        self._done: set[fx.Node] = set()

    def note(self, node: fx.Node, value: Any) -> None:
        """Remember an operation's result."""
        self._done.add(node)
        if isinstance(value, Tensor):
            self._values[node] = value

    def versions(self, args: Any, kwargs: Any) -> list[tuple[Tensor, int]]:
        """The tensors that an operation is about to take, with their versions."""
        return [(leaf, leaf._version) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]

    def follow(self, call: Call, before: list[tuple[Tensor, int]], labels: Mapping[fx.Node, Any]) -> None:
        """Let later operations take what this one has written.

        Raises:
            TraceError: If it writes into a part of a tensor that is used later, or into what was read before.
        """
        for written in [tensor for tensor, version in before if tensor._version != version]:
            for node, value in self._values.items():
                if node is call.node or not _share_memory(value, written):
                    continue
                later = [user for user in node.users if user is not call.node and user not in self._done]
                same = _same_place(value, written) and _same_place(call.value, written)
                if later and not same:
                    raise call.refusal("it writes in place into a part of a tensor; make a new one (torch.cat, where)")
                if node in call.ledger.readings:
                    raise call.refusal("it changes in place what was read before; leave out inplace=True")
                if later and not isinstance(labels.get(call.node), Label) and isinstance(labels.get(node), Label):
                    raise call.refusal("it overwrites nodes in place")
                for user in later:
                    user.replace_input_with(node, call.node)


def _share_memory(one: Tensor, other: Tensor) -> bool:
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr() and one.numel() > 0


def _same_place(one: Any, other: Tensor) -> bool:
    return (
        isinstance(one, Tensor)
        and one.data_ptr() == other.data_ptr()
        and (one.shape, one.stride()) == (other.shape, other.stride())
    )
