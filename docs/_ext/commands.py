"""The reference of the command line, written from the parsers themselves: ``{commands}``."""

import os

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from agscl.cli.arguments import Parser, parser_for, subcommands


class Commands(SphinxDirective):
    """A section for each command, with what ``--help`` says."""

    def run(self) -> list[nodes.Node]:
        """The sections."""
        os.environ["COLUMNS"] = "100"
        return [section(parser) for name, parser in parts("", parser_for([])) if name]


def parts(name: str, parser: Parser) -> list[tuple[str, Parser]]:
    """A command, and the commands below it."""
    below = subcommands(parser).items()
    return [(name, parser), *(found for inner, each in below for found in parts(f"{name} {inner}".strip(), each))]


def section(parser: Parser) -> nodes.section:
    """What one command's ``--help`` says."""
    made = nodes.section(ids=[parser.prog.replace(" ", "-")])
    made += nodes.title(parser.prog, parser.prog)
    text = parser.format_help()
    made += nodes.literal_block(text, text, language="text")
    return made


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True}
