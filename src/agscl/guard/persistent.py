"""What a guard keeps, as tensors and as one file, and how it takes it over again."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from agscl.methods.method import Expandable, Method, Network, Protection, RunningTask
from agscl.tensors import prefixed, text_tensor, under

from .active import ActiveNodes
from .capacity import Capacity, capacity_of
from .description import Description, Growth, describe, require_same_weights, weights_digest
from .export import ExportedTask, Forward, answering, compacted, export_task
from .file import Saved, answer, modules_of, questions
from .probe import Probe
from .programs import require_new
from .steps import Progress


class Persistent(ABC):
    """A guard's state: as tensors for a loop's own checkpoints, and with the model's weights as one file."""

    _method: Method
    _network: Network
    _protection: Protection
    _progress: Progress
    _active: ActiveNodes
    _probe: Probe
    _shown: int
    _running: RunningTask | None
    _example_inputs: Any
    _added: Collection[str]
    _growth: Growth
    """How the network grew."""
    _weights: str
    """Digest of the weights right after the last task was consolidated."""
    _unchecked: bool
    """Whether a state was loaded, and it is not known yet whether the model's weights are those that belong to it."""
    _middle: str
    """Digest of the weights that belong to a state loaded in the middle of a task, until it is known; or nothing."""
    _averaged: bool
    """Whether the model computes with averages of its weights at the moment."""

    @abstractmethod
    def expand(self, *, layer: str, nodes: int) -> None:
        """Add free nodes to a layer."""

    @abstractmethod
    def _show_again(self) -> None:
        """Get the model ready for the task that it answered for before."""

    @abstractmethod
    def _check_model(self) -> None:
        """Refuse a model that was changed in a way that no guard can follow."""

    @property
    def learned(self) -> tuple[int, ...]:
        """Numbers of the tasks learned, in their order."""
        return tuple(self._progress.learned)

    @property
    def by_task(self) -> bool:
        """Whether the method answers a learned task with weights or nodes of its own, so only after `use_task`."""
        return self._protection.by_task

    @property
    def attached(self) -> bool:
        """Whether a task is being learned in an `attach` block."""
        return self._running is not None

    @property
    def unconsolidated(self) -> bool:
        """Whether the current task was trained in an `attach` block that is over, and was not consolidated since."""
        return self._progress.steps > 0 and not self._progress.resumed and not self.attached

    def capacity(self) -> Capacity | None:
        """How full each layer is; `None` for methods that have no notion of it, whose weights all go on learning."""
        usage = self._protection.usage()
        return None if usage is None else capacity_of(self._network, usage)

    @property
    def uses(self) -> dict[int, dict[str, Tensor]]:
        """By learned task and layer, which nodes it uses: bool, ``(num_nodes,)``; empty for methods without gates."""
        usage = self._protection.usage()
        if usage is None or usage.unit != "nodes":
            return {}
        return {task: dict(uses) for task, uses in usage.uses.items()}

    def __repr__(self) -> str:
        learned, task = len(self._progress.learned), self._progress.task
        return f"<Guard of {self._method}: {learned} tasks learned, task {task} is next>"

    def __str__(self) -> str:
        learned, capacity = self._progress.learned, self.capacity()
        tasks = f"learned: {', '.join(map(str, learned)) or 'no task yet'}; next: task {self._progress.task}"
        nodes = capacity or f"{self._network.graph.num_nodes:,} nodes; the method has no notion of capacity"
        return f"{self._method}\n{tasks}\n{nodes}\nmemory: {self._protection.memory().total:,} bytes beside the weights"

    def state_dict(self) -> dict[str, Tensor]:
        """All that the guard knows, as tensors by name; the model's weights are not in it.

        Raises:
            ValueError: If the model computes with averages, which are not the weights that belong to the state.
        """
        self._require_own_weights("save the guard")
        return {name: tensor.clone() for name, tensor in self._state().items()}

    def _state(self) -> dict[str, Tensor]:
        progress = self._progress
        own = {"task": torch.tensor(progress.task), "steps": torch.tensor(progress.steps)}
        own["learned"] = torch.tensor(progress.learned, dtype=torch.int64)
        own["about"] = text_tensor(self._description().to_json())
        own |= {"running": torch.tensor(True)} if self._running else {}
        own |= {"weights": text_tensor(self._weights_now())} if progress.steps else {}
        parts = prefixed(method=self._protection.tensors(), live=self._active.tensors(), probe=self._probe.tensors())
        return {**own, **parts}

    def load_state_dict(self, state: Mapping[str, Tensor], *, changed: Collection[str] = ()) -> None:
        """Take over a saved state; load the model's weights that belong to it as well.

        A state saved inside `attach` goes on in the middle of the epoch at the next `attach`.

        Args:
            state: What `state_dict` gave.
            changed: Names of hyper-parameters that may be other ones than those it was saved with.

        Raises:
            ValueError: If the state belongs to another model or method; nothing is changed then. If the model's weights
                are not those that it belongs to, the next `attach`, `consolidate` or `expand` raises it; in the middle
                of a task, the next `attach`.
        """
        self._require_own_weights("load a state")
        if self._running:
            raise ValueError("cannot load a state while the guard is attached")
        progress, here = Progress.of(state, self._network.graph.num_tasks), self._description()
        about = Description.parse(bytes(state["about"].tolist())) if "about" in state else here
        about.require_method(here, changed)
        about.require_network(here)
        values, records = self._probe.loaded(under("probe", state), self._network)
        self._protection.load(under("method", state))
        self._probe.take(values, records)
        self._shown = -1
        self._progress, self._weights = progress, about.weights
        self._unchecked = bool(progress.learned) and not progress.resumed and "running" not in state
        self._unchecked &= "about" in state  # older states do not say which weights they belong to
        self._middle = bytes(state["weights"].tolist()).decode() if "weights" in state else ""
        self._active.load(under("live", state))

    def save(self, path: str | Path) -> None:
        """Write model and guard into one file, for `load` in another process, weeks later.

        It holds weights, the guard's state (with two example inputs, see `probe_bytes`), method, heads, expansions, and
        the model's outputs on random inputs.

        Args:
            path: The file, safetensors; it is there in full or not at all.

        Raises:
            ValueError: If the model was changed so that earlier tasks are not what they were.
            OSError: If it cannot be written.
        """
        self._require_own_weights("save the guard")
        self._require_intact()
        state, inputs = self._state(), questions(self._example_inputs)
        for name in {"about", "weights"} & state.keys():
            del state[name]  # the file has both
        modules, model = modules_of(self._network), self._network.model.state_dict()
        Saved(Path(path), self._description(), modules, model, state, inputs, self._answers(inputs)).write()

    def load(self, path: str | Path, *, changed: Collection[str] = ()) -> None:
        """Take over what `save` wrote, in a model that was built and protected in the same way.

        Expansions are made again. The model may have more heads, for tasks to come, or fewer, as long as all learned
        tasks have theirs; heads that the file does not have stay as they are. Make the optimizer afterwards: a model
        that grew has new parameters.

        Args:
            path: The file.
            changed: Names of hyper-parameters that may be other ones than those it was saved with.

        Raises:
            ValueError: If it is damaged, or of another method, network or forward; nothing is changed then.
            OSError: If it cannot be read.
        """
        self._require_own_weights("load a state")
        if self._running:
            raise ValueError("cannot load a state while the guard is attached")
        saved = Saved.read(Path(path))
        devices = {tensor.device for tensor in self._network.state.values() if tensor.is_cuda}
        with torch.random.fork_rng(devices):
            for guard in (copy.deepcopy(self), self):  # tried out first
                guard._take(saved, changed)

    def export(self, task: int, path: str | Path, *, forward: Forward | None = None) -> ExportedTask:
        """Write the compact network of one task into a folder: plain tensors, a `torch.export` program and ONNX.

        Nodes on which the task's outputs do not depend are gone, and other tasks' heads. Every file is compared with
        the full model, which stays as it is. Files take any number of samples; all other sizes are those of the
        example inputs.

        Args:
            task: Number of a learned task.
            path: A new or empty folder.
            forward: The task's outputs by model and inputs, where the model does not give a list, one entry a head.

        Raises:
            ValueError: If packages are missing (``pip install 'agscl[export]'``), the folder is not empty, the task is
                not learned, hooks change what the model computes, or a file computes something else.
            OSError: If the folder cannot be written.
        """
        require_new(Path(path))
        model = self.extract(task, compact=False)
        return export_task(model, self._network.graph, task, Path(path), self._example_inputs, forward)

    def extract(self, task: int, *, compact: bool = True) -> nn.Module:
        """The network of one task as a module of its own, of which no guard and no method is a part.

        What the method keeps for the task (gains, masks, biases, statistics) is in its weights and buffers. It has the
        heads of other tasks, too, whose outputs mean nothing.

        Args:
            task: Number of a learned task.
            compact: Leave out the nodes on which the task's outputs do not depend; else they are zeros, and outputs
                are the guarded model's bit for bit.

        Raises:
            ValueError: If the task is not learned, or hooks change what the model computes.
        """
        if self._running:
            raise ValueError("get a task's network after the attach() block, not inside it")
        if task not in self._progress.learned:
            raise ValueError(f"task {task} is not learned; learned are {self._progress.learned}")
        self._require_intact()
        try:
            self._protection.use_task(task)
            model = answering(self._network, self._added, self._example_inputs)
        finally:
            self._show_again()
        return compacted(model, self._network.graph, [task], self._example_inputs)[0] if compact else model

    def _take(self, saved: Saved, changed: Collection[str]) -> None:
        here = self._description()
        saved.description.require_method(here, changed)
        growth = saved.description.growth_since(here)
        saved.description.before_growth(growth).require_network(here)
        saved.require_fits_memory()
        for layer, nodes in growth:
            self.expand(layer=layer, nodes=nodes)
        here = self._description()
        progress = Progress.of(saved.guard, None)
        saved.load_weights(self._network, here, progress.begun)
        self.load_state_dict(saved.guard, changed=changed)
        self._weights = saved.description.weights
        saved.require_same_answers(self._answers(saved.inputs), modules_of(self._network))

    def _answers(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the model answers for each learned task."""
        answers, device = {}, next(iter(self._network.parameters.values())).device
        for task in self._progress.learned:
            self._protection.use_task(task)
            outputs = answer(self._network.model, self._example_inputs, inputs, device)
            most = self._network.graph.num_tasks
            if len(outputs) == most:
                answers[str(task)] = outputs[task]
            else:
                answers[f"{task}.{most}"] = torch.cat(outputs)
        self._show_again()
        return answers

    def _description(self) -> Description:
        return describe(self._method, self._network, self._growth, self._weights)

    def _require_intact(self) -> None:
        self._check_model()
        if isinstance(self._protection, Expandable):
            self._protection.require_intact(tuple(self._progress.learned))

    def _check_loaded(self) -> None:
        """Refuse weights that do not belong to the state that was loaded, if they can be told apart."""
        if self._unchecked and self._weights:
            found = weights_digest(self._network, self._progress.learned, self._added)
            require_same_weights(found, self._weights)
            self._unchecked = False

    def _check_resumed(self) -> None:
        """Refuse to go on in the middle of a task with the weights of another moment, if they can be told apart."""
        if self._middle and self._progress.resumed:
            require_same_weights(self._weights_now(), self._middle)
        self._middle = ""

    def _require_own_weights(self, what: str) -> None:
        """Refuse to do something while the model computes with averages of its weights."""
        if self._averaged:
            raise ValueError(f"{what} after the averaged() block, not inside it")

    def _weights_now(self) -> str:
        return weights_digest(self._network, self._progress.begun, self._added)
