"""Imports go one way, and the protocol knows no I/O (docs/architecture.md draws the house)."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "trio_h2"

BASE = {"codes", "protocol", "events", "exceptions", "headers", "config"}
PURE = BASE | {"requests", "sansio"}
"""What may be read, tested and fuzzed without trio."""

CODEC_LIBRARIES = {"attr", "attrs", "hpack", "hyperframe"}
CORE_LIBRARIES = CODEC_LIBRARIES | {"trio"}


@dataclass(frozen=True)
class Layer:
    imports: frozenset[str]
    """The other layers that it may import. Its own modules it always may."""
    libraries: frozenset[str]
    """What it may import from outside the package and the standard library."""
    public_only: bool = False
    """May it use the public names of `trio_h2`, as any user does, and no other?"""


def layer(imports: set[str], libraries: set[str], *, public_only: bool = False) -> Layer:
    return Layer(frozenset(imports), frozenset(libraries), public_only)


LAYERS = {
    **{name: layer(BASE, CODEC_LIBRARIES) for name in BASE},
    "sansio": layer(BASE, CODEC_LIBRARIES),
    "actors": layer(BASE, CORE_LIBRARIES),
    "connection": layer(BASE | {"actors"}, CORE_LIBRARIES),
    "requests": layer(BASE, CODEC_LIBRARIES),
    "streams": layer(BASE | {"actors", "connection", "requests"}, CORE_LIBRARIES),
    "client": layer(BASE | {"actors", "connection", "requests", "streams"}, CORE_LIBRARIES | {"idna"}),
    "server": layer(BASE | {"actors", "connection", "requests", "streams"}, CORE_LIBRARIES),
    "__init__": layer(PURE | {"actors", "connection", "streams", "client", "server"}, set()),
    "adapters": layer(set(), {"trio"}, public_only=True),
    "cli": layer(set(), {"trio", "click", "rich", "trustme"}, public_only=True),
    "__main__": layer({"cli"}, set(), public_only=True),
}

HOUSE = {
    "__init__",
    "__main__",
    "client",
    "connection",
    "requests",
    "server",
    "streams",
    "headers",
    "codes",
    "config",
    "events",
    "exceptions",
    *(
        f"sansio.{name}"
        for name in (
            "__init__",
            "configuration",
            "event_shapes",
            "h2_connection",
            "outbound_headers",
            "priority_signals",
            "views",
        )
    ),
    *(
        f"protocol.{name}"
        for name in (
            "__init__",
            "bandwidth",
            "compression",
            "field_rules",
            "field_section",
            "frame_reader",
            "frame_writer",
            "frames",
            "huffman",
            "settings",
            "windows",
            "request_rules",
            "response_rules",
            "stream_machine",
            "connection_machine",
            "limits",
            "priority",
            "receiver",
            "stream_table",
            "verdicts",
        )
    ),
    *(
        f"actors.{name}"
        for name in (
            "__init__",
            "accepting",
            "addresses",
            "admission",
            "deadlines",
            "ending",
            "event_queue",
            "http1",
            "live_streams",
            "phases",
            "pings",
            "reading",
            "routing",
            "shutdown",
            "watch",
            "listening",
            "room",
            "stopping",
            "slices",
            "messages",
            "inbox",
            "conflict",
            "connection_actor",
            "pump",
            "sending",
            "stream_actor",
            "stream_context",
            "under_tls",
            "writer",
            "errors",
            "logs",
        )
    ),
}
"""Every module there is, but for those in `adapters` and `cli`, which may divide themselves as they like."""


@dataclass(frozen=True)
class Import:
    """One imported name: `from module import name`, or `import module` with no name."""

    line: int
    module: str
    name: str | None = None


def module_names(package: Path) -> dict[str, Path]:
    """Every module of the package by its name below it: `protocol.frames`, `actors.__init__`, `client`."""
    return {".".join(path.relative_to(package).with_suffix("").parts): path for path in sorted(package.rglob("*.py"))}


def layer_of(module: str) -> str:
    return module.partition(".")[0]


def imports_of(module: str, tree: ast.Module) -> Iterator[Import]:
    """All imports of a module, made absolute; those inside functions and `if TYPE_CHECKING` too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            if node.level:
                package = ["trio_h2", *module.split(".")][: -node.level]
                source = ".".join([*package, *filter(None, [source])])
            for alias in node.names:
                yield Import(node.lineno, source, alias.name)


def target_layer(found: Import, layers: set[str]) -> str:
    """The layer that an import of the package's own reaches; `__init__` when it is the package itself."""
    _, _, below = found.module.partition(".")
    if below:
        return layer_of(below)
    return found.name if found.name in layers else "__init__"


def public_names(package: Path) -> set[str]:
    """The names that `trio_h2/__init__.py` binds."""
    names: set[str] = {"__version__"}
    for node in ast.parse((package / "__init__.py").read_text()).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names.update(alias.asname or alias.name for alias in node.names)
    return {name for name in names if name == "__version__" or not name.startswith("_")}


def attributes_of_package(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every `trio_h2.name` in a module's code."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "trio_h2":
            yield node.lineno, node.attr


def violations(package: Path) -> list[str]:
    public = public_names(package)
    found = []
    for module, path in module_names(package).items():
        if module not in HOUSE and layer_of(module) not in {"adapters", "cli"}:
            found.append(f"{module}: no such module in the house")
            continue
        tree = ast.parse(path.read_text())
        own = LAYERS[layer_of(module)]
        for each in imports_of(module, tree):
            if fault := import_fault(module, own, each, public):
                found.append(f"{module}:{each.line}: {fault}")
        if own.public_only:
            found += [
                f"{module}:{line}: trio_h2.{name} is not public"
                for line, name in attributes_of_package(tree)
                if name not in public
            ]
    return found


def import_fault(module: str, own: Layer, found: Import, public: set[str]) -> str | None:
    top = found.module.partition(".")[0]
    if top != "trio_h2":
        allowed = top in sys.stdlib_module_names or top in own.libraries
        return None if allowed else f"imports {found.module}"
    target = target_layer(found, set(LAYERS))
    if target == layer_of(module) or target in own.imports:
        return None
    if own.public_only and target == "__init__" and (found.name is None or found.name in public):
        return None
    return f"imports {found.module}" + (f".{found.name}" if found.name else "")


def test_imports_go_one_way() -> None:
    assert violations(PACKAGE) == []


def test_init_holds_the_public_names_and_nothing_else() -> None:
    body = ast.parse((PACKAGE / "__init__.py").read_text()).body
    for node in body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        dunder = isinstance(node, ast.Assign) and all(
            isinstance(target, ast.Name) and target.id.startswith("__") for target in node.targets
        )
        assert docstring or dunder or isinstance(node, ast.Import | ast.ImportFrom), ast.unparse(node)


IMPORT_WITHOUT_TRIO = """
import importlib, sys, types

package = types.ModuleType("trio_h2")  # not the real one, which imports trio
package.__path__ = [sys.argv[1]]
sys.modules["trio_h2"] = package
sys.modules["trio"] = None  # an import of trio, however deep, is an ImportError
for name in sys.argv[2:]:
    importlib.import_module("trio_h2." + name)
"""


def test_the_protocol_imports_without_trio() -> None:
    pure = [name for name in module_names(PACKAGE) if layer_of(name) in PURE]
    pure = [name.removesuffix(".__init__") for name in pure]
    assert "protocol.connection_machine" in pure
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_WITHOUT_TRIO, str(PACKAGE), *pure],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


# The check is itself checked, on a small package with one fault at a time.

SOUND = {
    "__init__.py": "from trio_h2.client import connect\nfrom trio_h2.actors.errors import Broken as Broken\n",
    "__main__.py": "from trio_h2.cli import main\n",
    "protocol/__init__.py": "",
    "protocol/frames.py": (
        "import struct\nimport hyperframe.frame\nfrom .verdicts import Ignore\nfrom .. import headers\n"
    ),
    "protocol/verdicts.py": "",
    "headers.py": "import attrs\n",
    "sansio/__init__.py": "from trio_h2.protocol.frames import Ignore\n",
    "actors/__init__.py": "",
    "actors/errors.py": "import trio\nfrom trio_h2 import exceptions\n",
    "exceptions.py": "",
    "client.py": "import trio\nfrom .actors import errors\n",
    "cli/__init__.py": "import click\nimport trio_h2\nfrom .app import main\ntrio_h2.connect\n",
    "cli/app.py": "from trio_h2 import connect\nfrom trio_h2.cli import other\n",
}


@pytest.mark.parametrize(
    ("path", "source", "fault"),
    [
        ("protocol/frames.py", "import trio", "protocol.frames:1: imports trio"),
        (
            "protocol/frames.py",
            "from trio.lowlevel import checkpoint",
            "protocol.frames:1: imports trio.lowlevel",
        ),
        ("exceptions.py", "def f():\n    import trio", "exceptions:2: imports trio"),
        ("sansio/__init__.py", "from ..actors import errors", "sansio.__init__:1: imports trio_h2.actors.errors"),
        (
            "protocol/frames.py",
            "from ..client import connect",
            "protocol.frames:1: imports trio_h2.client.connect",
        ),
        ("headers.py", "import trio_h2.server", "headers:1: imports trio_h2.server"),
        ("actors/errors.py", "from trio_h2 import connect", "actors.errors:1: imports trio_h2.connect"),
        ("actors/errors.py", "from .. import streams", "actors.errors:1: imports trio_h2.streams"),
        ("client.py", "from .server import serve_h2", "client:1: imports trio_h2.server.serve_h2"),
        ("client.py", "import h2.events", "client:1: imports h2.events"),
        ("__init__.py", "from .cli import main", "__init__:1: imports trio_h2.cli.main"),
        ("cli/app.py", "from trio_h2.client import connect", "cli.app:1: imports trio_h2.client.connect"),
        ("cli/app.py", "from trio_h2 import client", "cli.app:1: imports trio_h2.client"),
        ("cli/app.py", "from trio_h2 import hidden", "cli.app:1: imports trio_h2.hidden"),
        ("cli/app.py", "import trio_h2\ntrio_h2.client.connect", "cli.app:2: trio_h2.client is not public"),
        ("protocol/extra.py", "", "protocol.extra: no such module in the house"),
        ("extra.py", "", "extra: no such module in the house"),
    ],
)
def test_a_fault_is_found(tmp_path: Path, path: str, source: str, fault: str) -> None:
    write_package(tmp_path, SOUND)
    assert violations(tmp_path) == []
    write_package(tmp_path, {path: source})
    assert fault in violations(tmp_path)


def write_package(directory: Path, files: dict[str, str]) -> None:
    for name, source in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
