"""Who changes whose fields: the rule that a field's owner is the object whose methods alone change it, held.

Two things are faults, in any function of the package:

- A write to a field of an object that is not `self` or `cls`: assigned, augmented or deleted, with `setattr` too; an
  item of it assigned or deleted; or a container in it changed by one of its own methods (`other.x.append(...)`).
- A private name (`other._x`) that is not of this file. What is private belongs to the file that defines it; there
  another class may read it, and still not write to it.

What they do not mean is written down here: fields of other libraries' objects that have no other way to be set
(`FOREIGN`), methods with a `_` that everybody is meant to call (`NAMED_TUPLE`), and an object which the same function
has just made with no constructor (`copy.copy(...)`, `cls.__new__(cls)`), so that nobody else knows it yet.

`python -m tests.owners` lists the faults there are.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Fault", "ownership_faults"]

PACKAGE = Path(__file__).parent.parent / "trio_h2"

FOREIGN = {
    "__cause__": "an exception's",
    "__context__": "an exception's",
    "__traceback__": "an exception's",
    "body_len": "hyperframe's frames'",
    "check_hostname": "ssl.SSLContext's",
    "deadline": "trio.CancelScope's",
    "disabled": "logging.Logger's",
    "encoding": "httpx.Headers'",
    "options": "ssl.SSLContext's",
    "propagate": "logging.Logger's",
    "shield": "trio.CancelScope's",
    "stderr": "sys's",
    "stdout": "sys's",
    "verify_mode": "ssl.SSLContext's",
}
"""Fields that are set from outside, and whose they are; not if a class of the package has a field of that name."""

NAMED_TUPLE = {"_asdict", "_fields", "_make", "_replace"}

CHANGING = {
    *("add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popitem", "popleft", "remove"),
    *("setdefault", "sort", "update"),
}
"""Methods of containers that change them."""

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Fault:
    module: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.module}:{self.line}: {self.what}"


def ownership_faults(modules: dict[str, Path]) -> list[Fault]:
    """Every fault in these modules, by their names."""
    trees = {module: ast.parse(path.read_text()) for module, path in modules.items()}
    own_fields = {name for tree in trees.values() for name in _own_fields(tree)}
    own_methods = {name for tree in trees.values() for name in _definitions(tree)}
    faults = []
    for module, tree in trees.items():
        reading = _Reading(module, FOREIGN.keys() - own_fields, CHANGING - own_methods, _private_names(tree))
        reading.visit(tree)
        faults += reading.faults
    return faults


def _own_fields(tree: ast.Module) -> Iterator[str]:
    """The names of fields that classes of the module set on themselves."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _is_self(node.value):
            yield node.attr


def _definitions(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, FunctionNode | ast.ClassDef):
            yield node.name


def _private_names(tree: ast.Module) -> set[str]:
    """The private names of this file: fields, methods and what classes declare in their bodies."""
    declared = [node.target for node in ast.walk(tree) if isinstance(node, ast.AnnAssign)]
    names = {target.id for target in declared if isinstance(target, ast.Name)}
    return {*_own_fields(tree), *_definitions(tree), *names}


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name not in NAMED_TUPLE


def _bare_objects(function: FunctionNode) -> set[str]:
    """The names that a function gives to objects which it makes with no constructor."""
    return {
        target.id
        for node in ast.walk(function)
        if isinstance(node, ast.Assign | ast.AnnAssign) and _makes_bare_object(node.value)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }


def _makes_bare_object(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Call) and (
        ast.unparse(value.func) == "copy.copy"
        or (isinstance(value.func, ast.Attribute) and value.func.attr == "__new__")
    )


class _Reading(ast.NodeVisitor):
    """One pass over a module."""

    def __init__(self, module: str, foreign: set[str], changing: set[str], private: set[str]) -> None:
        self._module = module
        self._foreign = foreign
        self._changing = changing
        self._private = private
        self._bare_objects: set[str] = set()
        self.faults: list[Fault] = []

    def _fault(self, node: ast.expr | ast.stmt, what: str) -> None:
        self.faults.append(Fault(self._module, node.lineno, what))

    def _visit_function(self, node: FunctionNode) -> None:
        outer = self._bare_objects
        self._bare_objects = outer | _bare_objects(node)
        self.generic_visit(node)
        self._bare_objects = outer

    visit_FunctionDef = visit_AsyncFunctionDef = _visit_function

    def _is_own(self, node: ast.expr) -> bool:
        return _is_self(node) or (isinstance(node, ast.Name) and node.id in self._bare_objects)

    def _is_others_field(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Attribute) and not self._is_own(node.value)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if self._is_others_field(node):
            if not isinstance(node.ctx, ast.Load) and node.attr not in self._foreign:
                self._fault(node, f"writes {ast.unparse(node)}")
            elif _is_private(node.attr) and node.attr not in self._private and not _is_super(node.value):
                self._fault(node, f"uses {ast.unparse(node)}")
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if not isinstance(node.ctx, ast.Load) and self._is_others_field(node.value):
            self._fault(node, f"writes {ast.unparse(node)}")
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        function = node.func
        if isinstance(function, ast.Attribute) and function.attr in self._changing:
            if self._is_others_field(function.value):
                self._fault(node, f"writes {ast.unparse(function)}(...)")
        elif _sets_by_name(function) and not self._is_own(node.args[0]):
            self._fault(node, f"writes {ast.unparse(node)}")
        self.generic_visit(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level or (node.module or "").startswith("trio_h2"):
            for alias in node.names:
                if _is_private(alias.name):
                    self._fault(node, f"imports {alias.name}")


def _sets_by_name(function: ast.expr) -> bool:
    """Whether this is `setattr`, `delattr` or what they call, `object.__setattr__`."""
    return ast.unparse(function).rpartition(".")[2].strip("_") in ("setattr", "delattr")


def _is_super(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super"


if __name__ == "__main__":
    from tests.test_imports import module_names

    print(*ownership_faults(module_names(PACKAGE)), sep="\n")
