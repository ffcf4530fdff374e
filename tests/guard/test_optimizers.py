"""Whatever steps the weights, and however many of it: inside attach() nothing frozen moves, to the bit."""

import copy
import inspect
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Adam, AdamW, Optimizer

import agscl
from agscl.methods import EWC, HAT, MAS, SI, WSN, Method, RWalk
from agscl.nodes.slices import gather
from laws.sequences import MLP, learn, logits, protected, tasks

SHAPE = (12,)
HARD = agscl.AGSCL(mu=9, lam=math.inf, rho=1.0)
DATA = tasks(SHAPE)
X, Y = DATA[1]
Parameters = Iterable[nn.Parameter]


def taught() -> tuple[MLP, agscl.Guard]:
    """A model that has learned task 0, some of its nodes frozen and some free."""
    torch.manual_seed(0)
    model = MLP()
    guard = protected(model, HARD, SHAPE)
    learn(guard, model, 0, DATA[0], lambda parameters: Adam(parameters, lr=1e-2), epochs=8)
    assert all(0 < int((omega > 0).sum()) < len(omega) for omega in guard.importance.values())
    return model, guard


def frozen(model: nn.Module, guard: agscl.Guard) -> list[Tensor]:
    """What task 0 relies on: the rows of its nodes, and its head."""
    state = model.state_dict()
    rows = [gather(layer.incoming, state)[guard.importance[layer.name] > 0] for layer in guard.graph.layers]
    return [*rows, *(tensor.clone() for name, tensor in state.items() if name.startswith("heads.0."))]


def bits(tensors: Iterable[Tensor]) -> list[bytes]:
    return [tensor.numpy().tobytes() for tensor in tensors]


def halves(model: MLP) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Matrices, and all the rest."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "heads" not in name]
    return matrices, [p for p in model.parameters() if all(p is not other for other in matrices)]


def loss_of(model: nn.Module) -> Tensor:
    return F.cross_entropy(model(X)[1], Y)


def made(name: str, model: MLP) -> list[Optimizer]:
    """The optimizers of torch by name, all with decay and momentum where they have it."""
    kind = getattr(torch.optim, name)
    wanted: dict[str, Any] = {"lr": 1e-2, "weight_decay": 0.1, "momentum": 0.9}
    chosen = {key: value for key, value in wanted.items() if key in inspect.signature(kind).parameters}
    if name == "Muon":  # it takes matrices only
        return [kind(halves(model)[0], **chosen), AdamW(halves(model)[1], lr=1e-2)]
    return [kind(model.parameters(), **chosen)]


ALL = [name for name, kind in vars(torch.optim).items() if inspect.isclass(kind) and issubclass(kind, Optimizer)]
DENSE = [name for name in ALL if name not in ("Optimizer", "SparseAdam")]


def test_the_law_is_about_every_optimizer_of_torch() -> None:
    from_2_9 = {"Muon"} if hasattr(torch.optim, "Muon") else set()
    assert {"SGD", "AdamW", "LBFGS", "Adafactor", "Rprop", "ASGD"} | from_2_9 <= set(DENSE)


@pytest.mark.parametrize("with_closure", [False, True])
@pytest.mark.parametrize("name", DENSE)
def test_no_optimizer_of_torch_moves_a_frozen_bit(name: str, with_closure: bool) -> None:
    if name == "LBFGS" and not with_closure:
        pytest.skip("LBFGS takes no step without a closure")
    model, guard = taught()
    kept, reference, free = bits(frozen(model, guard)), logits(model, 0, X), model.fc1.weight.detach().clone()
    optimizers = made(name, model)
    model.train()
    with guard.attach(optimizers, steps_per_epoch=2):
        for _ in range(3):
            for optimizer in optimizers:
                if with_closure:
                    optimizer.step(closure_of(model, optimizer))  # type: ignore[arg-type]
                else:
                    loss_of(model).backward()
                    optimizer.step()
                    model.zero_grad(set_to_none=False)
                assert bits(frozen(model, guard)) == kept
    assert torch.equal(logits(model, 0, X), reference)
    assert not torch.equal(model.fc1.weight, free)
    guard.consolidate([(X, Y)], lambda batch: model(batch[0])[1])
    assert torch.equal(logits(model, 0, X), reference)


def closure_of(model: nn.Module, optimizer: Optimizer) -> Callable[[], Tensor]:
    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        return loss

    return closure


class Sam(Optimizer):
    """Sharpness-aware minimization as it is spread: two calls around a second backward pass, or one with a closure."""

    def __init__(self, parameters: Parameters, back: str = "sub") -> None:
        super().__init__(parameters, {})
        self.back = back
        self.base_optimizer = SGD(self.param_groups, lr=0.05)
        self.param_groups = self.base_optimizer.param_groups

    def held(self) -> list[nn.Parameter]:
        return [p for group in self.param_groups for p in group["params"] if p.grad is not None]

    @torch.no_grad()
    def first_step(self) -> None:
        for p in self.held():
            assert p.grad is not None
            self.state[p] = {"old": p.data.clone(), "e": 0.3 * p.grad / (p.grad.norm() + 1e-12)}
            p.add_(self.state[p]["e"])
        self.zero_grad()

    @torch.no_grad()
    def second_step(self) -> None:
        for p in self.held():
            if self.back == "sub":
                p.sub_(self.state[p]["e"])
            elif self.back == "data.sub":
                p.data.sub_(self.state[p]["e"])
            else:
                p.data = self.state[p]["old"]
        self.base_optimizer.step()
        self.zero_grad()

    def step(self, closure: Any = None) -> None:
        closure = torch.enable_grad()(closure)
        closure()
        self.first_step()
        closure()
        self.second_step()


class Rebinding(Optimizer):
    """A hand-written rule that makes new tensors, and decays every weight, with a gradient or without."""

    def __init__(self, parameters: Parameters, how: str = "data =") -> None:
        super().__init__(parameters, {"lr": 0.05})
        self.how = how

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for p in self.param_groups[0]["params"]:
            new = 0.999 * p - 0.05 * (0 if p.grad is None else p.grad)
            if self.how == "data =":
                p.data = new
            elif self.how == "data.copy_":
                p.data.copy_(new)
            else:
                p.copy_(new)


class Lookahead(Optimizer):
    """Slow weights that follow the fast ones every second step, by rounding arithmetic."""

    def __init__(self, base: Optimizer, initialised: bool) -> None:
        if initialised:
            super().__init__(base.param_groups, {})
        else:  # as timm's
            self._optimizer_step_pre_hooks, self._optimizer_step_post_hooks = OrderedDict(), OrderedDict()
        self.base, self.param_groups, self.defaults, self.count = base, base.param_groups, base.defaults, 0
        self.slow = {p: p.detach().clone() for group in base.param_groups for p in group["params"]}

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        self.base.step(closure)
        self.count += 1
        if self.count % 2 == 0:
            for p, slow in self.slow.items():
                slow.mul_(1 / 3).add_(p, alpha=2 / 3)
                p.copy_(slow)


def sam_in_two_calls(model: MLP, optimizer: Any) -> None:
    loss_of(model).backward()
    optimizer.first_step()
    loss_of(model).backward()
    optimizer.second_step()


def plainly(model: MLP, optimizer: Optimizer) -> None:
    optimizer.zero_grad()
    loss_of(model).backward()
    optimizer.step()


def by_closure(model: MLP, optimizer: Optimizer) -> None:
    optimizer.step(closure_of(model, optimizer))  # type: ignore[arg-type]


def with_an_average_copied_in(model: MLP, optimizer: Optimizer) -> None:
    before = copy.deepcopy(model.state_dict())
    plainly(model, optimizer)
    model.load_state_dict({name: 0.3 * before[name] + 0.7 * tensor for name, tensor in model.state_dict().items()})


def beside_an_unguarded_one(model: MLP, optimizer: Optimizer) -> None:
    plainly(model, optimizer)
    loss_of(model).backward()
    Rebinding(model.parameters(), "in place").step()


def unfrozen_meanwhile(model: MLP, optimizer: Optimizer) -> None:
    model.requires_grad_(True)
    optimizer.zero_grad()
    (loss_of(model) + model(X)[0].square().sum()).backward()
    optimizer.step()


Loop = Callable[[MLP, Any], None]
CASES: dict[str, tuple[Callable[[MLP], Any], Loop]] = {
    **{f"SAM, two calls, {how}": (lambda m, how=how: Sam(m.parameters(), how), sam_in_two_calls)
       for how in ("sub", "data.sub", "data =")},
    "SAM, its base, two calls": (lambda m: Sam(m.parameters()), sam_in_two_calls),
    "SAM, closure": (lambda m: Sam(m.parameters()), by_closure),
    **{f"by hand, {how}": (lambda m, how=how: Rebinding(m.parameters(), how), plainly)
       for how in ("data =", "data.copy_", "copy_")},
    "Lookahead": (lambda m: Lookahead(Adam(m.parameters(), lr=1e-2), True), plainly),
    "Lookahead without hooks": (lambda m: Lookahead(Adam(m.parameters(), lr=1e-2), False), plainly),
    "Lookahead of SAM": (lambda m: Lookahead(Sam(m.parameters()), True), by_closure),
    "averages": (lambda m: Adam(m.parameters(), lr=1e-2), with_an_average_copied_in),
    "another optimizer": (lambda m: SGD(m.parameters(), lr=1e-2), beside_an_unguarded_one),
    "unfrozen": (lambda m: SGD(m.parameters(), lr=1e-2), unfrozen_meanwhile),
    "unfrozen, with decay": (lambda m: AdamW(m.parameters(), lr=1e-2), unfrozen_meanwhile),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_nothing_frozen_has_moved_when_attach_ends(name: str) -> None:
    model, guard = taught()
    make, loop = CASES[name]
    kept, free = bits(frozen(model, guard)), model.fc1.weight.detach().clone()
    optimizer = make(model)
    given = optimizer.base_optimizer if "its base" in name else optimizer
    with guard.attach(given, steps_per_epoch=4):
        for _ in range(5):
            loop(model, optimizer)
    assert bits(frozen(model, guard)) == kept
    assert not torch.equal(model.fc1.weight, free)
    guard.consolidate([(X, Y)], lambda batch: model(batch[0])[1])


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith(("SAM", "by hand", "Look", "unfrozen"))])
def test_nothing_frozen_has_moved_after_any_guarded_step(name: str) -> None:
    if name in ("SAM, its base, two calls", "Lookahead without hooks"):
        pytest.skip("what comes after the guarded step is not the guard's to see until attach() ends")
    model, guard = taught()
    make, loop = CASES[name]
    kept, optimizer = bits(frozen(model, guard)), make(model)
    with guard.attach(optimizer, steps_per_epoch=4):
        for _ in range(5):
            loop(model, optimizer)
            assert bits(frozen(model, guard)) == kept


def test_what_others_write_to_frozen_weights_is_undone_when_training_fails() -> None:
    model, guard = taught()
    kept = bits(frozen(model, guard))

    def fail() -> None:
        for parameter in model.parameters():
            parameter.data = parameter.data * math.nan
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), guard.attach(SGD(model.parameters(), lr=0.1), steps_per_epoch=4):
        fail()
    assert bits(frozen(model, guard)) == kept


@pytest.mark.parametrize("name", ["ewc", "si", "mas", "rwalk", "soft", "every step", "hat", "wsn"])
def test_two_optimizers_that_share_the_weights_equal_one_that_has_all(name: str) -> None:
    methods: dict[str, Method] = {
        "ewc": EWC(lam=10.0), "si": SI(c=1.0), "mas": MAS(lam=1.0), "rwalk": RWalk(lam=1.0, interval=3),
        "soft": agscl.AGSCL(mu=1, lam=4), "every step": agscl.AGSCL(mu=1, lam=4, proximal="step"),
        "hat": HAT(), "wsn": WSN(),
    }  # fmt: skip
    results = []
    for several in (False, True):
        torch.manual_seed(0)
        model = MLP()
        guard = protected(model, methods[name], SHAPE)
        for task, (x, y) in enumerate(DATA[:2]):
            parts = halves(model) if several else [model.parameters()]
            optimizers = [SGD(part, lr=1e-2, momentum=0.9) for part in parts]
            with guard.attach(optimizers, steps_per_epoch=3):
                for _ in range(7):
                    model.zero_grad()
                    F.cross_entropy(model(x)[task], y).backward()
                    for optimizer in optimizers:
                        optimizer.step()
            guard.consolidate([(x, y)], lambda batch, model=model, task=task: model(batch[0])[task])
        results.append({**model.state_dict(), **{f"guard.{n}": t for n, t in guard.state_dict().items()}})
    assert all(torch.equal(results[0][key], results[1][key]) for key in results[0])


def test_an_optimizer_that_steps_more_often_is_the_one_that_is_counted() -> None:
    model, guard = taught()
    first, second = (SGD(part, lr=1e-3) for part in halves(model))
    counts = []
    with guard.attach([first, second], steps_per_epoch=3):
        for count in range(6):
            loss_of(model).backward()
            first.step()
            if count % 2:
                second.step()
            counts.append(int(guard.state_dict()["steps"]))
    assert counts == [0, 2, 2, 4, 4, 6]  # an open step is over when the same optimizer begins another
    guard.consolidate([(X, Y)], lambda batch: model(batch[0])[1])


def test_a_group_that_is_added_meanwhile_is_guarded() -> None:
    model, guard = taught()
    kept = bits(frozen(model, guard))
    parameters = [p for p in model.parameters() if p is not model.heads[1].bias]
    optimizer = AdamW(parameters, lr=1e-2)
    bias = model.heads[1].bias.detach().clone()
    with guard.attach(optimizer, steps_per_epoch=1):
        plainly(model, optimizer)
        assert torch.equal(model.heads[1].bias, bias)
        optimizer.add_param_group({"params": [model.heads[1].bias], "lr": 0.5, "weight_decay": 0.3})
        plainly(model, optimizer)
        (model(X)[1].sum() * math.nan).backward()
        with pytest.raises(agscl.guard.Diverged):
            optimizer.step()
    assert bits(frozen(model, guard)) == kept
    assert not torch.equal(model.heads[1].bias, bias)


def test_a_layer_that_the_user_froze_and_trains_after_all_cannot_be_moved_where_it_is_needed() -> None:
    torch.manual_seed(0)
    model = MLP()
    model.fc1.weight.requires_grad_(False)
    guard = protected(model, HARD, SHAPE)
    learn(guard, model, 0, DATA[0], lambda parameters: Adam(parameters, lr=1e-2))
    kept, optimizer = bits(frozen(model, guard)), AdamW(model.parameters(), lr=1e-2)
    with guard.attach(optimizer, steps_per_epoch=1):
        model.fc1.weight.requires_grad_(True)
        for _ in range(3):
            plainly(model, optimizer)
            assert bits(frozen(model, guard)) == kept


class Wrapper:
    """What Lightning puts around an optimizer: it is none itself."""

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return self._optimizer.param_groups

    def step(self, closure: Any = None) -> None:
        self._optimizer.step(closure)

    def zero_grad(self) -> None:
        self._optimizer.zero_grad()


@pytest.mark.parametrize("pack", [Wrapper, lambda o: [Wrapper(o)], lambda o: {"all": o}.values(), lambda o: iter([o])])
def test_wrapped_optimizers_are_unwrapped(pack: Callable[[Optimizer], Any]) -> None:
    model, guard = taught()
    optimizer = Adam(model.parameters(), lr=1e-2)
    with guard.attach(pack(optimizer), steps_per_epoch=1):
        plainly(model, Wrapper(optimizer))  # type: ignore[arg-type]
    assert int(guard.state_dict()["steps"]) == 1


def test_the_optimizer_of_accelerate_is_unwrapped() -> None:
    accelerate = pytest.importorskip("accelerate")
    model, guard = taught()
    kept = bits(frozen(model, guard))
    accelerator = accelerate.Accelerator(cpu=True)
    prepared, optimizer = accelerator.prepare(model, AdamW(model.parameters(), lr=1e-2))
    with guard.attach(optimizer, steps_per_epoch=2):
        for _ in range(4):
            optimizer.zero_grad()
            accelerator.backward(loss_of(prepared))
            accelerator.clip_grad_norm_(prepared.parameters(), 0.1)
            optimizer.step()
    assert int(guard.state_dict()["steps"]) == 4
    assert bits(frozen(model, guard)) == kept


def test_a_step_that_a_scaler_skips_counts_for_none_of_two_optimizers() -> None:
    model, guard = taught()
    optimizers = [SGD(part, lr=1e-3) for part in halves(model)]
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    with guard.attach(optimizers, steps_per_epoch=2):
        for factor in (1.0, math.inf, 1.0):
            model.zero_grad()
            scaler.scale(loss_of(model) * factor).backward()
            for optimizer in optimizers:
                scaler.step(optimizer)
            scaler.update()
    assert int(guard.state_dict()["steps"]) == 2


class Alone(Optimizer):
    def __init__(self, parameters: Parameters) -> None:
        self.param_groups = [{"params": [*parameters], "lr": 0.1}]

    def step(self, closure: Any = None) -> None:
        raise AssertionError


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda m: [], "at least one optimizer"),
        (lambda m: None, "NoneType is none"),
        (lambda m: [SGD(m.parameters(), lr=0.1), "adam"], "str is none"),
        (lambda m: torch.optim.lr_scheduler.StepLR(SGD(m.parameters(), lr=0.1), 1), "StepLR is none"),
        (
            lambda m: [SGD(m.parameters(), lr=0.1), Adam(m.heads.parameters())],
            r"SGD and Adam.* hold the same parameter",
        ),
        (lambda m: SGD(m.fc1.parameters(), lr=0.1), r"does not hold 'fc2.weight'.*attach all optimizers"),
        (lambda m: Alone(m.parameters()), "Alone does not call step hooks"),
    ],
)
def test_what_is_no_set_of_optimizers_is_refused_in_one_line(given: Callable[[MLP], Any], message: str) -> None:
    model, guard = taught()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=message) as caught, guard.attach(given(model), steps_per_epoch=1):
        pass
    assert "\n" not in str(caught.value)
    assert bits(model.state_dict().values()) == bits(before.values())
