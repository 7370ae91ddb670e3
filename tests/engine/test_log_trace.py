"""`LogTrace`: every call of a trace is a line, and no line has a secret in it."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

import trio_h2
from tests import frames, peers
from tests.engine.helpers import OK, client_and_server, hello, raw_client, raw_server, read_all
from trio_h2 import Config, ErrorCodes, LogTrace, NeverIndexed, SettingCodes
from trio_h2.testing import in_memory

REQUESTS = 10_000 if os.environ.get("TRIO_H2_FULL") else 1_000


class Lines(logging.Handler):
    """Keeps what is logged, formatted."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        assert record.levelno == logging.DEBUG
        self.lines.append(record.getMessage())

    def without_names(self) -> list[str]:
        """The lines, without which connection they are about."""
        return [line.partition(": ")[2] for line in self.lines]


@pytest.fixture
def logger() -> logging.Logger:
    """One that nobody else has."""
    logger = logging.getLogger("tests.log_trace")
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    return logger


@pytest.fixture
def lines(logger: logging.Logger) -> Iterator[Lines]:
    lines = Lines()
    logger.addHandler(lines)
    yield lines
    logger.removeHandler(lines)


async def test_a_request_line_by_line(
    logger: logging.Logger, lines: Lines, autojump_clock: trio.testing.MockClock
) -> None:
    async with raw_server(trace=LogTrace(logger)) as (connection, peer):
        await peer.sync()
        lines.lines.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.request, "GET", "/here?or=there")
            await trio.sleep(1.5)
            await peer.send(peer.headers(1, OK), peer.data(1, b"hello", end_stream=True))
        async with connection.stream("GET", "/there") as stream:
            await stream.reset(ErrorCodes.CANCEL)
    begin = "client 1 to a peer without an address: "
    assert all(line.startswith(begin) for line in lines.lines)
    assert lines.without_names() == [
        "sent HEADERS flags=END_STREAM|END_HEADERS stream=1 len=25",
        'stream 1 opened: :method="GET" :scheme="http" :authority="example.org" :path="/here?..."',
        "stream 1 waits: headers",
        "received HEADERS flags=END_HEADERS stream=1 len=1",
        'stream 1 answered: :status="200"',
        "received DATA flags=END_STREAM stream=1 len=5",
        "stream 1 waited 1.500000 s: headers",
        "5 octets of stream 1 were taken",
        "stream 1 closed",
        "sent HEADERS flags=END_STREAM|END_HEADERS stream=3 len=10",
        'stream 3 opened: :method="GET" :scheme="http" :authority="example.org" :path="/there"',
        "sent RST_STREAM stream=3 len=4",
        "stream 3 closed: StreamResetError: this side reset stream 3: CANCEL",
        "connection ended",
    ]


async def test_connections_have_numbers_and_addresses(logger: logging.Logger, lines: Lines) -> None:
    trace = LogTrace(logger)
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(trio_h2.serve_h2, hello, 0, host="127.0.0.1", trace=trace))
        for _ in range(2):
            async with trio_h2.connect(f"http://127.0.0.1:{server.port}", trace=trace) as connection:
                await connection.request("GET", "/")
        await server.shutdown()
    names = {line.partition(": ")[0] for line in lines.lines}
    # Which side of a connection is made first is a matter of chance.
    assert sorted(int(name.split()[1]) for name in names) == [1, 2, 3, 4]
    assert Counter(re.sub(r"\b\d\b ", "", re.sub(r"from .*", "from a port", name), count=1) for name in names) == {
        f"client to 127.0.0.1:{server.port}": 2,
        "server from a port": 2,
    }
    assert Counter(lines.without_names())["connection ended"] == 4


async def test_tls_is_named(
    logger: logging.Logger, lines: Lines, server_ssl_context: Any, client_ssl_context: Any
) -> None:
    async with trio.open_nursery() as nursery:
        serve = partial(trio_h2.serve_h2, hello, 0, host="127.0.0.1", ssl_context=server_ssl_context)
        server = await nursery.start(serve)
        url = f"https://127.0.0.1:{server.port}"
        async with trio_h2.connect(url, ssl_context=client_ssl_context, trace=LogTrace(logger)):
            pass
        await server.shutdown()
    assert lines.lines[0] == f"client 1 to 127.0.0.1:{server.port}: connection made over TLSv1.3"


async def test_a_reason_for_the_end_is_escaped_and_cut(logger: logging.Logger, lines: Lines) -> None:
    async with raw_client(hello, trace=LogTrace(logger)) as peer:
        await peer.send(peer.goaway(0, 11, b"\x1b[31m\n" * 100))
        await peer.transport.aclose()
    [line] = [line for line in lines.without_names() if line.startswith("connection ended")]
    assert line.startswith("connection ended: ConnectionTerminatedError: the peer sent GOAWAY: ENHANCE_YOUR_CALM ")
    assert line.isprintable()
    assert len(line) < 400


async def test_frames_that_have_no_name_are_numbers(logger: logging.Logger, lines: Lines) -> None:
    async with raw_client(hello, trace=LogTrace(logger)) as peer:
        await peer.sync()
        lines.lines.clear()
        await peer.send(frames.raw(0xEF, 0x81, 9, b"abc"), frames.raw(6, 0x02, 0, b"12345678"))
        await peer.sync()
    assert lines.without_names()[:2] == [
        "received 0xef flags=0x1|0x80 stream=9 len=3",
        "received PING flags=0x2 len=8",
    ]


async def test_waits_credit_windows_and_round_trips_are_lines(
    logger: logging.Logger, lines: Lines, autojump_clock: trio.testing.MockClock
) -> None:
    settings = {SettingCodes.MAX_CONCURRENT_STREAMS: 1, SettingCodes.INITIAL_WINDOW_SIZE: 10}
    config = Config(initial_window_size=1_000, connection_window_size=70_000)
    async with raw_server(trace=LogTrace(logger), settings=settings, config=config) as (connection, peer):
        await peer.sync()
        async with connection.stream("POST", "/") as stream:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.send_all, b"x" * 20)
                await trio.sleep(0.25)
                await peer.send(peer.window_update(1, 10))
            with trio.move_on_after(2):
                await connection.request("GET", "/")
            await peer.send(peer.headers(1, OK), peer.data(1, bytes(900)))
            await stream.receive_some()
            with trio.move_on_after(1):
                await connection.ping()
            await peer.send(peer.ping((1).to_bytes(8, "big"), ack=True))
            await trio.testing.wait_all_tasks_blocked()
    said = lines.without_names()
    for line in (
        "the window of the connection grew to 70000 octets",
        "gave 4465 octets of credit on the connection",
        "stream 1 waits: stream window",
        "stream 1 waited 0.250000 s: stream window",
        "request 1 waits: slot",
        "request 1 waited 2.000000 s: slot",
        "gave 900 octets of credit on stream 1",
        "round trip of 1.000000 s",
    ):
        assert line in said, line


SECRETS = [
    ("authorization", "Bearer s3cr3t-abcdefghijklmnop"),
    ("proxy-authorization", "Basic s3cr3t-abcdefghijklmnop"),
    ("cookie", "id=s3cr3t"),
    ("cookie", "long=s3cr3t-abcdefghijklmnopqrstuvwxyz"),
    ("set-cookie", "id=s3cr3t"),
    NeverIndexed("x-api-key", "s3cr3t"),
    ("referer", "https://example.org/?token=s3cr3t"),
]


async def test_no_secret_is_in_a_line_on_either_side(logger: logging.Logger, lines: Lines) -> None:
    trace = LogTrace(logger)

    async def handler(stream: trio_h2.ServerStream) -> None:
        async with await stream.push("/pushed?token=s3cr3t", headers=SECRETS) as pushed:
            await pushed.respond(200, SECRETS)
        await stream.respond(200, SECRETS, b"body")

    config = Config(enable_push=True)
    async with client_and_server(handler, config=config, trace=trace, server_trace=trace) as pair:
        for _ in range(2):  # the second time from HPACK's table, or as repeated fields
            await pair.client.request("GET", "/?token=s3cr3t", headers=[*SECRETS, ("x-plain", "shown")])
    text = "\n".join(lines.lines)
    assert 'x-plain="shown"' in text
    assert "x-api-key=(hidden)" in text
    assert ':path="/pushed?..."' in text
    assert text.count("authorization=(hidden)") >= 2 * 2 * 2
    assert "s3cr3t" not in text


async def test_at_another_level_nothing_is_logged_and_it_may_change_on_the_way(
    logger: logging.Logger, lines: Lines
) -> None:
    logger.setLevel(logging.INFO)
    async with client_and_server(hello, trace=LogTrace(logger)) as pair:
        await pair.client.request("GET", "/")
        assert lines.lines == []
        logger.setLevel(logging.DEBUG)
        await pair.client.request("GET", "/")
    assert lines.without_names()[-1] == "connection ended"
    assert "stream 3 closed" in lines.without_names()


async def test_a_logger_adapter_will_do(logger: logging.Logger, lines: Lines) -> None:
    class Adapter(logging.LoggerAdapter[logging.Logger]):
        def process(self, msg: Any, kwargs: Any) -> tuple[Any, Any]:
            return f"[mine] {msg}", kwargs

    async with client_and_server(hello, trace=LogTrace(Adapter(logger, {}))) as pair:
        await pair.client.request("GET", "/")
    assert lines.lines[0] == "[mine] client 1 to a peer without an address: connection made"


@pytest.mark.parametrize("logger", ["trio_h2", None])
def test_a_name_is_no_logger(logger: Any) -> None:
    with pytest.raises(TypeError, match=f"^logger must be a logging.Logger, not {type(logger).__name__}$"):
        LogTrace(logger)


async def test_of_many_requests_none_is_lost(logger: logging.Logger) -> None:
    """All are logged opened and closed, on both sides, and so is every wait's end."""
    counts: Counter[tuple[str, str]] = Counter()
    line = re.compile(r"(client|server) .* address: (?:stream|request) \d+ (opened|closed$|waits|waited)")

    class Counting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            match = line.match(record.getMessage())
            if match is not None:
                counts[match[1], match[2]] += 1

    logger.addHandler(Counting())
    trace = LogTrace(logger)

    async with client_and_server(hello, trace=trace, server_trace=trace) as pair:

        async def ask(count: int) -> None:
            for _ in range(count):
                assert (await pair.client.request("GET", "/")).body == b"hello"

        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(ask, REQUESTS // 50)
    for side in ("client", "server"):
        assert counts[side, "opened"] == counts[side, "closed"] == REQUESTS
        assert counts[side, "waits"] == counts[side, "waited"]


async def test_hpacks_own_lines_show_header_values_as_the_documents_warn(caplog: pytest.LogCaptureFixture) -> None:
    """So DEBUG is for the logger that LogTrace is given, not for the root."""

    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.respond(200, body=await read_all(stream))

    with caplog.at_level(logging.DEBUG):
        async with in_memory(handler) as connection:
            await connection.request("GET", "/", headers=[("x-seen", "by-hpack")])
        theirs = [record for record in caplog.records if record.name.startswith("hpack.")]
        ours = [record for record in caplog.records if record.name.startswith("trio_h2")]
        assert any("by-hpack" in record.getMessage() for record in theirs)
        assert not any("by-hpack" in record.getMessage() for record in ours)
        caplog.clear()
        caplog.set_level(logging.INFO, logger="hpack")
        async with in_memory(handler) as connection:
            await connection.request("GET", "/", headers=[("x-seen", "by-hpack")])
        assert not any(record.name.startswith("hpack") for record in caplog.records)


PAGE = (Path(__file__).parents[2] / "docs" / "tracing.md").read_text()


def blocks(language: str) -> list[str]:
    """The page's code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


async def test_the_page_shows_what_is_printed(tmp_path: Path) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.respond(200, [("content-type", "text/plain")], b"hello\n")

    def without_numbers(line: str) -> str:
        return re.sub(r"(len=|:|waited )[\d.]+", r"\1", line)

    program = tmp_path / "program.py"
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(trio_h2.serve_h2, handler, 0, host="127.0.0.1"))
        program.write_text(blocks("python")[0].replace("localhost:8080", f"localhost:{server.port}"))
        done = await peers.run_program(sys.executable, "-W", "error", program)
        await server.shutdown()
    begin = f"client 1 to 127.0.0.1:{server.port}: "
    printed = [without_numbers(line.removeprefix(begin)) for line in done.errors.splitlines()]
    assert set(map(without_numbers, blocks("text")[0].splitlines())) <= set(printed)
    assert "sesame" not in done.errors


async def test_the_trace_on_the_page_finds_long_waits(autojump_clock: trio.testing.MockClock) -> None:
    names: dict[str, Any] = {}
    exec(blocks("python")[1], names)
    trace = names["LongWaits"](2)

    async def handler(stream: trio_h2.ServerStream) -> None:
        await trio.sleep(float(stream.request.path[1:]))
        await stream.respond(200)

    async with in_memory(handler, trace=trace) as connection:
        for path in ("/1", "/3"):
            await connection.request("GET", path)
    assert trace.found == ["stream 3 waited 3.0 s for its headers"]


def test_the_page_names_every_method() -> None:
    methods = re.findall(r"^\| `(\w+)\((.*)\)` \|", PAGE, re.MULTILINE)
    named = {name: arguments.split(", ") for name, arguments in methods}
    assert named == {
        name: list(method.__code__.co_varnames[1 : method.__code__.co_argcount])
        for name, method in vars(trio_h2.Trace).items()
        if not name.startswith("_")
    }
