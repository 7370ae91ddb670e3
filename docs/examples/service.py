"""A JSON service: `python service.py PORT CERTIFICATE KEY` keeps notes, in memory, and logs what it was asked.

curl --cacert CERTIFICATE --json '{"text": "buy milk"}' https://localhost:PORT/notes
curl --cacert CERTIFICATE https://localhost:PORT/notes/1
"""

from __future__ import annotations

import json
import logging
import signal
import ssl
import sys
from functools import partial

import trio

import trio_h2

MAX_NOTE = 10_000  # octets; what is larger is answered with 413

logger = logging.getLogger("service")


class Problem(Exception):
    """What is wrong with a request, and the status of the response that says so."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Notes:
    def __init__(self) -> None:
        self._notes: dict[str, str] = {}
        self._count = 0

    async def answer(self, stream: trio_h2.ServerStream) -> tuple[int, object]:
        """The status of the response, and what goes into its body as JSON."""
        path = (stream.request.path or "").partition("?")[0]
        match stream.request.method, path.split("/")[1:]:
            case "GET", ["notes"]:
                return 200, self._notes
            case "POST", ["notes"]:
                text = await self._text(stream)
                self._count += 1
                self._notes[str(self._count)] = text
                return 201, {"number": self._count}
            case "GET", ["notes", number] if number in self._notes:
                return 200, {"text": self._notes[number]}
            case "DELETE", ["notes", number] if number in self._notes:
                del self._notes[number]
                return 200, {}
            case _:
                raise Problem(404, "there is no such thing")

    async def _text(self, stream: trio_h2.ServerStream) -> str:
        try:
            note = json.loads(await stream.read(max_body=MAX_NOTE))
        except ValueError:  # no JSON, or no UTF-8
            raise Problem(400, "the body is no JSON") from None
        match note:
            case {"text": str(text)}:
                return text
            case _:
                raise Problem(400, 'a note is {"text": "..."}')


async def handler(notes: Notes, stream: trio_h2.ServerStream) -> None:
    began = trio.current_time()
    try:
        try:
            status, value = await notes.answer(stream)
        except Problem as problem:
            status, value = problem.status, {"error": str(problem)}
        await stream.respond(status, [("content-type", "application/json")], json.dumps(value).encode())
    finally:
        request, seconds = stream.request, trio.current_time() - began
        logger.info("%s %s: %s after %.3f s", request.method, request.path, stream.status, seconds)


async def main(port: int, certificate: str, key: str) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    async with trio.open_nursery() as nursery:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            serve = partial(trio_h2.serve_h2, partial(handler, Notes()), port, ssl_context=context)
            server: trio_h2.H2Server = await nursery.start(serve)
            logger.info("https://localhost:%s", server.port)
            await anext(signals)
        await server.shutdown()


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), sys.argv[2], sys.argv[3])
