"""The clients that are measured: `python -m tests.benchmarks.clients NAME TASK PORT AMOUNT [AT_ONCE]`.

The tasks: `small` makes AMOUNT small GETs, AT_ONCE at once; `download` and `upload` move one body of AMOUNT MiB;
`link` reads a large body for AMOUNT milliseconds. Each client is written as its own documentation would have it,
with one connection or pool, and holds no body as a whole. One line of JSON comes out.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import trio

HOST = "127.0.0.1"
HELLO = b"hello"
MIB = 2**20
CHUNK = bytes(64 * 1024)
"""A body to upload comes in pieces of this size."""

LARGE = 256 * MIB
"""The size of the body that `link` reads, more than the link carries in that time."""

WARM_UP = 50
"""Requests made before the clock starts."""


class WrongAnswerError(Exception):
    pass


def check(condition: bool, what: object) -> None:
    if not condition:
        raise WrongAnswerError(what)


def chunks(size: int) -> Iterator[bytes]:
    for _ in range(size // len(CHUNK)):
        yield CHUNK


async def async_chunks(size: int) -> AsyncIterator[bytes]:
    for chunk in chunks(size):
        yield chunk


class Client:
    """What an asynchronous client can do; each of them says how."""

    def __init__(self, port: int) -> None:
        self.url = f"http://{HOST}:{port}"

    async def __aenter__(self) -> Any:
        raise NotImplementedError

    async def __aexit__(self, *error: Any) -> None:
        await self.client.__aexit__(*error)  # type: ignore[attr-defined]

    async def fetch(self) -> bytes:
        """One small GET: the body of its answer, once that is known to be a 200."""
        raise NotImplementedError

    def download(self, size: int) -> AsyncIterator[bytes]:
        raise NotImplementedError

    async def upload(self, size: int) -> int:
        raise NotImplementedError


class TrioH2(Client):
    async def __aenter__(self) -> TrioH2:
        import trio_h2

        self.client = trio_h2.connect(self.url)
        self.connection = await self.client.__aenter__()
        return self

    async def fetch(self) -> bytes:
        response = await self.connection.request("GET", "/hello.txt")
        check(response.status == 200, response)
        return response.body

    async def download(self, size: int) -> AsyncIterator[bytes]:
        async with self.connection.stream("GET", f"/{size}") as stream:
            response = await stream.response()
            check(response.status == 200, response)
            async for chunk in stream:
                yield chunk

    async def upload(self, size: int) -> int:
        headers = [("content-length", str(size))]
        response = await self.connection.request("POST", "/hello.txt", headers=headers, body=async_chunks(size))
        return response.status


class HTTPCore(Client):
    package = "httpcore"

    async def __aenter__(self) -> HTTPCore:
        package = __import__(self.package)
        self.client = package.AsyncConnectionPool(http1=False, http2=True, max_connections=1)
        await self.client.__aenter__()
        return self

    async def fetch(self) -> bytes:
        response = await self.client.request("GET", f"{self.url}/hello.txt")
        check(response.status == 200, response)
        return response.content

    async def download(self, size: int) -> AsyncIterator[bytes]:
        async with self.client.stream("GET", f"{self.url}/{size}") as response:
            check(response.status == 200, response)
            async for chunk in response.aiter_stream():
                yield chunk

    async def upload(self, size: int) -> int:
        headers = [("content-length", str(size))]
        response = await self.client.request(
            "POST", f"{self.url}/hello.txt", headers=headers, content=async_chunks(size)
        )
        return response.status


class HTTPCore2(HTTPCore):
    package = "httpcore2"


class HTTPX2(Client):
    async def __aenter__(self) -> HTTPX2:
        import httpx2

        self.client = httpx2.AsyncClient(timeout=60, trust_env=False, **self.transport())
        await self.client.__aenter__()
        return self

    def transport(self) -> dict[str, Any]:
        """What has it speak HTTP/2."""
        return {"http1": False, "http2": True}

    async def fetch(self) -> bytes:
        response = await self.client.get(f"{self.url}/hello.txt")
        check(response.status_code == 200, response)
        return response.content

    async def download(self, size: int) -> AsyncIterator[bytes]:
        async with self.client.stream("GET", f"{self.url}/{size}") as response:
            check(response.status_code == 200, response)
            async for chunk in response.aiter_bytes():
                yield chunk

    async def upload(self, size: int) -> int:
        headers = {"content-length": str(size)}
        response = await self.client.post(f"{self.url}/hello.txt", headers=headers, content=async_chunks(size))
        return response.status_code


class HTTPX2OverTrioH2(HTTPX2):
    def transport(self) -> dict[str, Any]:
        from trio_h2.adapters.httpx2 import H2Transport

        return {"transport": H2Transport()}


CLIENTS: dict[str, type[Client]] = {
    "trio_h2": TrioH2,
    "httpcore": HTTPCore,
    "httpcore2": HTTPCore2,
    "httpx2": HTTPX2,
    "trio_h2 in httpx2": HTTPX2OverTrioH2,
}


async def small(client: Client, amount: int, at_once: int) -> float:
    async def worker(share: Iterator[int]) -> None:
        for _ in share:
            check(await client.fetch() == HELLO, "the answer to a small GET has another body")

    async def fetch_all(count: int) -> float:
        # One iterator for all: whoever is free makes the next request.
        share = iter(range(count))
        started = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for _ in range(at_once):
                nursery.start_soon(worker, share)
        return time.perf_counter() - started

    await fetch_all(WARM_UP)
    return await fetch_all(amount)


async def download(client: Client, amount: int) -> float:
    check(await client.fetch() == HELLO, "the answer to a small GET has another body")
    size = 0
    started = time.perf_counter()
    async for chunk in client.download(amount * MIB):
        size += len(chunk)
    seconds = time.perf_counter() - started
    check(size == amount * MIB, f"{size} bytes of {amount} MiB")
    return seconds


async def upload(client: Client, amount: int) -> float:
    """The server checks the size: nghttp2 resets a request that has another one than its content-length says."""
    check(await client.fetch() == HELLO, "the answer to a small GET has another body")
    started = time.perf_counter()
    check(await client.upload(amount * MIB) == 200, "the upload was not answered with 200")
    return time.perf_counter() - started


async def read_for(client: Client, milliseconds: int) -> int:
    """How many bytes of the large body come in that time."""
    size = 0
    with trio.move_on_after(milliseconds / 1000):
        async for chunk in client.download(LARGE):
            size += len(chunk)
    return size


async def run(name: str, task: str, port: int, amount: int, at_once: int) -> dict[str, object]:
    client = CLIENTS[name](port)
    if task == "link":
        # What is cut off in the midst need not be closed in good order.
        with trio.CancelScope() as scope:
            async with client:
                size = await read_for(client, amount)
                scope.cancel()
        return {"bytes": size}
    async with client:
        if task == "small":
            return {"requests": amount, "seconds": await small(client, amount, at_once)}
        return {"requests": amount, "seconds": await {"download": download, "upload": upload}[task](client, amount)}


# niquests, which has threads ----------------------------------------------------------------------


class Niquests:
    """A session that speaks HTTP/2 alone, shared by all threads."""

    def __init__(self, port: int, at_once: int) -> None:
        import niquests

        self._url = f"http://{HOST}:{port}"
        self._session = niquests.Session(
            disable_http1=True, disable_http3=True, pool_connections=1, pool_maxsize=at_once
        )
        self._session.trust_env = False

    def fetch(self) -> None:
        response = self._session.get(f"{self._url}/hello.txt")
        check(response.status_code == 200 and response.http_version == 20, response)
        check(response.content == HELLO, "the answer to a small GET has another body")

    def small(self, amount: int, at_once: int) -> float:
        self.fetch()
        share = iter(range(amount))
        failures = []

        def worker() -> None:
            try:
                for _ in share:
                    self.fetch()
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=worker) for _ in range(at_once)]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - started
        if failures:
            raise failures[0]
        return seconds

    def download(self, amount: int) -> float:
        self.fetch()
        size = 0
        started = time.perf_counter()
        response = self._session.get(f"{self._url}/{amount * MIB}", stream=True)
        check(response.status_code == 200, response)
        for chunk in response.iter_content(len(CHUNK)):
            size += len(chunk)
        seconds = time.perf_counter() - started
        check(size == amount * MIB, f"{size} bytes of {amount} MiB")
        return seconds

    def upload(self, amount: int) -> float:
        self.fetch()
        headers = {"content-length": str(amount * MIB)}
        started = time.perf_counter()
        response = self._session.post(f"{self._url}/hello.txt", data=chunks(amount * MIB), headers=headers)
        check(response.status_code == 200, response)
        return time.perf_counter() - started

    def run(self, task: str, amount: int, at_once: int) -> dict[str, object]:
        if task == "small":
            return {"requests": amount, "seconds": self.small(amount, at_once)}
        return {"requests": amount, "seconds": {"download": self.download, "upload": self.upload}[task](amount)}


def main(name: str, task: str, port: str, amount: str, at_once: str = "1") -> None:
    if name == "niquests":
        report = Niquests(int(port), int(at_once)).run(task, int(amount), int(at_once))
    else:
        report = trio.run(run, name, task, int(port), int(amount), int(at_once))
    print(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
