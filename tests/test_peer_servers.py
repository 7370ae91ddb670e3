"""trio_h2's client against real HTTP/2 servers: nghttpd, nginx, and HAProxy in front of a trio_h2 server."""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

import trio_h2
from tests import peers
from tests.peer_site import (
    MIB,
    OCTETS,
    async_blocks,
    blocks,
    digest,
    file_digest,
    logged,
    sized,
    start_server,
    stream_digest,
    write_body,
)

REQUESTS = sized(10_000, 2_000)
AT_ONCE = 100
LARGE = sized(256 * MIB, 16 * MIB)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.WARNING, "trio_h2"):
        yield
    assert logged(caplog) == []


@pytest.fixture
def docroot(tmp_path: Path) -> Path:
    directory = tmp_path / "docroot"
    directory.mkdir()
    (directory / "hello").write_bytes(b"hello\n")
    return directory


@dataclass(frozen=True)
class Target:
    """A server that the client is pointed at. HAProxy has no files: behind it is the site of `peer_site`."""

    peer: peers.Peer
    docroot: Path | None
    ssl_context: ssl.SSLContext | None

    def connect(self, config: trio_h2.Config | None = None) -> trio_h2.connect:
        return trio_h2.connect(self.peer.url, ssl_context=self.ssl_context, config=config)

    def large_file(self) -> str:
        """The path of LARGE octets to download."""
        if self.docroot is None:
            return f"/bytes/{LARGE}"
        write_body(self.docroot / "large", LARGE)
        return "/large"


@pytest.fixture(params=["nghttpd-h2c", "nghttpd-tls", "nginx-tls", "haproxy"])
async def target(
    request: pytest.FixtureRequest,
    nursery: trio.Nursery,
    docroot: Path,
    tls_files: peers.TLSFiles,
    client_ssl_context: ssl.SSLContext,
) -> AsyncIterator[Target]:
    async with AsyncExitStack() as stack:
        match request.param:
            case "nghttpd-h2c":
                peer = await stack.enter_async_context(peers.run_nghttpd(docroot))
                yield Target(peer, docroot, None)
            case "nghttpd-tls":
                peer = await stack.enter_async_context(peers.run_nghttpd(docroot, tls=tls_files))
                yield Target(peer, docroot, client_ssl_context)
            case "nginx-tls":
                peer = await stack.enter_async_context(peers.run_nginx(docroot, tls=tls_files))
                yield Target(peer, docroot, client_ssl_context)
            case "haproxy":
                server = await start_server(nursery)
                assert server.port is not None
                peer = await stack.enter_async_context(peers.run_haproxy(server.port, tls=tls_files))
                yield Target(peer, None, client_ssl_context)


# Every server -------------------------------------------------------------------------------------


async def test_thousands_of_requests_a_hundred_at_once(target: Target) -> None:
    left = iter(range(REQUESTS))
    done = 0

    async def ask(connection: trio_h2.ClientConnection) -> None:
        nonlocal done
        for _ in left:
            response = await connection.request("GET", "/hello")
            assert (response.status, response.body) == (200, b"hello\n")
            done += 1

    with trio.fail_after(120):
        async with target.connect() as connection:
            async with trio.open_nursery() as nursery:
                for _ in range(AT_ONCE):
                    nursery.start_soon(ask, connection)
            await connection.ping()  # within a round trip the last streams' tasks have ended
            statistics = connection.statistics()
    assert done == REQUESTS
    assert statistics.streams == ()
    assert statistics.unread == 0


async def test_large_download_by_stream(target: Target) -> None:
    path = target.large_file()
    with trio.fail_after(120):
        async with target.connect() as connection, connection.stream("GET", path) as stream:
            head = await stream.response()
            assert (head.status, head.headers["content-length"]) == (200, str(LARGE))
            assert await stream_digest(stream) == digest(LARGE)
        assert stream.trailers is None


async def test_large_download_by_request(target: Target) -> None:
    path = target.large_file()
    with trio.fail_after(120):
        async with target.connect() as connection:
            response = await connection.request("GET", path)
    view = memoryview(response.body)
    offset = 0
    for block in blocks(LARGE):
        assert view[offset : offset + len(block)] == block
        offset += len(block)
    assert offset == len(view)


async def test_large_upload_by_stream(target: Target) -> None:
    method, path = _upload(target)
    headers = [OCTETS, ("content-length", str(LARGE))]
    received = ""
    with trio.fail_after(120):
        async with (
            target.connect() as connection,
            connection.stream(method, path, headers=headers) as stream,
            trio.open_nursery() as nursery,
        ):

            async def send() -> None:
                for block in blocks(LARGE):
                    await stream.send_all(block)
                await stream.send_eof()

            nursery.start_soon(send)
            head = await stream.response()
            assert 200 <= head.status < 300
            received = await _received(target, path, stream)
    assert received == digest(LARGE)


async def test_large_upload_by_request(target: Target) -> None:
    """From an asynchronous iterable, without a content-length."""
    method, path = _upload(target)
    with trio.fail_after(120):
        async with target.connect() as connection:
            response = await connection.request(method, path, headers=[OCTETS], body=async_blocks(LARGE))
    assert 200 <= response.status < 300
    if target.peer.name == "nginx":
        assert target.docroot is not None
        assert file_digest(target.docroot / path.strip("/")) == digest(LARGE)
    elif target.peer.name == "haproxy":
        assert response.body.decode() == digest(LARGE)
    else:
        assert len(response.body) == LARGE
        assert response.body == b"".join(blocks(LARGE))


def _upload(target: Target) -> tuple[str, str]:
    """How to upload: nginx makes a file of it, nghttpd sends it back, the site behind HAProxy its SHA-256."""
    match target.peer.name:
        case "nginx":
            return "PUT", "/uploaded"
        case "nghttpd":
            return "POST", "/echo"
        case _:
            return "POST", "/digest"


async def _received(target: Target, path: str, stream: trio_h2.ClientStream) -> str:
    """The SHA-256 of what the server got, from its response or its file."""
    if target.peer.name == "nghttpd":
        return await stream_digest(stream)
    body = b"".join([chunk async for chunk in stream])
    if target.docroot is None:
        return body.decode()
    return file_digest(target.docroot / path.strip("/"))


async def test_statuses_and_methods(target: Target) -> None:
    with trio.fail_after(60):
        async with target.connect() as connection:
            assert (await connection.request("GET", "/no/such/thing")).status == 404
            head = await connection.request("HEAD", "/hello")
            assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "6")
            assert await connection.ping() < 5
            assert connection.accepting


async def test_a_cancelled_download_harms_nobody(target: Target) -> None:
    """RST_STREAM(CANCEL) amid DATA, many times: the connection serves the next request, and its window is whole."""
    path = target.large_file()
    with trio.fail_after(120):
        async with target.connect() as connection:
            for _ in range(20):
                async with connection.stream("GET", path) as stream:
                    assert await stream.receive_some(1000)
            response = await connection.request("GET", "/hello")
            assert response.body == b"hello\n"
            await connection.ping()
            window = connection.statistics().inbound_window
    assert window.held == 0
    assert window.available + window.unannounced == window.target


async def test_small_windows_of_ours(target: Target) -> None:
    path = target.large_file()
    config = trio_h2.Config(initial_window_size=2_000, connection_window_size=65_535)
    with trio.fail_after(120):
        async with target.connect(config) as connection, connection.stream("GET", path) as stream:
            wanted = b"".join(blocks(MIB))
            received = bytearray()
            while len(received) < MIB:
                received += await stream.receive_some(MIB - len(received))
    assert received == wanted


# What nghttpd can be asked to do ------------------------------------------------------------------


async def test_requests_past_the_limit_wait_their_turn(docroot: Path) -> None:
    async with peers.run_nghttpd(docroot, options=("--max-concurrent-streams=5",)) as peer:
        with trio.fail_after(60):
            async with trio_h2.connect(peer.url) as connection:
                await connection.request("GET", "/hello")  # after which the server's limit is known
                finished: list[int] = []
                most = 0

                async def ask(number: int) -> None:
                    nonlocal most
                    async with connection.stream("GET", "/hello") as stream:
                        states = [each.state for each in connection.statistics().streams]
                        open_now = [state for state in states if state not in ("WAITING", "CLOSED")]
                        most = max(most, len(open_now))
                        assert b"".join([chunk async for chunk in stream]) == b"hello\n"
                    finished.append(number)

                async with trio.open_nursery() as nursery:
                    for number in range(500):
                        nursery.start_soon(ask, number)
    assert sorted(finished) == list(range(500))
    assert 1 < most <= 5


async def test_more_requests_than_the_limit_before_it_is_known(docroot: Path) -> None:
    """A hundred go out before the server's SETTINGS say 5; those it refuses are safe to retry."""
    async with peers.run_nghttpd(docroot, options=("--max-concurrent-streams=5",)) as peer:
        with trio.fail_after(60):
            async with trio_h2.connect(peer.url) as connection:
                retried = 0

                async def ask() -> None:
                    nonlocal retried
                    while True:
                        try:
                            response = await connection.request("GET", "/hello")
                        except trio_h2.StreamResetError as error:
                            if not error.safe_to_retry:
                                raise
                            retried += 1
                        else:
                            assert response.body == b"hello\n"
                            return

                async with trio.open_nursery() as nursery:
                    for _ in range(100):
                        nursery.start_soon(ask)
    assert retried <= 95


async def test_tiny_windows_of_the_server(docroot: Path) -> None:
    async with peers.run_nghttpd(docroot, options=("--window-bits=4", "--connection-window-bits=16")) as peer:
        body = b"".join(blocks(100_000))
        with trio.fail_after(60):
            async with trio_h2.connect(peer.url) as connection, trio.open_nursery() as nursery:

                async def echo() -> None:
                    response = await connection.request("POST", "/echo", body=body)
                    assert response.body == body

                for _ in range(4):
                    nursery.start_soon(echo)


@pytest.mark.parametrize(
    "option",
    [
        pytest.param("--padding=255", id="padding"),
        pytest.param("--no-content-length", id="no-content-length"),
        pytest.param("--header-table-size=0", id="no-hpack-table"),
        pytest.param("--header-table-size=65536", id="large-hpack-table"),
        pytest.param("--encoder-header-table-size=0", id="no-hpack-encoder-table"),
        pytest.param("--encoder-header-table-size=65536", id="large-hpack-encoder-table"),
        pytest.param("--no-rfc7540-pri", id="no-rfc7540-priorities"),
    ],
)
async def test_nghttpd_in_many_ways(docroot: Path, option: str) -> None:
    body = b"".join(blocks(300_000))
    async with peers.run_nghttpd(docroot, options=(option,)) as peer:
        with trio.fail_after(60):
            async with trio_h2.connect(peer.url) as connection:
                for number in range(50):
                    response = await connection.request("GET", "/hello", headers=[("x-number", str(number))])
                    assert response.body == b"hello\n"
                response = await connection.request("POST", "/echo", body=body)
                assert response.body == body


async def test_trailers_both_ways(docroot: Path) -> None:
    async with peers.run_nghttpd(docroot, options=("-v", "--trailer=x-end: of the line")) as peer:
        with trio.fail_after(60):
            async with trio_h2.connect(peer.url) as connection:
                response = await connection.request("POST", "/echo", body=b"body", trailers=[("x-mine", "too")])
        assert response.body == b"body"
        assert response.trailers is not None
        assert response.trailers["x-end"] == "of the line"
        assert "x-mine: too" in peer.output()


async def test_a_response_that_ends_before_the_upload(docroot: Path) -> None:
    """RST_STREAM(NO_ERROR) after a whole response: `request()` returns it, `send_all()` of a stream raises."""
    async with peers.run_nghttpd(docroot, echo=False, options=("--early-response",)) as peer:
        with trio.fail_after(60):
            async with trio_h2.connect(peer.url) as connection:
                response = await connection.request("POST", "/hello", body=async_blocks(64 * MIB))
                assert (response.status, response.body) == (200, b"hello\n")
                async with connection.stream("POST", "/hello") as stream:
                    with pytest.raises(trio_h2.StreamResetError) as caught:
                        while True:
                            await stream.send_all(bytes(MIB))
                    assert caught.value.error_code == trio_h2.ErrorCodes.NO_ERROR
                    assert (await stream.response()).status == 200
                    assert b"".join([chunk async for chunk in stream]) == b"hello\n"
                assert connection.accepting


async def test_pushes(docroot: Path) -> None:
    (docroot / "style").write_bytes(b"pushed\n")
    taken = trio.Event()

    async def take(connection: trio_h2.ClientConnection) -> None:
        async for pushed in connection.pushes():
            async with pushed:
                assert pushed.request.path == "/style"
                assert (await pushed.response()).status == 200
                assert b"".join([chunk async for chunk in pushed]) == b"pushed\n"
            taken.set()

    config = trio_h2.Config(enable_push=True)
    async with peers.run_nghttpd(docroot, options=("--push=/hello=/style",)) as peer, trio.open_nursery() as nursery:
        with trio.fail_after(30):
            async with trio_h2.connect(peer.url, config=config) as connection:
                nursery.start_soon(take, connection)
                response = await connection.request("GET", "/hello")
                assert response.body == b"hello\n"
                await taken.wait()


async def test_no_pushes_unless_asked_for(docroot: Path) -> None:
    (docroot / "style").write_bytes(b"pushed\n")
    async with peers.run_nghttpd(docroot, options=("-v", "--push=/hello=/style")) as peer:
        with trio.fail_after(60):
            async with trio_h2.connect(peer.url) as connection:
                assert (await connection.request("GET", "/hello")).body == b"hello\n"
        assert "PUSH_PROMISE" not in peer.output()


async def test_100_continue_of_nghttpd(docroot: Path) -> None:
    body = b"".join(blocks(200_000))
    async with peers.run_nghttpd(docroot, options=("-v",)) as peer:
        with trio.fail_after(60):
            async with trio_h2.connect(peer.url) as connection:
                response = await connection.request("POST", "/echo", headers=[("expect", "100-continue")], body=body)
        assert response.body == body
        output = peer.output()
    assert output.index(":status: 100") < output.index("recv DATA frame")


# A server that goes away --------------------------------------------------------------------------


@asynccontextmanager
async def _doomed(docroot: Path, tls: peers.TLSFiles | None) -> AsyncIterator[peers.Peer]:
    """nghttpd that the body of the `async with` kills."""
    try:
        async with peers.run_nghttpd(docroot, tls=tls) as peer:
            yield peer
    except AssertionError as error:
        if "ended by itself" not in str(error):
            raise


@pytest.mark.parametrize("secure", [False, True], ids=["h2c", "tls"])
async def test_a_server_killed_in_mid_download_never_looks_done(
    docroot: Path, tls_files: peers.TLSFiles, client_ssl_context: ssl.SSLContext, secure: bool
) -> None:
    write_body(docroot / "large", 16 * MIB)
    async with _doomed(docroot, tls_files if secure else None) as peer:
        with trio.fail_after(60):
            async with trio_h2.connect(peer.url, ssl_context=client_ssl_context if secure else None) as connection:
                async with connection.stream("GET", "/large") as stream:
                    size = len(await stream.receive_some())
                    peer.process.kill()
                    await peer.process.wait()
                    with pytest.raises(trio_h2.ConnectionTerminatedError) as caught:
                        async for chunk in stream:
                            size += len(chunk)
                    assert isinstance(caught.value, trio.BrokenResourceError)
                    assert not caught.value.safe_to_retry
                    assert size < 16 * MIB
                assert not connection.accepting
                with pytest.raises(trio_h2.ConnectionTerminatedError) as caught:
                    await connection.request("GET", "/hello")
                assert caught.value.safe_to_retry
                await connection.wait_closed()


@pytest.mark.parametrize("secure", [False, True], ids=["h2c", "tls"])
async def test_a_server_killed_in_mid_request(
    docroot: Path, tls_files: peers.TLSFiles, client_ssl_context: ssl.SSLContext, secure: bool
) -> None:
    """Uploads of every kind and a waiting PING raise, and not one of them looks as if it had been answered."""
    outcomes: list[trio_h2.ConnectionTerminatedError] = []
    underway = trio.Event()

    async def upload(connection: trio_h2.ClientConnection) -> None:
        with pytest.raises(trio_h2.ConnectionTerminatedError) as caught:
            await connection.request("POST", "/echo", body=endless())
        outcomes.append(caught.value)

    async def upload_by_stream(connection: trio_h2.ClientConnection) -> None:
        async with connection.stream("POST", "/echo") as stream:
            with pytest.raises(trio_h2.ConnectionTerminatedError) as caught:
                while True:
                    await stream.send_all(bytes(10_000))
            outcomes.append(caught.value)

    async def endless() -> AsyncIterator[bytes]:
        sent = 0
        while True:
            yield bytes(10_000)
            sent += 1
            if sent == 100:
                underway.set()

    async with _doomed(docroot, tls_files if secure else None) as peer:
        with trio.fail_after(60):
            async with (
                trio_h2.connect(peer.url, ssl_context=client_ssl_context if secure else None) as connection,
                trio.open_nursery() as nursery,
            ):
                for _ in range(3):
                    nursery.start_soon(upload, connection)
                    nursery.start_soon(upload_by_stream, connection)
                await underway.wait()
                peer.process.kill()
    assert len(outcomes) == 6
    for error in outcomes:
        assert isinstance(error, trio.BrokenResourceError)
        assert not error.safe_to_retry
