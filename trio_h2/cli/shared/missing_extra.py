"""What is said where a package is missing that an extra brings. It needs none itself."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["missing_package", "package_is_missing"]


def package_is_missing(package: str, extra: str) -> str:
    """That it is, and what brings it."""
    return f"{package} is missing; install it with: pip install 'trio-h2[{extra}]'"


def missing_package(error: ModuleNotFoundError, extras: Mapping[str, str]) -> str:
    """Which package an import missed, in words.

    Args:
        error: what the import raised.
        extras: packages, and the extras that bring them.

    Raises:
        ModuleNotFoundError: `error`, if it is none of those.
    """
    package = str(error.name).partition(".")[0]
    if package not in extras:
        raise error
    return package_is_missing(package, extras[package])
