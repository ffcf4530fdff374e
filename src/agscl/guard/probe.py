"""The probe: what every learned task answers to the example inputs, kept to be compared with what it answers later."""

from __future__ import annotations

import json
import math
import platform
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from agscl.methods.method import Learned, Network, num_bytes
from agscl.nodes.activity import deviation, random_states, set_random_states
from agscl.nodes.tracing.calls import Form, few_samples, form_of, tensors_in
from agscl.nodes.tracing.trace import arguments, eval_mode
from agscl.processes import from_first
from agscl.tensors import prefixed, under

from . import fingerprints
from .measuring import measuring
from .verification import TaskCheck, Verification

Show = Callable[[int], None]
"""Gets the model ready to answer for a task."""

_OF_HEAD = -1
"""Stands for outputs of a task's head modules, where no output of the model is that of one task alone."""

_JSON = (bool, int, float, str, type(None))


@dataclass
class Record:
    """What a task answered when it was learned.

    Attributes:
        outputs: Its answers to the example inputs, in order.
        chosen: Which of the model's outputs they are, int64.
        nodes: Fingerprints of what comes into nodes, by layer, int64.
        parameters: Fingerprints of the parameters of its head and of what all nodes share, in the order of the names.
        call: How the model was called: constants among the arguments, and attributes of the user's own modules.
        setting: The machine and torch's settings.
    """

    outputs: list[Tensor]
    chosen: Tensor
    nodes: dict[str, Tensor]
    parameters: Tensor
    call: dict[str, Any]
    setting: str

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name."""
        note = json.dumps({"call": self.call, "setting": self.setting}, sort_keys=True).encode()
        return {
            **prefixed(outputs={str(number): tensor for number, tensor in enumerate(self.outputs)}, nodes=self.nodes),
            "chosen": self.chosen,
            "parameters": self.parameters,
            "note": torch.frombuffer(bytearray(note), dtype=torch.uint8).clone(),
        }


class Probe:
    """Example inputs, of two samples at most, and what each learned task has answered to them.

    Everything is computed alike each time: in eval mode, without autocast or compiling, with the same draws.

    Args:
        network: The network.
        example_inputs: A batch for ``model(*example_inputs)``; a single tensor stands for itself.
    """

    def __init__(self, network: Network, example_inputs: Any) -> None:
        self._form, values = form_of(network.model, *arguments(example_inputs))
        self._values = [v.detach().clone() if isinstance(v, Tensor) else v for v in few_samples(values)]
        self._dtype = next(network.model.parameters()).dtype
        from_first(self._inputs())
        self.records: dict[int, Record] = {}

    def _inputs(self) -> dict[str, Tensor]:
        return {str(number): value for number, value in enumerate(self._values) if isinstance(value, Tensor)}

    def form_of_first_call(self, network: Network, learned: Learned) -> Form | None:
        """The form of a call that predicts a task, for a method that has made none; `None` if that needs no asking."""
        if not self._form.constants or isinstance(learned.batches, Iterator):
            return None
        states = random_states(network.model)
        try:
            with suppress(Exception), measuring(network) as forms:
                learned.predict(next(iter(learned.batches)))
                return forms[0]
            return None
        finally:
            set_random_states(network.model, states)

    def record(self, network: Network, task: int, frozen: Mapping[str, Tensor], form: Form | None) -> None:
        """Keep what the task just learned answers, if it answers to the example inputs at all.

        The model must be ready to answer for the task.

        Args:
            network: The network.
            task: Number of the task.
            frozen: By layer, which nodes are frozen from now on; all are looked at if empty.
            form: The form of the call that predicts the task, if it is known.
        """
        call = {"constants": self._constants(form), "attributes": dict(_attributes(network.model))}
        chosen = self._own_outputs(network, task, call)
        outputs = self._answers(network, task, call, chosen)
        if not outputs:  # the example inputs do not reach the task's head
            return
        from_first({str(number): tensor for number, tensor in enumerate(outputs)})
        nodes = fingerprints.of_nodes(network, frozen)
        parameters = fingerprints.of_parameters(network, _names(network, task))
        self.records[task] = Record(outputs, chosen, nodes, parameters, call, _setting(network))

    def check(self, network: Network, learned: list[int], show: Show, *, promised: bool) -> Verification:
        """Compare what the learned tasks answer with what they answered.

        Args:
            network: The network.
            learned: Numbers of the learned tasks, in order.
            show: Gets the model ready to answer for a task.
            promised: Whether the recorded nodes must not have moved.

        Raises:
            ValueError: If the model cannot compute the answers any more.
        """
        checks, anew, setting = [], [], _setting(network)
        nodes = fingerprints.of_nodes(network, {})
        for task in [task for task in learned if task in self.records]:
            record, names = self.records[task], _names(network, task)
            show(task)
            try:
                outputs = self._answers(network, task, record.call, record.chosen)
            except Exception as error:
                raise ValueError(f"task {task} cannot answer to the example inputs any more: {error}") from error
            moved = {name: tuple(numbers) for name, numbers in fingerprints.moved(record.nodes, nodes)}
            now = fingerprints.of_parameters(network, names).tolist()
            weights = tuple(n for n, old, new in zip(names, record.parameters.tolist(), now, strict=True) if old != new)
            wanted = [tensor.to(outputs[0].device) for tensor in record.outputs]
            rounding, identical = deviation(outputs, wanted), _same(outputs, wanted)
            if not identical and rounding is not None and setting != record.setting and not (promised and moved):
                identical, record.outputs, record.setting = True, outputs, setting
                anew.append(task)
            told = moved if promised or not identical else {}  # what no task relies on may move
            checks.append(TaskCheck(task, identical, _furthest(outputs, wanted), told, weights))
        unknown = tuple(task for task in learned if task not in self.records)
        return Verification(tuple(checks), unknown, tuple(anew))

    def expanded(self, network: Network) -> None:
        """The network has new nodes, and old ones read them: answers stay, fingerprints are taken anew."""
        now = fingerprints.of_nodes(network, {})
        attributes = dict(_attributes(network.model))
        for task, record in self.records.items():
            for name, old in record.nodes.items():
                new = now[name].clone()
                new[: len(old)][old.to(new.device) == fingerprints.UNKNOWN] = fingerprints.UNKNOWN
                new[len(old) :] = fingerprints.UNKNOWN
                record.nodes[name] = new
            record.parameters = fingerprints.of_parameters(network, _names(network, task))
            record.call["attributes"] |= {n: v for n, v in attributes.items() if n not in record.call["attributes"]}

    def tensors(self) -> dict[str, Tensor]:
        """Inputs and records, to be saved; empty as long as there is no record."""
        records = {f"task.{task}": record.tensors() for task, record in self.records.items()}
        return prefixed(inputs=self._inputs(), **records) if records else {}

    def num_bytes(self) -> int:
        """Size of all that is kept."""
        return num_bytes(self.tensors().values())

    def loaded(self, tensors: Mapping[str, Tensor], network: Network) -> tuple[list[Any], dict[int, Record]]:
        """The values and records of a saved state, for `take`; none if it was saved without or with other inputs.

        Raises:
            ValueError: If the state is damaged or belongs to another model.
        """
        inputs, own = under("inputs", tensors), self._inputs()
        if {n: (t.dtype, t.ndim) for n, t in inputs.items()} != {n: (t.dtype, t.ndim) for n, t in own.items()}:
            return self._values, {}
        values = list(self._values)
        for name, tensor in inputs.items():
            values[int(name)] = tensor.to(own[name].device, copy=True)
        try:
            tasks = sorted({int(name.split(".")[1]) for name in tensors if name.startswith("task.")})
            return values, {task: _record(under(f"task.{task}", tensors), network, task) for task in tasks}
        except (KeyError, IndexError, ValueError, TypeError, RuntimeError) as error:
            raise ValueError(f"the state does not belong to this guard: its probe is damaged ({error})") from error

    def take(self, values: list[Any], records: dict[int, Record]) -> None:
        """Go on with what `loaded` gave."""
        self._values, self.records = values, records

    def _constants(self, form: Form | None) -> list[Any]:
        """Constants of a call that is like the example's apart from them; the example's own if there is no such."""
        same = form is not None and (form.structure, form.names) == (self._form.structure, self._form.names)
        chosen = form if form is not None and same else self._form
        return [[place, value] for place, _, value in chosen.constants if isinstance(value, _JSON)]

    def _computed(self, network: Network, call: Mapping[str, Any]) -> Any:
        """The model's outputs for a call, computed in the one way."""
        fixed = dict(call["constants"])
        constants = tuple((place, kind, fixed.get(place, value)) for place, kind, value in self._form.constants)
        first = next(network.model.parameters())
        device, cast = first.device, {self._dtype: first.dtype}  # the model may have been moved or cast since
        values = [
            value.to(device, cast.get(value.dtype, value.dtype), copy=True) if isinstance(value, Tensor) else value
            for value in self._values
        ]
        args, kwargs = Form(self._form.structure, constants, self._form.names).arguments(values)
        states = random_states(network.model)
        try:
            with (
                eval_mode(network.model),
                _with_attributes(network.model, call["attributes"]),
                torch.autocast(device.type, enabled=False),
                torch.backends.cudnn.flags(benchmark=False, deterministic=True),
                torch.compiler.set_stance("force_eager"),
            ):
                torch.manual_seed(0)
                return network.model(*args, **kwargs)
        finally:
            set_random_states(network.model, states)

    def _answers(self, network: Network, task: int, call: Mapping[str, Any], chosen: Tensor) -> list[Tensor]:
        made: list[Tensor] = []
        handles = []
        if chosen.tolist() == [_OF_HEAD]:
            handles = [
                head.register_forward_hook(lambda module, args, output: made.extend(tensors_in(output)))
                for head in _head_modules(network, task)
            ]
        try:
            with torch.no_grad():
                outputs = tensors_in(self._computed(network, call))
        finally:
            for handle in handles:
                handle.remove()
        return [tensor.detach().clone() for tensor in (made if handles else [outputs[n] for n in chosen.tolist()])]

    def _own_outputs(self, network: Network, task: int, call: Mapping[str, Any]) -> Tensor:
        """Which outputs are the task's: those that no other task's head has a part in."""
        most = network.graph.num_tasks or 0
        owned = [(network.parameters[n], other) for other in range(most) for n in network.graph.own_heads([other])]
        trained = [parameter.requires_grad for parameter, _ in owned]
        try:
            for parameter, _ in owned:
                parameter.requires_grad_(True)  # the user may have frozen heads; autograd shows which outputs they make
            with torch.enable_grad():
                outputs = tensors_in(self._computed(network, call))
        finally:
            for (parameter, _), was in zip(owned, trained, strict=True):
                parameter.requires_grad_(was)
        owner = {id(parameter): other for parameter, other in owned}
        tasks = [{owner[p] for p in _reached(output) if p in owner} for output in outputs]
        chosen = [number for number, found in enumerate(tasks) if found <= {task}]
        own = [number for number in chosen if tasks[number]]
        return torch.tensor(own or ([_OF_HEAD] if len(chosen) < len(outputs) else chosen), dtype=torch.int64)


def _names(network: Network, task: int) -> list[str]:
    state = network.state
    return [
        name
        for name in sorted(network.graph.own_heads([task]) | {*network.graph.shared, *network.graph.ignored})
        if name in state
    ]


def _head_modules(network: Network, task: int) -> Iterator[nn.Module]:
    for head in [head for head in network.graph.heads if head.tasks]:
        yield list(network.model.get_submodule(head.name).children())[task]


def _reached(output: Tensor) -> set[int]:
    """Parameters that an output depends on, by identity."""
    found: set[int] = set()
    waiting, seen = [output.grad_fn], {output.grad_fn}
    while waiting:
        node = waiting.pop()
        for source, _ in node.next_functions if node is not None else ():
            if source is not None and source not in seen:
                seen.add(source)
                waiting.append(source)
                found.add(id(getattr(source, "variable", None)))
    return found


def _same(outputs: list[Tensor], wanted: list[Tensor]) -> bool:
    return len(outputs) == len(wanted) and all(map(torch.equal, outputs, wanted))


def _furthest(outputs: list[Tensor], wanted: list[Tensor]) -> float:
    """The largest difference; infinite where there is none to speak of."""
    if [tensor.shape for tensor in outputs] != [tensor.shape for tensor in wanted]:
        return math.inf
    apart = [float((a.double() - b.double()).abs().max()) for a, b in zip(outputs, wanted, strict=True) if a.numel()]
    largest = max(apart, default=0.0)
    return math.inf if any(map(math.isnan, apart)) else largest


def _record(tensors: Mapping[str, Tensor], network: Network, task: int) -> Record:
    note = json.loads(bytes(tensors["note"].cpu().tolist()))
    nodes, outputs = under("nodes", tensors), under("outputs", tensors)
    sizes = {layer.name: layer.num_nodes for layer in network.graph.layers}
    call = {"constants": [list(pair) for pair in note["call"]["constants"]], "attributes": note["call"]["attributes"]}
    record = Record(
        outputs=[outputs[str(number)].clone() for number in range(len(outputs))],
        chosen=tensors["chosen"].cpu().clone(),
        nodes={name: prints.clone() for name, prints in nodes.items()},
        parameters=tensors["parameters"].cpu().clone(),
        call=call,
        setting=str(note["setting"]),
    )
    if {name: len(prints) for name, prints in nodes.items()} != sizes:
        raise ValueError("it has other layers")
    if len(record.parameters) != len(_names(network, task)) or not record.outputs:
        raise ValueError("it has other heads")
    return record


def _attributes(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Numbers, strings and the like that the user's own modules hold, by path: they may choose what is computed."""
    for path, module in model.named_modules():
        if not type(module).__module__.startswith(("torch.nn.", "agscl.")):
            for name, value in vars(module).items():
                if not name.startswith("_") and name != "training" and isinstance(value, _JSON):
                    yield f"{path}:{name}", value


@contextmanager
def _with_attributes(model: nn.Module, attributes: Mapping[str, Any]) -> Iterator[None]:
    """The user's own modules hold these attributes within the context."""
    now = dict(_attributes(model))
    other = {place: value for place, value in attributes.items() if place in now and now[place] != value}

    def put(values: Mapping[str, Any]) -> None:
        for place, value in values.items():
            path, _, name = place.rpartition(":")
            vars(model.get_submodule(path))[name] = value

    put(other)
    try:
        yield
    finally:
        put({place: now[place] for place in now if place in attributes})


def _setting(network: Network) -> str:
    """What the last bits of a result depend on beside weights and inputs."""
    parameters = list(network.model.parameters())
    device = parameters[0].device
    layout = zlib.crc32(repr([(str(p.dtype), str(p.device), p.stride()) for p in parameters]).encode())
    return " ".join(
        map(
            str,
            (
                torch.__version__,
                platform.node(),
                platform.machine(),
                torch.backends.cpu.get_cpu_capability(),
                torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
                torch.get_num_threads(),
                torch.get_float32_matmul_precision(),
                torch.backends.mkldnn.enabled,
                torch.backends.cudnn.allow_tf32,
                layout,
            ),
        )
    )
