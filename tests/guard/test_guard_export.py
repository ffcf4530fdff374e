"""A guard writes the compact network of one task of any model, which answers as the whole one does."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import agscl
from laws.sequences import MLP, OPTIMIZERS, MobileNet, learn, logits, protected, tasks

onnxruntime = pytest.importorskip("onnxruntime")

FLAT, IMAGES = (3, 2, 2), (3, 8, 8)


def learned(net: type[nn.Module], shape: tuple[int, ...], **options: Any) -> tuple[nn.Module, agscl.Guard]:
    torch.manual_seed(0)
    model = net()
    guard = protected(model, agscl.AGSCL(lam=math.inf, **options), shape)
    for task in range(2):
        learn(guard, model, task, tasks(shape)[task], OPTIMIZERS["adam"], epochs=8)
    return model, guard


@pytest.mark.parametrize("net", [MLP, MobileNet])
def test_every_file_gives_the_tasks_outputs_for_any_batch(net: type[nn.Module], tmp_path: Path) -> None:
    shape = FLAT if net is MLP else IMAGES
    model, guard = learned(net, shape, mu=9, rho=0)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    exported = guard.export(1, tmp_path / "small")
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    program = torch.export.load(tmp_path / "small" / "model.pt2").module()
    session = onnxruntime.InferenceSession(tmp_path / "small" / "model.onnx", providers=["CPUExecutionProvider"])
    for batch in (1, 2, 5):
        x = torch.randn(batch, *shape)
        expected = logits(model, 1, x)
        (from_onnx,) = session.run(["task_1"], {"x": x.numpy()})
        torch.testing.assert_close(program(x), expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(torch.from_numpy(from_onnx), expected, rtol=1e-5, atol=1e-5)
    tensors = load_file(tmp_path / "small" / "model.safetensors")
    about = json.loads((tmp_path / "small" / "model.json").read_text())
    assert {name: list(tensor.shape) for name, tensor in tensors.items()} == about["tensors"]
    assert not any("heads.0" in name or "heads.2" in name for name in tensors)
    assert exported.after.parameters < exported.before.parameters
    assert about["layers"] == exported.layers


def test_a_head_that_all_tasks_share_and_a_forward_that_takes_the_task(tmp_path: Path) -> None:
    shared = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))

    class ByTask(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.heads = nn.Linear(3, 8), nn.ModuleList([nn.Linear(8, 2), nn.Linear(8, 2)])

        def forward(self, x: Tensor, task: int = 0) -> Tensor:
            out: Tensor = self.heads[task](torch.relu(self.fc(x)))
            return out

    by_task, x = ByTask(), torch.randn(6, 3)
    for model, heads in ((shared, None), (by_task, "heads")):
        guard = agscl.protect(model, agscl.AGSCL(mu=1, lam=math.inf), example_inputs=x[:1], heads=heads)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with guard.attach(optimizer, steps_per_epoch=1):
            model(x).square().sum().backward()
            optimizer.step()
        guard.consolidate([x], model)
        if heads is None:
            guard.export(0, tmp_path / "shared")
        else:
            with pytest.raises(ValueError, match=r"not those of all heads in order; say which .* forward=lambda model"):
                guard.export(0, tmp_path / "by task")
            guard.export(0, tmp_path / "by task", forward=lambda model, x: model(x, task=0))
    for folder, model in (("shared", shared), ("by task", by_task)):
        program = torch.export.load(tmp_path / folder / "model.pt2").module()
        torch.testing.assert_close(program(x), model(x))


def test_what_cannot_be_exported_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    model, guard = learned(MLP, FLAT, mu=9)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(ValueError, match="full is not empty"):
        guard.export(0, tmp_path / "full")
    with pytest.raises(ValueError, match=r"task 2 is not learned; learned are \[0, 1\]"):
        guard.export(2, tmp_path / "out")
    handle = model.fc2.register_forward_hook(lambda module, args, output: output)
    with pytest.raises(ValueError, match="cannot export 'fc2': it has hooks"):
        guard.export(0, tmp_path / "out")
    handle.remove()
    with torch.no_grad():
        model.heads[0].weight += 1  # type: ignore[index, union-attr]
    with pytest.raises(ValueError, match="earlier tasks rely on"):
        guard.export(0, tmp_path / "out")
    assert not (tmp_path / "out").exists()
