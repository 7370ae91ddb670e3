"""How the house is built (docs/architecture.md draws it).

Imports go one way and in no circle, the protocol knows no I/O, and nobody changes the fields of others.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.owners import ownership_faults
from tests.touches import touching_faults

PACKAGE = Path(__file__).parent.parent / "trio_h2"

BASE = {"codes", "wording", "protocol", "events", "exceptions", "headers", "config", "trace", "tracer"}
PURE = BASE | {"bodies", "origin", "requests", "sansio"}
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


PUBLIC_PACKAGES = {
    *("trio_h2.adapters.asgi", "trio_h2.adapters.proxy_protocol", "trio_h2.adapters.trusted_addresses"),
    *("trio_h2.adapters.httpx", "trio_h2.adapters.httpx2", "trio_h2.adapters.otel"),
    *("trio_h2.cli", "trio_h2.timeline"),
}
"""What users may import from, beside `trio_h2` itself."""

LAYERS = {
    **{name: layer(BASE, CODEC_LIBRARIES) for name in BASE},
    "codes": layer(set(), set()),
    "wording": layer(set(), set()),
    "bodies": layer(set(), set()),
    "sansio": layer(BASE, CODEC_LIBRARIES),
    "actors": layer(BASE, CORE_LIBRARIES),
    "connection": layer(BASE | {"actors"}, CORE_LIBRARIES),
    "log_trace": layer(BASE | {"actors", "connection"}, CORE_LIBRARIES),
    "timeline": layer(BASE | {"actors", "connection"}, CORE_LIBRARIES),
    "origin": layer({"wording"}, {"idna"}),
    "requests": layer(BASE, CODEC_LIBRARIES),
    "stream": layer(BASE | {"actors", "connection", "requests"}, CORE_LIBRARIES),
    "server_stream": layer(BASE | {"actors", "connection", "requests", "stream"}, CORE_LIBRARIES),
    "exchange": layer(BASE | {"actors", "bodies", "requests"}, CORE_LIBRARIES),
    "client_connection": layer(
        BASE | {"actors", "bodies", "connection", "exchange", "requests", "stream"}, CORE_LIBRARIES
    ),
    "client": layer(
        BASE | {"actors", "client_connection", "connection", "origin", "requests", "tls_handshake"},
        CORE_LIBRARIES,
    ),
    "tls_handshake": layer(BASE | {"actors"}, CORE_LIBRARIES),
    "timeouts": layer({"wording"}, CORE_LIBRARIES),
    "pooling": layer(
        BASE
        | {"actors", "client", "client_connection", "connection", "exchange", "origin", "requests", "timeouts"}
        | {"tls_handshake"},
        CORE_LIBRARIES | {"h11"},
    ),
    "pool": layer(
        BASE
        | {"actors", "bodies", "client_connection", "connection", "exchange", "origin", "pooling", "requests"}
        | {"stream", "timeouts"},
        CORE_LIBRARIES,
    ),
    "server_statistics": layer(BASE | {"actors"}, CORE_LIBRARIES),
    "server_connection": layer(
        BASE | {"actors", "connection", "requests", "server_statistics", "server_stream"}, CORE_LIBRARIES
    ),
    "server": layer(
        BASE | {"actors", "connection", "requests", "server_connection", "server_statistics"}, CORE_LIBRARIES
    ),
    "testing": layer(BASE | {"actors", "client", "client_connection", "connection", "server_connection"}, {"trio"}),
    "__init__": layer(
        PURE
        | {"actors", "connection", "log_trace", "client", "client_connection"}
        | {"pool", "pooling", "timeline", "timeouts"}
        | {"server", "server_connection", "server_statistics", "server_stream"},
        set(),
    ),
    "adapters": layer(set(), {"attrs", "h11", "httpx", "httpx2", "opentelemetry", "trio", "wsproto"}, public_only=True),
    "cli": layer(
        {"adapters", "timeline"},
        {"attrs", "click", "cryptography", "prometheus_client", "rich", "trio", "trustme", "watchfiles"},
        public_only=True,
    ),
    "__main__": layer({"cli"}, set(), public_only=True),
}

HOUSE = {
    "__init__",
    "__main__",
    "bodies",
    "client",
    "client_connection",
    "connection",
    "exchange",
    "origin",
    "pool",
    "requests",
    "timeouts",
    "tls_handshake",
    "server",
    "server_connection",
    "server_statistics",
    "testing",
    "stream",
    "server_stream",
    "trace",
    "tracer",
    "log_trace",
    "headers",
    "codes",
    "wording",
    "config",
    "events",
    "exceptions",
    *(
        f"sansio.{name}"
        for name in (
            "__init__",
            "arguments",
            "configuration",
            "event_shapes",
            "h2_connection",
            "outbound_headers",
            "priority_signals",
            "views",
        )
    ),
    *(
        f"pooling.{name}"
        for name in (
            "__init__",
            "line",
            "origin_connections",
            "origins",
            "pool_statistics",
            "pooled_connection",
            "pooled_stream",
            "proxy_url",
            "reaching",
            "time_limits",
            "tries",
            "tunnels",
            "turns",
        )
    ),
    *(
        f"timeline.{name}"
        for name in (
            "__init__",
            "columns",
            "connection_recorder",
            "findings",
            "json_lines",
            "kept",
            "page_writer",
            "recorder",
            "records",
            "rings",
            "rows",
            "saving",
            "snapshot",
            "told_recorder",
        )
    ),
    *(
        f"protocol.{name}"
        for name in (
            "__init__",
            "bandwidth",
            "block_decoder",
            "budgets",
            "compression",
            "connection_state",
            "control_receiver",
            "credit",
            "dynamic_table",
            "extension_receiver",
            "field_rules",
            "field_section",
            "frame_parsers",
            "frame_reader",
            "frame_writer",
            "frames",
            "huffman",
            "settings",
            "windows",
            "request_rules",
            "response_rules",
            "message_half",
            "stream_machine",
            "connection_machine",
            "limits",
            "message_receiver",
            "priority",
            "priority_receiver",
            "push_receiver",
            "receiver",
            "data_run",
            "sender",
            "stream_table",
            "verdicts",
        )
    ),
    *(
        f"actors.{name}"
        for name in (
            "__init__",
            "accepting",
            "tls_info",
            "addresses",
            "admission",
            "deadlines",
            "departure",
            "ending",
            "event_queue",
            "handler_contract",
            "http1",
            "live_streams",
            "phases",
            "pings",
            "reading",
            "replayed",
            "routing",
            "shutdown",
            "watch",
            "listening",
            "room",
            "stopping",
            "slices",
            "messages",
            "delivery",
            "inbox",
            "spare_channels",
            "connection_actor",
            "pending_send",
            "pump",
            "sending",
            "stream_actor",
            "stream_facts",
            "stream_failures",
            "stream_context",
            "stream_tasks",
            "under_tls",
            "waiting_senders",
            "writer",
            "at_once",
            "large_blocks",
            "plain_sockets",
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
    if target == layer_of(module) or (target in own.imports and not own.public_only):
        return None
    if target in own.imports and found.module in PUBLIC_PACKAGES:
        return None
    if own.public_only and target == "__init__" and (found.name is None or found.name in public):
        return None
    return f"imports {found.module}" + (f".{found.name}" if found.name else "")


def imported_modules(module: str, tree: ast.Module, modules: set[str]) -> Iterator[tuple[int, str]]:
    """The lines on which a module imports modules of the package, and which those are."""
    for each in imports_of(module, tree):
        top, _, below = each.module.partition(".")
        if top == "trio_h2":
            name = each.name or ""
            candidates = [f"{below}.{name}", f"{below}.{name}.__init__", below, f"{below}.__init__"]
            yield each.line, next(filter(modules.__contains__, (name.strip(".") for name in candidates)))


def circles(package: Path) -> list[str]:
    """Every import from which a way leads back."""
    trees = {module: ast.parse(path.read_text()) for module, path in module_names(package).items()}
    imports = {module: list(imported_modules(module, tree, set(trees))) for module, tree in trees.items()}

    def reaches(start: str, goal: str) -> bool:
        seen, found = {start}, [start]
        while found:
            here = found.pop()
            if here == goal:
                return True
            new = {target for _, target in imports[here]} - seen
            seen |= new
            found += new
        return False

    return [
        f"{module}:{line}: imports {target}, which leads back"
        for module, found in imports.items()
        for line, target in found
        if reaches(target, module)
    ]


def test_imports_go_one_way() -> None:
    assert violations(PACKAGE) == []


def test_no_two_files_have_the_same_name() -> None:
    names = [path.name for path in module_names(PACKAGE).values() if path.name != "__init__.py"]
    assert len(set(names)) == len(names)


def test_the_transports_of_httpx_and_httpx2_share_all_but_the_package() -> None:
    """Who has one of the packages need not have the other."""
    for module, path in module_names(PACKAGE).items():
        packages = {each.module for each in imports_of(module, ast.parse(path.read_text()))} & {"httpx", "httpx2"}
        assert packages <= {module.removeprefix("adapters.")}, module


def test_imports_make_no_circle() -> None:
    """Those under `if TYPE_CHECKING` count: two files that name each other's classes are one file to a reader."""
    assert circles(PACKAGE) == []


def test_what_the_commands_share_knows_none_of_them() -> None:
    paths = module_names(PACKAGE)
    for module, path in paths.items():
        if module.startswith("cli.shared."):
            imported = imported_modules(module, ast.parse(path.read_text()), set(paths))
            assert [target for _, target in imported if target.startswith("cli.") and "shared" not in target] == []


def test_nobody_changes_the_fields_of_others() -> None:
    faults = ownership_faults(module_names(PACKAGE))
    assert [str(fault) for fault in faults] == []


def test_above_the_protocol_only_a_streams_actor_touches_its_machine() -> None:
    faults = touching_faults(module_names(PACKAGE))
    assert [str(fault) for fault in faults] == []


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
    "cli/app.py": "from trio_h2 import connect\nfrom trio_h2.cli import other\nfrom trio_h2.adapters.asgi import x\n",
    "adapters/asgi/__init__.py": "",
    "cli/other.py": "",
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
        ("actors/errors.py", "from .. import stream", "actors.errors:1: imports trio_h2.stream"),
        ("client.py", "from .server import serve_h2", "client:1: imports trio_h2.server.serve_h2"),
        ("client.py", "import h2.events", "client:1: imports h2.events"),
        ("__init__.py", "from .cli import main", "__init__:1: imports trio_h2.cli.main"),
        ("cli/app.py", "from trio_h2.client import connect", "cli.app:1: imports trio_h2.client.connect"),
        ("cli/app.py", "from trio_h2 import client", "cli.app:1: imports trio_h2.client"),
        ("cli/app.py", "import trio_h2.adapters.asgi.handler", "cli.app:1: imports trio_h2.adapters.asgi.handler"),
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


@pytest.mark.parametrize(
    ("path", "source", "faults"),
    [
        (
            "protocol/verdicts.py",
            "from .frames import Ignore",
            ["protocol.frames:3: imports protocol.verdicts", "protocol.verdicts:1: imports protocol.frames"],
        ),
        (
            "headers.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .protocol import frames",
            ["headers:3: imports protocol.frames", "protocol.frames:4: imports headers"],
        ),
        (
            "actors/errors.py",
            "def f():\n    import trio_h2",
            [
                "__init__:1: imports client",
                "__init__:2: imports actors.errors",
                "actors.errors:2: imports __init__",
                "client:2: imports actors.errors",
            ],
        ),
        ("exceptions.py", "from .exceptions import Error", ["exceptions:1: imports exceptions"]),
        (
            "cli/other.py",
            "from .app import main",
            ["cli.app:2: imports cli.other", "cli.other:1: imports cli.app"],
        ),
        ("protocol/__init__.py", "from .frames import Ignore", []),
    ],
)
def test_a_circle_is_found(tmp_path: Path, path: str, source: str, faults: list[str]) -> None:
    write_package(tmp_path, SOUND)
    assert circles(tmp_path) == []
    write_package(tmp_path, {path: source})
    assert circles(tmp_path) == [f"{fault}, which leads back" for fault in faults]


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("other.x = 1", "writes other.x"),
        ("other.x: int = 1", "writes other.x"),
        ("other.x += 1", "writes other.x"),
        ("del other.x", "writes other.x"),
        ("other.x, y = 1, 2", "writes other.x"),
        ("for other.x in (): pass", "writes other.x"),
        ("other.x.y = 1", "writes other.x.y"),
        ("self.x.y = 1", "writes self.x.y"),
        ("self.x[0].y = 1", "writes self.x[0].y"),
        ("self.find().y = 1", "writes self.find().y"),
        ("other.own = 1", "writes other.own"),
        ("other._own = 1", "writes other._own"),
        ("alias = self.x\n        alias.y = 1", "writes alias.y"),
        ("made = Other()\n        made.y = 1", "writes made.y"),
        ("other.x[0] = 1", "writes other.x[0]"),
        ("del self.x.y[0]", "writes self.x.y[0]"),
        ("other.x.append(1)", "writes other.x.append(...)"),
        ("self.x.y.pop()", "writes self.x.y.pop(...)"),
        ("setattr(other, 'x', 1)", "writes setattr(other, 'x', 1)"),
        ("object.__setattr__(other, 'x', 1)", "writes object.__setattr__(other, 'x', 1)"),
        ("other._x", "uses other._x"),
        ("self.x._y.z()", "uses self.x._y"),
        ("from .frames import _x", "imports _x"),
        ("self.x = self.y[0] = 1", None),
        ("self.x.append(1)", None),
        ("self.x.begin()", None),
        ("self.x.insert_own(1)", None),
        ("self.x.y.remove(1)", None),
        ("other.x", None),
        ("other._own", None),
        ("other._replace()", None),
        ("super()._x()", None),
        ("scope.deadline = 1", None),
        ("error.__cause__ = None", None),
        ("made = cls.__new__(cls)\n        made.y = 1", None),
        ("made = copy.copy(self)\n        made.y = 1", None),
    ],
)
def test_a_change_to_the_field_of_another_is_found(tmp_path: Path, source: str, fault: str | None) -> None:
    """`remove` is no container's method here, because a class of the package has one of that name."""
    path = tmp_path / "room.py"
    path.write_text(f"""\
class Room:
    def method(self, other):
        {source}

    def remove(self):
        self.own = self._own = 1
""")
    assert [found.what for found in ownership_faults({"room": path})] == ([] if fault is None else [fault])


TOUCHING = {
    "protocol/table.py": """\
class StreamMachine:
    stream_id: int
    outbound: Window

    @property
    def can_send(self): ...

    def close(self): self.stream_id = 0

class Table:
    live: dict[int, StreamMachine]
    first: StreamMachine | None = None

    def get(self, stream_id) -> StreamMachine | None: return self.live[stream_id].close()

class ConnectionState:
    def __init__(self): self.table = Table()

class Sender:
    def __init__(self, state: ConnectionState): self.table = state.table

class ConnectionMachine(Sender):
    def reset_stream(self, stream: StreamMachine): stream.close()
    def above(self) -> list[StreamMachine]: ...
""",
    "actors/sending.py": """\
class Sending:
    def __init__(self, context: "Context", stream: StreamMachine):
        self.context = context
        self.stream = stream

    @property
    def machine(self) -> StreamMachine: return self.stream.outbound and self.stream
""",
    "actors/stream_actor.py": "class StreamActor(Sending):\n    def end(self): self.machine.close()\n",
    "actors/writer.py": "def send(stream: StreamMachine, machine: ConnectionMachine): machine.cut(stream)\n",
    "actors/waiting_senders.py": "def queue(stream: StreamMachine): return stream.outbound\n",
    "actors/foreign.py": "",
}

TOUCHES_NOTHING = """\
class Context:
    stream_id: int

    def __init__(self, machine: ConnectionMachine, actors: dict[int, StreamActor]):
        self.machine = machine
        self.actors = actors

    def method(self, actor: StreamActor):
        stream = self.machine.table.get(1)
        if stream is not None:
            made = StreamActor(self, stream)
            made.end(actor.context.stream_id)
        for each in self.actors.values():
            each.end(self.stream_id)
"""


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("actor.machine.close()", "uses actor.machine.close"),
        ("made.stream.stream_id", "uses made.stream.stream_id"),
        ("self.actors[1].machine.outbound", "uses self.actors[1].machine.outbound"),
        ("each.machine.outbound", "uses each.machine.outbound"),
        ("self.actors.get(1).machine.outbound", "uses self.actors.get(1).machine.outbound"),
        ("actor.context.machine.table.first.outbound", "uses actor.context.machine.table.first.outbound"),
        ("stream.outbound", "uses stream.outbound"),
        ("[each.outbound for each in self.machine.above()]", "uses each.outbound"),
        ("(found := self.machine.table.get(1)).close()", "uses (found := self.machine.table.get(1)).close"),
        ("list(self.machine.table.live.values())[0].close()", "uses list(self.machine.table.live.values())[0].close"),
        ("anything.can_send", "uses anything.can_send"),
        ("self.machine.reset_stream(stream)", "gives away stream"),
        ("self.machine.reset_stream(stream=actor.machine)", "gives away actor.machine"),
        ("actor.end()", None),
        ("self.machine.table.get(self.stream_id)", None),
        ("anything.hold(actor.stream)", "gives away actor.stream"),
    ],
)
def test_a_foreign_touch_of_a_streams_machine_is_found(tmp_path: Path, source: str, fault: str | None) -> None:
    write_package(tmp_path, TOUCHING | {"actors/foreign.py": f"{TOUCHES_NOTHING}        {source}\n"})
    found = [fault.what for fault in touching_faults(module_names(tmp_path)) if fault.module == "actors.foreign"]
    assert found == ([] if fault is None else [fault])


@pytest.mark.parametrize(("module", "use"), [("writer", "outbound"), ("waiting_senders", "close")])
def test_a_writers_queues_go_by_what_decides_whose_turn_it_is(tmp_path: Path, module: str, use: str) -> None:
    write_package(tmp_path, TOUCHING)
    assert touching_faults(module_names(tmp_path)) == []
    write_package(tmp_path, {f"actors/{module}.py": f"def send(stream: StreamMachine): stream.{use}\n"})
    fault = f"actors.{module}:1: uses stream.{use}"
    assert [str(found) for found in touching_faults(module_names(tmp_path))] == [fault]


def write_package(directory: Path, files: dict[str, str]) -> None:
    for name, source in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
