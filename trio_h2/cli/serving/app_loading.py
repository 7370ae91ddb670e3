"""From `module:app` to an ASGI app. What goes wrong in the app's own code is shown as Python shows it."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Awaitable, Callable
from traceback import format_exception
from types import TracebackType
from typing import Any

from ..shared.saying import reason
from .serve_error import RUN_TIME, USAGE, ServeError

__all__ = ["App", "AppRaisedError", "load_app"]

App = Callable[[Any, Any, Any], Awaitable[None]]


class AppRaisedError(ServeError):
    """The app's own code raised when it was imported or made; the text is that of its error, with nothing of ours."""

    def __init__(self, target: str, error: Exception) -> None:
        super().__init__(f"{target} raised {error!r}", RUN_TIME)
        self.error = error

    @property
    def text(self) -> str:
        """The app's error as Python shows it."""
        return "".join(format_exception(type(self.error), self.error, _theirs(self.error.__traceback__)))


def load_app(target: str, *, factory: bool) -> App:
    """Import the app that is called `module:app`; the current directory is one of those where modules are found.

    Args:
        target: the module, and the app in it, maybe with dots: `package.module:site.app`.
        factory: the name is that of a function without arguments that makes the app.

    Raises:
        ServeError: there is no such module or name (`USAGE`), or what it names is no ASGI app.
        AppRaisedError: the app's own code raised.
    """
    module_name, colon, path = target.partition(":")
    if not colon or not all(module_name.split(".")) or not all(path.split(".")):
        raise ServeError(f"{target!r} is no directory that exists, nor an app: that is written module:app", USAGE)
    _find_modules_here()
    try:
        found = _find(module_name, path)
        if factory and callable(found):
            found = found()
    except ServeError:
        raise
    except Exception as error:
        raise AppRaisedError(target, error) from error
    _check_app(target, found, factory)
    app: App = found
    return app


def _find_modules_here() -> None:
    directories = sys.path
    try:
        here = os.getcwd()
    except OSError as error:
        raise ServeError(f"cannot use the current directory: {reason(error)}") from error
    if here not in directories and "" not in directories:
        directories.insert(0, here)


def _find(module_name: str, path: str) -> Any:
    try:
        __import__(module_name)  # and not importlib's, which leaves its frames in tracebacks
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}.") or _theirs(error.__traceback__):
            raise
        hint = f" (without .py: {module_name[:-3]}:{path})" if module_name.endswith(".py") else ""
        raise ServeError(f"there is no module {error.name!r}{hint}", USAGE) from None
    found: Any = sys.modules[module_name]
    for done, name in enumerate(names := path.split(".")):
        try:
            found = getattr(found, name)
        except AttributeError as error:
            if _theirs(error.__traceback__):  # raised by a property, or a module's __getattr__
                raise
            where = ".".join([module_name, *names[:done]])
            raise ServeError(f"there is no {name!r} in {where}", USAGE) from None
    return found


def _check_app(target: str, found: object, factory: bool) -> None:
    what = f"what {target}() returns" if factory else target
    if inspect.iscoroutine(found):
        found.close()  # or Python would warn that nobody has awaited it
    if not callable(found):
        raise ServeError(f"{what} is no ASGI app: it is of the type {type(found).__name__}, and not callable", USAGE)
    try:
        inspect.signature(found).bind(None, None, None)
    except ValueError:
        return  # one of those that cannot tell
    except TypeError:
        hint = "" if factory else "; if it makes the app, add --factory"
        raise ServeError(f"{what} is no ASGI app: it does not take scope, receive and send{hint}", USAGE) from None


def _theirs(traceback: TracebackType | None) -> TracebackType | None:
    """What a traceback shows below our frames and those of Python's own importing."""
    while traceback is not None:
        name = traceback.tb_frame.f_code.co_filename
        if name != __file__ and not name.startswith("<frozen importlib"):
            return traceback
        traceback = traceback.tb_next
    return None
