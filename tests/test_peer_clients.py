"""Real HTTP/2 clients against a trio_h2 server, in the clear and over TLS: curl, nghttp, h2load, httpx and gRPC.

All of them get what they ask for, and nothing they do is worth a warning in the server's log.
"""

from __future__ import annotations

import logging
import ssl
import struct
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest
import trio

import trio_h2
from tests import peers
from tests.engine.recording import Recording
from tests.peer_site import MIB, Site, blocks, digest, logged, sized, start_server, write_body

UPLOAD = sized(256 * MIB, 16 * MIB)
DOWNLOAD = sized(256 * MIB, 16 * MIB)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.WARNING, "trio_h2"):
        yield
    assert logged(caplog) == []


@pytest.fixture(params=["http", "https"])
async def served(
    request: pytest.FixtureRequest,
    nursery: trio.Nursery,
    server_ssl_context: ssl.SSLContext,
    tls_files: peers.TLSFiles,
) -> Site:
    """The site, in the clear or over TLS."""
    context = server_ssl_context if request.param == "https" else None
    return Site(await start_server(nursery, ssl_context=context), request.param, tls_files.ca)


# curl ---------------------------------------------------------------------------------------------


async def curl(served: Site, *arguments: str | Path, check: bool = True) -> peers.Completed:
    """Run curl with HTTP/2: by prior knowledge in the clear, by ALPN and with a verified certificate over TLS."""
    program = peers.require_program("curl", package="curl")
    how = ["--http2-prior-knowledge"] if served.scheme == "http" else ["--http2", "--cacert", str(served.ca)]
    return await peers.run_program(program, "--silent", "--show-error", *how, *arguments, seconds=120, check=check)


async def test_curl_get(served: Site) -> None:
    done = await curl(served, "--write-out", "%{http_version} %{http_code}", f"{served.url}/hello")
    assert done.text == "hello\n2 200"


async def test_curl_head(served: Site) -> None:
    done = await curl(served, "--head", f"{served.url}/bytes/1000000")
    status, *fields, end, nothing = done.text.split("\r\n")
    assert status.strip() == "HTTP/2 200"
    assert "content-length: 1000000" in fields
    assert (end, nothing) == ("", "")


async def test_curl_posts_several_mebibytes(served: Site, tmp_path: Path) -> None:
    body = write_body(tmp_path / "body", UPLOAD)
    done = await curl(served, "--data-binary", f"@{body}", f"{served.url}/digest")
    assert done.text == digest(UPLOAD)


async def test_curl_uploads_and_downloads_at_once(served: Site, tmp_path: Path) -> None:
    body = write_body(tmp_path / "body", 4 * MIB)
    done = await curl(served, "--data-binary", f"@{body}", f"{served.url}/echo")
    assert done.stdout == body.read_bytes()


async def test_curl_expects_100_continue(served: Site, tmp_path: Path) -> None:
    body = write_body(tmp_path / "body", 4 * MIB)
    done = await curl(
        served, "--include", "-H", "Expect: 100-continue", "--data-binary", f"@{body}", f"{served.url}/digest"
    )
    interim, final, text = done.text.split("\r\n\r\n")
    assert interim.strip() == "HTTP/2 100"
    assert final.startswith("HTTP/2 200")
    assert text == digest(4 * MIB)


async def test_curl_sends_a_body_that_is_read_whole(served: Site, tmp_path: Path) -> None:
    body = write_body(tmp_path / "body", MIB)
    done = await curl(served, "--data-binary", f"@{body}", f"{served.url}/whole")
    assert done.text == digest(MIB)


async def test_curl_big_download(served: Site) -> None:
    done = await curl(served, f"{served.url}/bytes/{DOWNLOAD}")
    assert done.stdout == b"".join(blocks(DOWNLOAD))


@pytest.mark.parametrize(("path", "status", "size"), [("/nowhere", "404", 23), ("/empty", "204", 0)])
async def test_curl_other_statuses(served: Site, path: str, status: str, size: int) -> None:
    done = await curl(served, "--write-out", "%{http_code} %{size_download}", "--output", "-", f"{served.url}{path}")
    assert done.text.endswith(f"{status} {size}")


async def test_curl_sees_trailers(served: Site, tmp_path: Path) -> None:
    done = await curl(served, "--dump-header", tmp_path / "fields", f"{served.url}/trailers")
    assert done.text == "with trailers\n"
    head, _, trailers = (tmp_path / "fields").read_text().replace("\r", "").partition("\n\n")
    assert "x-checksum" not in head.replace("trailer: x-checksum", "")
    assert trailers.strip() == "x-checksum: abc123"


# Over TLS alone: with prior knowledge curl 7.88 cannot use a connection twice, not nghttpd's either.
@pytest.mark.parametrize("served", ["https"], indirect=True)
@pytest.mark.parametrize("at_once", [(), ("--parallel", "--parallel-max", "50")], ids=["in-turn", "at-once"])
async def test_curl_many_requests_over_one_connection(served: Site, at_once: tuple[str, ...]) -> None:
    done = await curl(
        served,
        *(*at_once, "--write-out", "%{http_code} %{num_connects}\n"),
        *("--output", "/dev/null", f"{served.url}/bytes/[10000-10199]"),
    )
    codes, connects = zip(*(line.split() for line in done.text.splitlines()), strict=True)
    assert codes == ("200",) * 200
    assert sum(map(int, connects)) == 1


async def test_curl_that_gives_up_harms_nobody(served: Site) -> None:
    """curl ends the transfer when it reads the content-length; exit code 63 is "maximum file size exceeded"."""
    done = await curl(served, "--max-filesize", "1000", f"{served.url}/bytes/{64 * MIB}", check=False)
    assert done.returncode == 63
    done = await curl(served, f"{served.url}/hello")
    assert done.text == "hello\n"


async def test_curl_that_speaks_http1_by_mistake(served: Site, tmp_path: Path) -> None:
    """One line that says what to do, and the connection is closed."""
    program = peers.require_program("curl", package="curl")
    done = await peers.run_program(
        program, "--silent", "--show-error", "--http1.1", "--insecure", "--include", f"{served.url}/hello"
    )
    head, _, text = done.text.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 505 ")
    assert "Connection: close" in head
    assert len(text.splitlines()) == 1
    assert "HTTP/2" in text


async def test_curl_post_that_speaks_http1_by_mistake(served: Site, tmp_path: Path) -> None:
    """The answer arrives though the request's body does not fit into any buffer, and nobody reads it."""
    program = peers.require_program("curl", package="curl")
    body = write_body(tmp_path / "body", 16 * MIB)
    done = await peers.run_program(
        program,
        *("--silent", "--show-error", "--http1.1", "--insecure", "--include", "-H", "Expect:"),
        *("--data-binary", f"@{body}", f"{served.url}/digest"),
        check=False,
    )
    assert done.text.startswith("HTTP/1.1 505 ")


async def test_http11_upgrade_offered_by_curl(served: Site) -> None:
    """`curl --http2` in the clear asks for an upgrade, which RFC 9113 section 3.1 has done away with."""
    program = peers.require_program("curl", package="curl")
    done = await peers.run_program(
        program,
        "--silent",
        "--show-error",
        "--http2",
        "--insecure",
        "--write-out",
        "%{http_code}",
        f"{served.url}/hello",
    )
    assert done.text[-3:] == ("505" if served.scheme == "http" else "200")


# A client that goes away --------------------------------------------------------------------------


async def test_a_client_killed_in_mid_upload_never_looks_done(nursery: trio.Nursery, tmp_path: Path) -> None:
    """The handler's reading raises; it does not end as if the body were whole."""
    program = peers.require_program("curl", package="curl")
    body = write_body(tmp_path / "body", 8 * MIB)
    started = trio.Event()
    outcome: list[object] = []
    ended = trio.Event()

    async def handler(stream: trio_h2.ServerStream) -> None:
        try:
            async for _ in stream:
                started.set()
            outcome.append("complete")
        except trio_h2.H2Error as error:
            outcome.append(error)
            raise
        except trio.Cancelled:
            outcome.append("cancelled")
            raise
        finally:
            ended.set()

    server = await start_server(nursery, handler)
    with trio.fail_after(20):
        async with peers.running_program(
            *(program, "--silent", "--http2-prior-knowledge", "--limit-rate", "200k"),
            *("--data-binary", f"@{body}", f"http://{peers.HOST}:{server.port}/"),
        ):
            await started.wait()
        await ended.wait()
    assert len(outcome) == 1
    assert outcome != ["complete"]


# nghttp -------------------------------------------------------------------------------------------


async def nghttp(*arguments: str | Path) -> peers.Completed:
    program = peers.require_program("nghttp", package="nghttp2-client")
    done = await peers.run_program(program, "--no-verify-peer", "--timeout=20s", *arguments, seconds=30)
    # nghttp exits with 0 whatever became of the requests.
    for complaint in ("[ERROR]", "Some requests were not processed"):
        if complaint in done.errors:
            done.fail(complaint)
    return done


async def test_nghttp_verbose(served: Site) -> None:
    done = await nghttp("-v", f"{served.url}/hello")
    assert ":status: 200" in done.text
    assert "hello\n" in done.text
    assert "recv SETTINGS frame" in done.text
    assert "; ACK" in done.text
    assert "recv RST_STREAM" not in done.text
    assert "recv GOAWAY" not in done.text


async def test_nghttp_uploads_a_file(served: Site, tmp_path: Path) -> None:
    body = write_body(tmp_path / "body", 4 * MIB)
    done = await nghttp("-v", "-d", body, f"{served.url}/digest")
    assert ":status: 200" in done.text
    assert digest(4 * MIB) in done.text
    assert "recv RST_STREAM" not in done.text
    done = await nghttp("-d", body, f"{served.url}/echo")
    assert done.stdout == body.read_bytes()


async def test_nghttp_upload_that_nobody_reads(served: Site, tmp_path: Path) -> None:
    """A response that does not wait for the request's body: RST_STREAM(NO_ERROR) follows it (RFC 9113 section 8.1).

    curl 7.88 takes that for an error, from nghttpd --early-response too; nghttp, as the RFC asks, does not.
    """
    body = write_body(tmp_path / "body", 4 * MIB)
    done = await nghttp("-v", "-d", body, f"{served.url}/early")
    assert "too early\n" in done.text
    assert "(error_code=NO_ERROR(0x00))" in done.text.partition("recv RST_STREAM frame")[2]


async def test_nghttp_sends_and_receives_trailers(served: Site, tmp_path: Path) -> None:
    body = write_body(tmp_path / "body", 100_000)
    done = await nghttp("-v", "-n", "--trailer", "x-end: of the line", "-d", body, f"{served.url}/echo")
    _, echoed = done.text.split("x-end: of the line", 1)  # nghttp's own, as it sends them
    assert "x-end: of the line" in echoed


@pytest.mark.parametrize(
    "option",
    [
        pytest.param(("--padding=255",), id="padding"),
        pytest.param(("--continuation",), id="continuation"),
        pytest.param(("--no-content-length",), id="no-content-length"),
        pytest.param(("--window-bits=8", "--connection-window-bits=16"), id="small-windows"),
        pytest.param(("--header-table-size=0",), id="no-hpack-table"),
        pytest.param(("--header-table-size=256", "--header-table-size=8192"), id="two-hpack-table-sizes"),
        pytest.param(("--no-dep",), id="no-dependencies"),
        pytest.param(("--no-rfc7540-pri",), id="no-rfc7540-priorities"),
        pytest.param(("--max-concurrent-streams=1",), id="one-push-at-most"),
        pytest.param(("--peer-max-concurrent-streams=1",), id="one-at-once"),
    ],
)
async def test_nghttp_in_many_ways(served: Site, tmp_path: Path, option: tuple[str, ...]) -> None:
    body = write_body(tmp_path / "body", 200_000)
    done = await nghttp(*option, "-d", body, f"{served.url}/echo")
    assert done.stdout == body.read_bytes()


async def test_nghttp_expects_100_continue(served: Site, tmp_path: Path) -> None:
    body = write_body(tmp_path / "body", 200_000)
    done = await nghttp("-v", "--expect-continue", "-d", body, f"{served.url}/digest")
    assert done.text.index(":status: 100") < done.text.index("send DATA") < done.text.index(":status: 200")
    assert digest(200_000) in done.text


@pytest.mark.parametrize("option", ["--no-content-length", "--expect-continue", "--padding=0"])
async def test_nghttp_uploads_a_file_that_is_too_large(served: Site, tmp_path: Path, option: str) -> None:
    body = write_body(tmp_path / "body", 4 * MIB)
    done = await nghttp("-v", option, "-d", body, f"{served.url}/whole")
    assert ":status: 413" in done.text
    assert "(error_code=NO_ERROR(0x00))" in done.text.partition("recv RST_STREAM frame")[2]
    if option == "--expect-continue":
        assert ":status: 100" not in done.text
        assert "send DATA" not in done.text


async def test_nghttp_a_hundred_at_once(served: Site) -> None:
    done = await nghttp("-v", "-n", "-m", "100", f"{served.url}/bytes/30000")
    assert done.text.count(":status: 200") == 100
    assert "recv RST_STREAM" not in done.text


# h2load -------------------------------------------------------------------------------------------


async def h2load(*arguments: str | Path) -> peers.H2LoadReport:
    """Run h2load; every one of its requests has to end well."""
    program = peers.require_program("h2load", package="nghttp2-client")
    done = await peers.run_program(program, *arguments, seconds=240)
    report = peers.parse_h2load(done.text)
    if not report.all_succeeded:
        done.fail("not every request succeeded")
    return report


async def test_h2load_ten_connections_of_a_hundred(served: Site) -> None:
    requests = sized(100_000, 10_000)
    report = await h2load("-c10", "-m100", f"-n{requests}", f"{served.url}/hello")
    assert report.succeeded == requests


async def test_h2load_one_connection(served: Site) -> None:
    requests = sized(100_000, 5_000)
    report = await h2load("-c1", "-m100", f"-n{requests}", f"{served.url}/hello")
    assert report.succeeded == requests


async def test_h2load_many_connections(served: Site) -> None:
    requests = sized(20_000, 2_000)
    report = await h2load("-c200", "-m5", f"-n{requests}", f"{served.url}/hello")
    assert report.succeeded == requests


async def test_a_trace_sees_all_that_h2load_does(nursery: trio.Nursery, tmp_path: Path) -> None:
    trace = Recording()
    server = await start_server(nursery, trace=trace)
    body = write_body(tmp_path / "body", 200_000)
    await h2load("-c5", "-m20", "-n500", f"--data={body}", f"http://{peers.HOST}:{server.port}/echo")
    await server.shutdown()
    trace.check(connections=5)
    assert len(trace.arguments("stream_opened")) == 500
    assert [error for _, error in trace.arguments("stream_closed")] == [None] * 500
    assert trace.arguments("connection_ended") == [(None,)] * 5


async def test_h2load_posts(served: Site, tmp_path: Path) -> None:
    body = write_body(tmp_path / "body", 20_000)
    requests = sized(20_000, 2_000)
    report = await h2load("-c4", "-m50", f"-n{requests}", f"--data={body}", f"{served.url}/echo")
    assert report.succeeded == requests
    assert report.received_bytes > requests * 20_000


async def test_h2load_posts_that_nobody_reads(served: Site, tmp_path: Path) -> None:
    """Every response ends before its request: the connections' credit has to come back (RFC 9113 section 8.1)."""
    body = write_body(tmp_path / "body", 100_000)
    requests = sized(10_000, 1_000)
    report = await h2load("-c4", "-m50", f"-n{requests}", f"--data={body}", f"{served.url}/early")
    assert report.succeeded == requests


@pytest.mark.parametrize(
    ("stream_bits", "connection_bits", "size", "requests"),
    [
        pytest.param(16, 16, 200_000, sized(10_000, 500), id="64-KiB"),
        pytest.param(10, 30, 20_000, sized(5_000, 500), id="1-KiB-streams"),
        pytest.param(30, 16, 200_000, sized(5_000, 500), id="64-KiB-connection"),
        # Ten times as many would be a dribble, which is ended (CVE-2019-9511).
        pytest.param(1, 16, 50, 500, id="one-octet-streams"),
    ],
)
async def test_h2load_with_small_windows(
    served: Site, stream_bits: int, connection_bits: int, size: int, requests: int
) -> None:
    report = await h2load(
        *("-c4", "-m25", f"-n{requests}", f"-w{stream_bits}", f"-W{connection_bits}"),
        f"{served.url}/bytes/{size}",
    )
    assert report.succeeded == requests
    assert report.received_bytes > requests * size


async def test_h2load_with_headers_that_change(served: Site, tmp_path: Path) -> None:
    """Many paths, so that neither side's HPACK table stands still."""
    uris = tmp_path / "uris"
    uris.write_text("".join(f"{served.url}/bytes/{size}\n" for size in range(1, 300)))
    requests = sized(20_000, 2_000)
    report = await h2load(
        *("-c4", "-m50", f"-n{requests}", "--header-table-size=512", "--encoder-header-table-size=512"),
        *("-i", uris),
    )
    assert report.succeeded == requests


# httpx --------------------------------------------------------------------------------------------


async def test_httpx(served: Site, client_ssl_context: ssl.SSLContext) -> None:
    async with (
        httpx.AsyncClient(http1=False, http2=True, verify=client_ssl_context, base_url=served.url) as client,
        trio.open_nursery() as nursery,
    ):

        async def fetch(size: int) -> None:
            response = await client.get(f"/bytes/{size}")
            assert (response.http_version, response.status_code) == ("HTTP/2", 200)
            assert response.content == b"".join(blocks(size))

        async def upload(size: int) -> None:
            response = await client.post("/echo", content=b"".join(blocks(size)))
            assert response.content == b"".join(blocks(size))

        for number in range(20):
            nursery.start_soon(fetch, 10_000 * number)
            nursery.start_soon(upload, 10_000 * number)


# gRPC ---------------------------------------------------------------------------------------------


async def grpc_echo(stream: trio_h2.ServerStream) -> None:
    """gRPC's unary call by hand: one length-prefixed message each way, and the verdict in trailers."""
    assert stream.request.method == "POST"
    assert stream.request.headers["te"] == "trailers"
    assert stream.request.headers["content-type"].startswith("application/grpc")
    body = b"".join([chunk async for chunk in stream])
    compressed, length = struct.unpack_from(">BI", body)
    assert (compressed, length) == (0, len(body) - 5)
    head = [("content-type", "application/grpc")]
    if stream.request.path == "/test.Echo/Say":
        await stream.send_response(200, head)
        await stream.send_all(body)
        await stream.send_trailers([("grpc-status", "0"), ("x-count", str(length))])
    else:
        # What gRPC calls "trailers only": the verdict in the one header section there is.
        await stream.send_response(200, [*head, ("grpc-status", "12"), ("grpc-message", "none")], end_stream=True)


@pytest.fixture
async def grpc_server(nursery: trio.Nursery) -> trio_h2.H2Server:
    return await start_server(nursery, grpc_echo)


async def test_grpc_unary(grpc_server: trio_h2.H2Server) -> None:
    message = b"".join(blocks(300_000))

    def call() -> None:
        with grpc.insecure_channel(f"{peers.HOST}:{grpc_server.port}") as channel:
            say = channel.unary_unary("/test.Echo/Say")
            answer, done = say.with_call(message, timeout=20)
            assert answer == message
            assert done.trailing_metadata() == (("x-count", "300000"),)
            futures = [say.future(b"%d" % number, timeout=20) for number in range(200)]
            assert [future.result() for future in futures] == [b"%d" % number for number in range(200)]

    await trio.to_thread.run_sync(call)


async def test_grpc_error_without_a_body(grpc_server: trio_h2.H2Server) -> None:
    def call() -> None:
        with grpc.insecure_channel(f"{peers.HOST}:{grpc_server.port}") as channel:
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary("/test.Echo/Nothing")(b"x", timeout=20)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
            assert caught.value.details() == "none"

    await trio.to_thread.run_sync(call)
