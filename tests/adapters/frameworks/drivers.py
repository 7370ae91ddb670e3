"""The clients that the suite's requests are made with, behind one call."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import httpx2
import trio

import trio_h2
from tests.peers import TLSFiles, require_program

from .sites import Site

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Answer:
    """Attributes:
    version: what the response came over, as the client names it.
    """

    status: int
    headers: trio_h2.Headers
    body: bytes
    version: str


class Request(Protocol):
    async def __call__(
        self, site: Site, method: str, path: str, headers: Headers = (), body: bytes | None = None
    ) -> Answer: ...


@dataclass(frozen=True)
class Driver:
    """Attributes:
    name: the client's.
    version: of HTTP, as the client names it.
    request: makes one request, on a connection of its own.
    """

    name: str
    version: str
    request: Request

    async def __call__(
        self, site: Site, method: str, path: str, headers: Headers = (), body: bytes | None = None
    ) -> Answer:
        return await self.request(site, method, path, headers, body)


def client_context(tls: TLSFiles) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(tls.ca))


def by_httpx2(tls: TLSFiles) -> Driver:
    context = client_context(tls)

    async def request(site: Site, method: str, path: str, headers: Headers = (), body: bytes | None = None) -> Answer:
        async with httpx2.AsyncClient(http2=True, verify=context) as client:
            response = await client.request(method, site.url(path), headers=list(headers), content=body)
            fields = trio_h2.Headers(response.headers.multi_items())
            return Answer(response.status_code, fields, response.content, response.http_version)

    return Driver("httpx2", "HTTP/2", request)


def by_trio_h2(tls: TLSFiles) -> Driver:
    context = client_context(tls)

    async def request(site: Site, method: str, path: str, headers: Headers = (), body: bytes | None = None) -> Answer:
        async with trio_h2.connect(site.url(), ssl_context=context) as connection:
            response = await connection.request(method, path, headers=list(headers), body=body)
            return Answer(response.status, response.headers, response.body, "HTTP/2")

    return Driver("trio_h2", "HTTP/2", request)


def by_curl(tls: TLSFiles, scheme: str, how: str) -> Driver:
    program = require_program("curl", package="curl")

    async def request(site: Site, method: str, path: str, headers: Headers = (), body: bytes | None = None) -> Answer:
        options = ["-I"] if method == "HEAD" else ["-i", "-X", method]
        for name, value in headers:
            options += ["-H", f"{name}: {value}"]
        if body is not None:
            options += ["--data-binary", "@-"]
            if not any(name.lower() == "content-type" for name, _ in headers):
                options += ["-H", "content-type:"]
        command = [program, "-sS", how, "--cacert", str(tls.ca), *options, site.url(path, scheme)]
        with trio.fail_after(30):
            done = await trio.run_process(command, stdin=body or b"", capture_stdout=True)
        return _parsed(done.stdout)

    return Driver(f"curl {how} {scheme}", "HTTP/1.1" if how == "--http1.1" else "HTTP/2", request)


def _parsed(output: bytes) -> Answer:
    """What curl -i has written, without interim responses."""
    while True:
        head, _, output = output.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        version, status = first.split(" ")[:2]
        if not status.startswith("1"):
            break
    pairs = [line.split(": ", 1) if ": " in line else [line.rstrip(":"), ""] for line in lines]
    return Answer(int(status), trio_h2.Headers([(name.lower(), value) for name, value in pairs]), output, version)


@cache
def drivers_of(server: str, tls: TLSFiles) -> list[Driver]:
    """The clients that a server is asked by: all of them, or for the reference one of each version."""
    reference = [by_trio_h2(tls), by_curl(tls, "http", "--http1.1")]
    if server != "ours":
        return reference
    over_http2 = [by_curl(tls, "https", "--http2"), by_curl(tls, "http", "--http2-prior-knowledge")]
    return [*reference, by_httpx2(tls), *over_http2]


Test = Callable[[Site, TLSFiles, str], Awaitable[None]]


def by_each_driver(test: Callable[[Site, Driver, str], Awaitable[None]]) -> Test:
    """A test that each of a server's clients takes, all of them at the same time; each has a name of its own."""

    async def take(site: Site, driver: Driver, name: str) -> None:
        try:
            await test(site, driver, name)
        except Exception as error:
            error.add_note(f"by {driver.name}")
            raise

    async def with_all(site: Site, tls_files: TLSFiles, name: str) -> None:
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for number, driver in enumerate(drivers_of(site.server, tls_files)):
                    nursery.start_soon(take, site, driver, f"{name}-{number}")

    with_all.__name__, with_all.__doc__ = test.__name__, test.__doc__
    return with_all
