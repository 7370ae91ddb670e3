"""WebSockets of ASGI apps by the letter of RFC 6455 and RFC 7692, over both versions of HTTP.

The table follows the cases of the Autobahn test suite, whose numbers the ids are. A script is what a client sends and
what must come back, one after the other: octets are sent, `Chopped` ones one by one, a ServerFrame has to come, `Fails`
is a Close with that code. Without a Close in it the client closes at the end. Then nothing more may come but the end.
"""

from __future__ import annotations

import zlib
from functools import partial
from typing import Any, NamedTuple

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.adapters.websockets import TRANSPORTS, App, RawWebSocket, ServerFrame, deflated, frame, raw_websocket
from tests.engine.helpers import pattern

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

sent = partial(frame, mask=b"\x37\xfa\x21\x3d")
"""A client's frame, masked as section 5.3 has it."""

part = partial(sent, final=False)

OVER_BOTH = pytest.mark.parametrize("transport", TRANSPORTS)


class Chopped(NamedTuple):
    """Octets that come in so many reads."""

    octets: bytes
    size: int = 1


class Fails(NamedTuple):
    """The server fails the WebSocket, with this code."""

    code: int


def closes(code: int | None = None, reason: bytes = b"") -> bytes:
    """A client's Close."""
    return sent(b"" if code is None else code.to_bytes(2, "big") + reason, CLOSE)


def closed(code: int | None = None, reason: bytes = b"") -> ServerFrame:
    """A server's Close."""
    return ServerFrame(CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason)


def echoed(payload: bytes, opcode: int = TEXT) -> ServerFrame:
    """What comes back for a message."""
    return ServerFrame(opcode, payload)


async def play(transport: str, script: list[Any]) -> list[Any]:
    """Do what a script says, and return what the app received."""
    app = App()
    async with raw_websocket(transport, app) as client:
        await follow(client, script)
    return app.messages


async def follow(client: RawWebSocket, script: list[Any]) -> None:
    open_at_the_end = True
    for step in script:
        if isinstance(step, bytes):
            await client.send(step)
        elif isinstance(step, Chopped):
            await send_chopped(client, step)
        else:
            came = await client.frame()
            assert came is not None, "the end"
            if isinstance(step, Fails):
                assert (came.opcode, int.from_bytes(came.payload[:2], "big")) == (CLOSE, step.code)
            else:
                assert came == step
            open_at_the_end = open_at_the_end and came.opcode != CLOSE
    if open_at_the_end:
        await client.send(closes(1000))
        assert await client.frame() == closed(1000)
    assert await client.frame() is None


async def send_chopped(client: RawWebSocket, chopped: Chopped) -> None:
    try:
        for start in range(0, len(chopped.octets), chopped.size):
            await client.send(chopped.octets[start : start + chopped.size])
            await wait_all_tasks_blocked()
    except trio.BrokenResourceError:  # the server has failed it, and ended; what it sent before can be read
        pass


def cases(table: dict[str, list[Any]]) -> pytest.MarkDecorator:
    """Scripts by the numbers of their cases."""
    return pytest.mark.parametrize("script", list(table.values()), ids=list(table))


# Messages

LENGTHS = (0, 125, 126, 127, 128, 65_535, 65_536)


@OVER_BOTH
@cases(
    {
        f"1.{kind}.{number} {size}": [step(sent(b"*" * size, kind)), echoed(b"*" * size, kind)]
        for kind in (TEXT, BINARY)
        for number, (size, step) in enumerate(
            [*((size, bytes) for size in LENGTHS), (65_536, partial(Chopped, size=997))],
            1,
        )
    }
)
async def test_rfc6455_5_6_messages_have_any_length(
    autojump_clock: MockClock, transport: str, script: list[Any]
) -> None:
    await play(transport, script)


@OVER_BOTH
@cases(
    {
        "2.1": [sent(b"", PING), echoed(b"", PONG)],
        "2.2": [sent(b"Hello", PING), echoed(b"Hello", PONG)],
        "2.3": [sent(b"\0\xff\xfe\xfd\xfc\xfb\0\xff", PING), echoed(b"\0\xff\xfe\xfd\xfc\xfb\0\xff", PONG)],
        "2.4": [sent(b"\xfe" * 125, PING), echoed(b"\xfe" * 125, PONG)],
        "2.5": [sent(b"\xfe" * 126, PING), Fails(1002)],
        "2.6": [Chopped(sent(b"\xfe" * 125, PING)), echoed(b"\xfe" * 125, PONG)],
        "2.7": [sent(b"", PONG)],
        "2.8": [sent(b"nobody asked", PONG)],
        "2.9": [sent(b"nobody asked", PONG), sent(b"ping", PING), echoed(b"ping", PONG)],
        "2.10": [sent(b"%d" % n, PING) for n in range(10)] + [echoed(b"%d" % n, PONG) for n in range(10)],
        "2.11": [
            *(Chopped(sent(b"%d" % n, PING)) for n in range(10)),
            *(echoed(b"%d" % n, PONG) for n in range(10)),
        ],
    }
)
async def test_rfc6455_5_5_2_a_ping_is_answered_with_what_it_has(
    autojump_clock: MockClock, transport: str, script: list[Any]
) -> None:
    await play(transport, script)


# What is reserved

HELLO = [sent(b"hello", TEXT), echoed(b"hello")]


@OVER_BOTH
@cases(
    {
        "3.1": [sent(b"hello", TEXT, reserved=1), Fails(1002)],
        "3.2": [*HELLO, sent(b"hello", TEXT, reserved=2) + sent(b"", PING), Fails(1002)],
        "3.3": [*HELLO, sent(b"hello", TEXT, reserved=3) + sent(b"", PING), Fails(1002)],
        "3.4": [*HELLO, Chopped(sent(b"hello", TEXT, reserved=4)), Fails(1002)],
        "3.5": [sent(b"\0\xff", BINARY, reserved=5), Fails(1002)],
        "3.6": [sent(b"hello", PING, reserved=6), Fails(1002)],
        "3.7": [sent(b"\x03\xe8", CLOSE, reserved=7), Fails(1002)],
    }
)
async def test_rfc6455_5_2_a_reserved_bit_fails_it(
    autojump_clock: MockClock, transport: str, script: list[Any]
) -> None:
    await play(transport, script)


@OVER_BOTH
@cases(
    {
        "4.1.1": [sent(b"", 3), Fails(1002)],
        "4.1.2": [sent(b"reserved", 4), Fails(1002)],
        "4.1.3": [*HELLO, sent(b"", 5) + sent(b"", PING), Fails(1002)],
        "4.1.4": [*HELLO, sent(b"reserved", 6) + sent(b"", PING), Fails(1002)],
        "4.1.5": [*HELLO, Chopped(sent(b"reserved", 7)), Fails(1002)],
        "4.2.1": [sent(b"", 11), Fails(1002)],
        "4.2.2": [sent(b"reserved", 12), Fails(1002)],
        "4.2.3": [*HELLO, sent(b"", 13) + sent(b"", PING), Fails(1002)],
        "4.2.4": [*HELLO, sent(b"reserved", 14) + sent(b"", PING), Fails(1002)],
        "4.2.5": [*HELLO, Chopped(sent(b"reserved", 15)), Fails(1002)],
    }
)
async def test_rfc6455_5_2_a_reserved_opcode_fails_it(
    autojump_clock: MockClock, transport: str, script: list[Any]
) -> None:
    await play(transport, script)


@OVER_BOTH
@cases(
    {
        "of what has no mask": [b"\x81\x05hello", Fails(1002)],  # section 5.1
        "in two octets where one does": [b"\x81\xfe\0\x05" + bytes(4) + b"hello", Fails(1002)],
        "in eight octets where two do": [b"\x81\xff" + (65_535).to_bytes(8, "big") + bytes(4), Fails(1002)],
        "of more than 63 bits": [b"\x82\xff\x80" + bytes(7) + bytes(4), Fails(1002)],
    }
)
async def test_rfc6455_5_2_a_wrong_length_fails_it(
    autojump_clock: MockClock, transport: str, script: list[Any]
) -> None:
    await play(transport, script)


# Fragments

FRAGMENTS = (part(b"one", TEXT), sent(b"two", CONTINUATION))
WITH_PING = (FRAGMENTS[0], sent(b"ping", PING), FRAGMENTS[1])
ORPHAN = sent(b"orphan", CONTINUATION)
ORPHAN_PART = part(b"orphan", CONTINUATION)
FIVE = (
    part(b"one", TEXT) + part(b"two", CONTINUATION) + sent(b"ping 1", PING),
    part(b"three", CONTINUATION) + part(b"four", CONTINUATION) + sent(b"ping 2", PING),
    sent(b"five", CONTINUATION),
)


@OVER_BOTH
@cases(
    {
        "5.1": [part(b"ping", PING), Fails(1002)],
        "5.2": [part(b"pong", PONG), Fails(1002)],
        "5.3": [*FRAGMENTS, echoed(b"onetwo")],
        "5.4": [b"".join(FRAGMENTS), echoed(b"onetwo")],
        "5.5": [Chopped(b"".join(FRAGMENTS)), echoed(b"onetwo")],
        "5.6": [*WITH_PING, echoed(b"ping", PONG), echoed(b"onetwo")],
        "5.7": [b"".join(WITH_PING), echoed(b"ping", PONG), echoed(b"onetwo")],
        "5.8": [Chopped(b"".join(WITH_PING)), echoed(b"ping", PONG), echoed(b"onetwo")],
        "5.9": [ORPHAN, Fails(1002)],
        "5.10": [ORPHAN + HELLO[0], Fails(1002)],
        "5.11": [Chopped(ORPHAN), Fails(1002)],
        "5.12": [ORPHAN_PART, Fails(1002)],
        "5.13": [ORPHAN_PART + HELLO[0], Fails(1002)],
        "5.14": [Chopped(ORPHAN_PART), Fails(1002)],
        "5.15": [*FRAGMENTS, echoed(b"onetwo"), ORPHAN_PART + HELLO[0], Fails(1002)],
        "5.16": [ORPHAN_PART + b"".join(FRAGMENTS), Fails(1002)],
        "5.17": [ORPHAN + b"".join(FRAGMENTS), Fails(1002)],
        "5.18": [part(b"one", TEXT) + sent(b"two", TEXT), Fails(1002)],
        "5.19": [
            FIVE[0],
            echoed(b"ping 1", PONG),
            FIVE[1],
            echoed(b"ping 2", PONG),
            FIVE[2],
            echoed(b"onetwothreefourfive"),
        ],
        "5.20": [
            b"".join(FIVE),
            echoed(b"ping 1", PONG),
            echoed(b"ping 2", PONG),
            echoed(b"onetwothreefourfive"),
        ],
        "a part of another kind": [part(b"one", BINARY) + sent(b"two", TEXT), Fails(1002)],
        "a close between parts": [FRAGMENTS[0], closes(1000), closed(1000)],
        "a large close between parts": [FRAGMENTS[0], sent(bytes(126), CLOSE), Fails(1002)],
    }
)
async def test_rfc6455_5_4_messages_come_in_fragments_and_control_frames_between_them(
    autojump_clock: MockClock, transport: str, script: list[Any]
) -> None:
    await play(transport, script)


# UTF-8

GREEK = "Hello-µ@ßöäüàá-UTF-8!!".encode()
KOSME = "\u03ba\u1f79\u03c3\u03bc\u03b5".encode()


def each_octet(payload: bytes) -> list[bytes]:
    """A text whose every octet is a fragment, with a last one that is empty."""
    frames = [part(bytes([octet]), CONTINUATION if place else TEXT) for place, octet in enumerate(payload)]
    return [*frames, sent(b"", CONTINUATION)]


@OVER_BOTH
@cases(
    {
        "6.1.1": [sent(b"", TEXT), echoed(b"")],
        "6.1.2": [part(b"", TEXT) + part(b"", CONTINUATION) + sent(b"", CONTINUATION), echoed(b"")],
        "6.1.3": [part(b"", TEXT) + part(b"middle", CONTINUATION) + sent(b"", CONTINUATION), echoed(b"middle")],
        "6.2.1": [sent(GREEK, TEXT), echoed(GREEK)],
        "6.2.2": [part(GREEK[:12], TEXT), sent(GREEK[12:], CONTINUATION), echoed(GREEK)],
        "6.2.3": [*each_octet(GREEK), echoed(GREEK)],
        "6.2.4": [*each_octet(KOSME), echoed(KOSME)],
        "6.3.1": [sent(KOSME + b"\xed\xa0\x80edited", TEXT), Fails(1007)],
        "6.3.2": [b"".join(each_octet(KOSME + b"\xed\xa0\x80edited")), Fails(1007)],
        # Without another octet from the client, section 8.1: what can become no UTF-8 any more has failed.
        "6.4.1": [part(KOSME, TEXT), part(b"\xf4\x90\x80\x80", CONTINUATION), Fails(1007)],
        "6.4.2": [part(KOSME + b"\xf4", TEXT), part(b"\x90", CONTINUATION), Fails(1007)],
        "6.4.3": [Chopped(sent(KOSME + b"\xf4\x90\x80\x80edited", TEXT)[:-6], 18), Fails(1007)],
        "6.4.4": [Chopped(sent(KOSME + b"\xf4\x90\x80\x80edited", TEXT)[: 6 + len(KOSME) + 2]), Fails(1007)],
        "half a character at the end": [sent(KOSME[:-1], TEXT), Fails(1007)],
        "half a character before a ping": [
            part(KOSME[:-1], TEXT) + sent(b"", PING),
            echoed(b"", PONG),
            sent(KOSME[-1:], CONTINUATION),
            echoed(KOSME),
        ],
    }
)
async def test_rfc6455_8_1_text_is_utf8_across_reads_and_fragments(
    autojump_clock: MockClock, transport: str, script: list[Any]
) -> None:
    await play(transport, script)


VALID = {
    "6.5": [KOSME[:2], KOSME],
    "6.7": [b"\0", b"\xc2\x80", b"\xe0\xa0\x80", b"\xf0\x90\x80\x80"],
    "6.9": [b"\x7f", b"\xdf\xbf", b"\xef\xbf\xbf", b"\xf4\x8f\xbf\xbf"],
    "6.11": [b"\xed\x9f\xbf", b"\xee\x80\x80", b"\xef\xbf\xbd"],
    "6.22": [chr(plane << 16 | last).encode() for plane in range(17) for last in (0xFFFE, 0xFFFF)],
    "6.23": [chr(point).encode() for point in range(0xFFF9, 0xFFFE)],
}


@OVER_BOTH
@pytest.mark.parametrize("number", VALID)
async def test_rfc6455_8_1_what_is_utf8_is_received(autojump_clock: MockClock, transport: str, number: str) -> None:
    script: list[Any] = []
    for text in VALID[number]:
        script += [sent(text, TEXT), echoed(text), b"".join(each_octet(text)), echoed(text)]
    await play(transport, script)


INVALID = {
    "6.6": [KOSME[:1], KOSME[:3], KOSME[:4], KOSME[:-1]],  # unfinished
    "6.8": [b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80"],  # of five and six octets
    "6.10": [b"\xf7\xbf\xbf\xbf", b"\xfb\xbf\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf\xbf"],
    "6.11.5": [b"\xf4\x90\x80\x80"],  # beyond Unicode's end
    "6.12": [b"\x80", b"\xbf", b"\x80\xbf\x80", bytes(range(0x80, 0xC0))],  # continuations of nothing
    "6.13": [b"\xc2 \xdf ", b"\xe0 \xef ", b"\xf0 \xf4 ", b"\xf8 ", b"\xfc "],  # beginnings of nothing
    "6.14": [b"\xc2", b"\xe0\xa0", b"\xf0\x90\x80", b"\xdf", b"\xef\xbf", b"\xf4\x8f\xbf"],
    "6.15": [b"\xc2\xe0\xa0\xf0\x90\x80\xdf\xef\xbf"],
    "6.16": [b"\xfe", b"\xff", b"\xfe\xfe\xff\xff"],
    "6.17": [b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xf8\x80\x80\x80\xaf"],  # longer than need be
    "6.18": [b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf"],
    "6.19": [b"\xc0\x80", b"\xe0\x80\x80", b"\xf0\x80\x80\x80"],
    "6.20": [b"\xed\xa0\x80", b"\xed\xad\xbf", b"\xed\xae\x80", b"\xed\xaf\xbf", b"\xed\xb0\x80", b"\xed\xbf\xbf"],
    "6.21": [b"\xed\xa0\x80\xed\xb0\x80", b"\xed\xaf\xbf\xed\xbf\xbf"],  # surrogates
}


@OVER_BOTH
@pytest.mark.parametrize("number", INVALID)
async def test_rfc6455_8_1_what_is_no_utf8_fails_it(autojump_clock: MockClock, transport: str, number: str) -> None:
    for text in INVALID[number]:
        await play(transport, [sent(text, TEXT), Fails(1007)])
        await play(transport, [b"".join(each_octet(b"a" + text)), Fails(1007)])


# Closing


@OVER_BOTH
@cases(
    {
        "7.1.1": [*HELLO, closes(1000), closed(1000)],
        "7.1.2": [closes(1000) + closes(), closed(1000)],
        "7.1.3": [closes(1000) + sent(b"", PING), closed(1000)],
        "7.1.4": [closes(1000) + HELLO[0], closed(1000)],
        "7.1.5": [FRAGMENTS[0] + closes(1000) + FRAGMENTS[1], closed(1000)],
        "7.1.6": [sent(b"x" * 262_144, TEXT), echoed(b"x" * 262_144), closes(1000) + sent(b"", PING), closed(1000)],
        "7.3.1": [closes(), closed()],
        "7.3.2": [sent(b"a", CLOSE), Fails(1002)],
        "7.3.3": [closes(1000), closed(1000)],
        "7.3.4": [closes(1000, b"bye"), closed(1000, b"bye")],
        "7.3.5": [closes(1000, b"*" * 123), closed(1000, b"*" * 123)],
        "7.3.6": [closes(1000, b"*" * 124), Fails(1002)],
        "7.5.1": [closes(1000, KOSME + b"\xed\xa0\x80"), Fails(1007)],
        "octet by octet": [Chopped(closes(1000, KOSME)), closed(1000, KOSME)],
    }
)
async def test_rfc6455_7_closing(autojump_clock: MockClock, transport: str, script: list[Any]) -> None:
    await play(transport, script)


@OVER_BOTH
@pytest.mark.parametrize("code", [*range(1000, 1004), *range(1007, 1014), 3000, 3999, 4000, 4999])
async def test_rfc6455_7_4_a_code_that_may_be_sent_is_answered(
    autojump_clock: MockClock, transport: str, code: int
) -> None:
    """Autobahn's 7.7."""
    messages = await play(transport, [closes(code), closed(code)])
    assert messages == [{"type": "websocket.disconnect", "code": code, "reason": ""}]


@OVER_BOTH
@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535])
async def test_rfc6455_7_4_a_code_that_may_not_be_sent_fails_it(
    autojump_clock: MockClock, transport: str, code: int
) -> None:
    """Autobahn's 7.9 and 7.13."""
    (message,) = await play(transport, [closes(code), Fails(1002)])
    assert (message["type"], message["code"]) == ("websocket.disconnect", 1002)


# Size


@OVER_BOTH
@pytest.mark.parametrize("kind", [TEXT, BINARY])
@cases(
    {
        "9.1": [],
        "9.3": [64 * 1024],
        "9.4": [1300],
        "9.5": [Chopped(b"", 4096)],
        "10.1.1": [65_537],
    }
)
async def test_a_large_message_comes_in_frames_and_reads_of_any_size(
    autojump_clock: MockClock, transport: str, script: list[Any], kind: int
) -> None:
    payload = b"*" * 1_048_576 if kind == TEXT else pattern(1_048_576)
    size = script[0] if script and isinstance(script[0], int) else len(payload)
    starts = range(0, len(payload), size)
    frames = b"".join(
        frame(payload[start : start + size], 0 if start else kind, final=start == starts[-1]) for start in starts
    )
    app = App()
    async with raw_websocket(transport, app) as client:
        async with trio.open_nursery() as nursery:
            pace = script[0].size if script and isinstance(script[0], Chopped) else len(frames)
            nursery.start_soon(send_in_pieces, client, frames, pace)
            assert await client.frame() == echoed(payload, kind)
        await follow(client, [])


async def send_in_pieces(client: RawWebSocket, octets: bytes, size: int) -> None:
    for start in range(0, len(octets), size):
        await client.send(octets[start : start + size])


# Compression


OFFERS = {
    "13.1": "permessage-deflate",
    "13.2": "permessage-deflate; client_no_context_takeover; client_max_window_bits",
    "13.3": "permessage-deflate; client_no_context_takeover; client_max_window_bits; server_no_context_takeover",
    "13.4": "permessage-deflate; client_max_window_bits; server_max_window_bits=9",
    "13.5": "permessage-deflate; client_max_window_bits; server_max_window_bits=15",
    "13.6": "permessage-deflate; server_no_context_takeover; server_max_window_bits=9",
    "13.7": "permessage-deflate; server_no_context_takeover; server_max_window_bits=8, "
    "permessage-deflate; server_max_window_bits=9, permessage-deflate",
}


@OVER_BOTH
@pytest.mark.parametrize("number", OFFERS)
async def test_rfc7692_7_1_what_was_agreed_on_is_kept_to(
    autojump_clock: MockClock, transport: str, number: str
) -> None:
    """Autobahn's 13, and the sizes of its 12: the client's context and the server's, and the size of its window."""
    app = App()
    async with raw_websocket(transport, app, ("sec-websocket-extensions", OFFERS[number])) as client:
        agreed = client.headers["sec-websocket-extensions"]
        bits = 9 if "server_max_window_bits=9" in agreed else 15
        anew = "server_no_context_takeover" in agreed
        assert anew == (number in ("13.3", "13.6"))
        assert (bits == 9) == (number in ("13.4", "13.6", "13.7"))
        compressor, decompressor = zlib.compressobj(wbits=-15), zlib.decompressobj(-bits)
        for size in (0, 16, 64, 256, 1024, 4096, 8192, 40_000):
            text = (b"".join(b"%d " % (number * number) for number in range(size)))[:size]
            octets = (compressor.compress(text) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
            half = len(octets) // 2
            await client.send(sent(octets[:half], TEXT, compressed=True, final=False))
            await client.send(sent(b"", PING) + sent(octets[half:], CONTINUATION))
            assert await client.frame() == echoed(b"", PONG)
            came = await client.frame()
            assert came is not None
            assert (came.opcode, came.compressed) == (TEXT, True)
            assert decompressor.decompress(came.payload + b"\0\0\xff\xff") == text
            if anew:
                decompressor = zlib.decompressobj(-bits)
            if "client_no_context_takeover" in agreed:
                compressor = zlib.compressobj(wbits=-15)
        await follow(client, [])


DEFLATED = deflated(b"hello")


@OVER_BOTH
@cases(
    {
        "not compressed": [sent(b"hello", TEXT), ServerFrame(TEXT, DEFLATED, True, True)],
        "the bit of a continuation": [
            part(DEFLATED[:2], TEXT, compressed=True) + sent(DEFLATED[2:], CONTINUATION, compressed=True),
            Fails(1002),
        ],
        "the bit of a ping": [sent(DEFLATED, PING, compressed=True), Fails(1002)],
        "the bit of a close": [sent(b"\x03\xe8", CLOSE, compressed=True), Fails(1002)],
        "another bit": [sent(DEFLATED, TEXT, reserved=2), Fails(1002)],
        "what zlib does not know": [sent(b"\xff" * 20, TEXT, compressed=True), Fails(1007)],
        "what is no UTF-8": [sent(deflated(b"\xff"), TEXT, compressed=True), Fails(1007)],
    }
)
async def test_rfc7692_6_what_is_compressed_keeps_to_the_rules(
    autojump_clock: MockClock, transport: str, script: list[Any]
) -> None:
    async with raw_websocket(transport, App(), ("sec-websocket-extensions", "permessage-deflate")) as client:
        await follow(client, script)
