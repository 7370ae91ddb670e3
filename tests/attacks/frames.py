"""Floods of frames that cost their sender nothing: control frames, empty frames, frames of the wrong kind."""

from __future__ import annotations

import random

from tests.attacks import wire
from tests.attacks.model import attack, flood, pings, small_requests, unknown_frames
from tests.attacks.peer import Door


@attack(20_000, run=flood(), like=unknown_frames)
def ping_flood(count: int) -> bytes:
    """Ping Flood (CVE-2019-9512)."""
    return wire.ping() * count


@attack(20_000, run=flood(), like=unknown_frames)
def ping_answers_nobody_asked_for(count: int) -> bytes:
    """PING acknowledgements without a PING."""
    return wire.ping(flags=wire.ACK) * count


@attack(20_000, run=flood(), like=pings)
def settings_flood(count: int) -> bytes:
    """Settings Flood (CVE-2019-9515)."""
    return wire.settings() * count


@attack(200, run=flood(), listed=False)
def settings_of_one_entry(count: int) -> bytes:
    """As many entries in frames of their own."""
    return wire.settings((0xFACE, 1)) * (count * 2730)


@attack(200, run=flood(), like=settings_of_one_entry, per="octet")
def settings_of_many_entries(count: int) -> bytes:
    """SETTINGS of 2,730 entries."""
    return wire.settings(*(((0xFACE, 1), (wire.INITIAL_WINDOW_SIZE, 70_000)) * 1365)) * count


@attack(200, run=flood())
def settings_of_unknown_names(count: int) -> bytes:
    """SETTINGS with every identifier there is, for the victim to remember."""
    entries = [(code, code) for code in range(0x100, 0x10000)]
    frames = [wire.settings(*entries[at : at + 2730]) for at in range(0, len(entries), 2730)]
    return b"".join(frames[index % len(frames)] for index in range(count))


@attack(20_000, run=flood((wire.INITIAL_WINDOW_SIZE, 0)), like=pings)
def initial_window_toggles(count: int) -> bytes:
    """SETTINGS that change the initial window under a hundred large responses."""
    opened = b"".join(wire.headers(stream_id, wire.request(b"/large")) for stream_id in wire.streams(100))
    up, down = wire.settings((wire.INITIAL_WINDOW_SIZE, 1)), wire.settings((wire.INITIAL_WINDOW_SIZE, 0))
    return opened + (up + down) * (count // 2)


@attack(20_000, run=flood(), like=pings)
def table_size_toggles(count: int) -> bytes:
    """SETTINGS that change the size of HPACK's table to and fro."""
    return (wire.settings((wire.HEADER_TABLE_SIZE, 0)) + wire.settings((wire.HEADER_TABLE_SIZE, 4096))) * (count // 2)


@attack(20_000, run=flood(), listed=False)
def data_of_one_octet(count: int) -> bytes:
    """DATA of one octet each."""
    return wire.headers(1, wire.request(), end=False) + wire.data(1, b"x") * count


@attack(20_000, run=flood(), like=data_of_one_octet)
def empty_data_flood(count: int) -> bytes:
    """Empty Frames Flood (CVE-2019-9518): DATA."""
    return wire.headers(1, wire.request(), end=False) + wire.data(1) * count


@attack(20_000, run=flood(), like=data_of_one_octet)
def padding_flood(count: int) -> bytes:
    """DATA of nothing but padding."""
    padded = wire.frame(wire.DATA, 0x08, 1, b"\x03\0\0\0")
    return wire.headers(1, wire.request(), end=False) + padded * count


@attack(10_000, run=flood(), like=small_requests)
def empty_headers_flood(count: int) -> bytes:
    """Empty Frames Flood (CVE-2019-9518): HEADERS with an empty block, each an error of its stream."""
    return b"".join(wire.headers(stream_id, b"") for stream_id in wire.streams(count))


@attack(20_000, run=flood(window=65_535), like=pings)
def window_update_flood(count: int) -> bytes:
    """WINDOW_UPDATE of 1 on the connection."""
    return wire.window_update(0, 1) * count


@attack(20_000, run=flood(window=65_535), like=pings)
def window_update_flood_beside_streams(count: int) -> bytes:
    """WINDOW_UPDATE of 1 on the connection while a hundred responses wait for it."""
    opened = b"".join(wire.headers(stream_id, wire.request(b"/large")) for stream_id in wire.streams(100))
    return opened + wire.window_update(0, 1) * count


@attack(20_000, run=flood((wire.INITIAL_WINDOW_SIZE, 0)), like=pings)
def data_dribble(count: int) -> bytes:
    """Data Dribble (CVE-2019-9511): a hundred large responses by one octet of window at a time."""
    ids = list(wire.streams(100))
    opened = b"".join(wire.headers(stream_id, wire.request(b"/large")) for stream_id in ids)
    return opened + b"".join(wire.window_update(stream_id, 1) for stream_id in ids) * (count // 100)


@attack(20_000, run=flood(), like=pings)
def resource_loop(count: int) -> bytes:
    """Resource Loop (CVE-2019-9513): PRIORITY that reorders a hundred streams without end."""
    ids = list(wire.streams(100))
    opened = b"".join(wire.headers(stream_id, wire.request(b"/hang")) for stream_id in ids)
    return opened + b"".join(wire.priority(one, ids[index - 1]) for index, one in enumerate(ids)) * (count // 100)


@attack(20_000, run=flood(), like=pings)
def priority_flood_on_idle_streams(count: int) -> bytes:
    """PRIORITY for streams that there are not."""
    return b"".join(wire.priority(stream_id, 0) for stream_id in wire.streams(count))


@attack(500, run=flood(), listed=False)
def small_priority_updates(count: int) -> bytes:
    """PRIORITY_UPDATE of a few octets."""
    return wire.headers(1, wire.request(b"/hang")) + wire.priority_update(1, b"u=1, i") * count


@attack(500, run=flood(), like=small_priority_updates)
def large_priority_updates(count: int) -> bytes:
    """PRIORITY_UPDATE whose value is a list of 16 KiB."""
    value = (b"u," * 8190)[:16_380]
    return wire.headers(1, wire.request(b"/hang")) + wire.priority_update(1, value) * count


@attack(100, crowd=100, run=flood())
def early_priority_updates(count: int) -> bytes:
    """PRIORITY_UPDATE of 16 KiB for streams to come, as many as may come."""
    value = b"u=1, x=" + b"1" * 16_000
    return b"".join(wire.priority_update(stream_id, value) for stream_id in wire.streams(min(count, 100)))


@attack(20_000, run=flood())
def unknown_frame_flood(count: int) -> bytes:
    """Empty frames of an unknown type."""
    return wire.frame(wire.UNKNOWN, 0, 0) * count


@attack(20_000, run=flood(), like=pings)
def reset_flood_on_closed_streams(count: int) -> bytes:
    """RST_STREAM on a stream that has ended."""
    return wire.headers(1, wire.request()) + wire.rst(1) * count


@attack(20_000, run=flood(), like=unknown_frames)
def goaway_flood(count: int) -> bytes:
    """GOAWAY again and again."""
    return wire.goaway(0) * count


@attack(100, run=flood())
def goaway_with_large_debug_data(count: int) -> bytes:
    """GOAWAY with 16 KiB of debug data."""
    return wire.goaway(0, 0, b"\x1b" * 16_000) * count


@attack(200, run=flood())
def origin_flood(count: int) -> bytes:
    """ORIGIN with 4,000 origins of two octets, while nobody reads `events()`."""
    return wire.origin(*[b"ab"] * 4000) * count


@attack(20_000, run=flood(), like=unknown_frames)
def altsvc_flood(count: int) -> bytes:
    """ALTSVC, which clients do not send."""
    return wire.altsvc(b"http://a", b"h2=:1") * count


@attack(1, run=flood())
def push_promise_to_a_server(count: int) -> bytes:
    """PUSH_PROMISE, which clients do not send."""
    return wire.push_promise(1, 2, wire.request()) * count


@attack(1, run=flood())
def settings_acknowledgement_nobody_asked_for(count: int) -> bytes:
    """SETTINGS acknowledgements without SETTINGS."""
    return wire.settings_ack() * 100 * count


@attack(20, run=flood())
def frame_too_large(count: int) -> bytes:
    """A frame whose length is the largest that can be written."""
    return wire.frame(wire.DATA, 0, 1, bytes(16_000), length=2**24 - 1) * count


@attack(100)
def garbage(door: Door, count: int) -> None:
    """Octets that mean nothing, after the preface and in place of it."""
    for number in range(count):
        rest = random.Random(number).randbytes(8_000)
        peer = door.bare()
        peer.send(rest if number % 3 == 0 else wire.PREFACE + (rest if number % 3 == 1 else wire.settings() + rest))
        peer.wait(lambda: False, 0.02)
        peer.close(reset=number % 2 == 0)
    door.hold()
