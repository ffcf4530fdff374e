"""The examples do what they say."""

import runpy
from pathlib import Path

TEXT = Path(__file__).parents[2] / "examples" / "text.py"


def test_a_text_classifier_learns_three_tasks_of_documentation_and_forgets_no_bit() -> None:
    reached, rigid, same = runpy.run_path(str(TEXT))["main"](epochs=5)
    assert same
    assert min(reached) > 0.5  # three classes
    assert sum(reached[1:]) > sum(rigid[1:]) + 0.1
