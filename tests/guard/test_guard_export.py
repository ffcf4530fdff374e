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
from agscl.methods import Method
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


METHODS: dict[str, Method] = {
    "gated-ags-cl": agscl.GatedAGSCL(first=0.5, more=0.2, begin=1, end=2), "hat": agscl.HAT(gamma=2.0, smax=20.0),
    "packnet": agscl.PackNet(train_epochs=2), "wsn": agscl.WSN(c=0.3), "single": agscl.SingleTask(),
}  # fmt: skip


def learned_by(method: Method, net: type[nn.Module], shape: tuple[int, ...]) -> tuple[nn.Module, agscl.Guard]:
    torch.manual_seed(0)
    model = net()
    guard = protected(model, method, shape)
    for task in range(3):
        guard.use_task(task)
        learn(guard, model, task, tasks(shape)[task], OPTIMIZERS["adam"], epochs=4)
    return model, guard


@pytest.mark.parametrize("net", [MLP, MobileNet])
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_each_task_has_a_network_of_its_own_that_answers_without_guard_and_method(
    method: Method, net: type[nn.Module]
) -> None:
    shape = FLAT if net is MLP else IMAGES
    model, guard = learned_by(method, net, shape)
    state = {name: tensor.clone() for name, tensor in {**model.state_dict(), **guard.state_dict()}.items()}
    x = torch.randn(5, *shape)
    for task in range(3):
        guard.use_task(task)
        expected = logits(model, task, x)
        guard.use_task(3)
        whole, small = guard.extract(task, compact=False), guard.extract(task)
        assert torch.equal(logits(whole, task, x), expected)
        torch.testing.assert_close(logits(small, task, x), expected, rtol=1e-5, atol=1e-5)
        assert not any(name.startswith(("node_gain", "hat_", "wsn_")) for name in small.state_dict())
        assert not any(module._forward_pre_hooks or module._forward_hooks for module in small.modules())
        if isinstance(method, agscl.GatedAGSCL):
            used = {layer.name: guard.state_dict()[f"method.gain.{task}.{layer.name}"] != 0 for layer in nodes(guard)}
            left = agscl.trace(small, x, heads="heads").layers
            assert {layer.name: layer.num_nodes for layer in left if layer.kind == "nodes"} == {
                name: int(chosen.sum()) for name, chosen in used.items()
            }
    now = {**model.state_dict(), **guard.state_dict()}
    assert all(torch.equal(tensor, now[name]) for name, tensor in state.items())


def test_gains_are_in_the_weights_of_what_is_exported(tmp_path: Path) -> None:
    model, guard = learned_by(METHODS["gated-ags-cl"], MLP, FLAT)
    exported, x = guard.export(1, tmp_path / "one"), torch.randn(5, *FLAT)
    program = torch.export.load(tmp_path / "one" / "model.pt2").module()
    guard.use_task(1)
    torch.testing.assert_close(program(x), logits(model, 1, x), rtol=1e-5, atol=1e-5)
    assert exported.after.parameters < 0.7 * exported.before.parameters


def nodes(guard: agscl.Guard) -> list[agscl.nodes.NodeLayer]:
    return [layer for layer in guard.graph.layers if layer.kind == "nodes"]


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
    handle = model.fc1.register_forward_hook(lambda module, args, output: 2 * output)  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="'fc1' has hooks"):
        guard.export(0, tmp_path / "out")
    handle.remove()
    with torch.no_grad():
        model.heads[0].weight += 1  # type: ignore[index, union-attr]
    with pytest.raises(ValueError, match="earlier tasks rely on"):
        guard.export(0, tmp_path / "out")
    assert not (tmp_path / "out").exists()
