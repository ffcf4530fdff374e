"""The end of a task: what is done while it is measured leaves nothing behind if it fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from agscl.methods.method import Network
from agscl.nodes.activity import random_states, set_random_states
from agscl.nodes.tracing.calls import Form, form_of
from agscl.nodes.tracing.trace import eval_mode


@contextmanager
def measuring(network: Network) -> Iterator[list[Form]]:
    """Compute in eval mode, without gradients and without compiling; yields the forms of the calls of the model.

    After an error, buffers and random generators are as they were before.
    """
    forms: list[Form] = []

    def note(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        form, _ = form_of(model, args, kwargs)
        if form not in forms:
            forms.append(form)

    buffers = {name: buffer.clone() for name, buffer in network.buffers.items()}
    states = random_states(network.model)
    handle = network.model.register_forward_pre_hook(note, with_kwargs=True)
    try:
        with eval_mode(network.model), torch.no_grad(), torch.compiler.set_stance("force_eager"):
            yield forms
    except BaseException:
        for name, buffer in buffers.items():
            network.buffers[name].copy_(buffer)
        set_random_states(network.model, states)
        raise
    finally:
        handle.remove()
