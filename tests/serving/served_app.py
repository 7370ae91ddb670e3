"""The app that tests of `trio-h2 serve --workers` serve: a copy of it lies in a directory of the test's own.

`/` is its process ID and `VERSION`; `/wait` answers when there is a file `gate`; `/exit` ends the process.
"""

from __future__ import annotations

import os
from typing import Any

import trio

VERSION = "1"


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["path"] == "/wait":
        with open("waiting", "w"):  # noqa: ASYNC230
            pass
        while not os.path.exists("gate"):  # noqa: ASYNC110, ASYNC240
            await trio.sleep(0.01)
    elif scope["path"] == "/exit":
        os._exit(7)
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": f"{os.getpid()} {VERSION}".encode()})
