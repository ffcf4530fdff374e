"""What a method shows for a task is what copies, compact networks and exported files answer by their own tensors."""

import copy
from pathlib import Path

import pytest
import torch
import transformers as hf
from torch import Tensor, nn
from torch.nn import functional as F

import agscl
from agscl.methods import Method
from agscl.nodes import compact, inert_nodes, removable
from agscl.nodes.surgery.copies import plain_copy
from laws.encoders import EXACT, X, logits, trained
from laws.sequences import OPTIMIZERS, MobileNet, learn, protected, tasks

METHODS = [EXACT[0], *EXACT[2:], agscl.WSN(), agscl.SingleTask()]
IMAGES = (3, 8, 8)


@pytest.fixture(autouse=True)
def slow_attention():
    """Torch's encoder layers take another path without hooks, with other last bits."""
    torch.backends.mha.set_fastpath_enabled(False)
    yield
    torch.backends.mha.set_fastpath_enabled(True)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_a_copy_answers_the_task_that_is_shown_to_the_bit(method: Method) -> None:
    torch.manual_seed(0)
    images = MobileNet()
    guard = protected(images, method, IMAGES)
    for task in range(2):
        learn(guard, images, task, tasks(IMAGES)[task], OPTIMIZERS["adam"], epochs=1)
    encoder, other, _ = trained(method, 2)
    for net, shower, x in ((images, guard, torch.randn(5, *IMAGES)), (encoder, other, X)):
        for task in (0, 1, 2):
            shower.use_task(task)
            plain = plain_copy(net.eval())
            assert not any(module._forward_pre_hooks or module._forward_hooks for module in plain.modules())
            assert torch.equal(logits(plain, task, x), logits(net, task, x))


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_the_compact_network_of_a_task_that_is_shown_answers_it(method: Method) -> None:
    net, guard, _ = trained(method, 3)
    before = copy.deepcopy(net.state_dict())
    gone = []
    for task in (0, 2):
        guard.use_task(task)
        expected = logits(net, task, X)
        drop = removable(net, guard.graph, inert_nodes(net, guard.graph, X[:2], [task]), X[:2])
        gone.append(sum(int(nodes.sum()) for nodes in drop.values()))
        small = compact(net, guard.graph, drop, X[:2])
        assert torch.allclose(logits(small, task, X), expected, atol=1e-6)
        assert torch.equal(logits(net, task, X), expected)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    if method.name in ("ags-cl", "gated-ags-cl"):
        assert gone[0] > 0  # what later tasks took is not there for the first


class Answers(nn.Module):
    """A small BERT with a head for each of two tasks; it takes ids and a mask by name."""

    def __init__(self) -> None:
        super().__init__()
        sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12}
        self.trunk = hf.BertModel(hf.BertConfig(vocab_size=9, **sizes), add_pooling_layer=False)
        self.heads = nn.ModuleList([nn.Linear(8, 2), nn.Linear(8, 3)])

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> list[Tensor]:
        features = self.trunk(input_ids, attention_mask=attention_mask).last_hidden_state[:, 0]
        return [head(features) for head in self.heads]


def test_files_of_an_early_task_answer_it_after_later_ones(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    net, ids = Answers(), torch.randint(1, 9, (6, 5))
    mask = torch.ones_like(ids)
    mask[::2, 3:] = 0
    inputs = {"input_ids": ids, "attention_mask": mask}
    guard = agscl.protect(net, agscl.GatedAGSCL(begin=1, end=1), example_inputs=inputs, heads="heads")
    for task in range(2):
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
        with guard.attach(optimizer, steps_per_epoch=2):
            net.train()
            for _ in range(6):
                optimizer.zero_grad()
                F.cross_entropy(net(**inputs)[task], ids[:, 0] % 2).backward()
                optimizer.step()
        guard.consolidate([inputs], lambda batch, task=task: net(**batch)[task])
    expected = [logits_of(net, guard, task, inputs) for task in range(2)]
    exported = guard.export(0, tmp_path / "small")
    assert [torch.equal(logits_of(net, guard, task, inputs), expected[task]) for task in range(2)] == [True, True]
    assert exported.after.parameters < exported.before.parameters
    found = torch.export.load(tmp_path / "small" / "model.pt2").module()(ids, mask)
    session = onnxruntime.InferenceSession(tmp_path / "small" / "model.onnx", providers=["CPUExecutionProvider"])
    (from_onnx,) = session.run(["task_0"], {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
    torch.testing.assert_close(found, expected[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(torch.from_numpy(from_onnx), expected[0], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def logits_of(net: nn.Module, guard: agscl.Guard, task: int, inputs: dict[str, Tensor]) -> Tensor:
    guard.use_task(task)
    answer: Tensor = net.eval()(**inputs)[task]
    return answer
