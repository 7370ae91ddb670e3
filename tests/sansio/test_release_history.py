"""hyper-h2's release history up to 2.0.0, entry by entry, in both compositions: in memory and in actors.

What can be seen on the wire is tested on both with the same script. What is a matter of the API is tested where the
composition has that API: the actors have no stream IDs to get wrong, for one.
"""

from __future__ import annotations

import random
import time

import pytest
import trio
import trio.testing
from hyperframe.frame import GoAwayFrame, SettingsFrame

import trio_h2
from tests.engine.helpers import raw_client
from tests.protocol import helpers as h
from tests.sansio.compositions import KINDS, client, headers_of, server
from trio_h2 import Config, ErrorCodes, SettingCodes
from trio_h2 import events as ev
from trio_h2.exceptions import (
    FlowControlError,
    FrameTooLargeError,
    H2Error,
    InvalidSettingsValueError,
    NoAvailableStreamIDError,
    NoSuchStreamError,
    ProtocolError,
    StreamClosedError,
    StreamIDTooLowError,
)
from trio_h2.sansio import H2Configuration, H2Connection, Settings

both = pytest.mark.parametrize("kind", KINDS)

PROTOCOL_ERROR = ErrorCodes.PROTOCOL_ERROR
FLOW_CONTROL_ERROR = ErrorCodes.FLOW_CONTROL_ERROR
STREAM_CLOSED = ErrorCodes.STREAM_CLOSED
FRAME_SIZE_ERROR = ErrorCodes.FRAME_SIZE_ERROR


def pair() -> tuple[H2Connection, H2Connection]:
    """A client and a server in memory, both prefaces exchanged and acknowledged."""
    one, other = H2Connection(), H2Connection(H2Configuration(client_side=False))
    one.initiate_connection()
    other.initiate_connection()
    pump(one, other)
    return one, other


def pump(one: H2Connection, other: H2Connection) -> list[ev.Event]:
    """Carry bytes both ways until it is quiet."""
    events: list[ev.Event] = []
    while True:
        there, back = one.data_to_send(), other.data_to_send()
        if not there and not back:
            return events
        events += other.receive_data(there) + one.receive_data(back)


# Stream IDs


@both
@pytest.mark.parametrize("stream_ids", [(2,), (3, 1), (0,)], ids=["even", "too low", "zero"])
async def test_invalid_stream_ids_from_the_peer_are_a_protocol_error(kind: str, stream_ids: tuple[int, ...]) -> None:
    async with server(kind) as side:
        for stream_id in stream_ids:
            await side.receive(side.headers(stream_id, h.POST))
        assert side.goaways() == [PROTOCOL_ERROR]
        if kind == "memory":
            assert isinstance(side.error, ProtocolError)


def test_invalid_stream_ids_of_our_own_are_a_protocol_error() -> None:
    one, other = pair()
    for stream_id in (0, 2, 2**31 + 1):
        with pytest.raises(ProtocolError):
            one.send_headers(stream_id, h.GET)
    one.send_headers(1, h.GET, end_stream=True)
    pump(one, other)
    with pytest.raises(ProtocolError):
        other.push_stream(1, 3, h.GET)
    with pytest.raises(ProtocolError):
        other.send_headers(2, h.OK)
    assert one.data_to_send() == other.data_to_send() == b""


def test_stream_id_too_low_error_has_its_arguments_and_is_a_value_error() -> None:
    one, _ = pair()
    one.send_headers(5, h.GET)
    with pytest.raises(StreamIDTooLowError) as caught:
        one.send_headers(3, h.GET)
    assert (caught.value.stream_id, caught.value.max_stream_id) == (3, 5)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, ProtocolError)


@pytest.mark.parametrize("kind", KINDS)
async def test_stream_id_too_low_error_is_for_what_the_peer_says_too(kind: str) -> None:
    async with server(kind) as side:
        for stream_id in (5, 3):
            await side.receive(side.headers(stream_id, h.GET))
        assert side.goaways() == [ErrorCodes.PROTOCOL_ERROR]
        if kind == "memory":
            assert isinstance(side.error, StreamIDTooLowError)
            assert (side.error.stream_id, side.error.max_stream_id) == (3, 5)


def test_the_minimum_stream_ids_inbound_and_outbound_are_separate() -> None:
    one, other = pair()
    one.send_headers(101, h.GET)
    pump(one, other)
    other.push_stream(101, 2, h.GET)
    pump(one, other)
    one.send_headers(103, h.GET)
    other.push_stream(101, 4, h.GET)
    assert [type(event) for event in pump(one, other)] == [ev.RequestReceived, ev.PushedStreamReceived]


async def test_the_minimum_stream_ids_inbound_and_outbound_are_separate_in_actors() -> None:
    async with client("actors", push=True) as side:
        first = await side.request(end=False)
        await side.receive(h.raw(h.PUSH_PROMISE, h.END_HEADERS, first, h.uint32(100) + side.encoder.encode(h.GET)))
        assert await side.request(end=False) == 3
        await side.receive()
        assert [frame.stream_id for frame in headers_of(side.frames)] == [1, 3]


def test_get_next_available_stream_id() -> None:
    one, other = pair()
    assert (one.get_next_available_stream_id(), other.get_next_available_stream_id()) == (1, 2)
    one.send_headers(1, h.GET)
    assert one.get_next_available_stream_id() == 3
    one.send_headers(2**31 - 1, h.GET)
    with pytest.raises(NoAvailableStreamIDError):
        one.get_next_available_stream_id()


# Framing


@both
async def test_invalid_padding_ends_the_connection(kind: str) -> None:
    async with server(kind) as side:
        await side.receive(side.headers(1, h.POST), h.raw(h.DATA, h.PADDED, 1, b"\x05xxxx"))
        assert side.goaways() == [PROTOCOL_ERROR]


@both
async def test_frames_over_the_maximum_size_are_a_frame_size_error(kind: str) -> None:
    async with server(kind) as side:
        await side.receive(side.headers(1, h.POST), h.data(1, bytes(16_385)))
        assert side.goaways() == [FRAME_SIZE_ERROR]
        if kind == "memory":
            assert isinstance(side.error, FrameTooLargeError)


def test_frames_of_ours_over_the_maximum_size_are_a_frame_too_large_error() -> None:
    one, _ = pair()
    one.send_headers(1, h.POST)
    with pytest.raises(FrameTooLargeError):
        one.send_data(1, bytes(16_385))


@both
async def test_continuation_is_received(kind: str) -> None:
    async with server(kind) as side:
        octets = side.encoder.encode(h.POST)
        pieces = [h.raw(h.HEADERS, 0, 1, octets[:3]), h.raw(h.CONTINUATION, 0, 1, octets[3:5])]
        await side.receive(*pieces, h.raw(h.CONTINUATION, h.END_HEADERS, 1, octets[5:]), h.data(1, b"x", end=True))
        assert side.goaways() == []
        assert [event.data for event in side.of(ev.DataReceived)] == [b"x"]  # type: ignore[attr-defined]


@both
@pytest.mark.parametrize("between", [h.ping(), h.raw(h.CONTINUATION, h.END_HEADERS, 3, b"")], ids=["PING", "other"])
async def test_continuation_is_policed(kind: str, between: bytes) -> None:
    async with server(kind) as side:
        await side.receive(h.raw(h.HEADERS, 0, 1, side.encoder.encode(h.GET)), between)
        assert side.goaways() == [PROTOCOL_ERROR]


@both
async def test_continuation_without_a_field_block_is_a_protocol_error(kind: str) -> None:
    async with server(kind) as side:
        await side.receive(side.headers(1, h.POST), h.raw(h.CONTINUATION, h.END_HEADERS, 1, b""))
        assert side.goaways() == [PROTOCOL_ERROR]


@both
async def test_endless_continuations_are_stopped(kind: str) -> None:
    async with server(kind) as side:
        frames = [h.raw(h.CONTINUATION, 0, 1, b"")] * 100
        await side.receive(h.raw(h.HEADERS, 0, 1, side.encoder.encode(h.GET)), *frames)
        assert side.goaways() == [ErrorCodes.ENHANCE_YOUR_CALM]


# SETTINGS


def test_settings_are_validated_when_set() -> None:
    one, _ = pair()
    for code, value, error_code in (
        (SettingCodes.ENABLE_PUSH, 2, PROTOCOL_ERROR),
        (SettingCodes.INITIAL_WINDOW_SIZE, 2**31, FLOW_CONTROL_ERROR),
        (SettingCodes.MAX_FRAME_SIZE, 16_383, PROTOCOL_ERROR),
        (SettingCodes.MAX_FRAME_SIZE, 2**24, PROTOCOL_ERROR),
        (SettingCodes.ENABLE_CONNECT_PROTOCOL, 2, PROTOCOL_ERROR),
    ):
        before = dict(one.local_settings)
        for set_it in (
            lambda: one.update_settings({code: value}),  # noqa: B023
            lambda: one.local_settings.__setitem__(code, value),  # noqa: B023
            lambda: Settings(initial_values={code: value}),  # noqa: B023
        ):
            with pytest.raises(InvalidSettingsValueError) as caught:
                set_it()
            assert caught.value.error_code == error_code
        assert dict(one.local_settings) == before
    assert one.data_to_send() == b""


@pytest.mark.parametrize("knob", ["initial_window_size", "max_frame_size", "max_concurrent_streams"])
def test_settings_are_validated_when_set_in_actors(knob: str) -> None:
    with pytest.raises(ValueError, match=knob):
        Config(**{knob: 2**32})


@both
@pytest.mark.parametrize(
    ("setting", "code"),
    [((2, 2), PROTOCOL_ERROR), ((4, 2**31), FLOW_CONTROL_ERROR), ((5, 1), PROTOCOL_ERROR), ((8, 2), PROTOCOL_ERROR)],
)
async def test_settings_that_the_peer_set_are_validated(kind: str, setting: tuple[int, int], code: ErrorCodes) -> None:
    async with server(kind) as side:
        await side.receive(h.settings(setting))
        assert side.goaways() == [code]


@both
async def test_settings_are_acknowledged_without_user_action(kind: str) -> None:
    async with server(kind) as side:
        frames = await side.receive(h.settings((4, 70_000)))
        assert [type(frame) for frame in frames] == [SettingsFrame]
        assert "ACK" in frames[0].flags


def test_setting_codes_are_in_reach_of_users() -> None:
    assert trio_h2.SettingCodes is SettingCodes
    assert [code.name for code in SettingCodes][:6] == [
        "HEADER_TABLE_SIZE",
        "ENABLE_PUSH",
        "MAX_CONCURRENT_STREAMS",
        "INITIAL_WINDOW_SIZE",
        "MAX_FRAME_SIZE",
        "MAX_HEADER_LIST_SIZE",
    ]


@both
async def test_the_decoders_table_is_resized_only_on_acknowledgement(kind: str) -> None:
    """A block that uses a table of 65,536 octets before the acknowledgement cannot be decoded; after it, it can."""
    async with server(kind) as side:
        bigger = b"\x3f\xe1\xff\x03" + side.encoder.encode(h.GET)
        await side.receive(h.raw(h.HEADERS, h.END_HEADERS | h.END_STREAM, 1, bigger))
        assert side.goaways() == [ErrorCodes.COMPRESSION_ERROR]
    if kind == "memory":
        one = H2Connection(H2Configuration(client_side=False))
        one.initiate_connection()
        one.receive_data(h.PREFACE + h.settings() + h.settings_ack())
        one.update_settings({SettingCodes.HEADER_TABLE_SIZE: 65_536})
        assert one.local_settings.header_table_size == 4096
        one.receive_data(h.settings_ack() + h.raw(h.HEADERS, h.END_HEADERS | h.END_STREAM, 1, bigger))
        assert one.local_settings.header_table_size == 65_536
        return
    async with raw_client(lambda stream: stream.respond(204), config=Config(header_table_size=65_536)) as peer:
        await peer.send(peer.frame(h.HEADERS, h.END_HEADERS | h.END_STREAM, 1, bigger))
        (answer,) = headers_of(await peer.sync())
        assert answer.fields == [(b":status", b"204")]


# Events


def test_only_receive_data_returns_events() -> None:
    one, other = pair()
    calls = [
        lambda: one.send_headers(1, h.POST),
        lambda: one.send_data(1, b"x"),
        lambda: one.end_stream(1),
        lambda: one.ping(b"12345678"),
        lambda: one.increment_flow_control_window(1),
        lambda: one.update_settings({3: 7}),
        lambda: one.prioritize(1, weight=7),
        lambda: other.push_stream(1, 2, h.GET),
        lambda: other.acknowledge_received_data(1, 1),
        lambda: other.reset_stream(1),
        lambda: other.close_connection(),
    ]
    for number, call in enumerate(calls):
        if number == 7:
            pump(one, other)
        assert call() is None  # type: ignore[func-returns-value]


@both
async def test_priority_updated(kind: str) -> None:
    async with server(kind) as side:
        await side.receive(side.headers(1, h.POST))
        await side.receive(h.priority(1, 3, 7, exclusive=True))
        (event,) = side.of(ev.PriorityUpdated)
        assert event == ev.PriorityUpdated(1, weight=7, depends_on=3, exclusive=True)


@both
async def test_connection_terminated_on_goaway(kind: str) -> None:
    async with server(kind) as side:
        await side.receive(side.headers(1, h.POST), h.goaway(0, ErrorCodes.ENHANCE_YOUR_CALM, b"too much"))
        assert side.of(ev.ConnectionTerminated) == [
            ev.ConnectionTerminated(ErrorCodes.ENHANCE_YOUR_CALM, 0, b"too much")
        ]


@both
async def test_several_goaways_are_no_error(kind: str) -> None:
    async with client(kind) as side:
        await side.request(end=False)
        await side.receive(h.goaway(2**31 - 1))
        await side.receive(h.goaway(1))
        assert [event.last_stream_id for event in side.of(ev.ConnectionTerminated)] == [2**31 - 1, 1]  # type: ignore[attr-defined]
        assert side.goaways() == []


@both
async def test_the_last_stream_id_is_right_on_termination(kind: str) -> None:
    async with server(kind) as side:
        await side.receive(side.headers(1, h.POST), side.headers(7, h.POST), h.raw(h.PING, 0, 0, b"short"))
        (goaway,) = [frame for frame in side.frames if isinstance(frame, GoAwayFrame)]
        assert (goaway.last_stream_id, goaway.error_code) == (7, FRAME_SIZE_ERROR)


# Stream states


@both
async def test_data_outside_open_and_half_closed_local_resets_the_stream(kind: str) -> None:
    async with server(kind) as side:
        await side.receive(side.headers(1, h.POST, end=True))
        await side.receive(h.data(1, b"x"))
        assert side.resets() == {1: STREAM_CLOSED}
        assert side.goaways() == []


@both
async def test_headers_in_half_closed_remote_reset_the_stream(kind: str) -> None:
    async with server(kind) as side:
        await side.receive(side.headers(1, h.POST, end=True))
        await side.receive(side.headers(1, h.TRAILERS, end=True))
        assert side.resets() == {1: STREAM_CLOSED}


@both
async def test_push_promise_in_half_closed_remote_resets_the_stream(kind: str) -> None:
    async with client(kind, push=True) as side:
        stream_id = await side.request(h.POST, end=False)
        await side.receive(side.headers(stream_id, h.OK, end=True))
        promise = h.uint32(2) + side.encoder.encode(h.GET)
        await side.receive(h.raw(h.PUSH_PROMISE, h.END_HEADERS, stream_id, promise))
        assert side.resets() == {2: ErrorCodes.REFUSED_STREAM, stream_id: STREAM_CLOSED}
        assert side.goaways() == []


def test_the_stream_errors_are_protocol_errors() -> None:
    assert issubclass(NoSuchStreamError, ProtocolError)
    assert issubclass(StreamClosedError, NoSuchStreamError)
    assert trio_h2.StreamClosedError is StreamClosedError


def test_a_send_on_a_closed_stream_whose_state_is_gone_is_a_stream_closed_error() -> None:
    one, other = pair()
    one.send_headers(1, h.GET, end_stream=True)
    pump(one, other)
    other.send_headers(1, h.OK, end_stream=True)
    pump(one, other)
    assert one.open_outbound_streams == other.open_inbound_streams == 0
    for side in (one, other):
        for call in (
            lambda s: s.send_headers(1, h.OK),
            lambda s: s.send_data(1, b"x"),
            lambda s: s.end_stream(1),
            lambda s: s.reset_stream(1),
            lambda s: s.increment_flow_control_window(1, 1),
        ):
            with pytest.raises(StreamClosedError) as caught:
                call(side)
            assert (caught.value.stream_id, caught.value.error_code) == (1, STREAM_CLOSED)
    with pytest.raises(StreamClosedError):
        other.push_stream(1, 2, h.GET)
    one.prioritize(1, weight=3)
    for call in (lambda: one.send_data(3, b"x"), lambda: one.reset_stream(3), lambda: other.end_stream(3)):
        with pytest.raises(NoSuchStreamError) as idle:
            call()
        assert not isinstance(idle.value, StreamClosedError)


async def test_a_send_on_a_closed_stream_in_actors_raises_and_sends_nothing() -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.respond(200)
        with pytest.raises((H2Error, trio.ClosedResourceError)):
            await stream.send_all(b"late")

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, h.GET, end_stream=True))
        assert [type(frame).__name__ for frame in await peer.sync()] == ["HeadersFrame"]


@both
@pytest.mark.parametrize("remote", [True, False])
async def test_stream_reset_once_whoever_ends_the_stream(kind: str, remote: bool) -> None:
    async with server(kind) as side:
        await side.receive(side.headers(1, h.POST))
        await side.receive(h.rst_stream(1, 8) if remote else h.window_update(1, 0))
        await side.receive(h.rst_stream(1, 2), h.window_update(1, 5))
        (event,) = side.of(ev.StreamReset)
        assert isinstance(event, ev.StreamReset)
        assert event.remote_reset is remote
        assert event.error_code == (ErrorCodes.CANCEL if remote else PROTOCOL_ERROR)


# Flow control


def test_increments_out_of_range_are_a_value_error() -> None:
    one, _ = pair()
    one.send_headers(1, h.GET)
    for increment in (-1, 0, 2**31):
        with pytest.raises(ValueError, match="increment"):
            one.increment_flow_control_window(increment)
        with pytest.raises(ValueError, match="increment"):
            one.increment_flow_control_window(increment, 1)


@both
async def test_window_increments_of_zero_are_rejected(kind: str) -> None:
    async with server(kind) as side:
        await side.receive(side.headers(1, h.POST), h.window_update(1, 0))
        assert side.resets() == {1: PROTOCOL_ERROR}
        await side.receive(h.window_update(0, 0))
        assert side.goaways() == [PROTOCOL_ERROR]


@both
async def test_windows_past_the_limit_by_an_increment_of_the_peer_are_rejected(kind: str) -> None:
    async with server(kind) as side:
        await side.receive(side.headers(1, h.POST), h.window_update(1, 2**31 - 1))
        assert side.resets() == {1: FLOW_CONTROL_ERROR}
        await side.receive(h.window_update(0, 2**31 - 1))
        assert side.goaways() == [FLOW_CONTROL_ERROR]


@both
async def test_windows_past_the_limit_by_settings_of_the_peer_are_rejected(kind: str) -> None:
    async with server(kind) as side:
        await side.receive(side.headers(1, h.POST), h.window_update(1, 1000), h.settings((4, 2**31 - 1)))
        assert side.goaways() == [FLOW_CONTROL_ERROR]


def test_windows_past_the_limit_by_our_own_increment_are_rejected() -> None:
    one, _ = pair()
    one.send_headers(1, h.GET)
    one.data_to_send()
    for stream_id in (None, 1):
        with pytest.raises(FlowControlError):
            one.increment_flow_control_window(2**31 - 1, stream_id)
    assert one.data_to_send() == b""
    assert one.inbound_flow_control_window == one.remote_flow_control_window(1) == 65_535


# Header sections


@both
@pytest.mark.parametrize(
    "fields",
    [
        [*h.GET, (b"Upper", b"1")],
        [*h.GET, (b":path", b"/")],
        [*h.GET, (b":late", b"1")],
        [*h.GET[:3], (b"x", b"1"), h.GET[3]],
        [*h.GET, (b"connection", b"close")],
        [*h.GET, (b"te", b"gzip")],
        h.GET[:3],
        [*h.GET, (b":status", b"200")],
    ],
)
async def test_ill_formed_header_blocks_are_rejected(kind: str, fields: h.Fields) -> None:
    async with server(kind) as side:
        await side.receive(side.headers(1, fields, end=True))
        assert side.resets() == {1: PROTOCOL_ERROR}
        assert side.of(ev.RequestReceived) == []
        await side.receive(side.headers(3, h.POST), h.data(3, b"x", end=True))
        assert len(side.of(ev.DataReceived)) == 1


def test_ill_formed_header_blocks_are_not_sent() -> None:
    one, _ = pair()
    one.data_to_send()
    for fields in (h.GET[:3], [*h.GET, (b":status", b"200")], [(b"x", b"1"), *h.GET], [*h.GET, h.GET[0]]):
        with pytest.raises(ProtocolError):
            one.send_headers(1, fields)
    assert one.data_to_send() == b""
    assert one.get_next_available_stream_id() == 1


def test_header_names_are_sent_in_lower_case() -> None:
    one, other = pair()
    one.send_headers(1, [(":method", "GET"), *h.GET[1:], ("X-Mixed", "Case")], end_stream=True)
    (request, _) = pump(one, other)
    assert isinstance(request, ev.RequestReceived)
    assert (b"x-mixed", b"Case") in request.headers


async def test_header_names_are_sent_in_lower_case_by_actors() -> None:
    async with raw_client(lambda stream: stream.respond(200, [("X-Mixed", "Case")])) as peer:
        await peer.send(peer.headers(1, h.GET, end_stream=True))
        (answer,) = headers_of(await peer.sync())
        assert (b"x-mixed", b"Case") in answer.fields


# Robustness


@both
@pytest.mark.parametrize("seed", range(60))
async def test_no_other_error_leaks_whatever_the_peer_sends(kind: str, seed: int) -> None:
    """Frames of every type with flags and payloads of chance: only errors of the hierarchy, and a GOAWAY with each."""
    chance = random.Random(seed)
    frames = [
        h.raw(
            chance.randrange(18),
            chance.randrange(256),
            chance.choice([0, 0, 1, 1, 2, 3, 2**31 - 1]),
            chance.randbytes(chance.choice([0, 1, 4, 5, 6, 8, 12, 40])),
        )
        for _ in range(40)
    ]
    async with server(kind) as side:
        await side.receive(side.headers(1, h.POST))
        for frame in frames:
            await side.receive(frame)
            if side.goaways():
                break
        if kind == "memory":
            assert bool(side.goaways()) is isinstance(side.error, ProtocolError)


def test_closed_streams_are_collected_in_bounded_memory() -> None:
    _, other = pair()
    peer = h.hpack.Encoder()
    for stream_id in range(1, 9_000, 2):
        other.receive_data(h.raw(h.HEADERS, h.END_HEADERS, stream_id, peer.encode(h.GET)) + h.rst_stream(stream_id))
    table = other._machine.table
    assert len(table) == other.open_inbound_streams == 0
    assert len(table._reset) + len(table._ended) <= 2 * Config().max_closed_streams


async def test_closed_streams_are_collected_in_bounded_memory_by_actors() -> None:
    async with raw_client(lambda stream: stream.respond(204), config=Config(max_closed_streams=20)) as peer:
        for stream_ids in (range(1, 10, 2), range(11, 120, 2)):
            await peer.send(*(peer.headers(stream_id, h.GET, end_stream=True) for stream_id in stream_ids))
            assert len(headers_of(await peer.sync())) == len(stream_ids)
        # A stream that is forgotten is closed all the same.
        await peer.send(peer.headers(3, h.GET, end_stream=True))
        assert [f.error_code for f in await peer.to_end() if isinstance(f, GoAwayFrame)] == [PROTOCOL_ERROR]


def seconds_for_looking(streams: int) -> float:
    one, _ = pair()
    one._machine.remote_settings.put_in_force(SettingCodes.MAX_CONCURRENT_STREAMS, 2**31)
    for _ in range(streams):
        one.send_headers(one.get_next_available_stream_id(), h.GET)
    best = 1.0
    for _ in range(20):
        start = time.perf_counter()
        for _ in range(200):
            _ = one.open_outbound_streams, one.local_flow_control_window(1)
        best = min(best, time.perf_counter() - start)
    return best


def test_looking_whether_a_stream_is_open_costs_the_same_with_10_streams_and_with_10_000() -> None:
    assert seconds_for_looking(10_000) < 5 * seconds_for_looking(10)
