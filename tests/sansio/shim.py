"""Put trio_h2 in the place of the `h2` package: `python -m tests.sansio.shim PROGRAM [ARGUMENT...]` runs a program so.

`install()` has to come before anything imports `h2`. PROGRAM is a module, or a path that ends in `.py`.

`h2.utilities`, functions on header lists that are inside hyper-h2 and that some programs import all the same, stays
hyper-h2's: it is found where that package is installed, and imports the errors from here.
"""

from __future__ import annotations

import importlib.util
import runpy
import sys
from types import ModuleType

from trio_h2 import events, exceptions, sansio


def install() -> None:
    """Make `import h2.connection` and its siblings give trio_h2's names."""
    assert not any(name == "h2" or name.startswith("h2.") for name in sys.modules), "h2 was imported already"
    package = ModuleType("h2")
    real = importlib.util.find_spec("h2")
    package.__path__ = list(real.submodule_search_locations or ()) if real else []
    package.__version__ = "4.4.1"  # type: ignore[attr-defined]
    sys.modules["h2"] = package
    names: dict[str, tuple[ModuleType, list[str]]] = {
        # Some programs take from it what it imports.
        "connection": (sansio, ["H2Connection", "ConnectionState", "H2Configuration", "H2Stream", "Settings"]),
        "config": (sansio, ["H2Configuration", "DummyLogger", "OutputLogger"]),
        "settings": (sansio, ["Settings", "SettingCodes", "ChangedSetting"]),
        "events": (events, events.__all__),
        "exceptions": (exceptions, [name for name in vars(exceptions) if name.endswith("Error")]),
        "errors": (exceptions, ["ErrorCodes"]),
        "stream": (sansio, ["H2Stream", "StreamState"]),
    }
    for name, (source, wanted) in names.items():
        module = ModuleType(f"h2.{name}")
        module.__dict__.update({each: getattr(source, each) for each in wanted})
        setattr(package, name, module)
        sys.modules[module.__name__] = module
    sys.modules["h2.events"].ChangedSetting = sansio.ChangedSetting  # type: ignore[attr-defined]  # it imports that


def main() -> None:
    install()
    program = sys.argv[1]
    sys.argv = sys.argv[1:]
    if program.endswith(".py"):
        runpy.run_path(program, run_name="__main__")
    else:
        runpy.run_module(program, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
