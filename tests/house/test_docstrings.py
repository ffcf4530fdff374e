"""What the lower rooms offer says in its docstring which errors it raises and what its arguments are."""

import ast
import importlib
import inspect
import textwrap

import pytest

OFFERED = {
    f"{room}.{name}": member
    for room in ("nodes", "methods", "metrics", "models", "benchmarks")
    for name, member in sorted(vars(importlib.import_module(f"agscl.{room}")).items())
    if (inspect.isfunction(member) or inspect.isclass(member)) and member.__module__.startswith("agscl.")
}


def code_of(member):
    """The code that a call runs first: of a class its ``__init__``, if it is written out there."""
    code = vars(member).get("__init__") if inspect.isclass(member) else member
    return code if inspect.isfunction(code) and code.__module__ == member.__module__ and written(code) else None


def written(function):
    return function.__code__.co_filename == importlib.import_module(function.__module__).__file__


def raises(member):
    code = code_of(member)
    tree = ast.parse(textwrap.dedent(inspect.getsource(code))) if code else ast.Module([], [])
    return any(isinstance(node, ast.Raise) for node in ast.walk(tree))


@pytest.mark.parametrize("name", [name for name, member in OFFERED.items() if raises(member)])
def test_an_error_that_a_call_raises_is_documented(name):
    assert "Error" in inspect.getdoc(OFFERED[name])


@pytest.mark.parametrize("name", ["cifar100", "cub200", "digits", "eight", "omniglot", "permuted_digits"])
def test_arguments_of_a_sequence_are_documented(name):
    member = OFFERED[f"benchmarks.{name}"]
    for parameter in inspect.signature(member).parameters:
        assert f"\n    {parameter}: " in inspect.getdoc(member)
