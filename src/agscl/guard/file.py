"""One file for weeks apart: weights, the guard's state, what it belongs to, and how the model answers.

Safetensors with a JSON record in the header: nothing in it is run when it is read. What it holds is digested, so that a
changed byte is noticed, and the model that takes it over must answer as the saved one did.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from agscl.methods.method import Network
from agscl.nodes.tracing.trace import eval_mode
from agscl.runs.files import tensor_bytes, tensors_in, write_bytes
from agscl.tensors import prefixed, under

from .description import FOREIGN, Description

FORMAT = "1"
"""Of the file; others are refused."""

ROUNDING = 1e-2
"""Most that answers may differ from the saved ones, as a share of the largest, where another machine rounds."""

_HEADER_LENGTH = 8


@dataclass(frozen=True)
class Saved:
    """What a file holds.

    Attributes:
        path: The file.
        description: What the state belongs to.
        modules: By name, kind and settings of the model's modules, heads aside.
        model: The model's state dict.
        guard: The guard's, without the description.
        inputs: What the model was asked, tensor after tensor, by number.
        answers: What it answered for each learned task, by number; if that is not told apart from its answers for
            others, all of them by number and number of heads.
    """

    path: Path
    description: Description
    modules: Mapping[str, str]
    model: Mapping[str, Tensor]
    guard: Mapping[str, Tensor]
    inputs: Mapping[str, Tensor]
    answers: Mapping[str, Tensor]

    def write(self) -> None:
        """Write the file.

        Raises:
            ValueError: If the model's state holds something that is no tensor.
            OSError: If it cannot be written; nothing is left behind, and an earlier file of the name stays.
        """
        if odd := [name for name, value in self.model.items() if not isinstance(value, Tensor)]:
            raise ValueError(f"cannot save the model: {odd[0]!r} in its state dict is no tensor")
        groups = prefixed(model=self.model, guard=self.guard, input=self.inputs, answer=self.answers)
        tensors = {name: tensor.detach().cpu() for name, tensor in groups.items()}
        record = json.dumps({"description": self.description.to_json(), "modules": self.modules}, sort_keys=True)
        metadata = {"agscl-guard": FORMAT, "record": record, "digest": _digest(record, tensors)}
        write_bytes(self.path, tensor_bytes(tensors, metadata))

    @classmethod
    def read(cls, path: Path) -> Saved:
        """The content of a file.

        Raises:
            ValueError: If it is no such file, of another format, or damaged.
            OSError: If it cannot be read.
        """
        tensors, metadata = _content(path)
        if "agscl-guard" not in metadata:
            raise ValueError(f"{path} was not written by guard.save(): it holds tensors of something else")
        if metadata["agscl-guard"] != FORMAT:
            raise ValueError(f"{path} is of format {metadata['agscl-guard']}, this agscl reads format {FORMAT}")
        record = metadata.get("record", "")
        if metadata.get("digest") != _digest(record, tensors):
            raise ValueError(f"{path} is damaged: its content was changed after it was written")
        try:
            parts = json.loads(record)
            description, modules = Description.parse(parts["description"]), dict(parts["modules"])
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ValueError(f"{path} is damaged: its record cannot be read") from error
        groups = (under(group, tensors) for group in ("model", "guard", "input", "answer"))
        return cls(path, description, modules, *groups)

    def require_fits_memory(self) -> None:
        """Refuse a network that would grow by more nodes than the file has numbers: it is a forgery."""
        if sum(nodes for _, nodes in self.description.growth) > sum(tensor.numel() for tensor in self.model.values()):
            raise ValueError(f"{self.path} is damaged: its network grew beyond the weights that it holds")

    def load_weights(self, network: Network, here: Description, needed: Iterable[int]) -> None:
        """Take over the weights; heads that only one of the two models has, for tasks not begun, are left out.

        Args:
            network: The network.
            here: What the guard's own state belongs to.
            needed: Numbers of the tasks that are learned or begun.

        Raises:
            ValueError: If they do not fit; nothing is changed then.
        """
        own = network.model.state_dict()
        added, dropped = _other_heads(self.description, here, max(needed, default=-1) + 1)
        weights = {name: tensor for name, tensor in self.model.items() if not name.startswith(tuple(dropped))}
        expected = {name: tensor for name, tensor in own.items() if not name.startswith(tuple(added))}
        for name in sorted(weights.keys() ^ expected.keys()):
            raise ValueError(f"{FOREIGN}: only {'the file' if name in weights else 'this model'} has {name!r}")
        for name, tensor in expected.items():
            found = weights[name]
            if (found.shape, found.dtype) != (tensor.shape, tensor.dtype):
                kinds = [f"{str(t.dtype).removeprefix('torch.')} {tuple(t.shape)}" for t in (found, tensor)]
                raise ValueError(f"{FOREIGN}: {name!r} is {kinds[0]} in the file and {kinds[1]} in this model")
        network.model.load_state_dict({**own, **weights})

    def require_same_answers(self, answers: Mapping[str, Tensor], modules: Mapping[str, str]) -> None:
        """Refuse a model that computes something else with the saved weights.

        Args:
            answers: What it answers for each learned task.
            modules: Kind and settings of its modules.

        Raises:
            ValueError: If an answer differs by more than another machine rounds, or a module is another.
        """
        differing = [name for name in self.answers.keys() & answers if not _same(self.answers[name], answers[name])]
        if not differing:
            return
        for name in [*self.modules, *modules]:
            before, now = self.modules.get(name, "nothing"), modules.get(name, "nothing")
            if before != now:
                raise ValueError(f"{FOREIGN}: {name or 'the model'!r} was {before} when it was saved and is {now} here")
        for name in sorted(differing):
            expected, found = (each[name].double().nan_to_num() for each in (self.answers, answers))
            away = float((expected - found).abs().max()) if expected.shape == found.shape else float("inf")
            if away > ROUNDING * float(expected.abs().max()):
                raise ValueError(
                    f"{FOREIGN}: with the saved weights this model's outputs for task {name.split('.')[0]} differ by "
                    f"{away:.2g} from those of the saved one; build it with the same forward"
                )


def write_state(path: Path, state: Mapping[str, Tensor]) -> None:
    """Write a guard's state alone into a file, beside weights that a trainer keeps itself.

    Args:
        path: The file, safetensors; it is there in full or not at all.
        state: What `Guard.state_dict` gave.

    Raises:
        OSError: If it cannot be written.
    """
    tensors = {name: tensor.detach().cpu() for name, tensor in state.items()}
    write_bytes(path, tensor_bytes(tensors, {"agscl-state": FORMAT, "digest": _digest("", tensors)}))


def read_state(path: Path) -> dict[str, Tensor]:
    """The state that `write_state` wrote.

    Raises:
        ValueError: If the file is something else, or damaged.
        OSError: If it cannot be read.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write_state(Path(folder) / "a", {"task": torch.tensor(1)})
    ...     read_state(Path(folder) / "a")
    {'task': tensor(1)}
    """
    tensors, metadata = _content(path)
    if metadata.get("agscl-state") != FORMAT:
        raise ValueError(f"{path} holds no guard's state of format {FORMAT}")
    if metadata.get("digest") != _digest("", tensors):
        raise ValueError(f"{path} is damaged: its content was changed after it was written")
    return tensors


def _content(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors in a file, and what its header says about them."""
    content = path.read_bytes()
    tensors, length = tensors_in(content, path), int.from_bytes(content[:_HEADER_LENGTH], "little")
    header: dict[str, dict[str, str]] = json.loads(content[_HEADER_LENGTH : _HEADER_LENGTH + length])
    return tensors, header.get("__metadata__", {})


def modules_of(network: Network) -> dict[str, str]:
    """Kind and settings of a model's modules by name, heads and parts with nothing of their own aside."""
    heads = tuple(f"{head.name}." for head in network.graph.heads)
    named = [(name, module) for name, module in network.model.named_modules() if not f"{name}.".startswith(heads)]
    return {name: f"{type(module).__name__}({module.extra_repr()})" for name, module in named}


def questions(example_inputs: Any) -> dict[str, Tensor]:
    """Random numbers of the shapes of example inputs, by number: no data. Indices and truth values are all zero."""
    generator, leaves = torch.Generator().manual_seed(0), tree_leaves(_plain(example_inputs))
    return {
        str(number): torch.randn(leaf.shape, generator=generator).to(leaf.dtype)
        if leaf.is_floating_point()
        else torch.zeros(leaf.shape, dtype=leaf.dtype)
        for number, leaf in enumerate(leaves)
        if isinstance(leaf, Tensor)
    }


@torch.no_grad()
def answer(model: nn.Module, example_inputs: Any, inputs: Mapping[str, Tensor], device: torch.device) -> list[Tensor]:
    """All outputs of a model in eval mode, flat, for inputs with these tensors in the places of the example's."""
    leaves, tree = tree_flatten(_plain(example_inputs))
    asked = [inputs[str(n)].to(device) if isinstance(leaf, Tensor) else leaf for n, leaf in enumerate(leaves)]
    given = tree_unflatten(asked, tree)
    with eval_mode(model), torch.compiler.set_stance("force_eager"):
        outputs = model(**given) if isinstance(given, dict) else model(*given)
    return [leaf.flatten().cpu() for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]


def _plain(example_inputs: Any) -> Any:
    if isinstance(example_inputs, Mapping):
        return dict(example_inputs)
    return (example_inputs,) if isinstance(example_inputs, Tensor) else tuple(example_inputs)


def _other_heads(saved: Description, here: Description, needed: int) -> tuple[list[str], list[str]]:
    """What begins the names of heads that only this model has, and of those that only the file has."""
    added: list[str] = []
    dropped: list[str] = []
    if saved.heads.keys() != here.heads.keys():
        listed = [", ".join(map(repr, each.heads)) or "none" for each in (saved, here)]
        raise ValueError(f"{FOREIGN}: its lists of heads are {listed[0]}, and this model's {listed[1]}")
    for name, members in saved.heads.items():
        own = here.heads[name]
        both = min(len(members), len(own))
        if list(members[:both]) != list(own[:both]):
            raise ValueError(f"{FOREIGN}: its heads are {', '.join(members)} in this order, here {', '.join(own)}")
        if needed > len(own):
            raise ValueError(
                f"{FOREIGN}: task {needed - 1} is learned there, and {name!r} has heads for {len(own)} tasks here; "
                f"build the model with {needed} heads or more"
            )
        added += [f"{name}.{member}." for member in own[both:]]
        dropped += [f"{name}.{member}." for member in members[both:]]
    return added, dropped


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one.nan_to_num(), other.nan_to_num())


def _digest(record: str, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of a record and of all tensors with their names, types and shapes."""
    digest = hashlib.sha256(record.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
