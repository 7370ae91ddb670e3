"""Clients that leave, at every point of a request: the app notices and ends, and nothing is logged as an error."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio

import trio_h2
from tests.peers import HOST, TLSFiles

from .drivers import client_context
from .expectations import expected
from .sites import Site

KINDS = {
    "events": ("GET", "/events", b"", b"2"),
    "mid-download": ("GET", "/download?size=52428800", b"", b"\1\2\3"),
    "before the first octet": ("GET", "/waits", b"", b""),
    "mid-upload": ("POST", "/upload", bytes(10_000), b""),
    "within a small body": ("POST", "/json", b"[1,2", b""),
    "in the background": ("GET", "/background", b"", b"accepted"),
    "plain": ("GET", "/raw/nobody", b"", b"first"),
}
"""Method and path; what is sent of a longer body; what is received before the client leaves."""


def path_of(kind: str, name: str, below: str = "") -> str:
    path = below + KINDS[kind][1]
    return f"{path}{'&' if '?' in path else '?'}as={name}"


@asynccontextmanager
async def open_request(
    site: Site, connection: trio_h2.ClientConnection, kind: str, name: str, below: str = ""
) -> AsyncIterator[trio_h2.ClientStream]:
    """A request over HTTP/2 that the app has begun with, and whose client has received what it wants."""
    method, _, body, wanted = KINDS[kind]
    async with connection.stream(method, path_of(kind, name, below), end_stream=not body) as stream:
        if body:
            await stream.send_all(body)
        received = b""
        while wanted not in received:
            received += await stream.receive_some()
        await site.noted(name, "began")
        yield stream


async def reset(site: Site, context: ssl.SSLContext, kind: str, name: str) -> None:
    async with trio_h2.connect(site.url(), ssl_context=context) as connection:
        async with open_request(site, connection, kind, name) as stream:
            await stream.reset()


async def hang_up(site: Site, context: ssl.SSLContext, kind: str, name: str) -> None:
    transport = await trio.open_tcp_stream(HOST, site.http)
    try:
        async with trio_h2.connect_over(transport, authority=HOST) as connection:
            async with open_request(site, connection, kind, name):
                await trio.aclose_forcefully(transport)
    except trio_h2.ConnectionClosedError:
        pass


async def leave_http1(site: Site, context: ssl.SSLContext, kind: str, name: str) -> None:
    method, _, body, wanted = KINDS[kind]
    async with await trio.open_tcp_stream(HOST, site.http) as transport:
        head = f"{method} {path_of(kind, name)} HTTP/1.1\r\nhost: {HOST}\r\n"
        head += "content-length: 1000000\r\n\r\n" if body else "\r\n"
        await transport.send_all(head.encode() + body)
        received = b""
        while wanted not in received:
            received += await transport.receive_some()
        await site.noted(name, "began")


Leave = Callable[[Site, ssl.SSLContext, str, str], Awaitable[None]]


@pytest.mark.parametrize("leave", [reset, hang_up, leave_http1])
async def test_an_app_ends_when_its_client_has_left(site: Site, name: str, tls_files: TLSFiles, leave: Leave) -> None:
    context = client_context(tls_files)
    before = len(site.own_errors())

    async def one(kind: str) -> None:
        own = f"{name}-{kind.replace(' ', '-')}"
        await leave(site, context, kind, own)
        if kind == "in the background":
            await site.open_gate(own)
            await site.noted(own, "worked")
        ends = does_end(site, kind, leave)
        how = await site.ended(own, 15 if ends else 0.5)
        assert (how is not None) is ends, f"{kind}: {how}"
        if kind == "plain":
            assert expected(site, "sending to a client that has gone") in await site.journal(own)

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for kind in KINDS:
                nursery.start_soon(one, kind)
    assert site.own_errors()[before:] == []


def does_end(site: Site, kind: str, leave: Leave) -> object:
    """Quart-Trio listens for the disconnect beside every app; with the others the server has to end some."""
    if site.framework == "quart":
        return True
    if kind == "before the first octet":
        return expected(site, "an app that does not look for its client")
    if leave is hang_up and kind in ("mid-upload", "within a small body"):
        return expected(site, "an upload whose connection is lost")
    return True
