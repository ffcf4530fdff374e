"""Importing the library is cheap, changes nothing global, and offers what the stubs promise."""

import ast
import subprocess
import sys
from pathlib import Path

import agscl


def fresh(code: str) -> str:
    """What a new interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_names_for_type_checkers_are_the_names_at_run_time() -> None:
    tree = ast.parse(Path(agscl.__file__).read_text())
    (guarded,) = [node for node in tree.body if isinstance(node, ast.If)]
    declared = {alias.asname for node in guarded.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert declared == set(dir(agscl))
    assert all(getattr(agscl, name) is not None for name in declared)


def test_the_command_line_starts_without_torch() -> None:
    assert fresh("import sys, agscl.cli; print('torch' in sys.modules)") == "False"


def test_protecting_a_model_loads_torch_and_nothing_heavier() -> None:
    heavy = ["pydantic", "rich", "polars", "matplotlib", "scipy", "sklearn", "torchvision", "gymnasium"]
    code = f"import sys, agscl; agscl.protect; print([name for name in {heavy} if name in sys.modules])"
    assert fresh(code) == "[]"


def test_importing_leaves_the_seed_and_the_default_dtype_alone() -> None:
    code = (
        "import torch; torch.manual_seed(3); before = torch.get_rng_state();"
        "import agscl; agscl.protect; agscl.metrics; agscl.AGSCL;"
        "print(torch.equal(before, torch.get_rng_state()), torch.get_default_dtype())"
    )
    assert fresh(code) == "True torch.float32"
