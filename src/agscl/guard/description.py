"""What a guard's state belongs to: the method, the network's layers and heads, and how the network grew."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace

from agscl.methods.digest import digest_of
from agscl.methods.method import Method, Network

Growth = tuple[tuple[str, int], ...]
"""Calls of `Guard.expand` in their order: layer and number of new nodes."""

FOREIGN = "the state does not belong to this guard"


@dataclass(frozen=True)
class Description:
    """What a state belongs to.

    Attributes:
        method: Class of the method.
        values: Its hyper-parameters, as text.
        layers: Number of nodes by layer.
        heads: By name of a list of heads, the names of its members, one a task.
        growth: How the network grew.
        weights: `weights_digest` right after the last task was consolidated; empty if none was.
    """

    method: str
    values: Mapping[str, str]
    layers: Mapping[str, int]
    heads: Mapping[str, Sequence[str]]
    growth: Growth
    weights: str

    def to_json(self) -> str:
        """As JSON."""
        return json.dumps(vars(self), sort_keys=True)

    @classmethod
    def parse(cls, text: str | bytes) -> Description:
        """The description in JSON.

        Raises:
            ValueError: If it is none.
        """
        try:
            read = json.loads(text)
            growth = tuple((str(layer), int(nodes)) for layer, nodes in read["growth"])
            named = {name: {str(k): v for k, v in read[name].items()} for name in ("values", "layers", "heads")}
            return cls(str(read["method"]), growth=growth, weights=str(read["weights"]), **named)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ValueError("the state is damaged: it does not say what it belongs to") from error

    def require_method(self, here: Description, changed: Collection[str]) -> None:
        """Refuse a state of another method, or of other hyper-parameters unless they are named as changed.

        Raises:
            ValueError: If it is one.
        """
        if self.method != here.method:
            raise ValueError(f"{FOREIGN}: it is one of {self.method}, and this guard's method is {here.method}")
        if other := sorted(self.values.keys() ^ here.values.keys()):
            raise ValueError(
                f"{FOREIGN}: it is one of another version of agscl, in which {self.method} has other options "
                f"({', '.join(other)}); load it with that version"
            )
        if unknown := sorted(set(changed) - here.values.keys()):
            raise ValueError(f"{here.method} has no {unknown[0]!r} to change; it has {', '.join(here.values)}")
        other = [name for name, value in here.values.items() if self.values[name] != value and name not in changed]
        if other:
            told = ", ".join(f"{name}={self.values[name]} (here {here.values[name]})" for name in other)
            raise ValueError(
                f"{FOREIGN}: it was saved with {told}; give protect() the saved values, or load it with "
                f"changed={tuple(other)!r} to go on with the new ones"
            )

    def growth_since(self, here: Description) -> Growth:
        """What this network must grow by to become the saved one.

        Raises:
            ValueError: If it has grown in another way.
        """
        done = len(here.growth)
        if self.growth[:done] != here.growth:
            raise ValueError(
                f"{FOREIGN}: its network grew by {_calls(self.growth)}, this one by {_calls(here.growth)}; begin with "
                "a model that has not grown"
            )
        return self.growth[done:]

    def before_growth(self, steps: Growth) -> Description:
        """This description before its network grew by the last of its steps."""
        layers = dict(self.layers)
        for layer, nodes in steps:
            layers[layer] = layers.get(layer, 0) - nodes
        return replace(self, layers=layers, growth=self.growth[: len(self.growth) - len(steps)])

    def require_network(self, here: Description) -> None:
        """Refuse a state of another network.

        Raises:
            ValueError: If it is one; the message says how to get the right one, if it grew.
        """
        missing = self.growth_since(here)
        for name in [*self.layers, *here.layers]:
            saved, own = self.layers.get(name), here.layers.get(name)
            if saved is None or own is None:
                has = "this network" if saved is None else "the network that it was saved with"
                raise ValueError(f"{FOREIGN}: only {has} has a layer {name!r}")
            if saved != own:
                advice = f"call {_calls(missing)} first, or use guard.save() and guard.load()"
                why = advice if missing else "it was saved with another network"
                raise ValueError(f"{FOREIGN}: {name!r} has shape ({saved},), expected ({own},); {why}")


def describe(method: Method, network: Network, growth: Growth, weights: str) -> Description:
    """What the state of a guard belongs to."""
    known: object = method
    named = fields(known) if is_dataclass(known) else ()
    values = {each.name: _text(getattr(method, each.name)) for each in named}
    heads = {
        head.name: [name for name, _ in network.model.get_submodule(head.name).named_children()]
        for head in network.graph.heads
        if head.tasks
    }
    layers = {layer.name: layer.num_nodes for layer in network.graph.layers}
    return Description(type(method).__qualname__, values, layers, heads, growth, weights)


def weights_digest(network: Network, learned: Iterable[int], without: Collection[str] = ()) -> str:
    """A digest of the parameters that learned tasks compute with, and of their type: heads not learned are left out.

    Args:
        network: The network.
        learned: Numbers of the learned tasks.
        without: Names of parameters to leave out.
    """
    graph, parameters = network.graph, network.parameters
    others = {name for head in graph.heads if head.tasks for name in head.parameters} - graph.own_heads(learned)
    chosen = [parameters[name].detach() for name in sorted(parameters.keys() - others - set(without))]
    kinds = ",".join(sorted({str(tensor.dtype) for tensor in chosen}))
    return f"{kinds} {bytes(digest_of(chosen).tolist()).hex()}"


def require_same_weights(found: str, expected: str) -> None:
    """Refuse weights of another digest, unless they are of another type, where nothing can be said.

    Raises:
        ValueError: If they are others.
    """
    if found.partition(" ")[0] == expected.partition(" ")[0] and found != expected:
        raise ValueError(
            "the model's weights are not those that the guard's state was saved with: load the weights of the "
            "same moment as well, or use guard.save() and guard.load(), which keep them together"
        )


def _text(value: object) -> str:
    """A hyper-parameter as text; 10 and 10.0 are the same."""
    return repr(float(value)) if isinstance(value, int | float) and not isinstance(value, bool) else repr(value)


def _calls(growth: Growth) -> str:
    return ", ".join(f"guard.expand(layer={layer!r}, nodes={nodes})" for layer, nodes in growth) or "nothing"
