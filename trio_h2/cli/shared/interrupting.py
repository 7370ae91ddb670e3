"""What SIGINT does to a command."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable

import trio

__all__ = ["INTERRUPTED", "until_interrupted"]

INTERRUPTED = 128 + signal.SIGINT
"""The exit code that shells know a command by which SIGINT ended."""


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
