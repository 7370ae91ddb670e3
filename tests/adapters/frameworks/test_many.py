"""Many requests of all kinds on one connection, a third of them cancelled at random points."""

from __future__ import annotations

import hashlib
import json
import random
import ssl

import trio

import trio_h2
from tests.peers import TLSFiles

from .drivers import client_context
from .journal import PIECE, digest_of
from .sites import Site

SIZE = 2 * len(PIECE)


async def ask(connection: trio_h2.ClientConnection, kind: int, name: str) -> bool:
    """One request; whether its answer is right."""
    if kind == 0:
        response = await connection.request("GET", f"/json?as={name}")
        return bool(json.loads(response.body) == {"path": "/json", "query": {"as": name}})
    if kind == 1:
        response = await connection.request("GET", f"/download?size={SIZE}&as={name}")
        return hashlib.sha256(response.body).hexdigest() == digest_of(SIZE)
    if kind == 2:
        response = await connection.request("POST", f"/upload?as={name}", body=PIECE * 2)
        return response.body.decode() == digest_of(SIZE)
    response = await connection.request("GET", f"/threaded?as={name}")
    return response.body == b"from a thread"


async def test_200_requests_at_once_with_cancellations(site: Site, name: str, tls_files: TLSFiles) -> None:
    """Each that was not cancelled is answered right, and the app has ended for each that it began with."""
    context: ssl.SSLContext = client_context(tls_files)
    rng = random.Random(13)
    right: list[int] = []
    wanted = [number for number in range(200) if number % 3]
    before = len(site.own_errors())

    async def one(connection: trio_h2.ClientConnection, number: int) -> None:
        with trio.move_on_after(60 if number % 3 else rng.uniform(0, 0.3)):
            if await ask(connection, number // 3 % 4, f"{name}-{number}"):
                right.append(number)

    async with trio_h2.connect(site.url(), ssl_context=context) as connection:
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for number in range(200):
                    nursery.start_soon(one, connection, number)
        assert sorted(number for number in right if number % 3) == wanted
        for number in range(0, 200, 3):
            noted = await site.journal(f"{name}-{number}")
            assert not noted or await site.ended(f"{name}-{number}"), noted
    assert site.own_errors()[before:] == []
