"""`ServeError`: why `serve` can't."""

from __future__ import annotations

from ..shared.saying import tell

__all__ = ["RUN_TIME", "USAGE", "ServeError"]

RUN_TIME = 1
"""The exit code for what goes wrong when it runs."""

USAGE = 2
"""The exit code for what is wrong with what `serve` was told."""


class ServeError(Exception):
    """What keeps `serve` from serving, in one line if possible.

    Attributes:
        exit_code: the process's, `USAGE` or `RUN_TIME`.
    """

    def __init__(self, message: str, exit_code: int = RUN_TIME) -> None:
        super().__init__(message)
        self.exit_code = exit_code

    @property
    def text(self) -> str:
        """What there is to say of it, in lines."""
        return f"Error: {self}"

    def show(self) -> None:
        """Say it on standard error."""
        for line in self.text.splitlines():
            tell(line)
