"""What other RFCs add: PRIORITY (RFC 7540), RFC 9218, RFC 7838, RFC 8336, RFC 8441, and frames nobody defined."""

from __future__ import annotations

import pytest

from trio_h2 import events as ev
from trio_h2.config import Config
from trio_h2.exceptions import ErrorCodes, FrameDataMissingError, UnsupportedFrameError
from trio_h2.headers import Headers
from trio_h2.protocol.frames import PriorityFields
from trio_h2.protocol.priority import DEFAULT_PRIORITY, Priority
from trio_h2.protocol.stream_table import StreamTable

from . import helpers as h


def server(**config: object) -> h.RawPeer:
    return h.RawPeer(client=False, config=Config(**config))  # type: ignore[arg-type]


def client_with_request() -> h.RawPeer:
    peer = h.RawPeer(client=True)
    h.open_request(peer.machine)
    peer.frames()
    return peer


# RFC 9113 5.5: unknown frames


@pytest.mark.parametrize("stream_id", [0, 1, 2, 7])
@pytest.mark.parametrize("client", [False, True])
def test_rfc9113_5_5_unknown_frames_are_ignored_and_reported(stream_id: int, client: bool) -> None:
    peer = h.RawPeer(client=client)
    (event,) = peer.receive(h.raw(0xB7, 0xFF, stream_id, b"whatever"))
    assert event == ev.UnknownFrameReceived(0xB7, 0xFF, stream_id, b"whatever")
    assert peer.frames() == []
    assert peer.machine.table.highest_inbound == 0
    peer.assert_alive()


def test_rfc9113_5_5_an_unknown_frame_may_come_on_a_closed_stream() -> None:
    peer = server()
    peer.receive(peer.headers(1, h.GET), h.rst_stream(1))
    assert len(peer.receive(h.raw(0xB7, 0, 1))) == 1
    peer.assert_alive()


# RFC 9113 5.3.2, 6.3: RFC 7540's priorities are accepted, and reported


@pytest.mark.parametrize("state", ["idle", "open", "half closed", "closed", "skipped"])
def test_rfc9113_6_3_priority_may_come_in_any_state(state: str) -> None:
    peer = server()
    if state == "skipped":
        peer.receive(peer.headers(3, h.GET))
    elif state != "idle":
        peer.receive(peer.headers(1, h.GET, end=state == "half closed"))
    if state == "closed":
        peer.receive(h.rst_stream(1))
    before = peer.machine.table.highest_inbound
    assert peer.receive(h.priority(1, 0, 5)) == [ev.PriorityUpdated(1, weight=5, depends_on=0, exclusive=False)]
    assert peer.machine.table.highest_inbound == before
    peer.assert_alive()


def test_rfc9113_6_3_priority_opens_no_stream() -> None:
    peer = server()
    peer.receive(h.priority(1, 0), h.data(1))
    peer.assert_connection_error(ErrorCodes.PROTOCOL_ERROR)


def test_rfc9113_5_3_2_a_reserved_stream_may_be_prioritised() -> None:
    pair = h.Pair(client=Config(enable_push=True))
    _, parent = pair.request()
    promised = h.promise(pair.server, parent)
    pair.pump()
    pair.client.outbox.priority(promised.stream_id, PriorityFields(0, 1, False))
    _, events = pair.pump()
    assert events == [ev.PriorityUpdated(promised.stream_id, weight=1, depends_on=0, exclusive=False)]
    assert pair.server.failure is None


def test_rfc7540_5_3_1_headers_that_depend_on_themselves_are_a_stream_error() -> None:
    peer = server()
    peer.receive(peer.headers(1, h.GET, prefix=h.uint32(1) + b"\0"))
    peer.assert_stream_error(1, ErrorCodes.PROTOCOL_ERROR)


def test_rfc7540_5_3_1_trailers_that_depend_on_themselves_are_a_stream_error() -> None:
    peer = server()
    peer.receive(peer.headers(1, h.POST), peer.headers(1, h.TRAILERS, end=True, prefix=h.uint32(1) + b"\0"))
    peer.assert_stream_error(1, ErrorCodes.PROTOCOL_ERROR)


def test_rfc7540_5_3_1_a_priority_that_depends_on_itself_is_a_stream_error() -> None:
    peer = server()
    peer.receive(peer.headers(1, h.POST), h.priority(1, 1))
    peer.assert_stream_error(1, ErrorCodes.PROTOCOL_ERROR)


@pytest.mark.parametrize("what", ["informational", "final", "trailers"])
def test_rfc9113_6_2_priority_fields_are_reported_with_every_header_section(what: str) -> None:
    peer = client_with_request()
    prefix = h.uint32(0) + b"\x04"
    signal = ev.PriorityUpdated(1, weight=5, depends_on=0, exclusive=False)
    if what == "informational":
        events = peer.receive(peer.headers(1, h.status(103), prefix=prefix))
    elif what == "final":
        events = peer.receive(peer.headers(1, h.OK, prefix=prefix))
    else:
        peer.receive(peer.headers(1, h.OK))
        events = peer.receive(peer.headers(1, h.TRAILERS, end=True, prefix=prefix))
    assert events[0].priority_updated == signal  # type: ignore[attr-defined]
    assert events[1] == signal


# RFC 9218: extensible priorities


def test_rfc9218_5_the_priority_field_of_a_request() -> None:
    peer = server()
    peer.receive(peer.headers(1, [*h.GET, (b"priority", b"u=5"), (b"priority", b"i")]))
    assert h.live(peer.machine, 1).priority == Priority(5, True)


def test_rfc9218_4_the_default_priority() -> None:
    peer = server()
    peer.receive(peer.headers(1, h.GET), peer.headers(3, [*h.GET, (b"priority", b"?!")]))
    assert h.live(peer.machine, 1).priority == DEFAULT_PRIORITY
    assert h.live(peer.machine, 3).priority == DEFAULT_PRIORITY


def test_rfc9218_7_1_priority_update_for_an_open_stream() -> None:
    peer = server()
    peer.receive(peer.headers(1, [*h.GET, (b"priority", b"u=5, i")]))
    assert peer.receive(h.priority_update(1, b"u=0")) == [ev.PriorityUpdated(1, field_value=b"u=0")]
    assert h.live(peer.machine, 1).priority == Priority(0, False)


def test_rfc9218_7_1_the_reserved_bit_of_priority_update_is_ignored() -> None:
    peer = server()
    peer.receive(peer.headers(1, h.GET), h.priority_update(2**31 | 1, b"u=0"))
    assert h.live(peer.machine, 1).priority == Priority(0)


def test_rfc9218_7_priority_update_that_comes_before_its_request_wins() -> None:
    peer = server()
    assert peer.receive(h.priority_update(3, b"u=6"), h.priority_update(3, b"u=1, i"))
    peer.receive(peer.headers(1, h.GET), peer.headers(3, [*h.GET, (b"priority", b"u=5")]))
    assert h.live(peer.machine, 1).priority == DEFAULT_PRIORITY
    assert h.live(peer.machine, 3).priority == Priority(1, True)


def test_rfc9218_7_1_priority_update_for_a_closed_stream_changes_nothing() -> None:
    peer = server()
    peer.receive(peer.headers(1, h.GET), h.rst_stream(1))
    assert peer.receive(h.priority_update(1, b"u=1")) == [ev.PriorityUpdated(1, field_value=b"u=1")]
    peer.assert_alive()


def test_rfc9218_7_1_priority_update_for_a_pushed_stream() -> None:
    pair = h.Pair(client=Config(enable_push=True))
    _, parent = pair.request()
    promised = h.promise(pair.server, parent)
    pair.pump()
    pair.client.outbox.priority_update(promised.stream_id, b"u=2")
    pair.pump()
    assert promised.priority == Priority(2)


@pytest.mark.parametrize("prioritized", [0, 2, 4])
def test_rfc9218_7_1_priority_update_for_stream_0_or_an_idle_push_is_a_connection_error(prioritized: int) -> None:
    peer = server()
    peer.receive(h.priority_update(prioritized, b"u=1"))
    peer.assert_connection_error(ErrorCodes.PROTOCOL_ERROR)


def test_rfc9218_7_1_a_server_may_not_send_priority_update() -> None:
    peer = client_with_request()
    peer.receive(h.priority_update(1, b"u=1"))
    peer.assert_connection_error(ErrorCodes.PROTOCOL_ERROR, UnsupportedFrameError)


def test_rfc9218_7_1_a_client_changes_the_priority_of_its_request() -> None:
    pair = h.Pair()
    stream, at_server = pair.request(h.POST, end=False)
    pair.client.update_priority(stream, Priority(6, True))
    pair.pump()
    assert stream.priority == at_server.priority == Priority(6, True)


@pytest.mark.parametrize("active", [0, 2])
def test_rfc9218_7_1_more_prioritized_idle_streams_than_the_stream_limit_is_a_connection_error(active: int) -> None:
    """Idle streams that were prioritized and active streams together must not exceed the limit."""
    peer = server(max_concurrent_streams=3)
    for number in range(active):
        peer.receive(peer.headers(2 * number + 1, h.GET))
    for number in range(3 - active):
        peer.receive(h.priority_update(101 + 2 * number, b"u=1"))
    assert peer.machine.failure is None
    peer.receive(h.priority_update(201, b"u=1"))
    peer.assert_connection_error(ErrorCodes.PROTOCOL_ERROR)


def test_rfc9218_7_1_repeating_a_priority_update_is_not_more_streams() -> None:
    peer = server(max_concurrent_streams=2)
    for _ in range(5):
        assert len(peer.receive(h.priority_update(3, b"u=1"), h.priority_update(5, b"u=1"))) == 2
    peer.assert_alive()


def test_rfc9218_7_1_a_priority_update_does_not_go_through_those_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    is_idle = StreamTable.is_idle

    def look(table: StreamTable, stream_id: int) -> bool:
        nonlocal looks
        looks += 1
        return is_idle(table, stream_id)

    monkeypatch.setattr(StreamTable, "is_idle", look)
    peer = server(max_concurrent_streams=1_000)
    peer.receive(*[h.priority_update(2 * number + 1, b"u=1") for number in range(1_000)])
    assert looks <= 4_000
    peer.assert_alive()


def test_rfc9218_7_1_priorities_that_are_passed_over_are_forgotten_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a PRIORITY_UPDATE costs does not depend on how many others wait for their streams."""
    looks = 0
    is_idle = StreamTable.is_idle

    def look(table: StreamTable, stream_id: int) -> bool:
        nonlocal looks
        looks += 1
        return is_idle(table, stream_id)

    peer = server(max_concurrent_streams=1_000)
    peer.receive(*[h.priority_update(10**6 + 2 * number + 1, b"u=1") for number in range(998)])
    monkeypatch.setattr(StreamTable, "is_idle", look)
    for number in range(1, 1_000, 4):
        peer.receive(h.priority_update(number, b"u=1"), peer.headers(number + 2, h.GET), h.rst_stream(number + 2))
    assert looks < 250 * 20
    receiver = peer.machine._receiver._priorities
    assert len(receiver._early_priorities) == len(receiver._early_ids) <= 1_000
    peer.assert_alive()


@pytest.mark.parametrize("how", ["passed over", "refused", "malformed", "too large"])
def test_rfc9218_7_1_a_prioritized_stream_that_never_opens_is_forgotten(how: str) -> None:
    """What came of it, it is idle no more: there is room for the next one's priority."""
    peer = server(max_concurrent_streams=1, max_header_list_size=200)
    peer.receive(h.priority_update(3, b"u=1"))
    if how == "passed over":
        peer.receive(peer.headers(5, h.GET), h.rst_stream(5))
    elif how == "refused":
        peer.receive(peer.headers(1, h.GET), peer.headers(3, h.GET), h.rst_stream(1))
    elif how == "malformed":
        peer.receive(peer.headers(3, h.OK))
    else:
        peer.receive(peer.headers(3, [*h.GET, (b"x", bytes(100))], end=True))
    assert peer.machine.table.open_inbound == 0
    peer.receive(h.priority_update(7, b"u=7"), peer.headers(7, h.GET))
    assert h.live(peer.machine, 7).priority == Priority(7)


def test_rfc9113_10_5_priority_fields_over_256_octets_are_ignored() -> None:
    """They are judged together, and before they are joined if there are more."""
    peer = server()
    fields = [(b"priority", b"u=1" + b" " * 79 + b",i")] * 3
    peer.receive(peer.headers(1, [*h.GET, *fields]), peer.headers(3, [*h.GET, *fields, (b"priority", b"")]))
    assert len(b", ".join([value for _, value in fields])) == 256
    assert h.live(peer.machine, 1).priority == Priority(1, True)
    assert h.live(peer.machine, 3).priority == DEFAULT_PRIORITY
    peer.receive(peer.headers(7, [*h.GET, (b"priority", b"u," * 2_000)]))
    frame = peer.headers(9, [*h.GET, *[(b"priority", b"u," * 2_000)] * 15])
    with h.counted_calls() as calls:
        peer.receive(frame)
    assert h.live(peer.machine, 9).priority == DEFAULT_PRIORITY
    assert calls[0] < 500


def test_rfc9113_10_5_a_priority_update_over_256_octets_is_ignored() -> None:
    """Nothing of it is parsed, and nothing is kept."""
    peer = server()
    peer.receive(peer.headers(1, [*h.GET, (b"priority", b"u=5")]))
    longest = b"u=1," + b"a" * 252
    with h.counted_calls() as calls:
        for prioritized in (1, 3):
            assert peer.receive(h.priority_update(prioritized, longest + b"a")) == []
            assert peer.receive(h.priority_update(prioritized, b"u=1," * 4_000)) == []
    assert calls[0] < 300
    assert h.live(peer.machine, 1).priority == Priority(5)
    assert len(peer.receive(h.priority_update(1, longest), h.priority_update(3, longest))) == 2
    assert h.live(peer.machine, 1).priority == Priority(1)
    peer.receive(peer.headers(3, h.GET))
    assert h.live(peer.machine, 3).priority == Priority(1)


# RFC 7838 4: ALTSVC


def test_rfc7838_4_altsvc_on_stream_0_is_about_the_origin_it_names() -> None:
    peer = h.RawPeer(client=True)
    (event,) = peer.receive(h.altsvc(0, b"https://example.org", b'h2=":8000"'))
    assert event == ev.AlternativeServiceAvailable(b"https://example.org", b'h2=":8000"')


def test_rfc7838_4_altsvc_on_a_stream_is_about_that_request() -> None:
    peer = client_with_request()
    (event,) = peer.receive(h.altsvc(1, b"", b"clear"))
    assert isinstance(event, ev.AlternativeServiceAvailable)
    assert b"example.org" in event.origin
    assert event.field_value == b"clear"


@pytest.mark.parametrize(
    "frame",
    [
        h.altsvc(0, b"", b"clear"),
        h.altsvc(1, b"https://example.org", b"clear"),
        h.altsvc(3, b"", b"clear"),
        h.altsvc(2, b"", b"clear"),
    ],
)
def test_rfc7838_4_an_invalid_altsvc_is_ignored(frame: bytes) -> None:
    peer = client_with_request()
    assert peer.receive(frame) == []
    peer.assert_alive()


def test_rfc7838_4_altsvc_on_a_closed_stream_is_ignored() -> None:
    peer = client_with_request()
    peer.machine.reset_stream(h.live(peer.machine, 1), ErrorCodes.CANCEL)
    assert peer.receive(h.altsvc(1, b"", b"clear")) == []
    peer.assert_alive()


@pytest.mark.parametrize("frame", [h.altsvc(0, b"https://example.org", b"clear"), h.altsvc(1, b"", b"clear")])
def test_rfc7838_4_a_server_ignores_altsvc(frame: bytes) -> None:
    peer = server()
    peer.receive(peer.headers(1, h.GET))
    assert peer.receive(frame) == []
    peer.assert_alive()


@pytest.mark.parametrize("payload", [b"", b"\0", b"\0\x05abcd"])
def test_rfc9113_4_2_an_altsvc_too_short_for_its_fields_is_a_size_error(payload: bytes) -> None:
    peer = h.RawPeer(client=True)
    peer.receive(h.raw(h.ALTSVC, 0, 0, payload))
    peer.assert_connection_error(ErrorCodes.FRAME_SIZE_ERROR, FrameDataMissingError)


@pytest.mark.parametrize("payload", [b"", b"\0", b"\0\x05abcd"])
def test_rfc7838_4_a_server_ignores_an_altsvc_that_is_too_short(payload: bytes) -> None:
    """A device acting as a server MUST ignore it, whatever it is."""
    peer = server()
    assert peer.receive(h.raw(h.ALTSVC, 0, 0, payload)) == []
    peer.assert_alive()


# RFC 8336: ORIGIN


@pytest.mark.parametrize("origins", [(), (b"https://example.org",), (b"https://a", b"", b"https://b:8443")])
def test_rfc8336_2_1_origin_lists_origins(origins: tuple[bytes, ...]) -> None:
    peer = h.RawPeer(client=True)
    assert peer.receive(h.origin(*origins)) == [ev.OriginReceived(origins)]


def test_rfc9113_10_5_an_origin_frame_with_more_than_100_origins_is_ignored() -> None:
    """RFC 8336 section 2.1 lets a client do so; it is judged before the rest is split."""
    peer = h.RawPeer(client=True)
    ordinary = tuple(b"https://host%d.example.org" % number for number in range(100))
    assert peer.receive(h.origin(*ordinary)) == [ev.OriginReceived(ordinary)]
    assert peer.receive(h.origin(*ordinary, b"https://a")) == []
    with h.counted_calls() as many:
        assert peer.receive(h.raw(h.ORIGIN, 0, 0, bytes(16_000))) == []
    with h.counted_calls() as few:
        assert len(peer.receive(h.origin(*ordinary[:50]))) == 1
    assert many[0] < 3 * few[0]
    peer.assert_alive()


@pytest.mark.parametrize("flags", [0x10, 0xF0])
def test_rfc8336_2_2_the_upper_flags_change_nothing(flags: int) -> None:
    peer = h.RawPeer(client=True)
    assert peer.receive(h.origin(b"https://a", flags=flags)) == [ev.OriginReceived((b"https://a",))]


@pytest.mark.parametrize(
    "frame",
    [
        h.origin(b"https://a", stream_id=1),
        h.origin(b"https://a", flags=0x1),
        h.origin(b"https://a", flags=0x2),
        h.origin(b"https://a", flags=0x4),
        h.origin(b"https://a", flags=0x18),
    ],
)
def test_rfc8336_2_2_an_origin_frame_on_a_stream_or_with_flags_is_ignored(frame: bytes) -> None:
    peer = client_with_request()
    assert peer.receive(frame) == []
    peer.assert_alive()


@pytest.mark.parametrize("payload", [b"\0", b"\0\x05abcd", b"\0\x01a\0\x02b"])
def test_rfc9113_4_2_an_origin_frame_too_short_for_its_entries_is_a_size_error(payload: bytes) -> None:
    peer = h.RawPeer(client=True)
    peer.receive(h.raw(h.ORIGIN, 0, 0, payload))
    peer.assert_connection_error(ErrorCodes.FRAME_SIZE_ERROR, FrameDataMissingError)


def test_rfc8336_2_a_server_ignores_origin() -> None:
    peer = server()
    assert peer.receive(h.origin(b"https://a")) == []
    peer.assert_alive()


# RFC 8441: extended CONNECT


def test_rfc8441_4_extended_connect_opens_a_tunnel() -> None:
    pair = h.Pair()
    assert pair.client.remote_settings.enable_connect_protocol
    stream = h.open_request(pair.client, h.WEBSOCKET, end=False)
    _, (event,) = pair.pump()
    assert event == ev.RequestReceived(1, Headers(h.WEBSOCKET))
    at_server = h.live(pair.server, 1)
    assert stream.tunnel
    assert at_server.tunnel
    h.respond(pair.server, at_server)
    pair.server.send_data(at_server, b"from the server")
    pair.client.send_data(stream, b"from the client")
    at_client, (data,) = pair.pump()
    assert data == ev.DataReceived(1, b"from the client", 15)
    assert at_client[-1] == ev.DataReceived(1, b"from the server", 15)


def test_rfc8441_3_protocol_without_the_setting_is_malformed() -> None:
    peer = server(enable_connect_protocol=False)
    peer.receive(peer.headers(1, h.WEBSOCKET))
    peer.assert_stream_error(1, ErrorCodes.PROTOCOL_ERROR)


def test_rfc8441_3_protocol_before_the_setting_was_acknowledged_is_malformed() -> None:
    """A client that has not seen the setting cannot know of it."""
    peer = h.RawPeer(client=False, greet=False)
    peer.receive(peer.preface, h.settings(), peer.headers(1, h.WEBSOCKET))
    assert peer.resets() == [(1, ErrorCodes.PROTOCOL_ERROR)]
    peer.receive(h.settings_ack(), peer.headers(3, h.WEBSOCKET))
    assert h.live(peer.machine, 3).tunnel
