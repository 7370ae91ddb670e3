"""What the commands share: how they tell the world that something went wrong, and what signals do."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable

import click
import trio

__all__ = ["INTERRUPTED", "complain", "printable", "reason", "say", "until_interrupted"]

INTERRUPTED = 128 + signal.SIGINT
"""The exit code that shells know a command by which SIGINT ended."""


def printable(text: str | bytes) -> str:
    """Text of a peer's, fit for a terminal: nothing in it is a control sequence."""
    if isinstance(text, bytes):
        text = text.decode("latin-1")
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def complain(message: str) -> None:
    """Say in one line on standard error what went wrong."""
    click.echo(f"Error: {printable(message)}", err=True)


def say(line: str) -> None:
    """Print a line. When nobody reads standard output any more, go on without it."""
    try:
        click.echo(printable(line))
    except BrokenPipeError:
        # What Python holds back would fail once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def reason(error: BaseException) -> str:
    """What an error says, and what lies below it where that says more.

    trio's "all attempts to connect to host:port failed" has the reason of each attempt in a group below it.
    """
    if isinstance(error.__cause__, BaseExceptionGroup):
        return f"{error}: {'; '.join(dict.fromkeys(map(reason, error.__cause__.exceptions)))}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


async def until_interrupted(main: Callable[[], Awaitable[int]]) -> int:
    """Run `main` for its exit code; SIGINT cancels it.

    A KeyboardInterrupt would end some task, and leave every nursery above it in an ExceptionGroup.
    """
    exit_code = INTERRUPTED

    async def run_main() -> None:
        nonlocal exit_code
        exit_code = await main()
        nursery.cancel_scope.cancel()

    with trio.open_signal_receiver(signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_main)
            async for _ in signals:
                nursery.cancel_scope.cancel()
    return exit_code
