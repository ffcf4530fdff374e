"""Lightning's own trainer, guarded by the callback: exact, the same as a loop by hand, or refused by name."""

import copy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import agscl
from laws.bridges import BATCH, DATA, EPOCHS, HARD, Net, assert_same_bits, by_hand, consolidate, fresh, learn_in
from laws.bridges import optimizer as adamw
from laws.readme import example
from laws.sequences import logits

L = pytest.importorskip("lightning.pytorch")
callbacks = pytest.importorskip("lightning.pytorch.callbacks")

from agscl.integrations.lightning import GuardCallback  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's own advice

QUIET = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)


class Lit(L.LightningModule):
    def __init__(self, net: Net, task: int) -> None:
        super().__init__()
        self.net, self.task = net, task

    def training_step(self, batch: Any, _: int) -> Any:
        return F.cross_entropy(self.net(batch[0])[self.task], batch[1])

    validation_step = training_step

    def configure_optimizers(self) -> Any:
        return adamw(self.net.parameters())


class ByHand(Lit):
    def __init__(self, net: Net, task: int) -> None:
        super().__init__(net, task)
        self.automatic_optimization = False

    def training_step(self, batch: Any, index: int) -> None:
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(super().training_step(batch, index))
        optimizer.step()


def trainer(guard: agscl.Guard, *more: Any, options: dict[str, Any] | None = None, **settings: Any) -> Any:
    settings = {"max_epochs": EPOCHS, "accelerator": "cpu", **QUIET, **settings}
    return L.Trainer(callbacks=[GuardCallback(guard, **(options or {})), *more], **settings)


def loader(task: int) -> DataLoader:
    return DataLoader(TensorDataset(*DATA[task]), batch_size=BATCH)


def library(*more: Any, module: type[Lit] = Lit, **settings: Any) -> Any:
    def train(net: Net, guard: agscl.Guard, task: int) -> None:
        trainer(guard, *map(copy.deepcopy, more), **settings).fit(module(net, task), loader(task))

    return train


@pytest.mark.parametrize(
    ("settings", "plain"),
    [
        ({}, {}),
        ({"accumulate_grad_batches": 3}, {"accumulate": 3}),
        ({"gradient_clip_val": 0.01}, {"clip": 0.01}),
        ({"max_epochs": -1, "max_steps": 3}, {"max_steps": 3}),
        ({"max_epochs": -1, "max_steps": 6}, {"max_steps": 6}),
    ],
    ids=str,
)
@pytest.mark.parametrize("method", [HARD, agscl.AGSCL(mu=1, lam=4), agscl.EWC(lam=3)], ids=str)
def test_the_trainer_gives_the_bits_of_the_loop_by_hand(
    settings: dict[str, Any], plain: dict[str, Any], method: Any
) -> None:
    if method is HARD:
        net, _ = learn_in(library(**settings))
    else:
        net, guard = fresh(method)
        for task in range(2):
            library(**settings)(net, guard, task)
            consolidate(net, guard, task)
    assert_same_bits(net, by_hand(method, **plain))


def test_modules_that_step_by_themselves_say_how_long_an_epoch_is() -> None:
    net, guard = fresh()
    with pytest.raises(ValueError, match=r"automatic_optimization=False.*steps_per_epoch"):
        library(module=ByHand)(net, guard, 0)
    net, _ = learn_in(library(module=ByHand, options={"steps_per_epoch": 4}))
    assert_same_bits(net, by_hand())


@pytest.mark.parametrize(
    "settings",
    [
        {"limit_train_batches": 3},
        {"limit_train_batches": 0.5},
        {"precision": "bf16-mixed"},
        {"check_val_every_n_epoch": 1, "limit_val_batches": 2},
    ],
    ids=str,
)
def test_old_answers_keep_their_bits(settings: dict[str, Any]) -> None:
    seen = []

    def train(net: Net, guard: agscl.Guard, task: int) -> None:
        library(**settings)(net, guard, task)
        seen.append(int(guard.state_dict()["steps"]))

    learn_in(train, num_tasks=3)
    batches = {3: 3, 0.5: 2}.get(settings.get("limit_train_batches"), 4)
    assert seen == [EPOCHS * batches] * 3


AVERAGES = {
    "swa": lambda: callbacks.StochasticWeightAveraging(1e-2, swa_epoch_start=1),
    "ema": lambda: callbacks.EMAWeightAveraging(decay=0.5),
    "average": callbacks.WeightAveraging,
}


@pytest.mark.parametrize("name", AVERAGES)
def test_averages_of_weights_leave_what_is_frozen(name: str) -> None:
    learn_in(library(AVERAGES[name](), max_epochs=3), num_tasks=3)


class Batches:
    """Goes on where it was saved, as `torchdata.StatefulDataLoader` does; torch's own begins the epoch again."""

    def __init__(self, task: int) -> None:
        self.batches, self.position = list(loader(task)), 0

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Any:
        self.position %= len(self.batches)
        while self.position < len(self.batches):
            self.position += 1
            yield self.batches[self.position - 1]

    def state_dict(self) -> dict[str, Any]:
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.position = state["position"]


@pytest.mark.parametrize("saved_after", [1, 4, 6])
def test_a_resumed_fit_ends_with_the_same_bits(saved_after: int, tmp_path: Path) -> None:
    net, guard = fresh()
    library()(net, guard, 0)
    consolidate(net, guard, 0)

    class Stop(L.Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            if trainer.global_step == saved_after:
                trainer.save_checkpoint(tmp_path / "middle.ckpt")
                raise InterruptedError

    with pytest.raises(InterruptedError):
        trainer(guard, Stop()).fit(Lit(net, 1), Batches(1))
    learned = copy.deepcopy(net.state_dict())
    other, second = fresh()
    trainer(second).fit(Lit(other, 1), Batches(1), ckpt_path=tmp_path / "middle.ckpt")
    consolidate(other, second, 1)
    assert_same_bits(other, by_hand())
    assert any(not torch.equal(learned[name], value) for name, value in other.state_dict().items())


def test_a_checkpoint_without_the_guard_is_refused(tmp_path: Path) -> None:
    net, guard = fresh()
    plain = L.Trainer(max_epochs=1, accelerator="cpu", **QUIET)
    plain.fit(Lit(net, 0), loader(0))
    plain.save_checkpoint(tmp_path / "plain.ckpt")
    with pytest.raises(ValueError, match="saved by a trainer without GuardCallback"):
        trainer(guard).fit(Lit(net, 0), loader(0), ckpt_path=tmp_path / "plain.ckpt")


def test_evaluation_with_an_older_checkpoint_leaves_the_guard_alone(tmp_path: Path) -> None:
    net, guard = fresh()
    fitted = trainer(guard)
    fitted.fit(Lit(net, 0), loader(0))
    fitted.save_checkpoint(tmp_path / "end.ckpt")
    consolidate(net, guard, 0)
    weights = copy.deepcopy(net.state_dict())
    trainer(guard).validate(Lit(net, 0), loader(0), ckpt_path=tmp_path / "end.ckpt", verbose=False)
    assert guard.task == 1
    with pytest.raises(ValueError, match="changed outside attach"):  # the weights are those before consolidate
        library()(net, guard, 1)
    net.load_state_dict(weights)
    library()(net, guard, 1)


def test_a_second_fit_of_an_unconsolidated_task_is_refused_unless_it_is_meant() -> None:
    net, guard = fresh()
    library()(net, guard, 0)
    with pytest.raises(ValueError, match=r"task 0 was trained and not consolidated: call guard.consolidate"):
        library()(net, guard, 0)
    library(options={"same_task": True})(net, guard, 0)
    consolidate(net, guard, 0)
    library()(net, guard, 1)


def test_a_failed_fit_leaves_a_model_that_is_not_attached() -> None:
    net, guard = fresh()

    class Broken(Lit):
        def training_step(self, batch: Any, index: int) -> Any:
            if index == 2:
                raise InterruptedError
            return super().training_step(batch, index)

    with pytest.raises(InterruptedError):
        library(module=Broken)(net, guard, 0)
    assert guard.unconsolidated
    assert guard.verify().identical


def test_epochs_of_different_lengths_are_refused() -> None:
    net, guard = fresh()
    with pytest.raises(ValueError, match="an epoch had 4 steps and has 2 now"):
        library(callbacks.GradientAccumulationScheduler({0: 1, 1: 2}))(net, guard, 0)


class Stream(IterableDataset):
    def __iter__(self) -> Any:
        return iter(zip(*DATA[0], strict=True))


def test_data_without_a_length_needs_a_number_of_steps() -> None:
    net, guard = fresh()
    with pytest.raises(ValueError, match="the data has no length"):
        trainer(guard).fit(Lit(net, 0), DataLoader(Stream(), batch_size=BATCH))
    trainer(guard, max_steps=6).fit(Lit(net, 0), DataLoader(Stream(), batch_size=BATCH))
    assert int(guard.state_dict()["steps"]) == 6


def test_a_guard_of_another_model_is_refused() -> None:
    net, _ = fresh()
    _, guard = fresh()
    with pytest.raises(ValueError, match="the optimizer does not hold"):
        library()(net, guard, 0)


def test_a_search_for_the_learning_rate_leaves_no_trace(tmp_path: Path) -> None:
    from lightning.pytorch.tuner import Tuner

    def train(net: Net, guard: agscl.Guard, task: int) -> None:
        lit = Lit(net, task)
        lit.lr = 1e-2
        found = trainer(guard, default_root_dir=tmp_path)
        Tuner(found).lr_find(lit, loader(task), num_training=3, update_attr=False)
        found.fit(lit, loader(task))

    net, _ = learn_in(train)
    assert_same_bits(net, by_hand())


@pytest.mark.parametrize("precision", ["bf16-true", "16-mixed"])
def test_in_half_precision_old_answers_keep_their_bits(precision: str) -> None:
    net, guard = fresh()
    answers: list[torch.Tensor] = []
    for task in range(2):
        trainer(guard, precision=precision).fit(Lit(net, task), loader(task))
        kind = net.fc1.weight.dtype
        guard.consolidate([(x.to(kind), y) for x, y in loader(task)], lambda batch, task=task: net(batch[0])[task])
        answers.append(logits(net, 0, DATA[0][0].to(kind)))
    assert torch.equal(*answers)
    assert (kind == torch.bfloat16) == (precision == "bf16-true")


def test_the_lines_of_the_readme_run(monkeypatch: pytest.MonkeyPatch) -> None:
    import lightning

    monkeypatch.setattr(lightning, "Trainer", partial(L.Trainer, accelerator="cpu", **QUIET))
    net, guard = fresh()
    loaders = [loader(task) for task in range(2)]
    exec(
        example("Your loop", "integrations.lightning"),
        {"lightning": lightning, "Lit": Lit, "model": net, "guard": guard, "loaders": loaders},
    )
    assert guard.learned == (0, 1)
    assert guard.verify().identical
