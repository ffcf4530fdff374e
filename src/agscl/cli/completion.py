"""``agscl completion``: what a shell completes of the command line."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from .arguments import Parser, parser_for, subcommands
from .console import Output

BASH = """_agscl() {{
  local words=" ${{COMP_WORDS[*]:1:COMP_CWORD-1}} " here="${{COMP_WORDS[COMP_CWORD]}}" found="{commands}"
  case "$words" in
{cases}
  esac
  if [[ "$here" == -* || " ${{words}}" != *" "[a-z]* ]]; then COMPREPLY=($(compgen -W "$found" -- "$here"))
  else COMPREPLY=($(compgen -W "$found" -- "$here") $(compgen -f -- "$here")); fi
}}
complete -o filenames -F _agscl agscl
"""

ZSH = "autoload -U +X bashcompinit && bashcompinit\n"
"""zsh can use what bash does."""


def run(arguments: argparse.Namespace) -> int:
    """Print the script for a shell; returns 0."""
    output = Output()
    output.file.write(_fish() if arguments.shell == "fish" else (ZSH if arguments.shell == "zsh" else "") + _bash())
    return 0


def _commands(parser: Parser, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Parser]]:
    """Every command with its parser, the deeper ones first."""
    for name, part in subcommands(parser).items():
        yield from _commands(part, (*path, name))
        yield (*path, name), part


def _words(parser: Parser) -> list[str]:
    """What may come next: commands, options, and the names that a first argument may be."""
    options = [option for action in parser._actions for option in action.option_strings if option.startswith("--")]
    return [*subcommands(parser), *options]


def _names(path: tuple[str, ...]) -> list[str]:
    """Names that an argument of a command may have."""
    from agscl.benchmarks.catalogue import CATALOGUE
    from agscl.experiments.kinds import preset_names
    from agscl.sweeps.reproduction import PLANS

    if path in (("run",), ("compare",), ("sweep",)):
        return preset_names()
    if path == ("reproduce",):
        return list(PLANS)
    return list(CATALOGUE) if path[0] == "data" and len(path) > 1 else []


def _bash() -> str:
    root = parser_for([])
    cases = [
        f'    *" {" ".join(path)} "*) found="{" ".join([*_words(parser), *_names(path)])}" ;;'
        for path, parser in _commands(root)
    ]
    return BASH.format(commands=" ".join(_words(root)), cases="\n".join(cases))


def _fish() -> str:
    root, lines = parser_for([]), ["complete -c agscl -f"]
    lines += [f"complete -c agscl -n __fish_use_subcommand -a {name}" for name in subcommands(root)]
    for path, parser in _commands(root):
        seen = " and ".join(f"__fish_seen_subcommand_from {name}" for name in path)
        condition = f"complete -c agscl -n '{seen.replace(' and ', '; and ')}'"
        lines += [f"{condition} -l {word[2:]}" for word in _words(parser) if word.startswith("--")]
        lines += [f"{condition} -a {name}" for name in [*subcommands(parser), *_names(path)]]
        lines.append(f"{condition} -F")
    return "\n".join([*lines, ""])
