"""A text classifier learns three tasks one after the other, and forgets none.

The text is Python's own documentation: which part of the standard library does a sentence come from? Nothing is
downloaded, and the small BERT begins with random weights. Needs `pip install transformers`; takes half a minute:

    python examples/text.py
"""

from __future__ import annotations

import ast
import copy
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers as hf
from torch import Tensor, nn
from torch.nn import functional as F

import agscl

TASKS = (("email", "http", "xml"), ("unittest", "asyncio", "logging"), ("_pydecimal", "importlib", "typing"))
WORDS, SHORTEST, LENGTH, SENTENCES = 2000, 4, 16, 360
LIBRARY = Path(ast.__file__).parent


def sentences(module: str) -> list[str]:
    """The sentences of all docstrings of a module or package, each once."""
    files = sorted((LIBRARY / module).rglob("*.py")) or [LIBRARY / f"{module}.py"]
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    trees = (ast.walk(ast.parse(file.read_text(encoding="utf-8"))) for file in files)
    texts = [ast.get_docstring(node) or "" for tree in trees for node in tree if isinstance(node, documented)]
    paragraphs = [" ".join(part.split()) for text in texts for part in text.split("\n\n") if ">>>" not in part]
    found = [sentence for part in paragraphs for sentence in re.split(r"(?<=[.!?]) ", part)]
    return [sentence for sentence in dict.fromkeys(found) if len(sentence.split()) >= SHORTEST]


def ids(sentence: str) -> list[int]:
    """A sentence as numbers of words, from 1; 0 fills the rest of the line."""
    words = [zlib.crc32(word.encode()) % (WORDS - 1) + 1 for word in re.findall("[a-z]+", sentence.lower())]
    return (words + [0] * LENGTH)[:LENGTH]


@dataclass(frozen=True)
class Task:
    """Sentences with the number of their module, shape ``(N, LENGTH)`` and ``(N,)``."""

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


def load() -> list[Task]:
    """The three tasks; a fifth of the sentences is for the test."""
    tasks, generator = [], torch.Generator().manual_seed(0)
    for modules in TASKS:
        lines = [(ids(s), label) for label, module in enumerate(modules) for s in sentences(module)[:SENTENCES]]
        x, y = torch.tensor([line for line, _ in lines]), torch.tensor([label for _, label in lines])
        order = torch.randperm(len(x), generator=generator)
        train, test = order[len(x) // 5 :], order[: len(x) // 5]
        tasks.append(Task((x[train], y[train]), (x[test], y[test])))
    return tasks


class Classifier(nn.Module):
    """A small BERT with a head for each task."""

    def __init__(self) -> None:
        super().__init__()
        config = hf.BertConfig(
            vocab_size=WORDS,
            hidden_size=48,
            num_hidden_layers=1,
            num_attention_heads=6,
            intermediate_size=96,
            max_position_embeddings=LENGTH,
        )
        self.bert = hf.BertModel(config, add_pooling_layer=False)
        self.heads = nn.ModuleList([nn.Linear(48, len(modules)) for modules in TASKS])

    def forward(self, input_ids: Tensor) -> list[Tensor]:
        """The logits of all tasks."""
        mask = (input_ids != 0).long()
        states = self.bert(input_ids, attention_mask=mask).last_hidden_state * mask.unsqueeze(2)
        return [head(states.sum(1) / mask.sum(1, keepdim=True)) for head in self.heads]


def learn(model: nn.Module, optimizer: torch.optim.Optimizer, number: int, task: Task, epochs: int) -> None:
    """A plain training loop."""
    x, y = task.train
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(32):
            optimizer.zero_grad()
            F.cross_entropy(model(x[batch])[number], y[batch]).backward()
            optimizer.step()


@torch.no_grad()
def logits(model: nn.Module, number: int, task: Task) -> Tensor:
    """A task's logits on its test sentences."""
    answer: Tensor = model.eval()(task.test[0])[number]
    return answer


def accuracy(answers: Tensor, task: Task) -> float:
    """Share of the test sentences that are told right."""
    return float((answers.argmax(1) == task.test[1]).float().mean())


def main(epochs: int = 8) -> tuple[list[float], list[float], bool]:
    """Learn the three tasks.

    Returns:
        Accuracies at the end, those of new heads on the trunk of the first task, and whether every logit of every
        task is, at the end, what it was when the task was learned.
    """
    torch.manual_seed(0)
    tasks, model = load(), Classifier()
    method = agscl.GatedAGSCL(end=epochs - 2)
    guard = agscl.protect(model, method, example_inputs=tasks[0].train[0][:2], heads="heads")
    learned = []
    for number, task in enumerate(tasks):
        optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
        with guard.attach(optimizer, steps_per_epoch=-(-len(task.train[0]) // 32)):
            learn(model.train(), optimizer, number, task, epochs)
        guard.consolidate([task.train[0]], predict=lambda x, number=number: model(x)[number])
        guard.use_task(number)
        learned.append(logits(model, number, task))
        if number == 0:
            frozen = copy.deepcopy(model)
        guard.use_task(min(number + 1, len(tasks) - 1))

    rigid = [accuracy(learned[0], tasks[0])]
    for number in (1, 2):  # what a frozen trunk can do: its head alone learns
        learn(frozen, torch.optim.Adam(frozen.heads[number].parameters(), lr=2e-3), number, tasks[number], epochs)
        rigid.append(accuracy(logits(frozen, number, tasks[number]), tasks[number]))

    finally_ = []
    for number, task in enumerate(tasks):
        guard.use_task(number)
        finally_.append(logits(model, number, task))
    same = all(torch.equal(now, then) for now, then in zip(finally_, learned, strict=True))
    return [accuracy(*pair) for pair in zip(finally_, tasks, strict=True)], rigid, same


if __name__ == "__main__":
    reached, rigid, same = main()
    for modules, plastic, frozen in zip(TASKS, reached, rigid, strict=True):
        print(f"{', '.join(modules):30} {plastic:6.1%} (new head on the first task's trunk: {frozen:6.1%})")
    print("every logit is what it was when its task was learned, bit for bit" if same else "logits have changed")
