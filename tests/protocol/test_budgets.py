"""What a peer may cost over a whole connection (RFC 9113 section 10.5), and what names each limit."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from trio_h2 import events as ev
from trio_h2.config import Config
from trio_h2.exceptions import DenialOfServiceError, ErrorCodes, FlowControlError
from trio_h2.protocol.connection_machine import ConnectionMachine
from trio_h2.protocol.limits import ControlFrames, Excess, HeldHeaders, Resets, StreamErrors, field_section_size

from . import helpers as h

COOKIES = [(b"cookie", b"name-of-crumb-%d=0123456789abcdef" % number) for number in range(180)]


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Peer(h.RawPeer):
    """A raw peer of a machine whose clock the test sets.

    Attributes:
        last: the last stream that the peer opened, or the machine did.
    """

    def __init__(self, *, client: bool = False, **config: object) -> None:
        super().__init__(client=client, config=Config(**config), greet=False)  # type: ignore[arg-type]
        self.clock = Clock()
        self.machine = ConnectionMachine(self.machine.config, client=client, clock=self.clock)
        self.machine.initiate()
        self.receive(self.preface, h.settings(), h.settings_ack())
        self.frames()
        self.last = -1

    def open(self, fields: h.Fields = h.GET, *, end: bool = True) -> int:
        """One more stream: a server gets a request, a client makes one."""
        self.last += 2
        if self.machine.client:
            h.open_request(self.machine, fields, end=end)
        else:
            self.receive(self.headers(self.last, fields, end=end))
        return self.last

    def complete(self) -> None:
        """A request is made and answered."""
        stream_id = self.open()
        if self.machine.client:
            self.receive(self.headers(stream_id, h.OK, end=True))
        else:
            h.respond(self.machine, h.live(self.machine, stream_id), end=True)

    def assert_calm(self, limit: str) -> None:
        """The connection has ended with ENHANCE_YOUR_CALM, because of this limit."""
        failure = self.machine.failure
        assert failure is not None
        assert (failure.error_code, failure.error_class) == (ErrorCodes.ENHANCE_YOUR_CALM, DenialOfServiceError)
        assert failure.limit == limit
        assert f"Config.{limit} (" in failure.reason
        assert self.machine.limits_hit[limit] == 1
        assert self.frames()[-1].additional_data == failure.reason.encode()  # type: ignore[attr-defined]


def limit_of(excess: Excess | None) -> str | None:
    return None if excess is None else excess.limit


# Stream errors


def test_rfc9113_5_4_2_completed_requests_pay_for_stream_errors_that_came_before() -> None:
    errors = StreamErrors(2)
    assert errors.count(0) is errors.count(0) is None
    assert errors.count(1) is None
    assert limit_of(errors.count(1)) == "max_stream_errors"


def test_rfc9113_5_4_2_requests_completed_before_pay_for_no_stream_error() -> None:
    errors = StreamErrors(2)
    assert errors.count(1_000) is errors.count(1_000) is None
    assert limit_of(errors.count(1_000)) == "max_stream_errors"


def malformed_request(peer: Peer) -> None:
    peer.open([(b":method", b"GET")])


def too_large_request(peer: Peer) -> None:
    peer.open([*h.GET, (b"x", b"y" * 300)])


def credit_of_nothing(peer: Peer) -> None:
    peer.receive(h.window_update(peer.open(), 0))


def malformed_response(peer: Peer) -> None:
    peer.receive(peer.headers(peer.open(), h.TRAILERS))


@pytest.mark.parametrize(
    ("client", "mistake"),
    [(False, malformed_request), (False, too_large_request), (False, credit_of_nothing), (True, malformed_response)],
)
def test_rfc9113_10_5_stream_errors_are_bounded(client: bool, mistake: Callable[[Peer], None]) -> None:
    peer = Peer(client=client, max_stream_errors=5, max_header_list_size=300)
    for _ in range(5):
        mistake(peer)
    peer.complete()
    mistake(peer)
    assert peer.machine.failure is None
    mistake(peer)
    peer.assert_calm("max_stream_errors")


def test_rfc9113_10_5_a_peers_own_resets_are_no_stream_errors() -> None:
    peer = Peer(max_stream_errors=0)
    peer.receive(h.rst_stream(peer.open()))
    peer.machine.reset_stream(h.live(peer.machine, peer.open()), ErrorCodes.CANCEL)
    peer.assert_alive()


def test_rfc9113_5_1_2_a_refused_stream_counts_if_it_is_above_the_limit_that_was_acknowledged() -> None:
    peer = Peer(max_stream_errors=0, max_concurrent_streams=2)
    peer.open()
    peer.open()
    peer.open()
    peer.assert_calm("max_stream_errors")


def test_rfc9113_5_1_2_a_refused_stream_does_not_count_before_the_limit_is_acknowledged() -> None:
    peer = Peer(max_stream_errors=0, max_concurrent_streams=10)
    peer.machine.update_settings({h.MAX_CONCURRENT_STREAMS: 2})
    for _ in range(10):
        peer.open()
    assert [code for _, code in peer.resets()] == [ErrorCodes.REFUSED_STREAM] * 8
    peer.assert_alive()
    peer.receive(h.settings_ack())
    peer.open()
    peer.assert_calm("max_stream_errors")


def test_rfc9113_6_8_streams_above_our_goaway_do_not_count() -> None:
    peer = Peer(max_stream_errors=0, max_resets=0)
    peer.machine.goaway()
    for _ in range(10):
        peer.open()
    peer.assert_alive()


# Resets


def test_resets_less_completed_requests_are_counted_over_a_window() -> None:
    resets = Resets(2, 10)
    assert resets.count(100, 0) is resets.count(100, 1) is resets.count(101, 2) is None
    assert limit_of(resets.count(101, 9.9)) == "max_resets"
    resets = Resets(2, 10)
    assert resets.count(0, 0) is resets.count(0, 0) is resets.count(0, 10) is None


@pytest.mark.parametrize("client", [False, True])
def test_rapid_reset_cve_2023_44487(client: bool) -> None:
    peer = Peer(client=client, max_resets=5)
    for _ in range(5):
        peer.receive(h.rst_stream(peer.open()))
    peer.complete()
    peer.receive(h.rst_stream(peer.open()))
    peer.assert_alive()
    peer.receive(h.rst_stream(peer.open()))
    peer.assert_calm("max_resets")


def test_made_you_reset_cve_2025_8671_is_in_one_count_with_rapid_reset() -> None:
    peer = Peer(max_resets=5, max_stream_errors=100)
    for _ in range(3):
        peer.receive(h.rst_stream(peer.open()))
        credit_of_nothing(peer)
    peer.assert_calm("max_resets")


def test_resets_are_forgotten_after_the_window() -> None:
    peer = Peer(max_resets=5, reset_window=10)
    for _ in range(4):
        for _ in range(5):
            peer.receive(h.rst_stream(peer.open()))
        peer.clock.now += 10
    peer.assert_alive()


def test_a_third_of_requests_cancelled_for_good_is_fine() -> None:
    """The clock stands still, as if all came at once."""
    peer = Peer(max_resets=5)
    for _ in range(1_000):
        peer.complete()
        peer.complete()
        peer.receive(h.rst_stream(peer.open()))
    peer.assert_alive()


def test_rfc9113_8_1_a_reset_after_a_complete_response_does_not_count() -> None:
    server = Peer(max_resets=0, max_stream_errors=0)
    stream = h.live(server.machine, server.open(h.POST, end=False))
    h.respond(server.machine, stream, end=True)
    server.machine.reset_stream(stream, ErrorCodes.NO_ERROR)
    stream_id = server.open(h.POST, end=False)
    h.respond(server.machine, h.live(server.machine, stream_id), end=True)
    server.receive(h.rst_stream(stream_id))
    server.assert_alive()
    assert server.machine.table.completed == 2
    client = Peer(client=True, max_resets=0)
    stream_id = client.open(h.POST, end=False)
    client.receive(client.headers(stream_id, h.OK, end=True), h.rst_stream(stream_id, ErrorCodes.NO_ERROR))
    client.assert_alive()


@pytest.mark.parametrize("client", [False, True])
def test_resets_that_our_user_asked_for_do_not_count(client: bool) -> None:
    peer = Peer(client=client, max_resets=0)
    for _ in range(5):
        peer.machine.reset_stream(h.live(peer.machine, peer.open()), ErrorCodes.CANCEL)
    peer.assert_alive()


def test_a_busy_server_and_a_client_that_wants_no_pushes_may_say_so() -> None:
    client = Peer(client=True, max_resets=0)
    client.receive(h.rst_stream(client.open(), ErrorCodes.REFUSED_STREAM))
    client.assert_alive()
    server = Peer(max_resets=0)
    pushed = h.promise(server.machine, h.live(server.machine, server.open()))
    server.receive(h.rst_stream(pushed.stream_id))
    server.assert_alive()


def test_pushes_that_a_server_resets_count() -> None:
    peer = Peer(client=True, max_resets=5, enable_push=True)
    peer.open()
    for promised in range(2, 14, 2):
        assert peer.machine.failure is None
        peer.receive(peer.push_promise(1, promised), h.rst_stream(promised))
    peer.assert_calm("max_resets")


def test_rfc9113_8_4_promises_on_a_stream_that_we_reset_count_as_control_frames_only() -> None:
    peer = Peer(client=True, max_resets=0, max_stream_errors=0, max_control_frames=30, enable_push=True)
    peer.machine.reset_stream(h.live(peer.machine, peer.open()), ErrorCodes.CANCEL)
    for promised in range(2, 42, 2):
        peer.receive(peer.push_promise(1, promised))
    assert peer.machine.failure is None
    for promised in range(42, 100, 2):
        peer.receive(peer.push_promise(1, promised))
    peer.assert_calm("max_control_frames")


# Control frames


def test_control_frames_are_refunded_by_work_and_by_time() -> None:
    control = ControlFrames(60, now=100)
    control.spent = 70
    assert control.judge(10, 100) is None
    assert control.spent == 60
    control.spent += 5
    assert control.judge(10, 105) is None
    assert control.spent == 60
    control.spent += 1
    assert limit_of(control.judge(10, 105)) == "max_control_frames"


def test_what_an_idle_connection_earns_is_not_saved_up() -> None:
    control = ControlFrames(60, now=0)
    control.spent = 61
    assert control.judge(0, 1_000_000) is None
    assert control.spent == 0
    control.spent = 61
    assert limit_of(control.judge(0, 1_000_000)) == "max_control_frames"


FRAMES: dict[str, tuple[bool, bytes]] = {
    "PING": (False, h.ping()),
    "PING acknowledged for nothing": (False, h.ping(ack=True)),
    "SETTINGS": (True, h.settings()),
    "WINDOW_UPDATE": (False, h.window_update(0, 1)),
    "WINDOW_UPDATE on a stream": (False, h.window_update(1, 1)),
    "WINDOW_UPDATE on a closed stream": (True, h.window_update(3, 1)),
    "RST_STREAM on a closed stream": (False, h.rst_stream(3)),
    "DATA without content": (False, h.data(1)),
    "DATA of padding": (False, h.data(1, pad=0)),
    "DATA without content on a closed stream": (True, h.data(3)),
    "PRIORITY": (False, h.priority(1, 0)),
    "PRIORITY on an idle stream": (True, h.priority(2**31 - 1, 0)),
    "PRIORITY_UPDATE": (False, h.priority_update(1, b"u=1")),
    "GOAWAY": (False, h.goaway(0)),
    "ALTSVC to a server": (False, h.altsvc(0, b"a", b"b")),
    "ALTSVC to a client": (True, h.altsvc(0, b"a", b"b")),
    "ORIGIN to a server": (False, h.origin(b"a")),
    "ORIGIN to a client": (True, h.origin(b"a")),
    "ORIGIN with more than we look at": (True, h.origin(*[b""] * 101)),
    "unknown": (True, h.raw(0xAB, 0, 0)),
}


@pytest.mark.parametrize("name", FRAMES)
def test_rfc9113_10_5_control_frames_are_bounded(name: str) -> None:
    client, frame = FRAMES[name]
    peer = Peer(client=client, max_control_frames=100)
    peer.open(h.POST, end=False)
    peer.machine.reset_stream(h.live(peer.machine, peer.open()), ErrorCodes.CANCEL)
    for _ in range(100):
        peer.receive(frame)
    assert peer.machine.failure is None
    for _ in range(50):
        peer.receive(frame)
    peer.assert_calm("max_control_frames")


def test_rfc9113_6_7_answers_to_our_own_pings_do_not_count() -> None:
    peer = Peer(max_control_frames=1, max_stream_errors=0)
    for _ in range(100):
        peer.machine.ping(b"12345678")
        peer.receive(h.ping(ack=True))
    assert peer.machine.failure is None


def test_rfc9113_6_7_a_ping_every_few_seconds_is_fine_for_weeks() -> None:
    peer = Peer(max_control_frames=100)
    for _ in range(20_000):
        peer.clock.now += 1
        peer.receive(h.ping())
    peer.assert_alive()


@pytest.mark.parametrize("client", [False, True])
def test_messages_of_one_octet_with_credit_and_a_ping_for_each_are_fine_for_ever(client: bool) -> None:
    """As gRPC may send them, each way; and no time passes."""
    peer = Peer(client=client, max_control_frames=100)
    stream = h.live(peer.machine, peer.open(h.POST, end=False))
    if client:
        peer.receive(peer.headers(1, h.OK))
    else:
        h.respond(peer.machine, stream)
    for _ in range(5_000):
        peer.machine.send_data(stream, b"x")
        peer.receive(h.window_update(0, 1), h.window_update(1, 1), h.ping(), h.data(1, b"x"))
        peer.machine.acknowledge(stream, 1)
        peer.machine.take()
    peer.assert_alive()


def test_an_upload_of_one_octet_frames_with_a_ping_for_each_is_fine_for_ever() -> None:
    peer = Peer(max_control_frames=100)
    stream = h.live(peer.machine, peer.open(h.POST, end=False))
    for _ in range(1_000):
        peer.receive(h.data(1, b"x"), h.ping())
        peer.machine.acknowledge(stream, 1)
    peer.assert_alive()


def test_a_downloader_that_gives_credit_for_the_little_it_reads_is_fine() -> None:
    peer = Peer(max_control_frames=100)
    stream = h.live(peer.machine, peer.open())
    h.respond(peer.machine, stream)
    for _ in range(500):
        peer.machine.send_data(stream, bytes(16_384))
        peer.machine.take()
        for _ in range(32):
            peer.receive(h.window_update(0, 512), h.window_update(1, 512))
    peer.assert_alive()


def test_browsers_habits_are_fine_for_ever() -> None:
    """Firefox's PRIORITY frames and windows, Chromium's PRIORITY_UPDATEs, and a reset that comes too late."""
    peer = Peer(max_control_frames=100)
    peer.receive(h.window_update(0, 12_517_377), *(h.priority(stream_id, 0) for stream_id in range(101, 113, 2)))
    peer.last = 199
    for _ in range(1_000):
        peer.receive(h.priority_update(peer.last + 2, b"u=2"))
        stream_id = peer.open()
        peer.receive(h.window_update(stream_id, 2**20), h.priority_update(stream_id, b"u=1"), h.priority(stream_id, 0))
        h.respond(peer.machine, h.live(peer.machine, stream_id), end=True)
        peer.receive(h.rst_stream(stream_id), h.raw(0xAB, 0, stream_id))
    peer.assert_alive()


def test_a_peer_with_a_small_window_is_fine() -> None:
    peer = Peer(max_control_frames=100)
    peer.receive(h.settings((h.INITIAL_WINDOW_SIZE, 8)))
    stream = h.live(peer.machine, peer.open())
    h.respond(peer.machine, stream)
    for _ in range(1_000):
        peer.machine.send_data(stream, bytes(8))
        peer.machine.take()
        peer.receive(h.window_update(1, 8))
    peer.assert_alive()


@pytest.mark.parametrize("kind", ["credit", "settings"])
def test_data_dribble_cve_2019_9511(kind: str) -> None:
    """What tiny windows squeeze out of us is no work that pays for the frames that do it."""
    peer = Peer(max_control_frames=100)
    peer.receive(h.settings((h.INITIAL_WINDOW_SIZE, 0)))
    stream = h.live(peer.machine, peer.open())
    h.respond(peer.machine, stream)
    for number in range(1, 200):
        if kind == "credit":
            peer.receive(h.window_update(1, 1))
        else:
            peer.receive(h.settings((h.INITIAL_WINDOW_SIZE, number)))
        if peer.machine.failure is not None:
            break
        assert peer.machine.sendable(stream) == 1
        peer.machine.send_data(stream, b"x")
    peer.assert_calm("max_control_frames")


def test_rfc9113_6_9_2_settings_that_let_all_streams_dribble_count_for_each() -> None:
    peer = Peer(max_control_frames=1_000)
    peer.receive(h.settings((h.INITIAL_WINDOW_SIZE, 0)), h.window_update(0, 2**20))
    streams = [h.live(peer.machine, peer.open()) for _ in range(100)]
    for stream in streams:
        h.respond(peer.machine, stream)
    for number in range(1, 50):
        peer.receive(h.settings((h.INITIAL_WINDOW_SIZE, number)))
        if peer.machine.failure is not None:
            break
        for stream in streams:
            peer.machine.send_data(stream, b"x")
        peer.machine.take()
    peer.assert_calm("max_control_frames")


def test_a_reader_that_gives_little_credit_pays_for_its_own_frames_alone() -> None:
    peer = Peer(max_control_frames=1_000)
    peer.receive(h.settings((h.INITIAL_WINDOW_SIZE, 200)), h.window_update(0, 2**20))
    stream = h.live(peer.machine, peer.open())
    h.respond(peer.machine, stream)
    for _ in range(1_000):
        peer.machine.send_data(stream, bytes(200))
        peer.machine.take()
        peer.receive(h.window_update(1, 200))
    peer.assert_alive()


def test_skipped_stream_ids_are_no_work() -> None:
    peer = Peer(max_control_frames=20)
    peer.receive(peer.headers(2**31 - 1, h.GET, end=True))
    for _ in range(50):
        peer.receive(h.ping())
    peer.assert_calm("max_control_frames")


# Header sections that are held


def test_held_headers_are_counted_by_stream() -> None:
    held = HeldHeaders(100)
    assert held.hold(1, 50) is held.hold(3, 30) is held.hold(1, 20) is None
    assert limit_of(held.hold(5, 1)) == "max_held_headers"
    held.release(1)
    held.release(1)
    held.release(5)
    assert held.octets == 30
    held.release(3)
    assert held.octets == 0


def test_rfc9113_8_2_3_cookies_count_as_they_are_held_joined() -> None:
    peer = Peer()
    peer.open([*h.GET, *COOKIES])
    joined = b"; ".join(value for _, value in COOKIES)
    assert peer.machine.held_headers.octets == field_section_size([*h.GET, (b"cookie", joined)])


def test_a_hundred_requests_of_a_browser_with_180_cookie_crumbs_fit() -> None:
    peer = Peer()
    for _ in range(100):
        peer.open([*h.GET, (b"user-agent", b"x" * 150), (b"accept", b"y" * 100), *COOKIES])
    assert len(peer.machine.table) == 100
    assert peer.resets() == []


def test_rfc9113_10_5_1_a_cookie_that_is_joined_from_one_in_the_table_is_bounded() -> None:
    """And judged before it is joined; the requests that are refused are not the peer's stream errors."""
    peer = Peer(max_stream_errors=0)
    cookie = (b"cookie", b"c" * 3_900)
    events: list[ev.Event] = []
    for stream_id in range(1, 101 * 2, 2):
        events += peer.receive(peer.headers(stream_id, [*h.GET, *[cookie] * 15]))
    requests = h.of_type(events, ev.RequestReceived)
    assert len(requests) == 1024 * 1024 // (15 * 3_902)
    assert {code for _, code in peer.resets()} == {ErrorCodes.REFUSED_STREAM}
    assert peer.machine.limits_hit == {"max_held_headers": 100 - len(requests) + 1}
    peer.machine.held_headers.release(1)
    assert len(peer.receive(peer.headers(301, [*h.GET, *[cookie] * 15]))) == 1


def test_rfc6585_5_a_request_that_never_fits_is_answered_with_431() -> None:
    peer = Peer(max_held_headers=300)
    peer.open([*h.GET, (b"x", b"y" * 300)])
    (answer,) = peer.frames()
    assert peer.sent_fields(answer) == [(b":status", b"431")]
    assert peer.machine.held_headers.octets == 0


def test_a_request_that_fails_is_not_held() -> None:
    peer = Peer()
    peer.open([*h.POST, h.length(5)])
    assert peer.machine.held_headers.octets == 0


@pytest.mark.parametrize("what", ["interim", "response", "trailers", "trailers of a request"])
def test_rfc9113_10_5_1_any_other_section_that_cannot_be_held_is_a_stream_error(what: str) -> None:
    client = what != "trailers of a request"
    peer = Peer(client=client, max_held_headers=400, max_stream_errors=0)
    stream_id = peer.open(h.POST, end=False)
    large = (b"x", b"y" * 350)
    if what == "interim":
        peer.receive(peer.headers(stream_id, h.status(103, large)), peer.headers(stream_id, h.status(103, large)))
    elif what == "response":
        peer.receive(peer.headers(stream_id, h.status(103, large)), peer.headers(stream_id, h.OK))
    else:
        start = peer.headers(stream_id, h.OK) if client else b""
        peer.receive(start, peer.headers(stream_id, [large, large], end=True))
    assert peer.resets()[-1] == (stream_id, ErrorCodes.ENHANCE_YOUR_CALM)
    assert peer.machine.limits_hit == {"max_held_headers": 1}
    peer.assert_alive()
    peer.machine.held_headers.release(stream_id)
    assert peer.machine.held_headers.octets == 0


def test_rfc9113_8_4_a_promise_that_cannot_be_held_is_refused() -> None:
    peer = Peer(client=True, max_held_headers=300, max_stream_errors=0, enable_push=True)
    peer.open()
    peer.receive(peer.push_promise(1, 2), peer.push_promise(1, 4))
    assert peer.resets() == [(4, ErrorCodes.REFUSED_STREAM)]
    peer.assert_alive()
    peer.machine.held_headers.release(2)
    assert peer.machine.held_headers.octets == 0


# DATA on streams that we have reset


def reset_with_window(peer: Peer, fields: h.Fields = h.POST) -> int:
    """A stream that we reset while the peer may still send on it; a client's has begun its response."""
    stream_id = peer.open(fields, end=False)
    if peer.machine.client:
        peer.receive(peer.headers(stream_id, h.OK))
    peer.machine.reset_stream(h.live(peer.machine, stream_id), ErrorCodes.CANCEL)
    return stream_id


def send(peer: Peer, stream_id: int, count: int) -> None:
    """That many octets, in frames of the usual size, and the credit that goes back."""
    while count > 0:
        peer.receive(h.data(stream_id, bytes(min(count, 16_384))))
        count -= 16_384
        peer.machine.take()


def assert_ignores_windows(peer: Peer, stream_id: int) -> None:
    """One more octet is too much."""
    peer.assert_alive()
    peer.receive(h.data(stream_id, b"x"))
    peer.assert_connection_error(ErrorCodes.FLOW_CONTROL_ERROR, FlowControlError)


@pytest.mark.parametrize("client", [False, True])
def test_rfc9113_5_4_2_a_window_that_was_in_flight_may_come_after_our_reset_and_no_more(client: bool) -> None:
    peer = Peer(client=client, initial_window_size=100_000)
    first, second = reset_with_window(peer), reset_with_window(peer)
    send(peer, first, 100_000)
    send(peer, second, 100_000)
    assert h.balanced(peer.machine)
    assert_ignores_windows(peer, first)


def test_rfc9113_6_9_what_came_before_our_reset_is_off_its_window() -> None:
    peer = Peer(initial_window_size=100_000)
    stream_id = peer.open(h.POST, end=False)
    send(peer, stream_id, 60_000)
    peer.machine.reset_stream(h.live(peer.machine, stream_id), ErrorCodes.NO_ERROR)
    peer.machine.release_connection(60_000)
    send(peer, stream_id, 40_000)
    assert_ignores_windows(peer, stream_id)


def test_rfc9113_8_1_data_after_an_early_answer_may_fill_the_window() -> None:
    peer = Peer(initial_window_size=100_000)
    stream_id = peer.open(h.POST, end=False)
    stream = h.live(peer.machine, stream_id)
    h.respond(peer.machine, stream, end=True)
    peer.machine.reset_stream(stream, ErrorCodes.NO_ERROR)
    send(peer, stream_id, 100_000)
    assert_ignores_windows(peer, stream_id)


def test_rfc9113_6_9_2_a_window_that_we_raised_before_the_reset_may_be_in_flight() -> None:
    """The peer reads our SETTINGS before the reset that follows them, and acknowledges them after it has sent."""
    peer = Peer(initial_window_size=100_000)
    stream_id = peer.open(h.POST, end=False)
    peer.machine.update_settings({h.INITIAL_WINDOW_SIZE: 150_000})
    peer.machine.reset_stream(h.live(peer.machine, stream_id), ErrorCodes.CANCEL)
    send(peer, stream_id, 150_000)
    assert_ignores_windows(peer, stream_id)


def test_rfc9113_6_9_2_a_window_that_we_lowered_may_be_in_flight_as_it_was() -> None:
    peer = Peer(initial_window_size=100_000, max_concurrent_streams=1)
    stream_id = peer.open(h.POST, end=False)
    peer.machine.update_settings({h.INITIAL_WINDOW_SIZE: 1_000})
    refused = peer.open(h.POST, end=False)
    peer.machine.reset_stream(h.live(peer.machine, stream_id), ErrorCodes.CANCEL)
    peer.receive(h.settings_ack())
    send(peer, stream_id, 100_000)
    send(peer, refused, 100_000)
    assert_ignores_windows(peer, refused)


def test_rfc9113_6_9_a_grown_window_may_be_in_flight() -> None:
    peer = Peer(initial_window_size=100_000)
    stream_id = peer.open(h.POST, end=False)
    stream = h.live(peer.machine, stream_id)
    peer.machine.grow_window(stream, 50_000)
    peer.machine.reset_stream(stream, ErrorCodes.CANCEL)
    send(peer, stream_id, 150_000)
    assert_ignores_windows(peer, stream_id)


def test_rfc9113_6_9_several_grown_windows_may_be_in_flight_where_initial_ones_are_small() -> None:
    peer = Peer(initial_window_size=100, max_unread=400_000)
    streams = [h.live(peer.machine, peer.open(h.POST, end=False)) for _ in range(2)]
    for stream in streams:
        peer.machine.grow_window(stream, 200_000)
        peer.machine.reset_stream(stream, ErrorCodes.CANCEL)
    send(peer, streams[0].stream_id, 200_100)
    send(peer, streams[1].stream_id, 200_100)
    assert_ignores_windows(peer, streams[1].stream_id)


@pytest.mark.parametrize("what", ["refused", "431", "above our GOAWAY", "malformed"])
def test_rfc9113_5_4_2_a_request_that_we_turned_away_may_have_its_first_window_in_flight(what: str) -> None:
    peer = Peer(initial_window_size=100_000, max_concurrent_streams=1, max_header_list_size=300)
    if what == "refused":
        peer.open()
    elif what == "above our GOAWAY":
        peer.machine.goaway()
    extra = {"431": [(b"x", b"y" * 300)], "malformed": [(b"X", b"")]}.get(what, [])
    stream_id = peer.open([*h.POST, *extra], end=False)
    send(peer, stream_id, 100_000)
    assert_ignores_windows(peer, stream_id)


def test_rfc9113_8_4_a_promise_that_we_refused_may_have_its_first_window_in_flight() -> None:
    peer = Peer(client=True, initial_window_size=100_000, enable_push=True)
    peer.machine.reset_stream(h.live(peer.machine, peer.open()), ErrorCodes.CANCEL)
    peer.machine.late_data.allowance = 0
    peer.receive(peer.push_promise(1, 2), peer.headers(2, h.OK))
    send(peer, 2, 100_000)
    assert_ignores_windows(peer, 2)


def test_rfc9113_6_8_a_request_that_the_peer_gave_up_may_have_its_window_in_flight() -> None:
    peer = Peer(client=True, initial_window_size=100_000)
    stream_id = peer.open()
    peer.receive(peer.headers(stream_id, h.OK), h.goaway(0))
    assert len(peer.machine.abandon_streams(0)) == 1
    send(peer, stream_id, 100_000)
    assert_ignores_windows(peer, stream_id)


def test_data_in_small_pieces_after_a_reset_is_no_control_frame() -> None:
    peer = Peer(max_control_frames=100)
    stream_id = reset_with_window(peer)
    for _ in range(5_000):
        peer.receive(h.data(stream_id, b"x"))
    peer.assert_alive()


def test_what_may_come_after_resets_does_not_add_up_for_ever() -> None:
    peer = Peer(initial_window_size=1_000, max_unread=50_000)
    for _ in range(2_000):
        reset_with_window(peer)
    assert peer.machine.late_data.allowance == 1_000 * 1_000 + 50_000


# What all limits have in common


def test_each_limit_that_was_passed_is_counted_by_its_name() -> None:
    peer = Peer(client=True, max_interim_responses=1, max_header_list_size=300, max_header_fields=5)
    for fields in ([(b":status", b"103")], [*h.OK, (b"x", b"y" * 300)], [*h.OK, *[(b"x", b"")] * 5]):
        stream_id = peer.open()
        peer.receive(peer.headers(stream_id, fields), peer.headers(stream_id, fields))
    counted = {"max_interim_responses": 1, "max_header_list_size": 1, "max_header_fields": 1}
    assert peer.machine.limits_hit == counted
    server = Peer(max_header_block_size=10)
    server.open()
    server.assert_calm("max_header_block_size")
    server = Peer(max_continuations=0)
    server.receive(h.raw(h.HEADERS, 0, 1), h.raw(h.CONTINUATION, 0, 1))
    server.assert_calm("max_continuations")
