"""A client that outlives restarts of its server: `python resilient_client.py URL PATH SECONDS` asks again and again.

`Client` is the part to take along. Its requests share one connection, which is opened when it is needed, and again when
it has ended; what failed is tried again where that is safe, in growing pauses.
"""

from __future__ import annotations

import random
import sys

import trio

import trio_h2

CONNECT_TIMEOUT = 5.0  # seconds
PAUSES = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0)  # seconds before each try, of which a random half is left out

IDEMPOTENT = {"GET", "HEAD", "OPTIONS", "PUT", "DELETE"}  # RFC 9110 section 9.2.2: doing it twice is doing it once


class Client:
    """Requests to one origin.

    Args:
        nursery: where connections live; cancel it to close them.
        url: scheme, host and port.
    """

    def __init__(self, nursery: trio.Nursery, url: str) -> None:
        self._nursery = nursery
        self._url = url
        self._lock = trio.Lock()
        self._connection: trio_h2.ClientConnection | None = None

    async def request(self, method: str, target: str, body: bytes | None = None) -> trio_h2.Response:
        """Make a request, up to six times. Raises what the last one raised, or the first that is not to be repeated."""
        failure: Exception | None = None
        for pause in PAUSES:
            await trio.sleep(pause * random.uniform(0.5, 1))
            try:
                connection = await self._connected()
                return await connection.request(method, target, body=body)
            except (OSError, trio.TooSlowError) as error:  # the server could not be reached
                failure = error
            except (trio_h2.StreamResetError, trio_h2.ConnectionTerminatedError) as error:
                if not (error.safe_to_retry or (method in IDEMPOTENT and error.initiator == "remote")):
                    raise
                failure = error
            except trio_h2.HandshakeError as error:
                if not error.safe_to_retry:  # a certificate that was refused, or a server without HTTP/2
                    raise
                failure = error
        assert failure is not None
        raise failure

    async def _connected(self) -> trio_h2.ClientConnection:
        async with self._lock:
            connection = self._connection
            if connection is None or not connection.accepting:
                with trio.fail_after(CONNECT_TIMEOUT):
                    connection = self._connection = await self._nursery.start(self._connect)
            return connection

    async def _connect(self, task_status: trio.TaskStatus[trio_h2.ClientConnection]) -> None:
        async with trio_h2.connect(self._url) as connection:
            task_status.started(connection)
            await connection.wait_closed()  # after a GOAWAY that is when the last response is there


async def main(url: str, path: str, seconds: float) -> None:
    async with trio.open_nursery() as nursery:
        client = Client(nursery, url)
        while True:
            with trio.move_on_after(60) as patience:
                response = await client.request("GET", path)
                print(response.status, len(response.body), flush=True)
            if patience.cancelled_caught:
                print("no answer within a minute", flush=True)
            await trio.sleep(seconds)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2], float(sys.argv[3]))
