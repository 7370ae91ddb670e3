"""What a peer may cost (RFC 9113 section 10.5)."""

from __future__ import annotations

import pytest

from trio_h2 import events as ev
from trio_h2.config import Config
from trio_h2.exceptions import DenialOfServiceError, ErrorCodes
from trio_h2.headers import Headers
from trio_h2.protocol.limits import Excess, HeaderLimits, InterimLimits, field_section_size

from . import helpers as h

LIMITS = HeaderLimits(max_block_size=100, max_continuations=2, max_list_size=200, max_fields=3)


def limit_of(excess: Excess | None) -> str:
    """Which limit was passed; its reason names it, too."""
    assert excess is not None
    assert f"Config.{excess.limit} (" in excess.reason
    return excess.limit


def server(**config: object) -> h.RawPeer:
    return h.RawPeer(client=False, config=Config(**config))  # type: ignore[arg-type]


def test_rfc9113_6_5_2_a_field_counts_32_octets_more_than_it_has() -> None:
    assert field_section_size([]) == 0
    assert field_section_size([(b"", b"")]) == 32
    assert field_section_size([(b"abc", b"de"), (b"", b"f")]) == 70


@pytest.mark.parametrize(("size", "continuations", "fine"), [(100, 2, True), (101, 0, False), (0, 3, False)])
def test_rfc9113_10_5_1_a_field_block_that_is_too_large(size: int, continuations: int, fine: bool) -> None:
    failure = LIMITS.block(size, continuations)
    assert (failure is None) is fine
    if failure is not None:
        assert failure.error_code is ErrorCodes.ENHANCE_YOUR_CALM
        assert failure.error_class is DenialOfServiceError


def test_rfc9113_10_5_1_a_field_section_that_is_too_large() -> None:
    assert LIMITS.oversized(3, 200) is None
    assert limit_of(LIMITS.oversized(3, 201)) == "max_header_list_size"
    assert limit_of(LIMITS.oversized(4, 200)) == "max_header_fields"


def test_rfc9113_10_5_interim_responses() -> None:
    limits = InterimLimits(max_responses=100, max_octets=1_000)
    assert limits.exceeded(100, 1_000) is None
    assert limit_of(limits.exceeded(101, 1_000)) == "max_interim_responses"
    assert limit_of(limits.exceeded(100, 1_001)) == "max_interim_octets"


def test_rfc9113_8_1_endless_interim_responses_are_a_stream_error() -> None:
    peer = h.RawPeer(client=True)
    h.open_request(peer.machine)
    h.open_request(peer.machine)
    peer.frames()
    for _ in range(100):
        assert peer.receive(peer.headers(1, h.status(103)))
    peer.receive(peer.headers(1, h.status(103)))
    peer.assert_stream_error(1, ErrorCodes.ENHANCE_YOUR_CALM)
    assert peer.receive(peer.headers(3, h.OK))


def test_rfc9113_10_5_1_interim_responses_are_bounded_in_octets_too() -> None:
    large = (b"link", bytes(1_000).replace(b"\0", b"x"))
    size = field_section_size(h.status(103, large))
    peer = h.RawPeer(client=True, config=Config(max_interim_octets=3 * size))
    h.open_request(peer.machine)
    h.open_request(peer.machine)
    peer.frames()
    for _ in range(3):
        assert len(peer.receive(peer.headers(1, h.status(103, large)))) == 1
    (event,) = peer.receive(peer.headers(1, h.status(103)))
    assert isinstance(event, ev.StreamReset)
    assert "Config.max_interim_octets" in event.reason
    peer.assert_stream_error(1, ErrorCodes.ENHANCE_YOUR_CALM)
    assert peer.receive(peer.headers(3, h.status(103, large)), peer.headers(3, h.OK))


@pytest.mark.parametrize("limit", [0, 2, 500])
def test_rfc9113_10_5_how_many_interim_responses_is_a_knob(limit: int) -> None:
    peer = h.RawPeer(client=True, config=Config(max_interim_responses=limit))
    h.open_request(peer.machine)
    peer.frames()
    for _ in range(limit):
        assert len(peer.receive(peer.headers(1, h.status(103)))) == 1
    (event,) = peer.receive(peer.headers(1, h.status(103)))
    assert isinstance(event, ev.StreamReset)
    assert "Config.max_interim_responses" in event.reason
    peer.assert_stream_error(1, ErrorCodes.ENHANCE_YOUR_CALM)


# RFC 6585 5: 431


@pytest.mark.parametrize(
    ("config", "extra"),
    [
        ({"max_header_list_size": 300}, [(b"x", bytes(200))]),
        ({"max_header_fields": 5}, [(b"x", b"y")] * 2),
    ],
)
@pytest.mark.parametrize("end", [False, True])
def test_rfc6585_5_a_request_too_large_is_answered_with_431(config: dict[str, int], extra: h.Fields, end: bool) -> None:
    peer = server(**config)
    assert peer.receive(peer.headers(1, [*h.GET, *extra], end=end)) == []
    assert peer.machine.replies == 1
    answer, *rest = peer.frames()
    assert peer.sent_fields(answer) == [(b":status", b"431")]
    assert "END_STREAM" in answer.flags
    # RFC 9113 8.1: NO_ERROR asks the client to stop sending, and does not take the response back.
    assert [(f.type, f.stream_id, f.error_code) for f in rest] == ([] if end else [(h.RST_STREAM, 1, 0)])
    assert peer.machine.table.get(1) is None
    assert peer.machine.table.open_inbound == 0
    peer.assert_alive()
    (event,) = peer.receive(peer.headers(3, h.GET))
    assert event == ev.RequestReceived(3, Headers(h.GET))


def test_rfc6585_5_what_follows_a_request_answered_with_431_is_discarded() -> None:
    peer = server(max_header_list_size=300)
    peer.receive(peer.headers(1, [*h.POST, (b"x", bytes(200))]))
    peer.frames()
    assert peer.receive(h.data(1, b"abc"), peer.headers(1, h.TRAILERS, end=True)) == []
    assert peer.frames() == []
    assert h.balanced(peer.machine)
    peer.assert_alive()


def test_rfc9113_10_5_1_a_request_of_just_the_limit_is_fine() -> None:
    size = field_section_size(h.GET)
    peer = server(max_header_list_size=size, max_header_fields=len(h.GET))
    assert len(peer.receive(peer.headers(1, h.GET))) == 1


@pytest.mark.parametrize("what", ["response", "trailers at the client", "trailers at the server"])
def test_rfc9113_10_5_1_any_other_section_too_large_is_a_stream_error(what: str) -> None:
    large = (b"x", bytes(300))
    config = Config(max_header_list_size=300)
    if what == "trailers at the server":
        peer = h.RawPeer(client=False, config=config)
        peer.receive(peer.headers(1, h.POST), peer.headers(1, [large], end=True))
    else:
        peer = h.RawPeer(client=True, config=config)
        h.open_request(peer.machine)
        peer.frames()
        if what == "response":
            peer.receive(peer.headers(1, [*h.OK, large]))
        else:
            peer.receive(peer.headers(1, h.OK), peer.headers(1, [large], end=True))
    peer.assert_stream_error(1, ErrorCodes.ENHANCE_YOUR_CALM)


def test_rfc9113_10_5_1_a_promise_too_large_is_a_stream_error_of_the_promised_stream() -> None:
    peer = h.RawPeer(client=True, config=Config(enable_push=True, max_header_list_size=300))
    h.open_request(peer.machine)
    peer.frames()
    peer.receive(peer.push_promise(1, 2, [*h.GET, (b"x", bytes(300))]))
    peer.assert_stream_error(2, ErrorCodes.ENHANCE_YOUR_CALM)
    assert h.live(peer.machine, 1)


def test_rfc9113_4_3_a_section_too_large_is_decoded_wholly_all_the_same() -> None:
    peer = server(max_header_list_size=300)
    peer.receive(peer.headers(1, [*h.GET, (b"x", bytes(200)), (b"y", b"in the table")], end=True))
    (event,) = peer.receive(peer.headers(3, [*h.GET, (b"y", b"in the table")]))
    assert event == ev.RequestReceived(3, Headers([*h.GET, (b"y", b"in the table")]))


def test_rfc9113_6_5_2_a_changed_limit_holds_from_its_acknowledgement() -> None:
    """Also for a block that is remembered from before."""
    peer = server()
    block = b"\x82\x87\x84\x41\x01a"
    again = b"\x82\x87\x84\xbe"
    assert len(peer.receive(h.raw(h.HEADERS, 5, 1, block), h.raw(h.HEADERS, 5, 3, again))) == 4
    peer.machine.update_settings({h.MAX_HEADER_LIST_SIZE: 100})
    assert len(peer.receive(h.raw(h.HEADERS, 5, 5, again))) == 2
    peer.receive(h.settings_ack())
    peer.frames()
    assert peer.receive(h.raw(h.HEADERS, 5, 7, again)) == []
    assert peer.sent_fields(peer.frames()[0]) == [(b":status", b"431")]
    peer.machine.update_settings({h.MAX_HEADER_LIST_SIZE: 100})
    assert len(peer.receive(h.settings_ack())) == 1


def test_rfc7541_7_3_a_small_block_that_grows_huge_is_judged_by_what_it_grows_to() -> None:
    """A field of 4,000 octets in the dynamic table, named again and again by one octet each."""
    peer = server()
    peer.receive(peer.headers(1, [*h.GET, (b"x", b"y" * 4000)]))
    bomb = peer.block(h.GET) + b"\xbe" * 1_500
    assert peer.receive(h.raw(h.HEADERS, h.END_HEADERS | h.END_STREAM, 3, bomb)) == []
    assert peer.sent_fields(peer.frames()[0]) == [(b":status", b"431")]
    peer.assert_alive()


@pytest.mark.parametrize("part", [b"\x84", b"\x01\x00", b"\x40\x00\x00"])
def test_rfc9113_10_5_1_a_block_of_endless_fields_is_not_decoded_to_its_end(part: bytes) -> None:
    """Up to 2,048 are, and a stretch: their sender hears 431."""
    peer = server()
    frames = [h.raw(h.HEADERS, h.END_HEADERS | h.END_STREAM, 1, part * 2_048)]
    frames += [h.raw(h.HEADERS, 0, 3, part * 5_000), h.raw(h.CONTINUATION, 0, 3, part * 5_000)]
    frames += [h.raw(h.CONTINUATION, h.END_HEADERS, 3, part * 5_000)]
    assert peer.receive(frames[0]) == []
    assert peer.sent_fields(peer.frames()[0]) == [(b":status", b"431")]
    with h.counted_calls() as calls:
        assert peer.receive(*frames[1:]) == []
    assert calls[0] < 50_000
    peer.assert_connection_error(ErrorCodes.ENHANCE_YOUR_CALM, DenialOfServiceError)
    assert peer.machine.failure is not None
    assert "more than 2048 fields" in peer.machine.failure.reason


@pytest.mark.parametrize("later", [False, True])
def test_rfc9113_10_5_1_as_many_fields_are_decoded_as_are_accepted(later: bool) -> None:
    peer = server(max_header_fields=5_000, max_header_list_size=2_000 if later else 2**20)
    if later:
        peer.machine.update_settings({h.MAX_HEADER_LIST_SIZE: 2**20})
        peer.receive(h.settings_ack())
    (event,) = peer.receive(h.raw(h.HEADERS, h.END_HEADERS, 1, peer.block(h.GET) + b"\x90" * 4_996))
    assert isinstance(event, ev.RequestReceived)
    assert len(event.headers) == 5_000
