"""Pages in Markdown as things to run: their Python in order, their commands through the real parser."""

import contextlib
import doctest
import io
import re
import shlex
from pathlib import Path
from typing import NamedTuple

from agscl.cli import main

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FENCE = re.compile(
    r"^(?:<!-- (?P<mark>[a-z ]+) -->\n)?```(?P<language>[\w{}-]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
PROCESSES = "two processes"
"""Mark of a script for torchrun, which has a test of its own."""

ABOUT = "about"
"""Mark of what is printed where the numbers depend on the machine: they are not compared, all else is."""

MARKS = {"", "run", ABOUT, PROCESSES}

CHECKER, ELLIPSIS = doctest.OutputChecker(), doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Block(NamedTuple):
    """A fenced block: its mark (a comment on the line above), its language, its text, and the line it begins at."""

    mark: str
    language: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page."""
    text = page.read_text(encoding="utf-8")
    found = FENCE.finditer(text)
    return [Block(m["mark"] or "", m["language"], m["text"], text.count("\n", 0, m.start("text")) + 1) for m in found]


def run_page(page: Path) -> int:
    """Run a page from top to bottom: its Python in one namespace, its commands that are marked; gives how much ran.

    A block of ``>>>`` lines is a doctest. What any other block prints is compared with the ``text`` block right behind
    it, where ``...`` stands for anything; a block without one may print what it likes.
    """
    scope: dict[str, object] = {"__name__": page.stem}
    runner = doctest.DocTestRunner(optionflags=ELLIPSIS)
    found, count = blocks(page), 0
    for block, following in zip(found, [*found, None][1:], strict=True):
        if block.mark == "run":
            count += 1
            for given in commands(block):
                with contextlib.redirect_stdout(io.StringIO()):
                    assert main(given) == 0, given
        if block.language != "python" or block.mark == PROCESSES:
            continue
        count += 1
        where = f"{page.relative_to(ROOT)}:{block.line}"
        if block.text.startswith(">>>"):
            test = doctest.DocTestParser().get_doctest(block.text, scope, where, str(page), block.line)
            told = io.StringIO()
            runner.run(test, out=told.write, clear_globs=False)
            assert not told.getvalue(), told.getvalue()
            scope.update(test.globs)
            continue
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), scope)
        if following is not None and following.language == "text":
            said, shown = printed.getvalue(), following.text
            if following.mark == ABOUT:
                said, shown = (re.sub(r"\d+(\.\d+)?", "#", text) for text in (said, shown))
            assert CHECKER.check_output(shown, said, ELLIPSIS), (where, printed.getvalue())
    return count


def commands(block: Block) -> list[list[str]]:
    """The ``agscl`` command lines of a shell block, as lists of words."""
    lines = block.text.replace("\\\n", " ").splitlines()
    return [words[1:] for line in lines if (words := shlex.split(line, comments=True)) and words[0] == "agscl"]
