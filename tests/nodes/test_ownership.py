"""Ownership: every position that outputs depend on is in a node, a head, or shared; what is not clear is refused."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

import agscl
from agscl.nodes import TraceError, trace
from laws.node_law import awake, leaks
from laws.sequences import OPTIMIZERS, TASKS, learn, logits, protected, tasks


class Heads(nn.Module):
    """A head for each task."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.heads = nn.ModuleList([nn.Linear(width, 2) for _ in range(TASKS)])

    def out(self, h: Tensor) -> list[Tensor]:
        return [head(h) for head in self.heads]


class Flat(Heads):
    """Two hidden layers on twelve inputs, with something between them."""

    def __init__(self, between: Callable[[nn.Module, Tensor, Tensor], Tensor], width: int = 8, **parts: object) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(12, 8), nn.Linear(width, 8)
        for name, part in parts.items():
            if isinstance(part, Tensor) and not isinstance(part, nn.Parameter):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)
        self.between = between

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.out(F.relu(self.b(self.between(self, x, F.relu(self.a(x))))))


class Images(Heads):
    """Two convolutions, with something between them."""

    def __init__(
        self, between: Callable[[nn.Module, Tensor, Tensor], Tensor], width: int = 8, **parts: nn.Module
    ) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(width, 8, 1)
        for name, part in parts.items():
            setattr(self, name, part)
        self.between = between

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.out(F.relu(self.b(self.between(self, x, F.relu(self.a(x))))).mean((2, 3)))


class ScaledOutputs(Flat):
    def __init__(self) -> None:
        super().__init__(
            lambda net, x, h: h, logit_scale=nn.Parameter(torch.ones(())), offset=nn.Parameter(torch.ones(2))
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        return [out * self.logit_scale.exp() + self.offset for out in super().forward(x)]


class Writes(Flat):
    """What is read was written in place, and the result of the writing not bound."""

    def __init__(self) -> None:
        super().__init__(lambda net, x, h: h, width=12)
        self.a = nn.Linear(12, 12)

    def forward(self, x: Tensor) -> list[Tensor]:
        h = x.clone()
        h.add_(torch.tanh(self.a(x)))
        torch.relu_(h)
        return self.out(F.relu(self.b(h)))


def parameter(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.rand(*shape) + 0.5)


def joined(net: nn.Module, x: Tensor, h: Tensor) -> Tensor:
    """The model's input beside its features, through a part of the net."""
    return net.part(torch.cat([x, h], 1))  # type: ignore[operator, no-any-return]


def slice_of_weight(net: nn.Module, x: Tensor, h: Tensor) -> Tensor:
    return F.linear(h, net.w[1:9, ::2])  # type: ignore[index]


def half_written(net: nn.Module, x: Tensor, h: Tensor) -> Tensor:
    h = h.clone()
    h[:, :3].add_(1.0)
    return h


ORDER = torch.tensor([3, 1, 0, 2, 7, 6, 5, 4])

FLAT: dict[str, Callable[[], nn.Module]] = {
    "a learned scale and offset behind the heads": ScaledOutputs,
    "a layer norm over input and features": lambda: Flat(joined, 20, part=nn.LayerNorm(20)),
    "a batch norm over input and features": lambda: Flat(joined, 20, part=nn.BatchNorm1d(20)),
    "slopes over input and features": lambda: Flat(joined, 20, part=nn.PReLU(20)),
    "a scale of input and features": lambda: Flat(lambda n, x, h: torch.cat([x, h], 1) * n.s, 20, s=parameter(20)),
    "the mean of input and features": lambda: Flat(lambda n, x, h: h * torch.cat([x, h], 1).mean(1, keepdim=True)),
    "a gate of the input": lambda: Flat(lambda n, x, h: F.glu(torch.cat([x[:, :8], h], 1), 1)),
    "features that the input is added to": lambda: Flat(lambda n, x, h: h + x[:, :8] * n.s, s=parameter(8)),
    "writing in place": Writes,
    "writing in place into a part": lambda: Flat(half_written),
    "a row of a learned table": lambda: Flat(lambda n, x, h: h * n.gain[0], gain=parameter(10, 8)),
    "channels in the order of a buffer": lambda: Flat(lambda n, x, h: h[:, n.order], order=ORDER),
    "channels chosen by index_select": lambda: Flat(lambda n, x, h: h.index_select(1, n.order), order=ORDER),
    "channels rolled and flipped": lambda: Flat(lambda n, x, h: h.roll(3, 1).flip(1)),
    "channels shifted by padding": lambda: Flat(lambda n, x, h: F.pad(h, (2, -2))),
    "a table seen as two halves": lambda: Flat(lambda n, x, h: h * n.t[:8] + n.t[8:], t=parameter(16)),
    "a table seen transposed": lambda: Flat(lambda n, x, h: h * n.t.t().flip(1)[0] + n.t[:, 0], t=parameter(8, 1)),
    "a weight that is a slice of a larger one": lambda: Flat(slice_of_weight, w=parameter(9, 16)),
    "a fixed random projection of the input": lambda: Flat(lambda n, x, h: h + F.linear(x, n.w), w=torch.rand(8, 12)),
    "a division by a learned number": lambda: Flat(lambda n, x, h: h / n.s, s=parameter(8)),
    "a sigmoid": lambda: Flat(lambda n, x, h: torch.sigmoid(h)),
    "a norm without an affine pair": lambda: Flat(joined_alone, part=nn.BatchNorm1d(8, affine=False)),
}  # fmt: skip


def joined_alone(net: nn.Module, x: Tensor, h: Tensor) -> Tensor:
    return net.part(h)  # type: ignore[operator, no-any-return]


IMAGES: dict[str, Callable[[], nn.Module]] = {
    "a batch norm over input and features": lambda: Images(joined, 11, part=nn.BatchNorm2d(11)),
    "a depthwise filter over input and features": lambda: Images(joined, 11, part=nn.Conv2d(11, 11, 1, groups=11)),
    "a group norm over input and features": lambda: Images(joined, 11, part=nn.GroupNorm(1, 11)),
    "a border of ones": lambda: Images(joined_alone, part=nn.ConstantPad2d(1, 1.0)),
    "neighbours normalised with the input": lambda: Images(joined, 11, part=nn.LocalResponseNorm(3)),
    "channels shifted by padding": lambda: Images(lambda n, x, h: F.pad(h, (0, 0, 0, 0, -1, 1))),
}  # fmt: skip

NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    **{name: (make, (12,)) for name, make in FLAT.items()},
    **{f"{name} of images": (make, (3, 4, 4)) for name, make in IMAGES.items()},
}


@pytest.mark.parametrize("name", NETS)
def test_nodes_are_cut_off_by_what_leaves_them_and_hard_freezing_is_exact(name: str) -> None:
    torch.manual_seed(0)
    make, shape = NETS[name]
    net = awake(make())
    x = torch.randn(4, *shape).double()
    assert not leaks(net, trace(net, x, heads="heads"), x)
    model, data = make(), tasks(shape)
    guard = protected(model, agscl.AGSCL(mu=10, lam=math.inf, rho=0), shape)
    learn(guard, model, 0, data[0], OPTIMIZERS["adamw with weight decay"], epochs=4)
    before = logits(model, 0, data[0][0])
    learn(guard, model, 1, data[1], OPTIMIZERS["adamw with weight decay"], epochs=4)
    assert torch.equal(logits(model, 0, data[0][0]), before)


def test_what_no_node_owns_is_named_position_by_position() -> None:
    norm = trace(FLAT["a batch norm over input and features"](), torch.randn(4, 12), heads="heads")
    assert [(piece.parameter, piece.index.tolist()) for piece in norm.rest] == [
        (f"part.{name}", [list(range(12))]) for name in ("bias", "running_mean", "running_var", "weight")
    ]
    assert "shared by all nodes: part.bias[0..11]" in str(norm)
    scaled = trace(ScaledOutputs(), torch.randn(2, 12), heads="heads")
    assert scaled.shared == ("logit_scale", "offset")
    assert not scaled.unreached


class OwnConv(nn.Conv2d):
    """A convolution with another kernel than its weight."""

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return super()._conv_forward(x, weight - weight.mean(), bias)


def hooked(net: Flat, hook: Callable[[nn.Module, object, Tensor], Tensor | None]) -> nn.Module:
    net.b.register_forward_hook(hook)
    return net


def patched(net: Flat) -> nn.Module:
    net.b.forward = lambda x: F.linear(x, net.b.weight).cumsum(1)  # type: ignore[method-assign]
    return net


def tied() -> nn.Module:
    return Flat(lambda n, x, h: F.linear(h, n.w) + F.linear(h, n.w.t()), w=parameter(8, 8))


class TiedDecoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.fc, self.dec = nn.Embedding(20, 16), nn.Linear(16, 16), nn.Linear(16, 20, bias=False)
        self.dec.weight = self.table.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.dec(F.relu(self.fc(self.table(x).mean(1))))  # type: ignore[no-any-return]


def method_replaced(net: Images) -> nn.Module:
    net.part._conv_forward = lambda x, weight, bias: F.conv2d(x, weight.abs(), bias)  # type: ignore[union-attr, assignment]
    return net


def learning_outside(net: Flat, *, buffer: bool) -> nn.Module:
    if buffer:
        net.register_buffer("scale", torch.ones(8, requires_grad=True))
    else:
        net.scale = torch.ones(8, requires_grad=True)
    return net


def twice(net: nn.Module, x: Tensor, h: Tensor) -> Tensor:
    """A number that scales one node, and shifts all."""
    return h * net.s + net.s[:1]  # type: ignore[operator, index, no-any-return]


PLAIN = lambda n, x, h: h  # noqa: E731

REFUSED: list[tuple[Callable[[], nn.Module], str]] = [
    (lambda: Images(joined_alone, part=OwnConv(8, 8, 1)), "'part'.*weight is computed"),
    (lambda: hooked(Flat(PLAIN), lambda module, args, out: out * 1.0), "'b'.*Linear.*hooks"),
    (lambda: patched(Flat(PLAIN)), "'b'.*Linear.*no rule"),
    (lambda: Flat(joined_alone, part=parametrizations.spectral_norm(nn.Linear(8, 8))), "'part'.*computed"),
    (lambda: Flat(joined_alone, part=parametrizations.weight_norm(nn.Linear(8, 8))), "'part'.*computed"),
    (tied, "'w'.*tied"),
    (lambda: Flat(lambda n, x, h: h * n.gain.flatten(), gain=parameter(2, 4)), "'gain'"),
    (lambda: Flat(lambda n, x, h: F.linear(h, n.w), w=torch.rand(8, 8)), "fixed"),
    (lambda: Flat(lambda n, x, h: F.linear(h, n.w.reshape(8, 8)), w=parameter(4, 16)), "computed"),
    (lambda: Flat(lambda n, x, h: F.linear(x, n.a.weight) * F.linear(h, n.a.weight[:, :8])), "a.weight"),
    (lambda: Flat(twice, s=parameter(8)), "'s'.*serve several"),
    (lambda: method_replaced(Images(joined_alone, part=nn.Conv2d(8, 8, 1))), "'part'.*Conv2d.*no rule"),
    (lambda: learning_outside(Flat(lambda n, x, h: h * n.scale), buffer=True), "'scale' learns"),
    (lambda: learning_outside(Flat(lambda n, x, h: h * n.scale.exp()), buffer=False), "'scale' learns"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "message"), REFUSED)
def test_what_is_not_clear_is_refused_by_name(make: Callable[[], nn.Module], message: str) -> None:
    net = make()
    x = torch.randn(2, 3, 4, 4) if isinstance(net, Images) else torch.randn(2, 12)
    with pytest.raises(TraceError, match=message) as caught:
        trace(net, x, heads="heads")
    assert "\n" not in str(caught.value)


def test_tied_embeddings_and_rows_that_shrink_when_they_are_read_are_refused() -> None:
    tokens = torch.randint(0, 20, (2, 5))
    with pytest.raises(TraceError, match=r"'table.weight'.*tied"):
        trace(TiedDecoder(), tokens, heads="dec")
    bounded = TiedDecoder()
    bounded.dec.weight, bounded.table.max_norm = nn.Parameter(torch.randn(20, 16)), 1.0
    with pytest.raises(TraceError, match="max_norm"):
        trace(bounded, tokens, heads="dec")


def test_a_head_that_shares_a_weight_with_the_trunk_is_refused() -> None:
    net = Flat(PLAIN)
    net.c = nn.Linear(8, 2)
    net.between = lambda n, x, h: h + n.c(h).sum(1, keepdim=True)
    net.heads[1].weight = net.c.weight
    with pytest.raises(TraceError, match=r"'heads.1.weight'.*'c.weight'.*tied"):
        trace(net, torch.randn(2, 12), heads="heads")


class Smoothed(Flat):
    """Features divided by their running size, which training changes; steps that are counted change nothing."""

    def __init__(self, *, used: bool) -> None:
        super().__init__(PLAIN, size=torch.ones(()), steps=torch.zeros((), dtype=torch.int64))
        self.used = used

    def forward(self, x: Tensor) -> list[Tensor]:
        h = F.relu(self.a(x))
        if self.training:
            self.size.mul_(0.9).add_(0.1 * h.detach().abs().mean())
            self.steps.add_(1)
        return self.out(F.relu(self.b(h / self.size if self.used else h)))


class OwnNorm(Flat):
    """A batch norm by hand, whose statistics have names of their own."""

    def __init__(self) -> None:
        super().__init__(PLAIN, mean=torch.zeros(8), var=torch.ones(8))

    def forward(self, x: Tensor) -> list[Tensor]:
        h = F.batch_norm(self.a(x), self.mean, self.var, training=self.training)
        return self.out(F.relu(self.b(F.relu(h))))


def test_a_buffer_that_training_changes_is_a_statistic_that_can_be_held_or_refused() -> None:
    method = agscl.AGSCL(mu=1, lam=math.inf, rho=0)
    with pytest.raises(TraceError, match="training changes the buffer 'size'"):
        protected(Smoothed(used=True), method, (12,))
    with pytest.raises(TraceError, match="cannot hold the running statistic 'mean'"):
        protected(OwnNorm(), method, (12,))
    model, torch_state = Smoothed(used=False), torch.get_rng_state()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    protected(model, method, (12,))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert model.training


def test_hooks_on_the_model_itself_are_refused_if_they_change_what_it_gives() -> None:
    looking, changing = Flat(PLAIN), Flat(PLAIN)
    looking.register_forward_hook(lambda *_: None)
    assert trace(looking, torch.randn(2, 12), heads="heads").num_nodes == 16
    changing.register_forward_hook(lambda module, args, outputs: [out * 1.0 for out in outputs])
    with pytest.raises(TraceError, match="cannot trace Flat: hooks"):
        trace(changing, torch.randn(2, 12), heads="heads")


def test_hooks_that_only_look_and_classes_that_only_initialise_are_followed() -> None:
    class Initialised(nn.Linear):
        def __init__(self) -> None:
            super().__init__(8, 8)

        def reset_parameters(self) -> None:
            nn.init.eye_(self.weight)

        def scaled(self) -> Tensor:
            return self.weight

    net = Flat(joined_alone, part=Initialised())
    net.part.register_forward_hook(lambda module, args, out: None)
    assert trace(net, torch.randn(2, 12), heads="heads").num_nodes == 24


def test_a_functional_look_up_makes_the_nodes_that_the_module_makes() -> None:
    class Tokens(nn.Module):
        def __init__(self, functional: bool) -> None:
            super().__init__()
            self.table, self.fc, self.functional = nn.Embedding(20, 6), nn.Linear(6, 2), functional

        def forward(self, x: Tensor) -> Tensor:
            h = F.embedding(x, self.table.weight) if self.functional else self.table(x)
            return self.fc(h.mean(1))  # type: ignore[no-any-return]

    tokens = torch.randint(0, 20, (2, 5))
    assert str(trace(Tokens(True), tokens)) == str(trace(Tokens(False), tokens))


def test_a_gradient_that_reaches_what_the_trace_never_used_stops_the_step() -> None:
    class Auxiliary(Flat):
        def __init__(self) -> None:
            super().__init__(PLAIN)
            self.extra = nn.Linear(12, 8)

        def forward(self, x: Tensor) -> list[Tensor]:
            outputs = super().forward(x)
            return [out + self.extra(x)[:, :2] for out in outputs] if self.training else outputs

    model = Auxiliary()
    guard = protected(model, agscl.AGSCL(mu=1, lam=math.inf, rho=0), (12,))
    assert guard.graph.unreached == ("extra.bias", "extra.weight")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match=r"a gradient reached 'extra\.bias', which the forward did not use"):
        learn(guard, model, 0, tasks((12,))[0], OPTIMIZERS["adam"])
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    left_out = agscl.protect(
        model,
        agscl.AGSCL(mu=1, lam=math.inf, rho=0),
        example_inputs=torch.zeros(2, 12),
        heads="heads",
        ignore=["extra"],
    )
    assert left_out.graph.ignored == ("extra.bias", "extra.weight")
    learn(left_out, model, 0, tasks((12,))[0], OPTIMIZERS["adam"])


def test_a_rule_that_forgets_a_tensor_leaves_it_shared_and_not_unused() -> None:
    class Gained(nn.Linear):
        def __init__(self) -> None:
            super().__init__(8, 8)
            self.gain = nn.Parameter(torch.ones(8))

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * self.gain

    from agscl.nodes.layers.linear import linear

    net = Flat(joined_alone, part=Gained())
    graph = trace(net, torch.randn(2, 12), heads="heads", rules={Gained: linear})
    assert graph.shared == ("part.gain",)
    assert not graph.unreached
