"""Hugging Face's own trainer, and loops on accelerate: exact, the same as a loop by hand, or refused by name."""

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, IterableDataset, SequentialSampler, TensorDataset

import agscl
from laws.bridges import BATCH, DATA, EPOCHS, Net, assert_same_bits, by_hand, consolidate, fresh, learn_in
from laws.bridges import optimizer as adamw

transformers = pytest.importorskip("transformers")
accelerate = pytest.importorskip("accelerate")

from agscl.integrations.huggingface import GuardCallback  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # the library's own advice


class Rows(Dataset):
    def __init__(self, task: int) -> None:
        self.x, self.y = DATA[task]

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"x": self.x[index], "labels": self.y[index]}


class Stream(IterableDataset):
    def __iter__(self) -> Any:
        rows = Rows(0)
        return (rows[index] for index in range(len(rows)))


class WithLoss(nn.Module):
    """What the trainer wants of a model."""

    def __init__(self, net: Net, task: int) -> None:
        super().__init__()
        self.net, self.task = net, task

    def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        logits = self.net(x)[self.task]
        return {"loss": F.cross_entropy(logits, labels), "logits": logits}


class InOrder(transformers.Trainer):
    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return SequentialSampler(train_dataset or self.train_dataset)


class Interrupt(transformers.TrainerCallback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.step:
            raise InterruptedError


def trainer(
    net: Net,
    guard: agscl.Guard,
    task: int,
    folder: Path,
    *more: Any,
    options: dict[str, Any] | None = None,
    data: Any = None,
    **settings: Any,
) -> transformers.Trainer:
    quiet = {"use_cpu": True, "report_to": [], "disable_tqdm": True, "logging_strategy": "no", "max_grad_norm": 0}
    batch = {"per_device_train_batch_size": BATCH}
    settings = {"num_train_epochs": EPOCHS, "save_strategy": "no", **batch, **quiet, **settings}
    optimizer = adamw(net.parameters())
    return InOrder(
        WithLoss(net, task),
        transformers.TrainingArguments(str(folder), **settings),
        train_dataset=Rows(task) if data is None else data,
        eval_dataset=Rows(task),
        callbacks=[GuardCallback(guard, **(options or {})), *more],
        optimizers=(optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)),
    )


@pytest.mark.parametrize(
    ("settings", "plain"),
    [
        ({}, {}),
        ({"gradient_accumulation_steps": 3}, {"accumulate": 3, "whole_windows": False}),
        ({"max_grad_norm": 0.01}, {"clip": 0.01}),
        ({"max_steps": 3}, {"max_steps": 3}),
        ({"max_steps": 6}, {"max_steps": 6}),
        ({"num_train_epochs": 0.5}, {"max_steps": 2}),
    ],
    ids=str,
)
def test_the_trainer_gives_the_bits_of_the_loop_by_hand(
    settings: dict[str, Any], plain: dict[str, Any], tmp_path: Path
) -> None:
    net, _ = learn_in(lambda net, guard, task: trainer(net, guard, task, tmp_path, **settings).train())
    assert_same_bits(net, by_hand(**plain))


def test_a_penalty_acts_on_the_same_steps_as_in_the_loop_by_hand(tmp_path: Path) -> None:
    method = agscl.AGSCL(mu=1, lam=4)
    net, guard = fresh(method)
    for task in range(2):
        trainer(net, guard, task, tmp_path, gradient_accumulation_steps=3).train()
        consolidate(net, guard, task)
    assert_same_bits(net, by_hand(method, accumulate=3, whole_windows=False))


def test_old_answers_keep_their_bits_in_bfloat16(tmp_path: Path) -> None:
    learn_in(lambda net, guard, task: trainer(net, guard, task, tmp_path, bf16=True).train())


@pytest.mark.parametrize("step", [1, 4, 6])
def test_training_resumed_from_a_checkpoint_ends_with_the_same_bits(step: int, tmp_path: Path) -> None:
    net, guard = fresh()
    saving = {"save_strategy": "steps", "save_steps": step}
    trainer(net, guard, 0, tmp_path / "a").train()
    consolidate(net, guard, 0)
    with pytest.raises(InterruptedError):
        trainer(net, guard, 1, tmp_path / "b", Interrupt(step), **saving).train()
    other, second = fresh()
    trainer(other, second, 1, tmp_path / "b").train(resume_from_checkpoint=True)
    consolidate(other, second, 1)
    assert_same_bits(other, by_hand())


def test_what_does_not_belong_to_a_checkpoint_is_refused(tmp_path: Path) -> None:
    saving, (one, two) = {"save_strategy": "steps", "save_steps": 2}, (tmp_path / name for name in "ab")
    net, guard = fresh()
    for folder, options in ((one, {}), (two, {"same_task": True})):
        trainer(net, guard, 0, folder, options=options, **saving).train()
    moved = shutil.copytree(one / "checkpoint-4", tmp_path / "moved")
    other, second = fresh()
    with pytest.raises(ValueError, match="not those that the guard's state was saved with"):  # of another run
        trainer(other, second, 0, two).train(resume_from_checkpoint=str(moved))
    with pytest.raises(ValueError, match=r"goes on at step 4, and .*/c/checkpoint-4 has no state of the guard"):
        trainer(other, second, 0, tmp_path / "c").train(resume_from_checkpoint=str(moved))
    trainer(other, second, 0, two, options={"checkpoint": moved}).train(resume_from_checkpoint=str(moved))
    state = moved / "guard.safetensors"
    state.write_bytes(state.read_bytes()[:-1] + b"?")
    other, second = fresh()
    with pytest.raises(ValueError, match="safetensors is damaged"):
        trainer(other, second, 0, two, options={"checkpoint": moved}).train(resume_from_checkpoint=str(moved))


def test_the_best_weights_are_consolidated_unless_the_method_still_cuts(tmp_path: Path) -> None:
    best = {"load_best_model_at_end": True, "save_strategy": "steps", "eval_strategy": "steps", "eval_steps": 1}
    best |= {"save_steps": 1, "save_total_limit": 1, "metric_for_best_model": "loss"}
    learn_in(lambda net, guard, task: trainer(net, guard, task, tmp_path / str(task), **best).train())
    net, guard = fresh(agscl.PackNet())
    with pytest.raises(ValueError, match="load_best_model_at_end may bring back weights"):
        trainer(net, guard, 0, tmp_path, **best).train()
    assert not guard.attached


def test_training_twice_without_consolidating_is_refused_unless_it_is_meant(tmp_path: Path) -> None:
    net, guard = fresh()
    trainer(net, guard, 0, tmp_path).train()
    with pytest.raises(ValueError, match=r"task 0 was trained and not consolidated: call guard.consolidate"):
        trainer(net, guard, 0, tmp_path).train()
    trainer(net, guard, 0, tmp_path, options={"same_task": True}).train()
    consolidate(net, guard, 0)


def test_a_failed_training_is_left_by_close_or_begun_anew_by_the_same_callback(tmp_path: Path) -> None:
    net, guard = fresh()
    failing = trainer(net, guard, 0, tmp_path, Interrupt(2))
    with pytest.raises(InterruptedError):
        failing.train()
    with pytest.raises(ValueError, match=r"attached already.*close\(\)"):
        trainer(net, guard, 0, tmp_path).train()
    failing.pop_callback(Interrupt)
    failing.train()
    consolidate(net, guard, 0)
    failing = trainer(net, guard, 1, tmp_path, Interrupt(2))
    with pytest.raises(InterruptedError):
        failing.train()
    failing.pop_callback(GuardCallback).close()
    assert guard.unconsolidated


def test_data_without_a_length_is_one_epoch_of_all_steps(tmp_path: Path) -> None:
    net, guard = fresh()
    trainer(net, guard, 0, tmp_path, data=Stream(), max_steps=5).train()
    assert int(guard.state_dict()["steps"]) == 5


def test_a_guard_of_another_model_is_refused(tmp_path: Path) -> None:
    net, _ = fresh()
    _, guard = fresh()
    with pytest.raises(ValueError, match="the optimizer does not hold"):
        trainer(net, guard, 0, tmp_path).train()


def on_accelerate(folder: Path, *, until: int = EPOCHS, go_on: bool = False) -> Any:
    """A loop as its users write it; it saves and leaves after some epochs, or goes on from there."""

    def train(net: Net, guard: agscl.Guard, task: int) -> None:
        accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=3)
        accelerator.register_for_checkpointing(guard)
        loader = DataLoader(TensorDataset(*DATA[task]), batch_size=BATCH)
        model, optimizer, loader = accelerator.prepare(net, adamw(net.parameters()), loader)
        steps = math.ceil(len(loader) / accelerator.gradient_accumulation_steps)
        if go_on:
            accelerator.load_state(folder)
        with guard.attach(optimizer, steps_per_epoch=steps):
            for _ in range(int(guard.state_dict()["steps"]) // steps, until):
                for x, y in loader:
                    with accelerator.accumulate(model):
                        accelerator.backward(F.cross_entropy(model(x)[task], y))
                        optimizer.step()
                        optimizer.zero_grad()
            if until < EPOCHS:
                accelerator.save_state(folder)

    return train


def test_a_loop_on_accelerate_needs_no_bridge(tmp_path: Path) -> None:
    net, _ = learn_in(on_accelerate(tmp_path))
    assert_same_bits(net, by_hand(accumulate=3))


def test_a_loop_on_accelerate_goes_on_from_its_own_checkpoint(tmp_path: Path) -> None:
    on_accelerate(tmp_path, until=1)(*fresh(), 0)
    net, guard = fresh()
    on_accelerate(tmp_path, go_on=True)(net, guard, 0)
    consolidate(net, guard, 0)
    on_accelerate(tmp_path)(net, guard, 1)
    consolidate(net, guard, 1)
    assert_same_bits(net, by_hand(accumulate=3))
