"""The guard: hooks a method into any optimizer, and so protects any training loop."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial, reduce
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from agscl.methods.method import Expandable, Forward, Learned, Method, Network, Predict, RunningTask
from agscl.nodes import NodeGraph, expand, trace
from agscl.nodes.ownership import require_held_statistics
from agscl.nodes.selftest import require_lawful
from agscl.nodes.surgery.expand import Retrace, require_expandable
from agscl.nodes.surgery.replaced import has_replaced_tensors, unreplaced
from agscl.nodes.tracing.trace import Rules
from agscl.processes import Fact, are_many, count, from_first, require_same, together
from agscl.tensors import prefixed

from .active import ActiveNodes
from .capacity import warn_if_full
from .casts import Makes
from .description import Growth, weights_digest
from .measuring import measuring
from .optimizers import require_held, unwrap
from .persistent import Persistent
from .probe import Probe
from .steps import Progress, guarded_steps
from .verification import Verification
from .wrappers import bare, bare_names, computing_bare, require_whole

GROWING = "AGS-CL, gated AGS-CL, HAT, PackNet, WSN and fine-tuning"
"""Methods that can take new nodes."""

LOAD_ALIKE = "give every process the same model, weights, guard state and settings"
"""Advice where processes differ before a task."""

TRAIN_ALIKE = "train with DistributedDataParallel and the same optimizer and number of steps in every process"
"""Advice where processes differ after a task was trained."""

REDUCE = "the method must add up what it measures and take its draws from the first process, see agscl.processes"
"""Advice where processes differ after a method has worked on equal ones."""


def protect(  # noqa: PLR0913 - each is a matter of its own, and all but two have a default
    model: nn.Module,
    method: Method,
    *,
    example_inputs: Any,
    heads: str | Iterable[str] | None = None,
    rules: Rules | None = None,
    ignore: Iterable[str] = (),
    check: bool = True,
) -> Guard:
    """Protect a model from forgetting.

    Args:
        model: Any module that `agscl.nodes.tracing.trace` can follow; compiled, data-parallel and distributed
            data-parallel ones are taken as what they wrap. In many processes (`torch.distributed`) all take the first
            one's weights and buffers, and each must call `protect`, `Guard.attach` and `Guard.consolidate`.
        method: Such as ``agscl.AGSCL(mu=10, lam=400)``.
        example_inputs: A batch for ``model(*example_inputs)``; two samples do.
        heads: Names of the modules that make the outputs; a list or dict holds one head per task, in order.
        rules: Tracing rules of your own, by module type or function.
        ignore: Names of modules to leave out. What is in them, and what flows into them, learns with the first task
            and is then frozen as a whole (AGS-CL, HAT) or treated as all other weights (EWC and its like).
        check: Try on the model, with random weights for a moment, whether the node graph is true of it: see
            `agscl.nodes.selftest`. It takes a few forward passes of two samples.

    Raises:
        TraceError: If the model has an operation without a rule, or the self-test finds the node graph wrong.
        ValueError: If the inputs, heads or hyper-parameters do not fit the model, or its parameters are spread over
            processes.

    >>> from agscl.methods import AGSCL
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> guard = protect(model, AGSCL(mu=1.0, lam=10.0), example_inputs=torch.zeros(2, 2))
    >>> [(layer.name, layer.num_nodes) for layer in guard.graph.layers]
    [('0', 3)]
    """
    with together("protect"):
        names = bare_names(model, [heads] if isinstance(heads, str) else heads or ())
        ignored, model = bare_names(model, ignore), bare(model)
        retrace = partial(trace, example_inputs=example_inputs, heads=names or None, rules=rules, ignore=ignored)
        require_whole(model)
        if has_replaced_tensors(model):
            raise ValueError("the model is protected already; protect a fresh model")
        network = _network(model, retrace(model))
        if check:
            require_held_statistics(model, network.graph, example_inputs)
            require_lawful(model, network.graph, example_inputs)
        require_same("protect", {"the method": repr(method), "the graph": str(network.graph)}, LOAD_ALIKE)
        from_first(network.state)
        return Guard(network, method, retrace, example_inputs)


class Guard(Persistent):
    """Keeps one network from forgetting while it learns task after task.

    Use `protect` to make one. For each task: train inside `attach`, then call `consolidate`.

    >>> from agscl.methods import AGSCL
    >>> model, x = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)), torch.randn(4, 2)
    >>> guard = protect(model, AGSCL(mu=0.0, lam=float("inf"), rho=0.0), example_inputs=x)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> with guard.attach(optimizer, steps_per_epoch=1):
    ...     model(x).square().mean().backward()
    ...     optimizer.step()
    >>> guard.consolidate([x], predict=model)
    >>> guard.task, guard.importance["0"].shape
    (1, torch.Size([3]))
    """

    def __init__(self, network: Network, method: Method, retrace: Retrace, example_inputs: Any) -> None:
        self._retrace, self._method, self._example_inputs = retrace, method, example_inputs
        self._protection = method.protect(network)
        self._network = _network(network.model, network.graph)  # a method may have added gates to the model
        self._added = self._network.parameters.keys() - network.parameters.keys()
        self._progress = Progress()
        self._running: RunningTask | None = None
        self._active = ActiveNodes()
        self._trained_by = 1
        self._makes = Makes(self._network)
        self._probe, self._shown = Probe(self._network, example_inputs), -1
        self._growth: Growth = ()
        self._weights, self._unchecked, self._middle = "", False, ""
        self._averaged = False

    @property
    def settled(self) -> bool:
        """Whether a loop may keep the weights as a task's best, or lower the learning rate on a plateau.

        False while the method still cuts what the task in progress computes with, such as `agscl.GatedAGSCL`.
        """
        return not self._protection.unsettled

    @property
    def rounds(self) -> bool:
        """Whether `consolidate` may be given outputs that were computed in bfloat16: importance by EWC and MAS."""
        return self._protection.rounds

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Compute with averages of the weights over the last steps, where the method keeps some: `agscl.GatedAGSCL`.

        They answer better than the weights that the last step has left. Validate within the context, and copy the best
        weights there; training goes on after it, from where it was. With all other methods nothing changes.

        Raises:
            ValueError: If the model was changed.

        >>> from agscl.methods import FineTuning
        >>> model = nn.Linear(2, 1)
        >>> guard = protect(model, FineTuning(), example_inputs=torch.zeros(2, 2))
        >>> with guard.averaged():
        ...     best = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        """
        self._check_model()
        average = self._protection.average
        with average.showing() if average else nullcontext():
            before, self._averaged = self._averaged, True
            try:
                yield
            finally:
                self._averaged = before

    @property
    def graph(self) -> NodeGraph:
        """The model's nodes."""
        return self._network.graph

    @property
    def task(self) -> int:
        """Number of the current task, from 0."""
        return self._progress.task

    @property
    def importance(self) -> dict[str, Tensor]:
        """Importance of every node by layer, each of shape ``(num_nodes,)``; empty for weight-wise methods."""
        return self._protection.importance()

    def memory_bytes(self, *, regularization_only: bool = False) -> int:
        """Bytes that the method keeps between tasks.

        Args:
            regularization_only: Count the regularization parameters alone, as figure 6(a) of the paper does.

        What the guard keeps to check itself comes on top: see `probe_bytes`.
        """
        memory = self._protection.memory()
        return memory.regularization if regularization_only else memory.total

    @property
    def probe_bytes(self) -> int:
        """Bytes that the guard keeps for `verify`: two example inputs, each task's answers, a fingerprint a node."""
        return self._probe.num_bytes()

    def verify(self) -> Verification:
        """Compare what every learned task answers to the example inputs with what it answered once it was learned.

        Where the method promises the same bits, `attach` and `consolidate` do so as well, and stop if they are not.

        Raises:
            ValueError: If a task is being learned, or the model cannot compute the answers any more.
        """
        if self._running:
            raise ValueError("verify after the attach() block, not inside it")
        self._check_model()
        promised = bool(self._protection.frozen_nodes())
        learned = self._progress.learned
        try:
            return self._probe.check(self._network, learned, self._protection.use_task, promised=promised)
        finally:
            self._show_again()

    def _show_again(self) -> None:
        """Get the model ready for the task that it answered for before: one shown by `use_task`, or the next one."""
        learned = self._progress.learned
        unlearned = next(task for task in range(len(learned) + 1) if task not in learned)
        self._protection.use_task(unlearned if self._shown < 0 else self._shown)

    def _require_still(self) -> None:
        """Refuse to go on if a task that must keep its answers does not, or if frozen nodes have moved."""
        if not (self._protection.exact and self._probe.records):
            return
        self.verify().require_still(frozen=bool(self._protection.frozen_nodes()))

    def use_task(self, task: int) -> None:
        """Make a task the current one; after `consolidate` the next unlearned one is current by itself.

        Raises:
            ValueError: If there is no such task, or a task is being learned.
        """
        if self._running:
            raise ValueError("cannot change the task while the guard is attached")
        most = self.graph.num_tasks
        if task < 0 or (most is not None and task >= most):
            raise ValueError(f"there is no task {task}: the model has heads for {most} tasks, numbered from 0")
        self._protection.use_task(task)
        self._progress.task = self._shown = task

    @contextmanager
    def attach(
        self, optimizer: Optimizer | Iterable[Optimizer], *, steps_per_epoch: int, live: bool = False
    ) -> Iterator[None]:
        """Guard all steps of an optimizer, or of several, while the current task is learned.

        Whatever is frozen is as before when the context ends, whoever wrote to it meanwhile.

        In many processes all attach together, or none does: with the same bits in weights and guard state, the first
        one's buffers, the same settings, and at the first step the same gradients.

        Args:
            optimizer: Any torch optimizer that holds the model's parameters, or a list of them (Muon and AdamW, actor
                and critic). Wrapped ones (SAM, Lookahead, those of accelerate and Lightning) are unwrapped.
            steps_per_epoch: Optimizer steps (not batches, if gradients are accumulated) in an epoch. With several
                optimizers a step of each of them is one; one that steps more often than the others is counted.
            live: Let the model compute with its active nodes only: inactive nodes cost no arithmetic and frozen ones
                no backward pass. Results are those of the whole model up to the order of summation; dropout draws
                other masks.

        Raises:
            ValueError: If something does not fit; nothing is changed then.
        """
        progress = self._progress
        first = progress.steps if progress.resumed else 0
        with ExitStack() as held:
            with together("attach"):
                found, learned = unwrap(optimizer), tuple(progress.learned)
                self._check_attachable(found.optimizers, steps_per_epoch)
                wrapped = bool(found.wrappers)
                task = RunningTask(found.optimizers, progress.task, learned, steps_per_epoch, first, wrapped)
                settings: dict[str, Fact] = {"steps_per_epoch": steps_per_epoch, "live": live}
                settings["the optimizer"] = "; ".join(map(repr, found.optimizers))
                from_first(self._network.buffers)
                self._require_agreement("attach", LOAD_ALIKE, **settings)
                self._require_still()
                hooks = held.enter_context(self._protection.holding(task))
                steps = guarded_steps(self._network, task, hooks, progress, self._added, found.wrappers)
                held.enter_context(steps)
                active = self._active.computing(self._network, task, self._protection, progress, live=live)
                held.enter_context(active)
            self._running, progress.steps, progress.resumed, self._shown = task, first, False, -1
            self._trained_by = count()
            try:
                yield
            finally:
                self._running = None

    def consolidate(self, batches: Iterable[Any], predict: Predict) -> None:
        """End the current task: measure what it needs, free the rest, and move on to the next task.

        The model is in eval mode meanwhile; afterwards its mode is as before. In many processes each gives its own
        shard of the data, of any size, and all end with the same bits: buffers (statistics of norm layers) are first
        taken from the first process, as `DistributedDataParallel` does before each forward.

        Args:
            batches: The task's training data.
            predict: Maps a batch to the model's outputs for this task.

        Raises:
            ValueError: If nothing was learned, there is no data, or the model was changed; nothing is changed then.

        Warns:
            CapacityWarning: If a layer has no free node left, or gave zero for all of the data.
        """
        progress = self._progress
        with together("consolidate"), computing_bare():
            self._require_own_weights("consolidate")
            if self._running:
                raise ValueError("consolidate after the attach() block, not inside it")
            if progress.steps == 0:
                raise ValueError(
                    "nothing was learned yet: train inside attach(), with its optimizer, before consolidate()"
                )
            if count() == 1 < self._trained_by:
                raise ValueError(
                    f"{self._trained_by} processes have trained this task, and this one is alone now; "
                    "consolidate in all of them before destroy_process_group()"
                )
            self._check_model()
            from_first(self._network.buffers)
            self._require_agreement("consolidate", TRAIN_ALIKE)
            self._require_still()
            learned = Learned((*progress.learned, progress.task), batches, predict)
            with measuring(self._network) as calls:
                self._protection.finish(learned)
            self._protection.use_task(progress.task)
            form = calls[0] if calls else self._probe.form_of_first_call(self._network, learned)
            self._probe.record(self._network, progress.task, self._protection.frozen_nodes(), form)
            self._require_agreement("after consolidate", REDUCE)
        progress.learned.append(progress.task)
        progress.steps = 0
        self._weights = weights_digest(self._network, progress.learned, self._added)
        while progress.task in progress.learned:
            progress.task += 1
        self._show_again()
        if usage := self._protection.usage():
            grows = isinstance(self._protection, Expandable)
            warn_if_full(self._network, usage, progress.learned[-1], grows=grows)

    def expand(self, *, layer: str, nodes: int) -> None:
        """Add free nodes to a layer whose capacity runs out; all outputs of the model keep their bits.

        Tensors keep their memory layout (channels last, say). On random inputs like the example's it is tried first,
        on a copy, whether the outputs stay. A task that WSN has yet to learn chooses among the new weights as well.
        The model is changed in place and its parameters are replaced, so make a new optimizer. A saved state fits a
        model that was expanded alike.

        Args:
            layer: Name of the layer, see ``print(guard.graph)``.
            nodes: How many nodes to add.

        Raises:
            ValueError: If the layer cannot grow or the method cannot take new nodes; nothing is changed then.
        """
        with together("expand"):
            self._require_own_weights("expand")
            if self._running:
                raise ValueError("expand after the attach() block, not inside it")
            self._check_model()
            protection, learned = self._protection, tuple(self._progress.learned)
            if not isinstance(protection, Expandable):
                raise ValueError(f"{type(protection).__name__} cannot take new nodes; {GROWING} can")
            self._require_still()
            protection.require_intact(learned)
            protection.show_all()
            try:
                model, plain = self._network.model, partial(unreplaced, without=self._added)
                retrace = partial(_retraced, self._retrace, plain)
                require_expandable(plain(model), self.graph, layer, nodes, self._retrace, self._example_inputs)
                expansion = expand(model, self.graph, layer, nodes, retrace)
                network = _network(model, expansion.graph, without=self._added)
                from_first(network.state)
                protection.expand(network, expansion, learned)
                self._network = _network(model, expansion.graph)
                self._makes = Makes(self._network)
                self._probe.expanded(self._network)
                self._growth = (*self._growth, (layer, nodes))
                self._weights = weights_digest(self._network, learned, self._added) if learned else ""
            finally:
                protection.use_task(self._progress.task)

    def penalty(self) -> Tensor | None:
        """Current value of the method's penalty, for a log; `None` for methods without one.

        It is never part of the loss: its gradient is added before each step.
        """
        return self._protection.penalty()

    @property
    def has_extra_loss(self) -> bool:
        """Whether the method needs `extra_loss` added to the loss now."""
        return any(term.applies(self._running) for term in self._protection.loss_terms)

    def extra_loss(self, batch: Any, forward: Forward) -> Tensor | None:
        """A loss term that the loop adds itself, for the few methods that need one; `None` for the others.

        Args:
            batch: The batch at hand.
            forward: Maps it to the outputs of all heads.

        Raises:
            ValueError: If the outputs are not those of all heads.
        """
        if self._running is None:
            return None
        terms = [term for term in self._protection.loss_terms if term.applies(self._running)]
        values = [term.value(self._network, self._running, batch, forward) for term in terms]
        return reduce(torch.add, values) if values else None

    def _check_attachable(self, optimizers: tuple[Optimizer, ...], steps_per_epoch: int) -> None:
        if self._running:
            raise ValueError("the guard is attached already; leave the first attach() block before the second")
        self._require_own_weights("attach")
        if steps_per_epoch < 1:
            raise ValueError(f"steps_per_epoch must be at least 1, not {steps_per_epoch}: is the loader empty?")
        task, most = self.task, self.graph.num_tasks
        if most is not None and task in self._progress.learned:
            raise ValueError(f"task {task} is learned already; call use_task() with a new one")
        if most is not None and task >= most:
            raise ValueError(f"task {task} has no head: the model has heads for {most} tasks")
        self._check_model()
        self._check_resumed()
        require_held(self._network, optimizers)

    def _require_agreement(self, where: str, advice: str, **more: Fact) -> None:
        """Refuse to go on, in all processes alike, if weights and what the guard knows are not the same in each."""
        if are_many():
            require_same(where, {**prefixed(model=self._network.state, guard=self._state()), **more}, advice)

    def _check_model(self) -> None:
        self._check_loaded()
        require_whole(self._network.model)
        found = dict(self._network.model.named_parameters())
        expected = self._network.parameters
        for name in sorted(found.keys() | expected.keys()):
            if found.get(name) is not expected.get(name):
                raise ValueError(
                    f"the model was changed after protect(): {name!r} was added, removed or replaced; "
                    "protect the changed model anew, or change weights in place"
                )
        self._makes.check(self._network, learned=bool(self._progress.learned))


def _retraced(retrace: Retrace, plain: Callable[[nn.Module], nn.Module], grown: nn.Module) -> NodeGraph:
    return retrace(plain(grown))


def _network(model: nn.Module, graph: NodeGraph, without: Collection[str] = ()) -> Network:
    return Network(model, graph, {name: p for name, p in model.named_parameters() if name not in without})
