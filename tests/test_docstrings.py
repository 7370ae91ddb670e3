"""Every public name says what a caller has to know of it: what it takes, in which units, its defaults, what it raises.

What a machine can see is checked here: that it is said, not that it is true.
"""

from __future__ import annotations

import ast
import builtins
import enum
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import FunctionType
from typing import Any

import attrs
import pytest
import trio

import trio_h2
import trio_h2.testing

PACKAGE = Path(trio_h2.__file__).parent

PUBLIC: dict[str, Any] = {
    **{name: getattr(trio_h2, name) for name in trio_h2.__all__},
    **{f"testing.{name}": getattr(trio_h2.testing, name) for name in trio_h2.testing.__all__},
}

GIVEN = (
    *(trio_h2.Connection, trio_h2.ServerStream, trio_h2.ClientStream, trio_h2.H2Server, trio_h2.ReplayedStream),
    trio_h2.Pool,
)
"""What users are given and never make: how it is made is nobody's affair."""

RAISES_NOTHING = {"aclose", "wait_closed"}

NO_QUANTITY = {"error_code", "flags", "setting", "status", "type", "urgency", "port"}
"""Numbers that count nothing: they are names."""

UNIT = re.compile(
    r"\b(octets?|seconds?|bytes|IDs?|clock|how many|how often|number|unit|1 to 256|as for)\b", re.IGNORECASE
)
COUNTS = re.compile(
    r"(^|_)(streams|connections|handshakes|requests|responses|events|failed|evicted|fields|errors|resets|frames|continuations|replies)"
)
"""What says what a number counts: words of the description, or its name."""


@dataclass(frozen=True)
class Documented:
    """Something with a docstring.

    Attributes:
        label: its public name.
        owner: the class it is a member of, or itself.
        thing: what has the docstring.
        function: what is called, if it can be called by a user.
    """

    label: str
    owner: Any
    thing: Any
    function: FunctionType | None

    @property
    def text(self) -> str:
        return inspect.cleandoc(self.thing.__doc__ or "")


def documented() -> Iterator[Documented]:
    """Every public function and class, and every public method and property of this package's that a class has."""
    seen: set[int] = set()
    for name, value in PUBLIC.items():
        if isinstance(value, FunctionType):
            yield Documented(name, value, value, value)
        elif inspect.isclass(value):
            made = not issubclass(value, (*GIVEN, Exception, enum.Enum)) and isinstance(value.__init__, FunctionType)
            yield Documented(name, value, value, value.__init__ if made and not attrs.has(value) else None)
            for member, raw in members(value):
                if id(raw) not in seen:
                    seen.add(id(raw))
                    yield Documented(f"{name}.{member}", value, raw, raw if isinstance(raw, FunctionType) else None)


def members(owner: type) -> Iterator[tuple[str, Any]]:
    for name, _ in inspect.getmembers(owner):
        raw = inspect.getattr_static(owner, name)
        raw = raw.__func__ if isinstance(raw, staticmethod | classmethod) else raw
        function = raw.fget if isinstance(raw, property) else raw
        if (
            not name.startswith("_")
            and isinstance(function, FunctionType)
            and function.__module__.startswith("trio_h2")
        ):
            yield name, raw


EVERYTHING = list(documented())
CALLABLE = [each for each in EVERYTHING if each.function is not None]
WITH_ATTRIBUTES = [each for each in EVERYTHING if inspect.isclass(each.thing) and attrs.has(each.thing)]


def by_label(items: list[Documented]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("each", items, ids=[item.label for item in items])


def entries(text: str, heading: str = "") -> dict[str, str]:
    """What the sections whose headings begin like this say of each name; several names may share what is said."""
    said: dict[str, str] = {}
    names: list[str] = []
    above = None
    for line in text.splitlines():
        if line and not line.startswith(" "):
            above = line if line.startswith(heading) and line.endswith(":") else None
        elif above is not None and (match := re.match(r"    ([\w.]+(?:, [\w.]+)*): (.*)", line)):
            names = match[1].split(", ")
            said |= dict.fromkeys(names, f"{above} {match[2]}")
        elif above is not None:
            said |= {name: f"{said[name]} {line.strip()}" for name in names if name in said}
    return said


def forms(value: float) -> Iterator[str]:
    """How a number may be written."""
    yield f"{value:,.10g}"
    for unit, name in ((1 << 10, "KiB"), (1 << 20, "MiB"), (1 << 30, "GiB")):
        if value % unit == 0:
            yield f"{value / unit:g} {name}"
    if value in (0, float("inf")):
        yield "Off"


def says_default(text: str, default: object) -> bool:
    if isinstance(default, bool) or not isinstance(default, int | float) or isinstance(default, enum.Enum):
        return re.search(r"\b([Dd]efault|as for|as by|None)\b", text) is not None
    return "as for" in text or any(re.search(rf"(?<![\d,.]){re.escape(form)}\b", text) for form in forms(default))


def says_unit(name: str, text: str) -> bool:
    return name in NO_QUANTITY or COUNTS.search(name) is not None or UNIT.search(text) is not None


def parameters(each: Documented) -> list[inspect.Parameter]:
    assert each.function is not None
    every = list(inspect.signature(each.function).parameters.values())
    bound = every[1:] if every and every[0].name in ("self", "cls") else every
    return [one for one in bound if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]


def said_of_parameters(each: Documented) -> dict[str, str]:
    """By its Args, by its text, which is about all that it names in backticks, or by what is said for all methods."""
    shared = entries(inspect.cleandoc(each.owner.__doc__ or ""), "In all methods")
    first = each.text.partition("\nArgs:\n")[0]
    named = dict.fromkeys(re.findall(r"`(\w+)`", first), each.text)
    alone = {
        one.name: first for one in parameters(each) if one.default is one.empty and re.search(rf"\b{one.name}\b", first)
    }
    return shared | alone | named | entries(each.text, "Args")


def is_number(annotation: object) -> bool:
    words = set(re.findall(r"\w+", str(annotation)))
    return bool(words & {"int", "float"}) and not words & {"bool", "bytes", "str", "Mapping", "dict"}


def alias_docstrings() -> dict[str, str]:
    """The docstrings of names that are no classes or functions: the string below the assignment."""
    found: dict[str, str] = {}
    for path in PACKAGE.rglob("*.py"):
        body = ast.parse(path.read_text()).body
        for statement, below in pairwise(body):
            if (
                isinstance(statement, ast.Assign)
                and isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
            ):
                for target in statement.targets:
                    if isinstance(target, ast.Name) and isinstance(below.value.value, str):
                        found[target.id] = below.value.value
    return found


def test_every_public_name_has_a_docstring() -> None:
    aliases = alias_docstrings()
    for name, value in PUBLIC.items():
        if not (inspect.isclass(value) or isinstance(value, FunctionType)):
            assert aliases.get(name), name
    assert [each.label for each in EVERYTHING if not each.text] == []


@by_label(WITH_ATTRIBUTES)
def test_attributes_are_listed_with_their_units(each: Documented) -> None:
    said: dict[str, str] = {}
    for base in reversed(each.thing.__mro__):
        said |= entries(inspect.cleandoc(base.__doc__ or ""))
    summary = each.text.partition("\n\n")[0]
    for field in attrs.fields(each.thing):
        assert field.name in said
        if is_number(field.type):
            assert says_unit(field.name, f"{summary} {said[field.name]}"), f"{field.name} has no unit"
    if each.thing is trio_h2.Config:
        for field in attrs.fields(each.thing):
            assert isinstance(field.default, bool) or says_default(said[field.name], field.default), field.name


def test_attributes_that_errors_set_are_listed() -> None:
    for each in EVERYTHING:
        if inspect.isclass(each.thing) and issubclass(each.thing, Exception):
            said: dict[str, str] = {}
            for base in each.thing.__mro__:
                said |= entries(inspect.cleandoc(base.__doc__ or ""), "Attributes")
            source = ast.parse(textwrap.dedent(inspect.getsource(each.thing)))
            own = {ast.unparse(node)[5:] for node in ast.walk(source) if is_set_on_self(node)}
            assert own <= set(said), each.label


def is_set_on_self(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self"


@by_label(CALLABLE)
def test_parameters_are_described_with_their_defaults_and_units(each: Documented) -> None:
    said = said_of_parameters(each)
    for parameter in parameters(each):
        assert parameter.name in said
        text = said[parameter.name]
        if parameter.default is not parameter.empty:
            assert says_default(text, parameter.default), f"{parameter.name} has no default"
        if is_number(parameter.annotation):
            assert says_unit(parameter.name, text), f"{parameter.name} has no unit"


@by_label(CALLABLE)
def test_errors_are_named(each: Documented) -> None:
    assert each.function is not None
    source = ast.parse(textwrap.dedent(inspect.getsource(each.function)))
    raises = any(isinstance(node, ast.Raise) and node.exc is not None for node in ast.walk(source))
    if raises or (inspect.iscoroutinefunction(each.function) and each.function.__name__ not in RAISES_NOTHING):
        assert re.search(r"\bRaises\b", each.text)
    for name in entries(each.text, "Raises"):
        error: Any = trio if name.startswith("trio.") else trio_h2 if hasattr(trio_h2, name) else builtins
        assert inspect.isclass(getattr(error, name.removeprefix("trio."), None)), name
