"""Code of the README, to be run where the libraries are that it uses."""

import re
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def example(heading: str, word: str) -> str:
    """The one code block below a heading that has a word in it."""
    sections = re.split(r"^## ", README.read_text(), flags=re.MULTILINE)
    (section,) = [part for part in sections if part.startswith(heading)]
    blocks = re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    (code,) = [block for block in blocks if word in block]
    return code
