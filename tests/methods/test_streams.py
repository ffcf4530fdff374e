"""Residual streams: earlier tasks keep every bit, later ones write into the stream with nodes of their own."""

import copy
import math
from collections.abc import Callable

import pytest
import torch
import transformers as hf
from sklearn.datasets import load_digits
from timm.models import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

import agscl
from agscl.methods.masks import frozen_into_streams
from agscl.methods.method import Method, Network
from agscl.methods.subnetworks.replaced_tensors import replace_tensors_in_forward
from laws import zoo

Task = tuple[Tensor, Tensor]


class Heads(nn.Module):
    """A trunk with a head for each of three tasks."""

    def __init__(self, trunk: nn.Module, width: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.heads = nn.ModuleList(nn.Linear(width, classes) for classes in (3, 3, 4))

    def forward(self, x: Tensor) -> list[Tensor]:
        features = self.trunk(x)
        if isinstance(self.trunk, hf.PreTrainedModel):
            features = features.last_hidden_state.mean(1)
        return [head(features) for head in self.heads]


def vit() -> nn.Module:
    trunk = VisionTransformer(
        img_size=8, patch_size=2, in_chans=1, num_classes=0, embed_dim=32, depth=1, num_heads=8, mlp_ratio=2
    )
    return Heads(trunk, 32)


SIZES = {"vocab_size": 17, "num_hidden_layers": 1, "num_attention_heads": 8, "hidden_size": 32}


def bert() -> nn.Module:
    config = hf.BertConfig(**SIZES, intermediate_size=64, max_position_embeddings=16, hidden_dropout_prob=0.0)
    return Heads(hf.BertModel(config, add_pooling_layer=False), 32)


def gpt() -> nn.Module:
    return Heads(
        hf.GPT2Model(hf.GPT2Config(vocab_size=17, n_embd=32, n_layer=1, n_head=8, n_positions=16, use_cache=False)), 32
    )


def pixels(images: Tensor) -> Tensor:
    return images.unsqueeze(1) / 8 - 1


def words(images: Tensor) -> Tensor:
    """Sixteen tokens: the mean grey of each square of four pixels."""
    return F.avg_pool2d(images.unsqueeze(1), 2).flatten(1).round().long()


def digits(encode: Callable[[Tensor], Tensor]) -> list[tuple[Task, Task]]:
    """Three tasks of three, three and four digits, each with training and test examples."""
    data = load_digits()
    images, labels = torch.tensor(data.images, dtype=torch.float32), torch.tensor(data.target)
    tasks = []
    for first, last in ((0, 3), (3, 6), (6, 10)):
        chosen = ((labels >= first) & (labels < last)).nonzero().flatten()
        x, y = encode(images[chosen]), labels[chosen] - first
        tasks.append(((x[:320], y[:320]), (x[320:], y[320:])))
    return tasks


def learn(net: nn.Module, optimizer: torch.optim.Optimizer, task: int, data: Task, epochs: int) -> None:
    net.train()
    generator = torch.Generator().manual_seed(task)
    for _ in range(epochs):
        for batch in torch.randperm(len(data[0]), generator=generator).split(32):
            optimizer.zero_grad()
            F.cross_entropy(net(data[0][batch])[task], data[1][batch]).backward()
            optimizer.step()


@torch.no_grad()
def logits(net: nn.Module, task: int, x: Tensor) -> Tensor:
    net.eval()
    return net(x)[task]


def accuracies(net: nn.Module, method: Method, tasks: list[tuple[Task, Task]], epochs: int) -> list[float]:
    """Test accuracy on each task when it was learned; every earlier task must keep its logits, bit for bit."""
    guard = agscl.protect(net, method, example_inputs=tasks[0][0][0][:2], heads="heads")
    kept, reached = [], []
    for task, (train, (x, y)) in enumerate(tasks):
        optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
        with guard.attach(optimizer, steps_per_epoch=10):
            learn(net, optimizer, task, train, epochs)
        guard.consolidate([train[0]], predict=lambda batch, task=task: net(batch)[task])
        guard.use_task(task)
        kept.append(logits(net, task, x))
        reached.append(float((kept[-1].argmax(1) == y).float().mean()))
        for earlier, answers in enumerate(kept):
            guard.use_task(earlier)
            assert torch.equal(logits(net, earlier, tasks[earlier][1][0]), answers)
        if task + 1 < len(tasks):
            guard.use_task(task + 1)
    return reached


@pytest.mark.parametrize(("make", "encode"), [(vit, pixels), (bert, words), (gpt, words)])
def test_transformers_learn_three_tasks_and_forget_no_bit(
    make: Callable[[], nn.Module], encode: Callable[[Tensor], Tensor]
) -> None:
    tasks = digits(encode)
    torch.manual_seed(0)
    plastic = accuracies(make(), agscl.AGSCL(mu=60, lam=math.inf, rho=0.5), tasks, epochs=8)
    torch.manual_seed(0)
    rigid = accuracies(make(), agscl.AGSCL(mu=0, lam=math.inf, rho=0), tasks, epochs=8)
    assert sum(plastic[1:]) > sum(rigid[1:]) + 0.1
