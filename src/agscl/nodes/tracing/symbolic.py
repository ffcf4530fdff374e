"""The first front end: symbolic tracing by torch.fx, where modules with a rule are one operation each."""

from __future__ import annotations

from typing import Any

from torch import fx, nn

from .call import UnfollowedError, first_line
from .calls import Origin
from .labeller import module_rule


def symbolic(model: nn.Module, origin: Origin) -> fx.Graph:
    """The graph of a call of a model; its placeholders are the call's tensors.

    Raises:
        UnfollowedError: If torch.fx cannot follow the forward.
    """
    try:
        return _Tracer(origin).trace(model)
    except Exception as error:
        raise UnfollowedError(
            f"torch.fx cannot follow the forward of {type(model).__name__}: {first_line(error)}; leave the part with "
            "the control flow out (ignore=('its.module',)) or give its type a rule (rules={...})"
        ) from error


class _Tracer(fx.Tracer):
    """Keeps as one operation every module that has a rule, or is ignored, and all of torch's own."""

    def __init__(self, origin: Origin) -> None:
        super().__init__(param_shapes_constant=True)
        self._origin = origin

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether the module is one operation of the graph."""
        return (
            module_qualified_name in self._origin.ignore
            or module_rule(m, self._origin.rules) is not None
            or super().is_leaf_module(m, module_qualified_name)
        )

    def create_args_for_root(self, root_fn: Any, is_module: bool, concrete_args: Any = None) -> tuple[Any, list[Any]]:
        """Placeholders for the tensors of the call; its constants are what they are."""
        form = self._origin.form

        def forward(root: nn.Module, *values: Any) -> Any:
            args, kwargs = form.arguments(values)
            return root_fn(root, *args, **kwargs)

        return forward, [self.root, *(self.create_proxy("placeholder", name, (), {}) for name in form.names)]
