"""A client with nothing to do with the attack: `python -m tests.attacks.bystander PORT`.

It begins a request every 20 ms, whatever became of the ones before, and measures each from the moment it was due. It is
told on stdin when to begin and when to end, and says then how long they took.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import trio

import trio_h2
from tests.attacks.gauge import BYSTANDER, Control, Gauge, say

INTERVAL = 0.02
PATIENCE = 30.0


class Latencies:
    """Of requests that are begun on a schedule; one that failed or never ended counts as such."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.failed = 0
        self.begun = 0

    async def watch(self, port: int, ready: Callable[[], object]) -> None:
        """Until cancelled; a connection that has ended is replaced. `ready` is called when all is going well."""
        while True:
            try:
                async with trio_h2.connect(f"http://127.0.0.1:{port}") as connection:
                    if not self.begun:
                        await connection.request("GET", "/")
                        ready()
                    await self._keep_to_schedule(connection)
            except (trio_h2.H2Error, OSError):
                self.failed += 1
                await trio.sleep(INTERVAL)

    async def _keep_to_schedule(self, connection: trio_h2.ClientConnection) -> None:
        async with trio.open_nursery() as nursery:
            due = trio.current_time()
            while connection.accepting:
                self.begun += 1
                nursery.start_soon(self._request, connection, due)
                due += INTERVAL
                await trio.sleep_until(due)

    async def _request(self, connection: trio_h2.ClientConnection, due: float) -> None:
        try:
            response = await connection.request("GET", "/")
            assert response.status == 200
        except trio_h2.H2Error:
            self.failed += 1
        else:
            self.seconds.append(trio.current_time() - due)

    async def finish(self) -> None:
        """Wait for the answers to what was begun so far."""
        begun = self.begun
        deadline = trio.current_time() + PATIENCE
        while len(self.seconds) + self.failed < begun and trio.current_time() < deadline:  # noqa: ASYNC110
            await trio.sleep(INTERVAL)
        self.begun = begun

    def summary(self) -> dict[str, float]:
        """In seconds; `unanswered` are those that were given up when it ended."""
        ordered = sorted(self.seconds) or [float("inf")]
        return {
            "count": len(self.seconds),
            "failed": self.failed,
            "unanswered": max(0, self.begun - len(self.seconds) - self.failed),
            "p50": ordered[len(ordered) // 2],
            "p99": ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)],
            "max": ordered[-1],
        }


class Watching:
    """A bystander that is told when to begin and when to say how it went."""

    def __init__(self, nursery: trio.Nursery, port: int) -> None:
        self._nursery = nursery
        self._port = port
        self._over = trio.Event()

    def watch(self, command: object = None) -> None:
        """Begin; says so once it is being served."""
        self._over = trio.Event()
        self._nursery.start_soon(self._run, self._over)

    def unwatch(self, command: object = None) -> None:
        """End, and say how it went."""
        self._over.set()

    async def _run(self, over: trio.Event) -> None:
        BYSTANDER.set(True)
        latencies = Latencies()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(latencies.watch, self._port, say)
            await over.wait()
            await latencies.finish()
            nursery.cancel_scope.cancel()
        say(**latencies.summary())


async def main(port: int) -> None:
    async with trio.open_nursery() as nursery:
        watching = Watching(nursery, port)
        Control(Gauge(), nursery.cancel_scope, {"watch": watching.watch, "unwatch": watching.unwatch})
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]))
