"""The size and hygiene targets of the code, measured on its syntax trees."""

import ast
import statistics
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "agscl"
MODULES = sorted(SOURCE.rglob("*.py"))
Function = ast.FunctionDef | ast.AsyncFunctionDef


def nodes_of(path):
    return list(ast.walk(ast.parse(path.read_text())))


def functions():
    return [(path, node) for path in MODULES for node in nodes_of(path) if isinstance(node, Function)]


def body_lines(function):
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def is_annotated(function):
    arguments = function.args
    named = [
        *arguments.posonlyargs,
        *arguments.args,
        *arguments.kwonlyargs,
        arguments.vararg,
        arguments.kwarg,
    ]
    unbound = [a for a in named if a is not None and a.arg not in ("self", "cls")]
    return function.returns is not None and all(a.annotation is not None for a in unbound)


def test_functions_are_short():
    lines = sorted(body_lines(function) for _, function in functions())
    assert statistics.median(lines) <= 7
    assert lines[int(0.9 * len(lines))] <= 25
    longest = max(functions(), key=lambda pair: body_lines(pair[1]))
    assert body_lines(longest[1]) <= 60, f"{longest[0].name}: {longest[1].name}"


def test_every_function_is_annotated():
    bare = [f"{path.name}: {function.name}" for path, function in functions() if not is_annotated(function)]
    assert bare == []


def test_modules_are_short():
    lines = sorted(len(path.read_text().splitlines()) for path in MODULES)
    assert lines[int(0.9 * len(lines))] <= 400


def forbidden(node):
    match node:
        case ast.Global():
            return "global"
        case ast.ExceptHandler(type=None):
            return "bare except"
        case ast.ImportFrom(names=[ast.alias(name="*")]):
            return "star import"
        case ast.Call(func=ast.Name(id="print" | "eval" | "exec" as name)):
            return name
    return None


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_module_is_free_of_forbidden_constructs(path):
    found = [f"line {node.lineno}: {what}" for node in nodes_of(path) if (what := forbidden(node))]
    assert found == []


def test_forbidden_constructs_are_recognised():
    planted = "global x\nfrom os import *\nprint(1)\neval('1')\ntry:\n    pass\nexcept:\n    pass\n"
    found = [what for node in ast.walk(ast.parse(planted)) if (what := forbidden(node))]
    assert sorted(found) == ["bare except", "eval", "global", "print", "star import"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_module_opens_with_a_docstring(path):
    assert ast.get_docstring(ast.parse(path.read_text()))


COMMANDS = SOURCE / "cli"
WAYS_AROUND = {"Console", "Table", "TextColumn", "Progress"}
"""Of rich, what takes text for markup unless `agscl.cli.console` makes it."""


def calls_that_print(path):
    """Lines that write to a terminal past `agscl.cli.console`: other consoles and tables, ``print`` of any text."""
    for node in nodes_of(path):
        match node:
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in WAYS_AROUND:
                yield node.lineno, name
            case ast.Call(func=ast.Attribute(attr="print" | "out" | "log" as name)):
                yield node.lineno, name


@pytest.mark.parametrize("path", sorted(COMMANDS.glob("*.py")), ids=lambda path: path.name)
def test_a_command_prints_through_the_one_console(path):
    assert path.name == "console.py" or list(calls_that_print(path)) == []


def test_nothing_outside_the_commands_uses_the_terminal():
    users = {path.parent for path in MODULES if any("rich" in ast.dump(node) for node in imports(path))}
    assert users == {COMMANDS}


def imports(path):
    return [node for node in nodes_of(path) if isinstance(node, ast.Import | ast.ImportFrom)]
