"""`Config`: every window, limit and timeout of a connection, one knob each."""

from __future__ import annotations

import math
from collections.abc import Callable

import attrs

from .protocol.settings import MAX_FRAME_SIZE, MIN_FRAME_SIZE
from .protocol.windows import MAX_WINDOW
from .wording import number

__all__ = ["Config"]


def _whole(low: int, high: int) -> Callable[[object, attrs.Attribute[int], int], None]:
    def check(instance: object, attribute: attrs.Attribute[int], value: int) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"Config.{attribute.name} must be an int, not {type(value).__name__}")
        if not low <= value <= high:
            raise ValueError(f"Config.{attribute.name} must be from {low} to {high}, not {number(value)}")

    return check


def _seconds(instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"Config.{attribute.name} must be a number of seconds, not {type(value).__name__}")
    if math.isnan(value) or value <= 0:
        raise ValueError(f"Config.{attribute.name} must be more than 0 seconds, not {number(value)}")


def _rate(instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"Config.{attribute.name} must be a number of octets a second, not {type(value).__name__}")
    if not 0 <= value < math.inf:
        raise ValueError(f"Config.{attribute.name} must be 0 or more octets a second, and finite, not {number(value)}")


def _flag(instance: object, attribute: attrs.Attribute[bool], value: bool) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"Config.{attribute.name} must be True or False, not {value!r}")


@attrs.frozen(kw_only=True)
class Config:
    """How a connection behaves, on either side. Frozen: `attrs.evolve(config, ...)` makes a changed copy.

    Raises ValueError or TypeError, naming the knob, for a value that makes no sense.

    What we tell the peer (RFC 9113 section 6.5.2):

    Attributes:
        max_concurrent_streams: streams the peer may have open at once, and handlers that run at once. 100, the
            least that section 5.1.2 recommends.
        initial_window_size: octets of one stream's body the peer may send before the application takes some.
            256 KiB: forty megabits a second over 50 ms, and a hundred unread streams stay under `max_unread`. At
            least 1: a window of 0 grows by no reading, so nothing with a body would ever come.
        connection_window_size: octets in flight on the whole connection. 1 MiB (section 6.9.2 only has 65,535).
        max_window_size: octets to which a window of either kind grows when a round trip is found, by PINGs while
            much is received, to carry more than it has. 16 MiB: 2.5 gigabits a second over 50 ms. What all streams
            grow by has to fit into `max_unread` beside `max_concurrent_streams` windows of the initial size: by
            default 7 MiB. At or below the initial sizes nothing grows, and nothing is measured.
        max_frame_size: the largest frame payload we accept, in octets. 16,384, the minimum (section 4.2).
        max_header_list_size: the largest decoded field section we accept, as section 6.5.2 counts it: octets and
            32 for each field. 64 KiB; above it a request is answered with 431, anything else is a stream error.
        header_table_size: octets of HPACK's dynamic table for what we receive. 4,096 (RFC 7541 section 4.2).
        enable_push: clients only: whether the server may push (section 8.4). False.
        enable_connect_protocol: servers only: whether clients may use extended CONNECT (RFC 8441). True.

    What a peer may cost:

        max_unread: octets the connection holds unread, over all its streams, before it keeps back connection
            credit. 32 MiB: every stream of the default limit can be full without stalling another.
        max_header_fields: fields in one field section. 256.
        max_header_block_size: octets of one compressed field block; above it the connection ends with
            ENHANCE_YOUR_CALM, because a block that is not decoded breaks HPACK (section 4.3). 80 KiB: a block is hardly
            larger than the section in it, so all that fit into `max_header_list_size` do, and some that hear 431.
        max_continuations: CONTINUATION frames in one field block. 16.
        max_remembered_blocks: octets a connection may take to remember field blocks that came, well-formed, with all
            that decoding and reading them made: a block that comes again is not decoded again. 16 KiB, some ten of a
            browser's requests; 0 remembers none.
        max_interim_responses: 1xx responses before the final one, each of which is kept for the user. 100; above it
            the stream ends with ENHANCE_YOUR_CALM.
        max_interim_octets: octets of all of them together, counted as for `max_header_list_size`. 64 KiB; above it
            the same.
        max_stream_errors: stream errors that the peer causes, more than requests that were completed: malformed
            requests, answers with 431, streams above the limit that it has acknowledged. 500; above it the connection
            ends with ENHANCE_YOUR_CALM.
        max_resets: streams that were reset before their response was complete, by the peer or for what it did, more
            than were completed in `reset_window`. 5,000, which no client reaches that cancels now and then: rapid
            resets (CVE-2023-44487, CVE-2025-8671) make 10,000 a second. Above it the same.
        reset_window: seconds over which they are counted. 10.
        max_control_frames: frames that ask for work and bring none, beyond those that go with the streams and the DATA
            of the connection: PING, SETTINGS, WINDOW_UPDATE, PRIORITY, empty DATA, what is unknown or comes too late.
            10,000, and all of them again within a minute; above it the same.
        max_held_headers: octets of header sections held for the application over all streams of the connection, counted
            as for `max_header_list_size` with cookies joined. 1 MiB: 100 requests of browsers. Beyond it a request or
            a push is refused (431 if it is too large even alone), and a response ends with ENHANCE_YOUR_CALM.
        max_closed_streams: how many closed streams are remembered, to judge late frames on them: 1,000 that ended,
            and as many that were reset.
        max_queued_replies: acknowledgements and resets that wait to be written before reading stops for them.
            1,000.
        max_queued_events: events that wait for `connection.events()`, and pushes for `pushes()`. 1,000; what
            comes beyond is dropped and counted, a push is refused.
        max_event_octets: octets of the events that wait for `connection.events()`, with about what their objects take;
            what comes beyond is dropped and counted. 256 KiB.

    Writing:

        write_buffer_size: octets that are cut into frames ahead of the transport. 256 KiB: one write's worth.
        max_outbound_frame_size: the largest DATA payload we send even if the peer takes more, in octets. 64 KiB:
            larger frames delay the others.

    Timeouts, in seconds; `math.inf` switches one off:

        handshake_timeout: how long a client may take for TLS, and then either peer for its first SETTINGS. 30.
        settings_timeout: until our SETTINGS are acknowledged (section 6.5.3). 30.
        write_timeout: how long our queued replies may wait for a peer that does not read. 30.
        keepalive_interval: silence from the peer after which it is sent a PING (section 8.7). Off.
        keepalive_timeout: how long that PING may stay unanswered before the connection is given up. 20.
        idle_timeout: servers only: no stream open for this long ends the connection, gracefully. 300: clients that
            come back sooner save a handshake, and those that are gone do not stay.
        stall_timeout: servers only: how long a response may wait without one octet of credit for its window, the
            stream's or the connection's, before the stream is reset with CANCEL. 300.
        close_timeout: the bound of what a close waits for: first open streams, then the last writes and the peer's
            answer. 5 each.
        linger_timeout: how long a tunnel we closed waits for the peer to end its half. 5.
        continue_timeout: how long `request()` waits for a 100 before it sends its body anyway (RFC 9110 section
            10.1.1). 1.
        goaway_delay: how long a graceful shutdown waits for the round trip between its two GOAWAYs
            (section 6.8). 1.

    Rates, in octets a second; 0 switches one off:

        min_send_rate: what the peer's end of the transport has to take. A write that lasts 60 seconds longer than its
            octets last at this rate ends the connection: nothing else bounds how long a peer that does not read
            holds what is written for it. 1,024: a write is up to `write_buffer_size`.
        min_body_rate: servers only: what has to come of a request's body that the handler waits for, over 60 seconds;
            below it the stream is reset with CANCEL. Off: chats and gRPC streams are silent for hours.
    """

    max_concurrent_streams: int = attrs.field(default=100, validator=_whole(0, 2**32 - 1))
    initial_window_size: int = attrs.field(default=256 * 1024, validator=_whole(1, MAX_WINDOW))
    connection_window_size: int = attrs.field(default=1024 * 1024, validator=_whole(65_535, MAX_WINDOW))
    max_window_size: int = attrs.field(default=16 * 1024 * 1024, validator=_whole(0, MAX_WINDOW))
    max_frame_size: int = attrs.field(default=MIN_FRAME_SIZE, validator=_whole(MIN_FRAME_SIZE, MAX_FRAME_SIZE))
    max_header_list_size: int = attrs.field(default=64 * 1024, validator=_whole(1, 2**32 - 1))
    header_table_size: int = attrs.field(default=4096, validator=_whole(0, 2**32 - 1))
    enable_push: bool = attrs.field(default=False, validator=_flag)
    enable_connect_protocol: bool = attrs.field(default=True, validator=_flag)

    max_unread: int = attrs.field(default=32 * 1024 * 1024, validator=_whole(0, 2**62))
    max_header_fields: int = attrs.field(default=256, validator=_whole(1, 2**31))
    max_header_block_size: int = attrs.field(default=80 * 1024, validator=_whole(1, 2**62))
    max_continuations: int = attrs.field(default=16, validator=_whole(0, 2**31))
    max_remembered_blocks: int = attrs.field(default=16 * 1024, validator=_whole(0, 2**62))
    max_interim_responses: int = attrs.field(default=100, validator=_whole(0, 2**62))
    max_interim_octets: int = attrs.field(default=64 * 1024, validator=_whole(0, 2**62))
    max_stream_errors: int = attrs.field(default=500, validator=_whole(0, 2**62))
    max_resets: int = attrs.field(default=5_000, validator=_whole(0, 2**62))
    reset_window: float = attrs.field(default=10.0, validator=_seconds)
    max_control_frames: int = attrs.field(default=10_000, validator=_whole(1, 2**62))
    max_held_headers: int = attrs.field(default=1024 * 1024, validator=_whole(1, 2**62))
    max_closed_streams: int = attrs.field(default=1_000, validator=_whole(0, 2**31))
    max_queued_replies: int = attrs.field(default=1_000, validator=_whole(1, 2**31))
    max_queued_events: int = attrs.field(default=1_000, validator=_whole(1, 2**31))
    max_event_octets: int = attrs.field(default=256 * 1024, validator=_whole(0, 2**62))

    write_buffer_size: int = attrs.field(default=256 * 1024, validator=_whole(1, 2**62))
    max_outbound_frame_size: int = attrs.field(default=64 * 1024, validator=_whole(1, MAX_FRAME_SIZE))

    handshake_timeout: float = attrs.field(default=30.0, validator=_seconds)
    settings_timeout: float = attrs.field(default=30.0, validator=_seconds)
    write_timeout: float = attrs.field(default=30.0, validator=_seconds)
    keepalive_interval: float = attrs.field(default=math.inf, validator=_seconds)
    keepalive_timeout: float = attrs.field(default=20.0, validator=_seconds)
    idle_timeout: float = attrs.field(default=300.0, validator=_seconds)
    stall_timeout: float = attrs.field(default=300.0, validator=_seconds)
    close_timeout: float = attrs.field(default=5.0, validator=_seconds)
    linger_timeout: float = attrs.field(default=5.0, validator=_seconds)
    continue_timeout: float = attrs.field(default=1.0, validator=_seconds)
    goaway_delay: float = attrs.field(default=1.0, validator=_seconds)

    min_send_rate: float = attrs.field(default=1024.0, validator=_rate)
    min_body_rate: float = attrs.field(default=0.0, validator=_rate)
