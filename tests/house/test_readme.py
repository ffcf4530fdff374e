"""What README and CONTRIBUTING show is true: their examples run and print what they say."""

import re
from pathlib import Path

import torch
from torch import nn

import agscl
from agscl.cli import main
from agscl.nodes import Call

ROOT = Path(__file__).parents[2]


def blocks(page: str, heading: str) -> list[str]:
    """The code blocks of one section."""
    section = re.split(r"^## ", (ROOT / page).read_text(), flags=re.MULTILINE)
    (text,) = [part for part in section if part.startswith(heading)]
    return re.findall(r"^```\w*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def test_the_table_of_results_is_that_of_the_records() -> None:
    assert main(["tables", str(ROOT / "README.md"), "--check"]) == 0


def test_every_link_of_a_page_leads_to_a_file() -> None:
    """On the site links are checked when it is built; these are read where they lie."""
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "results" / "README.md", ROOT / "SECURITY.md"):
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / link).is_file(), (page.name, link)


def test_the_first_page_is_two_screens() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 100


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
