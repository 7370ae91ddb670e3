"""The client of socket_client.py on actors: `python actor_client.py HOST PORT PATH [BODY]` prints the response."""

from __future__ import annotations

import sys
from functools import partial

import trio

import trio_h2


async def main(host: str, port: str, path: str, body: str = "") -> None:
    async with trio_h2.connect(f"http://{host}:{port}") as connection:
        response = await connection.request("POST" if body else "GET", path, body=body.encode() or None)
    print(response.status)
    print(response.body.decode())


if __name__ == "__main__":
    trio.run(partial(main, *sys.argv[1:]))
