"""What the published packages are made to do, each in a process of its own, with or without the shim.

`python -m tests.sansio.programs NAME ...`, or the same behind `tests.sansio.shim`.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from typing import Any


async def echo_app(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI application: POST gets its body back, /big gets three million octets, anything else a greeting."""
    if scope["type"] != "http":
        return
    assert scope["http_version"] == "2"
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    if scope["path"] == "/big":
        body = bytes(3_000_000)
    # `connection` is a field that HTTP/2 does not have: applications written for HTTP/1.1 send it all the same.
    headers = [(b"content-type", b"text/plain"), (b"connection", b"keep-alive"), (b"x-path", scope["path"].encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body or b"hello"})


def hypercorn(port: str, certificate: str = "", key: str = "") -> None:
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    if certificate:
        config.certfile, config.keyfile = certificate, key
    asyncio.run(serve(echo_app, config))  # type: ignore[arg-type]


def gunicorn(port: str, certificate: str, key: str) -> None:
    from gunicorn.app.wsgiapp import run

    files = ["--certfile", certificate, "--keyfile", key]
    options = ["--worker-class=asgi", "--http-protocols=h2", "--no-control-socket"]
    sys.argv = ["gunicorn", f"--bind=127.0.0.1:{port}", *files, *options, f"{__package__}.programs:echo_app"]
    run()


def httpcore(package: str, url: str, ca: str = "") -> None:
    """A GET, a POST of 300,000 octets, and eight GETs at once, over one connection each pool; prints what came."""
    import importlib
    import ssl
    from concurrent.futures import ThreadPoolExecutor

    httpcore = importlib.import_module(package)
    context = ssl.create_default_context(cafile=ca) if ca else None
    with httpcore.ConnectionPool(http1=False, http2=True, ssl_context=context) as pool:
        answer = pool.request("GET", f"{url}/file")
        assert answer.extensions["http_version"] == b"HTTP/2"
        print(answer.status, hashlib.sha256(answer.content).hexdigest())
        answer = pool.request("POST", f"{url}/echo", content=bytes(300_000))
        print(answer.status, len(answer.content))
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda _: pool.request("GET", f"{url}/file"), range(8)))
        print(*(each.status for each in answers))
        assert len(pool.connections) == 1


def twisted(port: str, certificate: str, key: str) -> None:
    """What the ASGI application does, as resources; /late answers in two parts, later."""
    from pathlib import Path

    from twisted.internet import endpoints, reactor, ssl
    from twisted.web import resource, server

    class Root(resource.Resource):  # type: ignore[misc]
        isLeaf = True

        def render_GET(self, request: Any) -> Any:
            if request.path == b"/late":
                reactor.callLater(0, request.write, b"late ")
                reactor.callLater(0.01, request.finish)
                return server.NOT_DONE_YET
            return bytes(3_000_000) if request.path == b"/big" else b"hello " + request.clientproto

        def render_POST(self, request: Any) -> bytes:
            request.setHeader(b"connection", b"keep-alive")
            return bytes(request.content.read())

    both = ssl.PrivateCertificate.loadPEM(Path(key).read_bytes() + Path(certificate).read_bytes())
    endpoint = endpoints.SSL4ServerEndpoint(reactor, int(port), both.options(), interface="127.0.0.1")
    endpoint.listen(server.Site(Root()))
    reactor.run()


async def aioapns(port: str, ca: str) -> None:
    """A hundred notifications at once, and one that is refused; prints the answers."""
    import ssl

    from aioapns import NotificationRequest
    from aioapns.connection import APNsProductionClientProtocol

    loop = asyncio.get_running_loop()
    context = ssl.create_default_context(cafile=ca)
    context.set_alpn_protocols(["h2"])
    _, client = await loop.create_connection(
        lambda: APNsProductionClientProtocol("topic"), "localhost", int(port), ssl=context
    )
    requests = [NotificationRequest(f"token{number}", {"aps": {"alert": "hi"}}) for number in range(100)]
    answers = await asyncio.gather(*map(client.send_notification, requests))
    print(len(answers), {answer.status for answer in answers})
    answer = await client.send_notification(NotificationRequest("bad", {}))
    print(answer.status, answer.description)
    client.close()


PROGRAMS = {
    "aioapns": aioapns,
    "gunicorn": gunicorn,
    "httpcore": httpcore,
    "hypercorn": hypercorn,
    "twisted": twisted,
}

if __name__ == "__main__":
    done = PROGRAMS[sys.argv[1]](*sys.argv[2:])
    if asyncio.iscoroutine(done):
        asyncio.run(done)
    print("h2 is", (sys.modules["h2"].__spec__ and "h2") or "trio_h2")
