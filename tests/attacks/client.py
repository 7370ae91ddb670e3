"""The client under attack: `python -m tests.attacks.client GOOD_PORT`.

It is told on stdin which server to connect to and what to do there; beside that it is its own bystander, with requests
to a good server on a schedule.
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from typing import Any

import trio

import trio_h2
from tests.attacks.bystander import Watching
from tests.attacks.gauge import Control, Gauge, freeze
from tests.attacks.server import config_from


async def get(connection: trio_h2.ClientConnection) -> None:
    """One request after the other."""
    while connection.accepting:
        try:
            await connection.request("GET", "/")
        except trio_h2.StreamResetError:
            pass


async def hold(connection: trio_h2.ClientConnection) -> None:
    """A hundred requests at once, whose responses are not read further than their heads."""

    async def one() -> None:
        async with connection.stream("GET", "/") as stream:
            await stream.response()
            await connection.wait_closed()

    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(quietly, one)


async def leave(connection: trio_h2.ClientConnection) -> None:
    """A response that is left early; the connection stays."""
    async with connection.stream("GET", "/") as stream:
        await stream.response()
    await connection.wait_closed()


WAYS = {"get": get, "hold": hold, "leave": leave}


async def quietly(function: Any) -> None:
    try:
        await function()
    except trio_h2.H2Error:
        pass


class Program:
    """The client's connections, and what became of them."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.outcomes: Counter[str] = Counter()

    def connect(self, command: dict[str, Any]) -> None:
        for _ in range(command["count"]):
            self._nursery.start_soon(self._connect, command["port"], command["way"], command["config"])

    async def _connect(self, port: int, way: str, values: dict[str, Any]) -> None:
        try:
            async with trio_h2.connect(f"http://127.0.0.1:{port}", config=config_from(values)) as connection:
                await WAYS[way](connection)
        except trio_h2.H2Error as error:
            self.outcomes[f"{type(error).__name__}: {str(error)[:100]}"] += 1

    def report(self) -> dict[str, Any]:
        return {"outcomes": dict(self.outcomes)}


async def main(good_port: int) -> None:
    gauge = Gauge()
    gauge.count_frames()
    freeze()
    trio.lowlevel.add_instrument(gauge)
    async with trio.open_nursery() as nursery:
        program = Program(nursery)
        watching = Watching(nursery, good_port)
        commands = {"connect": program.connect, "watch": watching.watch, "unwatch": watching.unwatch}
        Control(gauge, nursery.cancel_scope, commands, program.report)
        await trio.sleep_forever()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    trio.run(main, int(sys.argv[1]))
