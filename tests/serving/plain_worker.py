"""A worker process with no app: `plain_worker.py CONTROL`. The standard library alone, so that it starts soon.

It answers each connection with its process ID and what the file `"generation"` of its options held when it started; it
fails if that is `fail`, and hangs there if it is `hang`. Told to end, it does, but not if its options say `"deaf"`.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import sys
from pathlib import Path
from typing import Any


class PlainWorker:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._served = 0

    def _say(self, kind: str, **details: object) -> None:
        self._control.sendall(json.dumps({"kind": kind, **details}).encode() + b"\n")

    def run(self) -> None:
        hearing = self._control.makefile("rb", buffering=0)
        start = json.loads(hearing.readline())
        options: dict[str, Any] = start["options"]
        generation = Path(options["generation"]).read_text()
        if generation == "fail":
            self._say("failed", reason="no way", exit_code=3)
            sys.exit(3)
        if generation == "hang":
            signal.pause()
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ)
            for number in start["sockets"]:
                selector.register(socket.socket(fileno=number), selectors.EVENT_READ)
            self._say("ready")
            answer = f"{os.getpid()} {generation}".encode()
            goes_on = True
            while goes_on:
                for key, _ in selector.select():
                    if key.fileobj is self._control:
                        goes_on = self._hear(hearing.readline(), deaf=options.get("deaf", False))
                    else:
                        self._serve(key.fileobj, answer)
        self._say("ended", statistics=self._statistics())

    def _hear(self, line: bytes, *, deaf: bool) -> bool:
        """Whether it goes on."""
        if not line:
            return False
        if json.loads(line)["kind"] == "statistics":
            self._say("statistics", statistics=self._statistics())
            return True
        return deaf

    def _statistics(self) -> dict[str, Any]:
        return {"connections": self._served, "connections_open": 1, "requests": {"GET": self._served}}

    def _serve(self, listening: Any, answer: bytes) -> None:
        listening.setblocking(False)
        try:
            connection, _ = listening.accept()
        except BlockingIOError:  # another worker has taken it
            return
        with connection:
            if connection.recv(10) == b"retire":
                self._say("retire")
            self._served += 1
            connection.sendall(answer)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    PlainWorker(socket.socket(fileno=int(sys.argv[1]))).run()
