"""`H2Transport`'s memory of the last header fields: what comes by it comes without it, and no secret is in it."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import trio_h2
from tests.engine.pool_network import URL, Network
from trio_h2.adapters.httpx_transport.last_fields import LastRequestFields, LastResponseFields

from .httpx_packages import Package, echo

SENT: list[list[tuple[bytes, bytes]]] = [
    [],
    [(b"Host", b"example.org"), (b"Accept", b" */* "), (b"Connection", b"keep-alive")],
    [(b"Host", b"example.org"), (b"accept", b"text/html")],
    [(b"Host", b"example.net"), (b"accept", b"text/html")],
    [(b"Accept", b"text/html"), (b"Accept", b"text/plain")],
    [(b"Authorization", b"Basic c2VjcmV0"), (b"Host", b"example.org")],
]


def test_request_fields_that_come_again_are_sent_as_the_first_time() -> None:
    last = LastRequestFields()
    for one in SENT:
        for other in (one, *SENT):
            for _ in range(2):
                assert last.of(list(other)) == LastRequestFields().of(other)


@pytest.mark.parametrize("name", [b"Authorization", b"Proxy-Authorization", b"cookie"])
def test_no_credentials_of_a_request_are_kept(name: bytes) -> None:
    last = LastRequestFields()
    last.of([(b"host", b"example.org"), (name, b"secret")])
    assert "secret" not in repr(vars(last))


def test_response_fields_that_come_again_are_those_of_the_first_time(package: Package) -> None:
    last = LastResponseFields(package.module)
    first, other = (trio_h2.Headers([("server", "a"), ("vary", "x"), ("vary", value)]) for value in ("y", "z"))
    for headers in (first, first, first, other, first, other, other):
        assert package.module.Headers(last.of(headers)).raw == list(headers.raw)


def test_no_cookie_of_a_response_is_kept(package: Package) -> None:
    last = LastResponseFields(package.module)
    headers = trio_h2.Headers([("set-cookie", "secret")])
    for _ in range(3):
        assert package.module.Headers(last.of(headers))["set-cookie"] == "secret"
        assert "secret" not in repr(vars(last))


async def test_what_is_done_to_a_response_is_done_to_no_other(package: Package, nursery: trio.Nursery) -> None:
    network = Network(nursery, echo)
    async with package.client(network) as client:
        for _ in range(4):
            response: Any = await client.get(URL, headers={"x-mine": "1"})
            assert response.headers["had-x-mine"] == "1"
            assert "x-changed" not in response.headers
            response.headers["x-changed"] = "1"
            del response.headers["had-x-mine"]
