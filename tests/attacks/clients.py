"""Hostile servers: what a client is sent in answer to its first requests, which are on the streams 1, 3 and so on."""

from __future__ import annotations

import random

from tests.attacks import wire
from tests.attacks.headers import TIMES, lists
from tests.attacks.model import attack, flood, unknown_frames_to_a_client
from tests.attacks.peer import Door

OK = wire.headers(1, wire.response(), end=False)
PUSHING = {"enable_push": True}


@attack(5_000, listed=False, way="get")
def small_responses(door: Door, count: int) -> None:
    """Small responses, one frame each."""
    peer = door.connect()
    for number in range(min(count, 1_000)):
        if not peer.wait(lambda wanted=number: len(peer.requests) > wanted):
            break
        peer.send(wire.headers(peer.requests[number], wire.response()))
    peer.settle()
    door.hold()


@attack(10_000, run=flood(), way="get", like=small_responses)
def interim_flood(count: int) -> bytes:
    """1xx responses without end."""
    return wire.headers(1, wire.response(b"103"), end=False) * count


@attack(1_000, run=flood(), way="hold")
def interim_cookies(count: int) -> bytes:
    """1xx responses on a hundred streams, each of a cookie of 4 KiB fifteen times over."""
    return joined_cookies(wire.response(b"103"), count, end=False)


@attack(100, crowd=100, run=flood(), way="hold")
def response_cookies(count: int) -> bytes:
    """Responses on a hundred streams, each of a cookie of 4 KiB fifteen times over."""
    return joined_cookies(wire.response(), count, end=False)


def joined_cookies(block: bytes, count: int, *, end: bool) -> bytes:
    field = wire.literal(b"cookie", lists(b"c", b"cookie"), indexed=True)
    first = wire.headers(1, wire.response(b"103", field), end=False)
    blocks = [block + wire.reference(62) * TIMES + numbered(number) for number in range(count)]
    return first + b"".join(wire.headers(2 * (n % 100) + 1, block, end=end) for n, block in enumerate(blocks))


def numbered(number: int) -> bytes:
    """A field that makes a block like no other, so that none is remembered."""
    return wire.literal(b"n", b"%d" % number)


def answers(block: bytes, field: bytes, count: int, door: Door) -> None:
    """The field goes into the table once; each response refers to it again and again."""
    peer = door.connect()
    peer.send(wire.headers(1, wire.response(b"103", field), end=False))
    for number in range(count):
        if not peer.wait(lambda wanted=number: len(peer.requests) > wanted, 10):
            break
        peer.send(wire.headers(peer.requests[number], block + numbered(number)))
    peer.settle()
    door.hold()


REFERRING = wire.response(b"200", wire.reference(62) * TIMES)


@attack(300, listed=False, way="get")
def responses_with_an_ordinary_field(door: Door, count: int) -> None:
    """Fifteen references to a field that means nothing."""
    answers(REFERRING, wire.literal(b"x-padding", lists(b"0,", b"x-padding"), indexed=True), count, door)


@attack(300, crowd=300, run=flood(), way="hold")
def response_content_length_list(count: int) -> bytes:
    """HPACK bomb: responses of fifteen references to a content-length of 4 KiB, on a hundred streams."""
    field = wire.literal(b"content-length", lists(b"0,", b"content-length"), indexed=True)
    first = wire.headers(1, wire.response(b"103", field), end=False)
    blocks = [REFERRING + numbered(number) for number in range(count)]
    return first + b"".join(wire.headers(2 * (n % 100) + 1, block, end=False) for n, block in enumerate(blocks))


@attack(300, way="get", like=responses_with_an_ordinary_field)
def response_priority_list(door: Door, count: int) -> None:
    """HPACK bomb: responses of fifteen references to a priority of 4 KiB."""
    answers(REFERRING, wire.literal(b"priority", lists(b"u,", b"priority"), indexed=True), count, door)


@attack(5_000, run=flood(), way="get")
def trailers_flood(count: int) -> bytes:
    """Trailers, and then more of them."""
    return OK + wire.headers(1, wire.literal(b"x", b"y" * 1000)) * count


@attack(100, run=flood(), way="get")
def trailers_that_end_nothing(count: int) -> bytes:
    """A second header section that does not end the stream."""
    return OK + wire.headers(1, wire.literal(b"x", b"y"), end=False) * count


@attack(2_000, run=flood(), way="hold", config=PUSHING)
def push_flood(count: int) -> bytes:
    """Pushes that nobody takes."""
    return OK + b"".join(wire.push_promise(1, 2 * number + 2, wire.request()) for number in range(count))


@attack(2_000, run=flood(), way="hold", config=PUSHING)
def pushed_responses(count: int) -> bytes:
    """Pushes with their responses, of which nobody takes any."""
    pushes = []
    for promised in range(2, 2 * count + 2, 2):
        pushes.append(wire.push_promise(1, promised, wire.request()))
        pushes.append(wire.headers(promised, wire.response(), end=False) + wire.data(promised, bytes(1000), end=True))
    return OK + b"".join(pushes)


@attack(500, run=flood(), way="hold", config=PUSHING)
def push_cookies(count: int) -> bytes:
    """PUSH_PROMISE of a cookie of 4 KiB fifteen times over."""
    field = wire.literal(b"cookie", lists(b"c", b"cookie"), indexed=True)
    block = wire.request(b"/", wire.reference(62) * TIMES)
    promises = b"".join(wire.push_promise(1, 2 * number + 2, block) for number in range(count))
    return wire.headers(1, wire.response(b"200", field), end=False) + promises


@attack(2_000, run=flood(), way="hold", config=PUSHING)
def push_resets(count: int) -> bytes:
    """Pushes that are taken back at once."""
    return OK + b"".join(
        wire.push_promise(1, one, wire.request()) + wire.rst(one) for one in range(2, 2 * count + 2, 2)
    )


@attack(1, run=flood(), way="hold")
def push_to_a_client_that_takes_none(count: int) -> bytes:
    """A push, and push is off."""
    return OK + wire.push_promise(1, 2, wire.request())


@attack(20_000, run=flood(), way="hold", like=unknown_frames_to_a_client)
def client_goaway_flood(count: int) -> bytes:
    """GOAWAY again and again."""
    return wire.goaway(2**31 - 1) * count


@attack(20_000, run=flood(), way="hold", like=unknown_frames_to_a_client)
def client_ping_flood(count: int) -> bytes:
    """Ping Flood (CVE-2019-9512), of a client."""
    return wire.ping() * count


@attack(20_000, run=flood(), way="hold", like=unknown_frames_to_a_client)
def client_settings_flood(count: int) -> bytes:
    """Settings Flood (CVE-2019-9515), of a client."""
    return wire.settings() * count


@attack(20_000, run=flood(window=65_535), way="hold", like=unknown_frames_to_a_client)
def client_window_update_flood(count: int) -> bytes:
    """WINDOW_UPDATE of 1 on the connection, of a client."""
    return wire.window_update(0, 1) * count


@attack(20_000, run=flood(), way="hold", like=unknown_frames_to_a_client)
def client_empty_data_flood(count: int) -> bytes:
    """Empty Frames Flood (CVE-2019-9518), of a client."""
    return OK + wire.data(1) * count


@attack(200, run=flood(), way="hold")
def client_origin_flood(count: int) -> bytes:
    """ORIGIN with 4,000 origins of two octets, while nobody reads `events()`."""
    return wire.origin(*[b"ab"] * 4000) * count


@attack(5_000, run=flood(), way="hold", like=unknown_frames_to_a_client)
def client_altsvc_flood(count: int) -> bytes:
    """ALTSVC, while nobody reads `events()`."""
    return wire.altsvc(b"http://a", b"h2=:1") * count


@attack(1_000, run=flood(seconds=0.5), way="leave")
def data_beyond_windows_after_a_reset(count: int) -> bytes:
    """DATA for a stream that the client has left, whatever its windows are."""
    return OK + wire.data(1, bytes(16_384)) * count


@attack(1_000, run=flood(seconds=0.5), way="hold")
def data_beyond_windows(count: int) -> bytes:
    """DATA that nobody reads, whatever the windows are."""
    return OK + wire.data(1, bytes(16_384)) * count


@attack(1_000, way="leave")
def data_for_ever_after_a_reset(door: Door, count: int) -> None:
    """DATA within the connection's window for a stream that the client has left, for as long as it takes that."""
    peer = door.connect()
    peer.send(OK)
    peer.wait(lambda: bool(peer.resets), 5)
    for _ in range(count):
        if not peer.send(wire.data(1, bytes(16_384)) * 4, limit=5):
            break
        peer.wait(lambda: False, 0)
    peer.settle(5)
    door.hold()


@attack(50, way="get")
def client_garbage(door: Door, count: int) -> None:
    """Octets that mean nothing, in place of the first SETTINGS, after them, or in answer to a request."""
    kind = random.Random(door.number)
    rest = kind.randbytes(1_000 * count)
    if door.number % 2:
        peer = door.bare()
        peer.send(rest)
    else:
        peer = door.connect()
        peer.send(OK + rest)
    peer.wait(lambda: False, 0.5)
    door.hold()


@attack(1, way="get")
def answer_in_http1(door: Door, count: int) -> None:
    """A server that speaks HTTP/1.1."""
    peer = door.bare()
    peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 100_000 * count)
    peer.wait(lambda: False, 0.5)
    door.hold()


@attack(200, run=flood(), way="hold")
def response_bomb(count: int) -> bytes:
    """HPACK bomb: responses of 16 KiB whose every octet refers to a field of 4 KiB."""
    field = wire.literal(b"x-padding", lists(b"0", b"x-padding"), indexed=True)
    first = wire.headers(1, wire.response(b"103", field), end=False)
    block = wire.response(b"200", wire.reference(62) * 16_000)
    return first + b"".join(wire.headers(2 * (n % 100) + 1, block) for n in range(count))


@attack(5_000, way="get")
def resets_of_a_client(door: Door, count: int) -> None:
    """Rapid Reset the other way: every request is refused at once."""
    peer = door.connect()
    for number in range(min(count, 500)):
        if not peer.wait(lambda wanted=number: len(peer.requests) > wanted, 1):
            break
        peer.send(wire.rst(peer.requests[number], 7))
    peer.settle(5)
    door.hold()


@attack(2_000, way="get")
def client_continuation_flood(door: Door, count: int) -> None:
    """CONTINUATION Flood (2024), of a client."""
    peer = door.connect()
    head = wire.frame(wire.HEADERS, 0, 1, wire.response())
    peer.send(head + wire.frame(wire.CONTINUATION, 0, 1, wire.literal(b"x", b"y")) * count)
    peer.wait(lambda: peer.goaway is not None, 5)
    door.hold()
