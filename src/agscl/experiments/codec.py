"""Methods by name: from the options of a command line, and to and from JSON."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from functools import cache
from typing import Annotated, Any, TypeVar, cast

from pydantic import PlainSerializer, PlainValidator, TypeAdapter, ValidationError

from agscl.methods import METHODS, AnyMethod

from . import outside

INFINITY = "Infinity"
"""How an infinite hyper-parameter is written in JSON, which has no number for it."""

Typed = TypeVar("Typed")


def by_name(*methods: AnyMethod) -> dict[str, AnyMethod]:
    """Methods by their names."""
    return {method.name: method for method in methods}


def method_class(name: str) -> type[AnyMethod]:
    """The method of that name; a `ValueError` lists the names if there is none."""
    if name in METHODS:
        return METHODS[name]
    if name in outside.offered(outside.METHODS):
        return cast("type[AnyMethod]", outside.load_method(name))
    raise ValueError(unknown("method", name, [*METHODS, *outside.offered(outside.METHODS)]))


def unknown(what: str, name: str, known: Sequence[str]) -> str:
    """What is said of a name that is not known: all that there are, and the one that is most alike.

    >>> unknown("method", "agscl", ["ags-cl", "ewc"])
    "unknown method 'agscl'; there are: ags-cl, ewc; did you mean ags-cl?"
    """
    alike = difflib.get_close_matches(name, known, 1)
    return f"unknown {what} {name!r}; there are: {', '.join(known)}" + (f"; did you mean {alike[0]}?" if alike else "")


def name_of(method: AnyMethod) -> str:
    """The name of a method, the library's or of another package."""
    return method.name


def method_from_options(name: str, options: Mapping[str, str], defaults: Mapping[str, AnyMethod]) -> AnyMethod:
    """A method from options given as text.

    Args:
        name: Name of the method.
        options: Values of its hyper-parameters by name.
        defaults: Methods by name that give the values of the other hyper-parameters.

    Raises:
        ValueError: If the method or an option is unknown, missing, or out of its range.
    """
    kind = method_class(name)
    given = {key: str(value) for key, value in asdict(defaults[name]).items()} if name in defaults else {}
    try:
        return adapter(kind).validate_strings({**given, **options}, extra="forbid")
    except ValidationError as error:
        raise ValueError(_explain(error, name, kind)) from error


def method_options(method: AnyMethod) -> dict[str, Any]:
    """Hyper-parameters of a method by name, as JSON has them: equal ones are always written alike."""
    typed = adapter(type(method)).validate_python(asdict(method))  # where a float belongs, 7 becomes 7.0
    return {key: INFINITY if value == math.inf else value for key, value in asdict(typed).items()}


def method_to_json(method: AnyMethod) -> dict[str, Any]:
    """A method as a JSON object: its name and its hyper-parameters."""
    return {"name": name_of(method), **method_options(method)}


def method_from_json(value: object) -> AnyMethod:
    """A method from what `method_to_json` made, or the method itself.

    Raises:
        ValueError: If the name or a hyper-parameter is unknown, missing, of the wrong type, or out of range.
    """
    if is_dataclass(value) and not isinstance(value, type) and hasattr(value, "protect"):
        return cast("AnyMethod", value)
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise ValueError("a method is an object with a name and its hyper-parameters")
    options = {key: math.inf if item == INFINITY else item for key, item in value.items() if key != "name"}
    kind = method_class(value["name"])
    try:
        return adapter(kind).validate_json(json.dumps(options), strict=True, extra="forbid")
    except ValidationError as error:
        raise ValueError(_explain(error, value["name"], kind)) from error


JsonMethod = Annotated[AnyMethod, PlainValidator(method_from_json), PlainSerializer(method_to_json)]
"""A method as a field of a dataclass that is written as JSON."""


def adapter(kind: type[Typed]) -> TypeAdapter[Typed]:
    """What turns a type into JSON and back; made once for each, since making one takes longer than using it."""
    return _adapter(kind)


_adapter: Callable[[type], TypeAdapter[Any]] = cache(TypeAdapter)


def read_json(kind: type[Typed], content: bytes | str, subject: str) -> Typed:
    """A value of a type from JSON; a `ValueError` says in one line what is wrong with the subject if it is none."""
    try:
        return adapter(kind).validate_json(content)
    except ValidationError as error:
        raise ValueError(_explain(error, subject, kind)) from error


def _explain(error: ValidationError, subject: str, kind: type) -> str:
    """The worst problem of a rejected value in one line: an unknown name, or else the first one.

    Args:
        error: What was raised.
        subject: What was rejected, for the message.
        kind: The dataclass it should have become; its fields are listed when one is unknown.
    """
    problem = min(error.errors(), key=lambda found: found["type"] != "unexpected_keyword_argument")
    where = ".".join(map(str, problem["loc"]))
    if problem["type"] == "unexpected_keyword_argument":
        names = ", ".join(field.name for field in fields(kind)) or "none"
        return f"{subject} has no option {where!r}; it has: {names}"
    if problem["type"] == "missing":
        return f"{subject} needs a value for {where!r}"
    message = problem["msg"].removeprefix("Value error, ")
    return ": ".join(part for part in (subject, where, message) if part)
