"""From `module:app` to an app, and how it is said that there is none."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.serving.running import invoke_serve
from trio_h2.cli.serving.app_loading import AppRaisedError, load_app
from trio_h2.cli.serving.serve_error import ServeError

Write = Callable[..., Path]

MANY = """\
import hello

def make():
    return hello.app

class Callable:
    async def __call__(self, scope, receive, send): ...

class Site:
    app = Callable()
    class inner:
        app = staticmethod(hello.app)

class PerRequest:
    def __init__(self, scope, receive, send): ...

site = Site()
value = 5

async def second(scope): ...
async def second_make(): ...
def make_value(): return 5
def needs(argument): ...
def __getattr__(name):
    if name == "odd":
        raise KeyError(name)
    raise AttributeError(name)
"""


@pytest.mark.parametrize(
    ("target", "factory"),
    [
        ("hello:app", False),
        ("many:make", True),
        ("many:site.app", False),
        ("many:Site.inner.app", False),
        ("many:PerRequest", False),
        ("package.module:app", False),
    ],
)
def test_an_app_is_found(module: Write, target: str, factory: bool) -> None:
    module("many", MANY)
    module("package/__init__", "")
    module("package/module", "from hello import app")
    assert callable(load_app(target, factory=factory))


@pytest.mark.parametrize(
    ("target", "factory", "message"),
    [
        ("nothing:app", False, "there is no module 'nothing'"),
        ("package.nothing:app", False, "there is no module 'package.nothing'"),
        ("nothing.module:app", False, "there is no module 'nothing'"),
        ("hello.module:app", False, "there is no module 'hello.module'"),
        ("hello.py:app", False, "there is no module 'hello.py' (without .py: hello:app)"),
        ("hello:nothing", False, "there is no 'nothing' in hello"),
        ("many:site.nothing", False, "there is no 'nothing' in many.site"),
        ("many:nothing", False, None),  # a module's own __getattr__ says so
        ("many:value", False, "many:value is no ASGI app: it is of the type int, and not callable"),
        ("many:value", True, "what many:value() returns is no ASGI app: it is of the type int, and not callable"),
        ("many:make_value", True, "what many:make_value() returns is no ASGI app: it is of the type int"),
        ("many:second_make", True, "what many:second_make() returns is no ASGI app: it is of the type coroutine"),
        ("many:make", False, "it does not take scope, receive and send; if it makes the app, add --factory"),
        ("many:second", False, "many:second is no ASGI app: it does not take scope, receive and send"),
        *((each, False, f"{each!r} is no directory that exists, nor an app") for each in ("hello", ":app", "hello:")),
        *((each, False, f"{each!r} is no directory that exists, nor an app") for each in (".hello:app", "hello:app.")),
    ],
)
def test_there_is_no_such_app(module: Write, target: str, factory: bool, message: str | None) -> None:
    module("many", MANY)
    module("package/__init__", "")
    if message is None:
        with pytest.raises(AppRaisedError, match="AttributeError"):
            load_app(target, factory=factory)
    else:
        with pytest.raises(ServeError) as caught:
            load_app(target, factory=factory)
        assert message in str(caught.value)
        assert caught.value.exit_code == 2


RAISES = """\
def fail():
    raise RuntimeError("boom")
fail()
"""


@pytest.mark.parametrize(
    ("source", "target", "factory", "shown"),
    [
        (
            RAISES,
            "broken:app",
            False,
            """\
Traceback (most recent call last):
  File "PATH", line 3, in <module>
    fail()
  File "PATH", line 2, in fail
    raise RuntimeError("boom")
RuntimeError: boom
""",
        ),
        (
            "import nothing_at_all",
            "broken:app",
            False,
            """\
Traceback (most recent call last):
  File "PATH", line 1, in <module>
    import nothing_at_all
ModuleNotFoundError: No module named 'nothing_at_all'
""",
        ),
        (
            "import broken.module",
            "broken:app",
            False,
            """\
Traceback (most recent call last):
  File "PATH", line 1, in <module>
    import broken.module
ModuleNotFoundError: No module named 'broken.module'; 'broken' is not a package
""",
        ),
        (
            "import raising",
            "broken:app",
            False,
            """\
Traceback (most recent call last):
  File "PATH", line 1, in <module>
    import raising
  File "RAISING", line 3, in <module>
    fail()
  File "RAISING", line 2, in fail
    raise RuntimeError("boom")
RuntimeError: boom
""",
        ),
        (
            "def f(:",
            "broken:app",
            False,
            '  File "PATH", line 1\n    def f(:\n          ^\nSyntaxError: invalid syntax\n',
        ),
        (
            "def make():\n    raise OSError('no database')",
            "broken:make",
            True,
            """\
Traceback (most recent call last):
  File "PATH", line 2, in make
    raise OSError('no database')
OSError: no database
""",
        ),
        (
            "def make(settings): ...",
            "broken:make",
            True,
            "TypeError: make() missing 1 required positional argument: 'settings'\n",
        ),
        (
            "def __getattr__(name):\n    raise KeyError(name)",
            "broken:odd",
            False,
            """\
Traceback (most recent call last):
  File "PATH", line 2, in __getattr__
    raise KeyError(name)
KeyError: 'odd'
""",
        ),
    ],
)
def test_errors_of_the_app_are_shown_as_python_shows_them(
    module: Write, source: str, target: str, factory: bool, shown: str
) -> None:
    path, raising = module("broken", source), module("raising", RAISES)
    result = invoke_serve(target, *(["--factory"] if factory else []))
    # From Python 3.13 on a call that spans the line is not underlined; here nothing is said of columns.
    lines = [line for line in result.stderr.splitlines(keepends=True) if line.strip(" ~^\n")]
    expected = [line for line in shown.splitlines(keepends=True) if line.strip(" ~^\n")]
    assert "".join(lines) == "".join(expected).replace("PATH", str(path)).replace("RAISING", str(raising))
    assert result.exit_code == 1


def test_an_unknown_app_is_one_line(module: Write) -> None:
    result = invoke_serve("nothing:app")
    assert (result.stderr, result.exit_code) == ("Error: there is no module 'nothing'\n", 2)


def test_a_file_that_cannot_be_read_is_shown_without_our_frames(module: Write) -> None:
    module("broken", "").unlink()
    (Path.cwd() / "broken.py").mkdir()
    result = invoke_serve("broken:app")
    assert result.exit_code in (1, 2)
    assert "trio_h2" not in result.stderr
    assert "importlib" not in result.stderr


def test_an_app_that_exits_when_it_is_imported_does_so(module: Write) -> None:
    module("exits", "import sys\nsys.exit(7)")
    assert invoke_serve("exits:app").exit_code == 7


def test_a_current_directory_that_is_gone_is_one_line(module: Write, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    os.chdir(here)
    here.rmdir()
    with pytest.raises(ServeError, match="cannot use the current directory: No such file or directory"):
        load_app("hello:app", factory=False)


def test_the_current_directory_comes_first(module: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module("elsewhere/served", "app = None")
    module("served", "from hello import app")
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")
    assert load_app("served:app", factory=False) is not None
