"""LwF and CPR: terms that a loop adds to its loss."""

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import agscl
from agscl.methods import Method

CLASSES = (2, 4, 3)


class Net(nn.Module):
    """Batch norm and dropout, so that a forward pass could leave traces."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.fc, self.norm, self.drop = nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(dropout)
        self.heads = nn.ModuleList([nn.Linear(8, classes) for classes in CLASSES])

    def forward(self, x: Tensor) -> list[Tensor]:
        h = self.drop(F.relu(self.norm(self.fc(x))))
        return [head(h) for head in self.heads]


def problems() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    xs = [torch.randn(24, 6, generator=generator, dtype=torch.float64) for _ in CLASSES]
    return [(x, torch.randint(0, c, (24,), generator=generator)) for x, c in zip(xs, CLASSES, strict=True)]


DATA = problems()


def net(dropout: float = 0.0) -> Net:
    torch.manual_seed(0)
    return Net(dropout).double()


def guard_of(model: nn.Module, method: Method) -> agscl.Guard:
    return agscl.protect(model, method, example_inputs=DATA[0][0][:2], heads="heads")


def train(model: nn.Module, guard: agscl.Guard, task: int, steps: int = 6) -> None:
    optimizer, batch = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), DATA[task]
    model.train()
    with guard.attach(optimizer, steps_per_epoch=2):
        for _ in range(steps):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(batch[0])[task], batch[1])
            extra = guard.extra_loss(batch, lambda given: model(given[0]))
            (loss if extra is None else loss + extra).backward()
            optimizer.step()
    guard.consolidate([batch], lambda given: model(given[0])[task])


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def distilled(new: Tensor, old: Tensor, temperature: float) -> float:
    """Equations (2) and (3) of Li and Hoiem, in NumPy: probabilities to the power 1/T, normalised again."""
    answers, softened = (softmax(given.detach().numpy()) ** (1 / temperature) for given in (old, new))
    answers /= answers.sum(1, keepdims=True)
    softened /= softened.sum(1, keepdims=True)
    return float(-(answers * np.log(softened)).sum(1).mean())


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_distillation_equals_its_reference_on_every_learned_head(temperature: float) -> None:
    model = net()
    guard = guard_of(model, agscl.LwF(lam=0.7, temperature=temperature))
    for task in range(2):
        train(model, guard, task)
    old = copy.deepcopy(model).eval()
    optimizer, batch = torch.optim.SGD(model.parameters(), lr=0.1), DATA[2]
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(2), dtype=p.dtype))
    model.eval()
    with guard.attach(optimizer, steps_per_epoch=1):
        found = guard.extra_loss(batch, lambda given: model(given[0]))
    assert found is not None
    wanted = sum(distilled(model(batch[0])[t], old(batch[0])[t], temperature) for t in range(2))
    assert math.isclose(float(found.detach()), 0.7 * wanted, rel_tol=1e-9)


def test_lwf_weights_equal_a_loop_written_with_a_copied_model() -> None:
    ours, theirs, old = net(), net(), None
    guard = guard_of(ours, agscl.LwF(lam=2.0))
    for task in range(3):
        train(ours, guard, task)
        optimizer, (x, y) = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9), DATA[task]
        theirs.train()
        for _ in range(6):
            optimizer.zero_grad()
            outputs = theirs(x)
            loss = F.cross_entropy(outputs[task], y)
            for earlier in range(task):
                answers = (old(x)[earlier].detach() / 2).softmax(1)  # type: ignore[misc]
                loss = loss - 2.0 * (answers * (outputs[earlier] / 2).log_softmax(1)).sum(1).mean()
            loss.backward()
            optimizer.step()
        old = copy.deepcopy(theirs).eval()
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


def test_old_pass_leaves_statistics_modes_random_numbers_and_weights_alone() -> None:
    model = net(dropout=0.5)
    guard = guard_of(model, agscl.LwF())
    train(model, guard, 0)
    model.train()
    model.norm.eval()
    live = model(DATA[1][0])
    state, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    modes = [module.training for module in model.modules()]

    def forward(given: Any) -> Any:
        return live if torch.is_grad_enabled() else model(given[0])

    with guard.attach(torch.optim.SGD(model.parameters(), lr=0.1), steps_per_epoch=1):
        assert guard.extra_loss(DATA[1], forward) is not None
    assert torch.equal(torch.get_rng_state(), random)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(state[key], tensor) for key, tensor in model.state_dict().items())


def test_a_loop_may_hand_over_the_outputs_it_has() -> None:
    model = net()
    guard = guard_of(model, agscl.CPR(agscl.LwF(), beta=0.5))
    train(model, guard, 0)
    model.eval()
    outputs = model(DATA[1][0])
    with guard.attach(torch.optim.SGD(model.parameters(), lr=0.1), steps_per_epoch=1):
        again = guard.extra_loss(DATA[1], lambda given: model(given[0]))
        handed = guard.extra_loss(DATA[1], lambda given: outputs if torch.is_grad_enabled() else model(given[0]))
    assert again is not None
    assert handed is not None
    assert torch.equal(again, handed)


def test_lwf_keeps_a_copy_of_the_model_without_unseen_heads_and_resumes_from_it() -> None:
    model = net()
    guard = guard_of(model, agscl.LwF())
    assert guard.memory_bytes() == 0
    train(model, guard, 0)
    sizes = {name: t.numel() * t.element_size() for name, t in model.state_dict().items()}
    seen = sum(size for name, size in sizes.items() if not name.startswith(("heads.1", "heads.2")))
    assert guard.memory_bytes() == seen
    twin = net()
    twin.load_state_dict(model.state_dict())
    restored = guard_of(twin, agscl.LwF())
    restored.load_state_dict(guard.state_dict())
    train(model, guard, 1)
    train(twin, restored, 1)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


def test_kl_to_uniform_is_zero_for_flat_answers_and_the_reference_otherwise() -> None:
    model = net()
    guard = guard_of(model, agscl.CPR(agscl.FineTuning(), beta=0.5))
    guard.use_task(1)
    model.eval()
    with guard.attach(torch.optim.SGD(model.parameters(), lr=0.1), steps_per_epoch=1):
        found = guard.extra_loss(DATA[1], lambda given: model(given[0]))
        assert found is not None
        p = softmax(model(DATA[1][0])[1].detach().numpy())
        wanted = (p * np.log(p / (1 / 4))).sum(1).mean()
        assert math.isclose(float(found.detach()), 0.5 * wanted, rel_tol=1e-9)
        with torch.no_grad():
            for p_ in model.heads[1].parameters():
                p_.zero_()
        flat = guard.extra_loss(DATA[1], lambda given: model(given[0]))
    assert flat is not None
    assert abs(float(flat.detach())) < 1e-12


OTHERS: dict[str, Method] = {
    "ags-cl": agscl.AGSCL(mu=0.1, lam=10.0, rho=0.0),
    "ewc": agscl.EWC(lam=5.0),
    "si": agscl.SI(c=1.0),
    "rwalk": agscl.RWalk(lam=1.0),
    "mas": agscl.MAS(lam=1.0),
    "hat": agscl.HAT(smax=20.0),
    "lwf": agscl.LwF(),
    "wsn": agscl.WSN(),
    "gated-ags-cl": agscl.GatedAGSCL(begin=1, end=2),
    "packnet": agscl.PackNet(train_epochs=1),
    "gpm": agscl.GPM(),
    "fine-tuning": agscl.FineTuning(),
}


@pytest.mark.parametrize("name", OTHERS)
def test_cpr_is_an_option_of_every_method_and_with_zero_beta_changes_nothing(name: str) -> None:
    weights = []
    for method in (OTHERS[name], agscl.CPR(OTHERS[name], beta=0.0), agscl.CPR(OTHERS[name], beta=0.5)):
        model = net()
        guard = guard_of(model, method)
        for task in range(2):
            guard.use_task(task)
            train(model, guard, task)
        state = guard.state_dict()
        guard.load_state_dict(state)
        assert guard.memory_bytes() >= guard.memory_bytes(regularization_only=True)
        weights.append(list(model.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(weights[0], weights[1], strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(weights[0], weights[2], strict=True))


def test_zero_distillation_equals_fine_tuning_bit_for_bit() -> None:
    models = [net(dropout=0.5), net(dropout=0.5)]
    for model, method in zip(models, (agscl.LwF(lam=0.0), agscl.FineTuning()), strict=True):
        torch.manual_seed(3)
        guard = guard_of(model, method)
        for task in range(3):
            train(model, guard, task)
    assert all(torch.equal(a, b) for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True))


def test_outputs_that_are_not_those_of_all_heads_are_refused() -> None:
    model = net()
    guard = guard_of(model, agscl.LwF())
    train(model, guard, 0)
    with (
        guard.attach(torch.optim.SGD(model.parameters(), lr=0.1), steps_per_epoch=1),
        pytest.raises(ValueError, match="outputs of all heads: a list of 3 tensors, one for each task, not Tensor"),
    ):
        guard.extra_loss(DATA[1], lambda given: model(given[0])[1])


def test_a_shared_head_is_distilled_as_a_whole() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    guard, (x, _) = agscl.protect(model, agscl.LwF(), example_inputs=DATA[0][0][:2]), DATA[0]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with guard.attach(optimizer, steps_per_epoch=1):
        assert guard.extra_loss((x,), lambda given: model(given[0])) is None
        model(x).sum().backward()
        optimizer.step()
    guard.consolidate([(x,)], lambda given: model(given[0]))
    with guard.attach(optimizer, steps_per_epoch=1):
        found = guard.extra_loss((x,), lambda given: model(given[0]))
    assert found is not None
    assert math.isclose(float(found.detach()), distilled(model(x), model(x), 2.0), rel_tol=1e-9)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: agscl.LwF(lam=-1.0), "lam must be in"),
        (lambda: agscl.LwF(lam=math.inf), "lam must be in"),
        (lambda: agscl.LwF(temperature=0.0), "temperature must be in"),
        (lambda: agscl.CPR(agscl.FineTuning(), beta=-0.5), "beta must be in"),
        (lambda: agscl.CPR(agscl.CPR(agscl.FineTuning(), beta=0.5), beta=0.5), "give it another method"),
    ],
)
def test_values_out_of_range_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("method", [agscl.LwF(), agscl.CPR(agscl.FineTuning(), beta=0.5)])
def test_the_model_itself_may_be_the_forward(method: Method) -> None:
    """A model registered twice by a functional call would come back with other parameters."""
    x, model = torch.randn(8, 3), nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    guard = agscl.protect(model, method, example_inputs=x, heads="3")
    own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for _ in range(2):
        optimizer = torch.optim.SGD(model.train().parameters(), lr=0.1)
        with guard.attach(optimizer, steps_per_epoch=1):
            terms = [guard.extra_loss(x, forward) for forward in (model, model.forward)]
            model(x).square().mean().backward()
            optimizer.step()
        assert terms[0] is terms[1] is None or torch.equal(*terms)
        model.eval()
        guard.consolidate([x], predict=model)
    assert all(t is own[n] for n, t in (*model.named_parameters(), *model.named_buffers()))
