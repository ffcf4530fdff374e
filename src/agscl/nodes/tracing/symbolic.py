"""The first front end: symbolic tracing by torch.fx, where modules with a rule are one operation each."""

from __future__ import annotations

import inspect
from typing import Any

from torch import fx, nn

from .call import UnfollowedError, first_line
from .labeller import Rules, module_rule


def symbolic(model: nn.Module, inputs: tuple[Any, ...], rules: Rules, ignore: tuple[str, ...]) -> fx.Graph:
    """The graph of a model for arguments by position; the rest keep their defaults.

    Raises:
        UnfollowedError: If torch.fx cannot follow the forward.
    """
    rest = list(inspect.signature(model.forward).parameters.values())[len(inputs) :]
    defaults = {p.name: p.default for p in rest if p.default is not inspect.Parameter.empty}
    try:
        return _Tracer(rules, ignore).trace(model, concrete_args=defaults or None)
    except Exception as error:
        raise UnfollowedError(
            f"torch.fx cannot follow the forward of {type(model).__name__}: {first_line(error)}; leave the part with "
            "the control flow out (ignore=('its.module',)) or give its type a rule (rules={...})"
        ) from error


class _Tracer(fx.Tracer):
    """Keeps as one operation every module that has a rule, or is ignored, and all of torch's own."""

    def __init__(self, rules: Rules, ignore: tuple[str, ...]) -> None:
        super().__init__(param_shapes_constant=True)
        self._rules, self._ignore = rules, ignore

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether the module is one operation of the graph."""
        return (
            module_qualified_name in self._ignore
            or module_rule(m, self._rules) is not None
            or super().is_leaf_module(m, module_qualified_name)
        )
