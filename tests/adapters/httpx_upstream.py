"""httpx's own tests, over `H2Transport`: `python -m tests.adapters.httpx_upstream DIRECTORY [--httpx2] [OPTIONS]`.

OPTIONS are pytest's. DIRECTORY is an unpacked source distribution of httpx, with what its tests need installed
(uvicorn, trustme, chardet, anyio). Its `MockTransport` becomes a server of trio_h2 that asks the mock's handler, with
`H2Transport` before it, over memory and, for https, over TLS; its `AsyncHTTPTransport` becomes `H2Transport`, and the
app that its tests serve is served by `asgi_handler`. With `--httpx2` the same tests run on httpx2. docs/httpx.md lists
what differs.
"""

from __future__ import annotations

import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import trio
import trio.testing
import trustme

import trio_h2
from trio_h2.adapters.asgi import asgi_handler

FILES = (
    "client/test_async_client.py",
    "client/test_auth.py",
    "client/test_client.py",
    "client/test_cookies.py",
    "client/test_event_hooks.py",
    "client/test_headers.py",
    "client/test_queryparams.py",
    "client/test_redirects.py",
    "test_multipart.py",
    "test_timeouts.py",
)
"""Those that make requests through a transport that may be an asynchronous one."""

NOBODY = "10.255.255.1"
"""An address of those tests that never answers."""

AUTHORITY = trustme.CA()


def client_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


@cache
def server_context(host: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    AUTHORITY.issue_cert(host).configure_cert(context)
    context.set_alpn_protocols(["h2"])
    return context


async def serve(handler: trio_h2.Handler, host: str, transport: trio.abc.Stream) -> None:
    """Serve one connection; over TLS if that is what it begins with."""
    first = await transport.receive_some()
    replayed: trio.abc.Stream = trio_h2.ReplayedStream(transport, first)
    if first[:1] == b"\x16":
        replayed = trio.SSLStream(replayed, server_context(host), server_side=True)
    await trio_h2.serve_h2_connection(handler, replayed)


class Upstream:
    """The package whose tests run, with the transport in place of its own."""

    def __init__(self, package: ModuleType, transport: Any) -> None:
        self.package = package
        self.transport = transport
        self.exchanges = 0

    def connecting_to(self, handler: trio_h2.Handler) -> Any:
        async def open_stream(host: str, port: int) -> trio.abc.Stream:
            if host == NOBODY:
                await trio.sleep_forever()
            here, there = trio.testing.memory_stream_pair()
            trio.lowlevel.spawn_system_task(serve, handler, host, there)
            return here

        return open_stream

    def handler_of(self, mock: Any) -> trio_h2.Handler:
        """What a mock's handler answers, as a handler of trio_h2; what it raises, the mock keeps."""

        async def handler(stream: trio_h2.ServerStream) -> None:
            asked = stream.request
            request = self.package.Request(
                asked.method,
                f"{asked.scheme}://{asked.authority}{asked.path}",
                headers=[(b"host", (asked.authority or "").encode()), *asked.headers],
                content=await stream.read(),
            )
            try:
                response = mock.handler(request)
                if not isinstance(response, self.package.Response):
                    response = await response
                body = [chunk async for chunk in self.chunks(response)]
            except Exception as error:
                mock.raised = error
                await stream.reset()
                return
            fields = [(n.lower(), v) for n, v in response.headers.raw if n.lower() != b"transfer-encoding"]
            await stream.respond(response.status_code, fields, b"".join(body))

        return handler

    async def chunks(self, response: Any) -> AsyncIterator[bytes]:
        if isinstance(response.stream, self.package.AsyncByteStream):
            async for chunk in response.stream:
                yield chunk
        else:
            for chunk in response.stream:
                yield chunk

    @asynccontextmanager
    async def opened(self, mock: Any) -> AsyncIterator[Any]:
        handler = self.handler_of(mock)
        async with self.transport(verify=client_context(), open_stream=self.connecting_to(handler)) as transport:
            yield transport

    async def exchange(self, mock: Any, request: Any) -> Any:
        self.exchanges += 1
        async with self.opened(mock) as transport:
            try:
                response = await transport.handle_async_request(request)
                body = b"".join([chunk async for chunk in response.stream])
            except self.package.TransportError:
                if mock.raised is not None:
                    raise mock.raised from None
                raise
        return self.package.Response(
            response.status_code,
            headers=response.headers,
            stream=self.package.ByteStream(body),
            extensions=response.extensions,
        )

    def mock_transport(self) -> type:
        upstream = self

        class MockOverHTTP2(self.package.MockTransport):  # type: ignore[name-defined,misc]
            raised: Exception | None = None

            def handle_request(self, request: Any) -> Any:
                request.read()
                return trio.run(upstream.exchange, self, request)

            async def handle_async_request(self, request: Any) -> Any:
                await request.aread()
                return await upstream.exchange(self, request)

        return MockOverHTTP2

    def http_transport(self, app: Any) -> Any:
        def make(*, verify: Any = True, cert: Any = None, trust_env: bool = True, **ignored: Any) -> Any:
            transport = self.transport(
                verify=verify,
                cert=cert,
                trust_env=trust_env,
                limits=ignored.get("limits"),
                proxy=ignored.get("proxy"),
                open_stream=self.connecting_to(asgi_handler(app())),
            )
            asked = transport.handle_async_request

            async def counted(request: Any) -> Any:
                self.exchanges += 1
                return await asked(request)

            transport.handle_async_request = counted
            return transport

        return make


class Plugin:
    """Runs the tests under trio alone, and says of each whether it went through the transport."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.through: set[str] = set()

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        def fits(item: Any) -> bool:
            parameters = getattr(getattr(item, "callspec", None), "params", {})
            return str(parameters.get("anyio_backend", "trio")) == "trio"

        config.hook.pytest_deselected(items=[item for item in items if not fits(item)])
        items[:] = [item for item in items if fits(item)]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Any:
        before = self.upstream.exchanges
        try:
            return (yield)
        finally:
            if self.upstream.exchanges > before:
                self.through.add(item.nodeid)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        passed = [report for report in terminalreporter.stats.get("passed", []) if report.when == "call"]
        failed = terminalreporter.stats.get("failed", [])
        there = [report for report in passed if report.nodeid in self.through]
        terminalreporter.section("through H2Transport")
        terminalreporter.write_line(f"{len(there)} passed through the transport, {len(passed) - len(there)} beside it")
        for report in failed:
            beside = "" if report.nodeid in self.through else " (made no request through it)"
            terminalreporter.write_line(f"failed: {report.nodeid}{beside}")


def main(arguments: list[str]) -> int:
    directory, *options = arguments
    if "--httpx2" in options:
        options.remove("--httpx2")
        import httpx2 as package

        from trio_h2.adapters.httpx2 import H2Transport

        sys.modules["httpx"] = package
    else:
        import httpx as package  # type: ignore[no-redef]

        from trio_h2.adapters.httpx import H2Transport  # type: ignore[assignment]
    upstream = Upstream(package, H2Transport)

    def app() -> Any:
        return sys.modules["tests.conftest"].app

    package.MockTransport = upstream.mock_transport()  # type: ignore[misc]
    package._client.AsyncHTTPTransport = upstream.http_transport(app)  # type: ignore[attr-defined]
    root = Path(directory).resolve()
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        del sys.modules[name]
    sys.path[0] = str(root)
    files = [str(root / "tests" / name) for name in FILES]
    return pytest.main(
        ["-q", "--rootdir", str(root), "-c", str(root / "pyproject.toml"), *options, *files], [Plugin(upstream)]
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
