"""A class is abstract or final: nothing concrete of one class of the library is overridden by another."""

import ast
import importlib
import inspect
import pkgutil
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

import pytest

import agscl
from agscl.extras import MissingExtraError

MODULES = sorted(module.name for module in pkgutil.walk_packages(agscl.__path__, "agscl."))


def classes(module: object) -> list[type]:
    return [c for c in vars(module).values() if inspect.isclass(c) and c.__module__ == module.__name__]


def overridden(classes: Iterable[type], own: str) -> Iterator[str]:
    """Members that are neither abstract nor an empty default, and defined again by a subclass."""
    for cls in classes:
        for base in (b for b in cls.__mro__[1:] if b.__module__.startswith(own)):
            for name in vars(cls).keys() & vars(base).keys():
                member = vars(base)[name]
                if not name.startswith("__") and is_code(member) and not (is_abstract(member) or is_empty(member)):
                    yield f"{cls.__name__}.{name} overrides {base.__name__}.{name}"


def is_code(member: object) -> bool:
    return inspect.isfunction(member) or isinstance(member, (property, classmethod, staticmethod))


def is_abstract(member: object) -> bool:
    return getattr(member, "__isabstractmethod__", False)


def is_empty(member: object) -> bool:
    """Whether a method does nothing: a docstring, and at most a return of nothing or of something empty."""
    function = member.fget if isinstance(member, property) else inspect.unwrap(getattr(member, "__func__", member))
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    match [line for line in definition.body if not (is_docstring(line) or isinstance(line, ast.Pass))]:
        case []:
            return True
        case [ast.Return(value=ast.Constant(value=value))]:
            return not value
        case [ast.Return(value=None | ast.Dict(keys=[]) | ast.List(elts=[]) | ast.Tuple(elts=[]))]:
            return True
    return False


def is_docstring(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)


@pytest.mark.parametrize("name", MODULES)
def test_no_class_overrides_a_concrete_member_of_another(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except MissingExtraError as missing:
        pytest.skip(str(missing))
    assert list(overridden(classes(module), "agscl.")) == []


class Hooks(ABC):
    """Abstract, empty, and concrete members."""

    @abstractmethod
    def needed(self) -> int:
        """Abstract."""

    def optional(self) -> dict[str, int]:
        """Empty."""
        return {}

    @property
    def size(self) -> int:
        """Concrete."""
        return len(self.optional())

    def told(self) -> None:
        """Concrete."""
        assert self.size


class Good(Hooks):
    def needed(self) -> int:
        return 1

    def optional(self) -> dict[str, int]:
        return {"one": 1}


class Bad(Good):
    size = property(lambda self: 3)

    def needed(self) -> int:
        return 2

    def told(self) -> None:
        pass


def test_overridden_members_are_recognised() -> None:
    assert list(overridden([Hooks, Good], __name__)) == []
    found = ["needed overrides Good.needed", "size overrides Hooks.size", "told overrides Hooks.told"]
    assert sorted(overridden([Bad], __name__)) == [f"Bad.{line}" for line in found]
