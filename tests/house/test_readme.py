"""What README and CONTRIBUTING show is true: their examples run and print what they say."""

import contextlib
import io
import re
import subprocess
import sys
from pathlib import Path

import torch
from torch import nn

import agscl
from agscl.methods import METHODS
from agscl.nodes import Call

ROOT = Path(__file__).parents[2]


def blocks(page: str, heading: str) -> list[str]:
    """The code blocks of one section."""
    section = re.split(r"^## ", (ROOT / page).read_text(), flags=re.MULTILINE)
    (text,) = [part for part in section if part.startswith(heading)]
    return re.findall(r"^```\w*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def test_the_printed_node_graph_is_what_the_example_prints() -> None:
    code, expected = blocks("README.md", "The node graph")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, {})
    assert printed.getvalue() == expected


def test_the_ten_lines_run_around_any_loop() -> None:
    (code,) = blocks("README.md", "Ten lines")
    loop = """
        for inputs, labels in loader:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(inputs)[task], labels).backward()
            optimizer.step()
"""
    code = code.replace("        ...  # the training loop that was there before, unchanged\n", loop)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Linear(3, 8)
            self.heads = nn.ModuleList([nn.Linear(8, 2), nn.Linear(8, 2)])

        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            return [head(torch.relu(self.hidden(x))) for head in self.heads]

    x = torch.randn(8, 3)
    scope = {"torch": torch, "model": Net(), "x": x, "loaders": [[(x, torch.arange(8) % 2)] * 2] * 2}
    exec(code, scope)
    assert isinstance(scope["guard"], agscl.Guard)
    assert scope["guard"].task == 2


def test_two_processes_that_run_the_script_hold_the_same_bits(tmp_path: Path) -> None:
    (code,) = blocks("README.md", "Many processes")
    script = tmp_path / "train.py"
    sums = "[t.double().sum().item() for t in (*model.state_dict().values(), *guard.importance.values())]"
    shown = f"import os\nopen(f'{tmp_path}/{{os.environ['RANK']}}', 'w').write(str({sums}))\n"
    script.write_text(code + shown.replace("os.environ['RANK']", 'os.environ["RANK"]'))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    first, second = ((tmp_path / rank).read_text() for rank in "01")
    assert first == second != "[]"


def test_the_table_of_methods_names_every_method() -> None:
    text = (ROOT / "README.md").read_text()
    rows = re.findall(r"^\| ((?:`[a-z-]+`(?:, )?)+) \|", text.partition("## Methods")[2], flags=re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([a-z-]+)`", row)}
    assert set(METHODS) <= named


def test_the_example_rule_works() -> None:
    (code,) = blocks("CONTRIBUTING.md", "Adding a rule")
    scope: dict[str, object] = {}
    exec(code, scope)

    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = nn.Parameter(torch.ones(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.special.erf(x) * self.factor

    model = nn.Sequential(nn.Linear(3, 4), Scale(), nn.Linear(4, 2))
    (layer,) = agscl.trace(model, torch.randn(2, 3), rules={Scale: scope["scale"]}).layers
    assert "1.factor" in {piece.parameter for piece in layer.incoming}
    assert Call.__name__ in code
