"""Who touches a StreamMachine: above `protocol/` only a stream's own actor does, held.

What is received steps the machine in `protocol/`, what is sent steps it in the sending half of a StreamActor, and the
queues of waiting senders go by what decides whose DATA goes next. Anybody else may hand a machine to a StreamActor,
and asks that. So a fault is: to use a field or method of a StreamMachine, or to give one to anything but a StreamActor
or a builtin.

What is a StreamMachine follows from annotations, of parameters, fields and what methods return, by way of the names and
fields that are bound to them. A name that only StreamMachine has (`can_send`) is its own on whatever object it is used.
Where nothing says what something is, there is no fault.

`python -m tests.touches` lists the faults there are.
"""

from __future__ import annotations

import ast
import builtins
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.owners import Fault

__all__ = ["touching_faults"]

MACHINE = "StreamMachine"
ACTOR = "StreamActor"
BELOW = ("protocol.", "sansio.")

OWN = {"actors.handler_contract", "actors.sending", "actors.stream_actor", "actors.stream_facts"}
"""The stream's actor."""

SHARED: dict[str, set[str]] = {
    "actors.writer": set(),
    "actors.waiting_senders": {"outbound", "priority", "stream_id"},
    "actors.pending_send": set(),
    "actors.stream_context": set(),
}
"""What a StreamActor gives its machine to, and what these look at of it."""

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
Types = frozenset[str]
"""The names of the classes that something may be an instance of, or may hold."""

NOTHING: Types = frozenset()

CONTAINER_METHODS = {"copy", "get", "items", "keys", "pop", "popitem", "values"}
"""What they give is what the container holds."""


@dataclass(frozen=True)
class Member:
    """A field or a method: what it is, or returns, by an annotation or by the value that it is set to."""

    annotation: ast.expr | None = None
    value: ast.expr | None = None
    parameters: dict[str, ast.expr | None] = field(default_factory=dict)
    """What that value is made of."""


def touching_faults(modules: dict[str, Path]) -> list[Fault]:
    """Every fault in these modules, by their names."""
    trees = {module: ast.parse(path.read_text()) for module, path in modules.items()}
    classes = Classes(trees)
    faults = []
    for module, tree in trees.items():
        if module not in OWN and not module.startswith(BELOW):
            reading = _Reading(module, classes)
            reading.visit(tree)
            faults += reading.faults
    return faults


class Classes:
    """The package's classes, by their names. Two of one name are as one."""

    def __init__(self, trees: dict[str, ast.Module]) -> None:
        self._bases: dict[str, list[str]] = defaultdict(list)
        self._members: dict[str, dict[str, Member]] = defaultdict(dict)
        self._asked: set[tuple[str, str]] = set()
        for node in (node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
            self._bases[node.name] += [_last_name(base) for base in node.bases]
            for name, member in _members(node):
                self._members[node.name].setdefault(name, member)
        self.of_machine = set(self._members[MACHINE])
        others = {name for each, members in self._members.items() if each != MACHINE for name in members}
        self.unmistakable = {name for name in self.of_machine - others if not name.startswith("__")}

    def types(self, node: ast.expr | None, names: Mapping[str, Types]) -> Types:
        """What an expression may be an instance of, or may hold, by what its names are."""
        if isinstance(node, ast.Name):
            return names.get(node.id, self.named(node))
        if isinstance(node, ast.Attribute):
            holder = self.types(node.value, names)
            return self._member(holder, node.attr) or (holder if node.attr in CONTAINER_METHODS else NOTHING)
        if isinstance(node, ast.Call):
            return self._union(node.args if _is_builtin(node.func) else [node.func], names)
        if isinstance(node, ast.Await | ast.Starred | ast.Subscript | ast.NamedExpr):
            return self.types(node.value, names)
        if isinstance(node, ast.IfExp):
            return self._union([node.body, node.orelse], names)
        if isinstance(node, ast.BoolOp):
            return self._union(node.values, names)
        if isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp):
            return self.types(node.elt, names)
        return NOTHING

    def _union(self, nodes: list[ast.expr], names: Mapping[str, Types]) -> Types:
        return NOTHING.union(*(self.types(node, names) for node in nodes))

    def named(self, annotation: ast.expr | None) -> Types:
        """The classes that an annotation names."""
        if annotation is None:
            return NOTHING
        names = {_last_name(node) for node in ast.walk(annotation) if isinstance(node, ast.Name | ast.Attribute)}
        return frozenset(name for name in names if name in self._members)

    def _member(self, types: Types, name: str) -> Types:
        """What a field is, or what a method returns, of instances of these classes."""
        return NOTHING.union(*(self._member_of(each, name) for each in types))

    def _member_of(self, of_class: str, name: str) -> Types:
        member = self._members[of_class].get(name) if of_class in self._members else None
        if (of_class, name) in self._asked:
            return NOTHING
        self._asked.add((of_class, name))
        try:
            if member is None:
                return self._member(frozenset(self._bases.get(of_class, [])), name)
            names = {parameter: self.named(annotation) for parameter, annotation in member.parameters.items()}
            return self.named(member.annotation) | self.types(member.value, {**names, "self": frozenset((of_class,))})
        finally:
            self._asked.remove((of_class, name))


def _is_builtin(node: ast.expr) -> bool:
    """Whether this is `list`, `sorted` or another builtin: what it gives is what it is given."""
    return isinstance(node, ast.Name) and hasattr(builtins, node.id)


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Subscript):
        node = node.value
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _members(node: ast.ClassDef) -> Iterator[tuple[str, Member]]:
    """A class's fields and methods."""
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign):
            yield _last_name(statement.target), Member(statement.annotation)
        elif isinstance(statement, FunctionNode):
            yield statement.name, Member(statement.returns)
            parameters = {each.arg: each.annotation for each in _parameters(statement)}
            for found in ast.walk(statement):
                yield from _fields_set(found, parameters)


def _fields_set(node: ast.AST, parameters: dict[str, ast.expr | None]) -> Iterator[tuple[str, Member]]:
    """The fields that a statement of a method sets on `self`."""
    if isinstance(node, ast.AnnAssign) and _is_of_self(node.target):
        yield _last_name(node.target), Member(node.annotation)
    elif isinstance(node, ast.Assign):
        for target in filter(_is_of_self, node.targets):
            yield _last_name(target), Member(value=node.value, parameters=parameters)


def _is_of_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"


def _parameters(node: FunctionNode) -> list[ast.arg]:
    return [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]


class _Reading(ast.NodeVisitor):
    """One pass over a module."""

    def __init__(self, module: str, classes: Classes) -> None:
        self._module = module
        self._classes = classes
        self._seen = SHARED.get(module, set())
        self._names: dict[str, Types] = {}
        self._class = ""
        self.faults: list[Fault] = []

    def _fault(self, node: ast.expr | ast.stmt, what: str) -> None:
        self.faults.append(Fault(self._module, node.lineno, what))

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._class, outer = node.name, self._class
        self.generic_visit(node)
        self._class = outer

    def _visit_function(self, node: FunctionNode) -> None:
        outer = self._names
        self._names = dict(outer)
        for each in _parameters(node):
            self._names[each.arg] = self._classes.named(each.annotation)
        if self._class:
            self._names["self"] = frozenset((self._class,))
        for _ in range(2):  # what is bound to a name may be made of one that comes later in the walk
            for inner in ast.walk(node):
                self._bind(inner)
        self.generic_visit(node)
        self._names = outer

    visit_FunctionDef = visit_AsyncFunctionDef = _visit_function

    def _bind(self, node: ast.AST) -> None:
        """Note what a statement binds a name to."""
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            self._names[node.target.id] = self._classes.named(node.annotation)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                self._bind_names(target, node.value)
        elif isinstance(node, ast.NamedExpr):
            self._bind_names(node.target, node.value)
        elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
            self._bind_names(node.target, node.iter)

    def _bind_names(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
            for each, its_value in zip(target.elts, value.elts, strict=True):
                self._bind_names(each, its_value)
            return
        for name in target.elts if isinstance(target, ast.Tuple) else [target]:
            if isinstance(name, ast.Name):
                self._names[name.id] = self._names.get(name.id, NOTHING) | self._types(value)

    def _types(self, node: ast.expr) -> Types:
        return self._classes.types(node, self._names)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        known = node.attr in self._classes.of_machine and MACHINE in self._types(node.value)
        if (known or node.attr in self._classes.unmistakable) and node.attr not in self._seen:
            self._fault(node, f"uses {ast.unparse(node)}")
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if not (_is_builtin(node.func) or _last_name(node.func) == ACTOR) and self._module not in SHARED:
            for argument in [*node.args, *(keyword.value for keyword in node.keywords)]:
                if MACHINE in self._types(argument):
                    self._fault(node, f"gives away {ast.unparse(argument)}")
        self.generic_visit(node)


if __name__ == "__main__":
    from tests.test_imports import PACKAGE, module_names

    print(*touching_faults(module_names(PACKAGE)), sep="\n")
