"""A ViT, a BERT and a small GPT learn three tasks of real images: `make zoo IMAGES=DIR`."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf
from timm.models import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

import agscl
from agscl.methods import Method
from laws.three_tasks import Heads, Task, accuracies, on_frozen_trunk

SETS = ("gtsrb", "fashion_mnist", "mnist")
CLASSES, EACH, EPOCHS = 8, 60, 15
WIDTH = 48


def images(folder: Path, name: str, part: str) -> Task:
    """Grey images of 32 by 32 with numbers from 0 to 1, and labels, a few of each of eight classes."""
    (path,) = folder.glob(f"{name}*.npz")
    with np.load(path) as data:
        x, y = data[f"x_{part}"], torch.tensor(data[f"y_{part}"]).long()
    chosen = torch.cat([(y == label).nonzero().flatten()[:EACH] for label in range(CLASSES)])
    values = torch.tensor(x[chosen.numpy()]).float() / 255
    grey = values.mean(3) if values.ndim == 4 else F.pad(values, (2, 2, 2, 2))
    return grey, y[chosen]


@pytest.fixture(scope="module")
def tasks(request: pytest.FixtureRequest) -> list[tuple[Task, Task]]:
    folder: Path | None = request.config.getoption("--images")
    if folder is None:
        pytest.skip("needs a folder with gtsrb.npz, fashion_mnist.npz and mnist.npz: make zoo IMAGES=DIR")
    if missing := [name for name in SETS if len([*folder.glob(f"{name}*.npz")]) != 1]:
        pytest.skip(f"{folder} has no {missing[0]}.npz")
    return [(images(folder, name, "train"), images(folder, name, "test")) for name in SETS]


def pixels(x: Tensor) -> Tensor:
    return 2 * x.unsqueeze(1) - 1


def words(x: Tensor) -> Tensor:
    """Sixty-four tokens: the mean grey of each square, in sixteen steps."""
    return (F.avg_pool2d(x.unsqueeze(1), 4).flatten(1) * 15).round().long()


def vit() -> nn.Module:
    sizes = {"img_size": 32, "patch_size": 8, "in_chans": 1, "embed_dim": WIDTH, "depth": 2, "num_heads": 6}
    return VisionTransformer(**sizes, num_classes=0)


def bert() -> nn.Module:
    sizes = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 6, "intermediate_size": 4 * WIDTH}
    config = hf.BertConfig(vocab_size=16, max_position_embeddings=64, hidden_dropout_prob=0.0, **sizes)
    return hf.BertModel(config, add_pooling_layer=False)


def gpt() -> nn.Module:
    sizes = {"n_embd": WIDTH, "n_layer": 2, "n_head": 6, "n_positions": 64, "bos_token_id": 1, "eos_token_id": 2}
    return hf.GPT2Model(hf.GPT2Config(vocab_size=16, use_cache=False, **sizes))


METHODS: list[Method] = [
    agscl.AGSCL(mu=15, lam=math.inf, rho=0.5),
    agscl.GatedAGSCL(first=0.4, more=0.2, begin=2, end=EPOCHS - 5),
]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
@pytest.mark.parametrize(("make", "encode"), [(vit, pixels), (bert, words), (gpt, words)])
def test_it_learns_three_tasks_beyond_a_frozen_trunk_and_forgets_no_bit(make, encode, method, tasks, capsys) -> None:
    torch.manual_seed(0)
    encoded = [tuple((encode(x), y) for x, y in task) for task in tasks]
    reached, first = accuracies(Heads(make(), WIDTH, (CLASSES,) * 3), method, encoded, EPOCHS)
    rigid = on_frozen_trunk(first, encoded, EPOCHS)
    with capsys.disabled():
        figures = [" ".join(f"{share:.3f}" for share in shares) for shares in (reached, rigid)]
        print(f"\n{make.__name__}, {method.name}: {figures[0]}; later ones on a frozen trunk: {figures[1]}")  # noqa: T201
    assert sum(reached[1:]) > sum(rigid) + 0.05
