"""What the differential machines share: the two engines, what a call came to, and where they may differ.

An `Engine` names the classes of one package. A call or a chunk of bytes comes to a `Result`: the events it gave, in a
shape that is the same for both packages, or the class and code of the error it raised. Results that are not equal
have to fit an entry of `DIFFERENCES`, which says why, and by which section.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import hpack
from hypothesis.stateful import precondition

from tests.protocol import helpers as h
from trio_h2 import SettingCodes, exceptions, sansio

goes_on = precondition(lambda machine: not machine.over)
"""A rule of a machine whose two sides are still alike."""


@dataclass(frozen=True)
class Engine:
    name: str
    connection: Callable[..., Any]
    configuration: Callable[..., Any]

    def make(self, *, client: bool) -> Any:
        return self.connection(self.configuration(client_side=client))


OURS = Engine("trio_h2", sansio.H2Connection, sansio.H2Configuration)
THEIRS = Engine("h2", h2.connection.H2Connection, h2.config.H2Configuration)


@dataclass(frozen=True)
class Result:
    """What a call came to. `error` is a class name, and empty when nothing was raised."""

    events: tuple[tuple[Any, ...], ...] = ()
    error: str = ""
    code: int | None = None

    @property
    def names(self) -> set[str]:
        return {event[0] for event in self.events}

    @property
    def resets(self) -> dict[int, int]:
        """The streams that were reset because of what came, and the codes."""
        return {e[1]: e[2] for e in self.events if e[0] == "StreamReset" and not e[3]}


def attempt(call: Callable[[], Any]) -> Result:
    """Call, and put what it came to into one shape."""
    try:
        answer = call()
    except (exceptions.H2Error, h2.exceptions.H2Error) as error:
        return Result(error=type(error).__name__, code=int(getattr(error, "error_code", 1)))
    except ValueError:
        return Result(error="ValueError")
    except (KeyError, AssertionError, IndexError, TypeError) as error:
        return Result(error=f"leaked {type(error).__name__}")
    return Result(shape(answer)) if isinstance(answer, list) else Result()


def shape(given: Sequence[Any]) -> tuple[tuple[Any, ...], ...]:
    """Events as plain tuples. Those of one header section are sorted: packages differ in where PriorityUpdated is."""
    shaped = [_shape(event) for event in given]
    return tuple(sorted(shaped, key=repr)) if any(e[0] == "PriorityUpdated" for e in shaped) else tuple(shaped)


def _shape(event: Any) -> tuple[Any, ...]:
    name = type(event).__name__
    if name in ("RequestReceived", "ResponseReceived", "TrailersReceived"):
        related = (event.stream_ended is not None, event.priority_updated is not None)
        return (name, event.stream_id, _fields(event.headers), *related)
    if name == "InformationalResponseReceived":
        return name, event.stream_id, _fields(event.headers), event.priority_updated is not None
    if name == "PushedStreamReceived":
        return name, event.pushed_stream_id, event.parent_stream_id, _fields(event.headers)
    if name == "DataReceived":
        return name, event.stream_id, event.data, event.flow_controlled_length, event.stream_ended is not None
    if name == "StreamReset":
        return name, event.stream_id, int(event.error_code), event.remote_reset
    if name in ("RemoteSettingsChanged", "SettingsAcknowledged"):
        changes = [(int(code), c.original_value, c.new_value) for code, c in event.changed_settings.items()]
        if name == "SettingsAcknowledged":
            # 6.5.3: with h2 initial values count as acknowledged from the start, and are no change.
            changes = [change for change in changes if change[1] not in (None, change[2])]
        return name, tuple(sorted(changes))
    if name == "UnknownFrameReceived":
        return name, event.frame.type, event.frame.flag_byte, event.frame.stream_id, event.frame.body
    names = {
        "WindowUpdated": ("stream_id", "delta"),
        "StreamEnded": ("stream_id",),
        "PriorityUpdated": ("stream_id", "weight", "depends_on", "exclusive"),
        "PingReceived": ("ping_data",),
        "PingAckReceived": ("ping_data",),
        "ConnectionTerminated": ("error_code", "last_stream_id", "additional_data"),
        "AlternativeServiceAvailable": ("origin", "field_value"),
    }
    return (name, *(getattr(event, attribute) for attribute in names[name]))


def _fields(headers: Any) -> tuple[tuple[bytes, bytes], ...]:
    assert all(isinstance(pair, tuple) for pair in headers)
    return tuple((bytes(name), bytes(value)) for name, value in headers)


# Frames, some of them wrong


def block(fields: Sequence[tuple[bytes, bytes]]) -> bytes:
    """A field block of literals that leave HPACK's tables alone, so that it means the same to every decoder."""
    out = b""
    for name, value in fields:
        out += b"\x00" + _length(name) + name + _length(value) + value
    assert hpack.Decoder().decode(out, raw=True) == list(fields)
    return out


def _length(octets: bytes) -> bytes:
    assert len(octets) < 127
    return bytes([len(octets)])


BASE = ((b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"example.org"), (b":path", b"/"))
POST = ((b":method", b"POST"), *BASE[1:])
FIELDS: dict[str, tuple[tuple[bytes, bytes], ...]] = {
    "GET": BASE,
    "POST": POST,
    "HEAD": ((b":method", b"HEAD"), *BASE[1:]),
    "POST of 5": (*POST, (b"content-length", b"5")),
    "CONNECT": ((b":method", b"CONNECT"), (b":authority", b"example.org:443")),
    "200": ((b":status", b"200"),),
    "200 of 5": ((b":status", b"200"), (b"content-length", b"5")),
    "103": ((b":status", b"103"), (b"link", b"</a>")),
    "204": ((b":status", b"204"),),
    "trailers": ((b"x-sum", b"1"),),
    "cookies": (*BASE, (b"cookie", b"a=1; b=2")),
}
MALFORMED: dict[str, tuple[tuple[bytes, bytes], ...]] = {
    "upper case": (*BASE, (b"X-Up", b"1")),
    "no path": BASE[:3],
    "empty path": (*BASE[:3], (b":path", b"")),
    "no authority": (*BASE[:2], BASE[3]),
    "another Host": (*BASE, (b"host", b"example.com")),
    "status in a request": (*BASE, (b":status", b"200")),
    "late pseudo": (*BASE[:3], (b"x", b"1"), BASE[3]),
    "twice": (*BASE, BASE[3]),
    "unknown pseudo": (*BASE, (b":colour", b"red")),
    "connection": (*BASE, (b"connection", b"close")),
    "te": (*BASE, (b"te", b"gzip")),
    "space": (*BASE, (b"x", b" 1")),
    "nul": (*BASE, (b"x", b"a\0b")),
    "no status": ((b"x", b"1"),),
    "length": (*POST, (b"content-length", b"five")),
    "lengths": (*POST, (b"content-length", b"5"), (b"content-length", b"6")),
    "pseudo in trailers": ((b":path", b"/"), (b"x", b"1")),
}


# Where they may differ


@dataclass(frozen=True)
class Call:
    """What was done: a method's name, or `receive`; `client` is the side it was done on.

    Attributes:
        frame: the frame that was received, if it was one built by hand.
        continues: the type of the frame whose field block that one continues, or -1.
        args: what the method was called with.
        begun: had h2 sent a header section, not an interim one, on that stream?
        tunnel: had that stream been asked for with CONNECT, and not been refused?
        idle, closed: was the frame's stream so with h2?
        reset: did we reset it?
        room: how many streams the peer could open by what was said of it last, in force or not.
    """

    method: str
    client: bool
    frame: bytes = b""
    continues: int = -1
    args: tuple[Any, ...] = ()
    begun: bool = False
    tunnel: bool = False
    idle: bool = False
    closed: bool = False
    reset: bool = False
    room: int = 100

    @property
    def type(self) -> int:
        """The frame's type; of a CONTINUATION that has a field block, that of the frame which began the block."""
        own = self.frame[3] if len(self.frame) > 8 else -1
        return self.continues if own == h.CONTINUATION and self.continues >= 0 else own

    @property
    def stream_id(self) -> int:
        return int.from_bytes(self.frame[5:9], "big") & 0x7FFF_FFFF

    @property
    def payload(self) -> bytes:
        return self.frame[9:]

    @property
    def section(self) -> str:
        """The name of the header section that is sent."""
        sections = {fields: name for name, fields in (*FIELDS.items(), *MALFORMED.items())}
        return sections[tuple(self.args[-1])]


@dataclass(frozen=True)
class Difference:
    """One way in which trio_h2 may differ: the section that says so, what it says, and when that is."""

    section: str
    what: str
    applies: Callable[[Call, Result, Result], bool]


def _refines(theirs: Result, ours: Result) -> bool:
    """Both raise, and one class is a kind of the other, in the hierarchy that both packages have."""
    mine, other = getattr(exceptions, ours.error, None), getattr(exceptions, theirs.error, None)
    return mine is not None and other is not None and (issubclass(mine, other) or issubclass(other, mine))


def _only_ours(theirs: Result, ours: Result, *errors: str) -> bool:
    return not theirs.error and ours.error in errors


def _without_unknown_settings(result: Result) -> list[tuple[Any, ...]]:
    kept = []
    for event in result.events:
        if event[0] == "RemoteSettingsChanged":
            event = event[0], tuple(change for change in event[1] if change[0] in iter(SettingCodes))
        kept.append(event)
    return kept


def _refused_promise(result: Result) -> list[tuple[Any, ...]]:
    """The events as a server sees them, with CANCEL for REFUSED_STREAM, and no last stream ID in GOAWAY."""
    kept: list[tuple[Any, ...]] = [(result.error, result.code)]
    for event in result.events:
        if event[0] == "StreamReset" and event[1] % 2 == 0 and event[2] == 7:
            event = *event[:2], 8, event[3]
        kept.append((*event[:2], event[3]) if event[0] == "ConnectionTerminated" else event)
    return kept


def _larger_frames(result: Result) -> bool:
    """Was a larger SETTINGS_MAX_FRAME_SIZE acknowledged?"""
    changes = [change for event in result.events if event[0] == "SettingsAcknowledged" for change in event[1]]
    return any(code == SettingCodes.MAX_FRAME_SIZE and new > old for code, old, new in changes)


def _opened(result: Result) -> int:
    """How many streams the peer opened."""
    return sum(event[0] == "RequestReceived" for event in result.events)


def _refuses(theirs: Result, ours: Result) -> bool:
    """The events are the same, but that streams are missing that we refused to open."""
    opened = {e[1] for e in theirs.events if e[0] in ("RequestReceived", "PushedStreamReceived")}
    refused = opened - {e[1] for e in ours.events if e[0] in ("RequestReceived", "PushedStreamReceived")}
    # ALTSVC on a refused stream goes with it, and its event does not say which stream that was.
    theirs_told = [e for e in theirs.events if e[0] != "AlternativeServiceAvailable"]
    ours_told = [e for e in ours.events if e[0] != "AlternativeServiceAvailable"]
    kept = [e for e in theirs_told if e[0] == "ConnectionTerminated" or e[1] not in refused]
    left = [e for e in ours_told if e[0] not in ("StreamReset", "PriorityUpdated") or e[1] not in refused]
    return bool(refused) and not theirs.error and not ours.error and kept == left


def _to_stream_error(theirs: Result, ours: Result, *codes: int) -> bool:
    """Their connection error is a stream error of one of these codes with us."""
    return bool(theirs.error) and not ours.error and bool(ours.resets) and set(ours.resets.values()) <= set(codes)


SENDING = ("send_headers", "push_stream", "send_data", "end_stream")

DIFFERENCES: tuple[Difference, ...] = (
    # Calls
    Difference(
        "RFC 9113 5.1",
        "a refused call, or a connection error, may name its class more or less precisely; the code is the same, but"
        " for STREAM_CLOSED where that is the class",
        lambda call, theirs, ours: (
            _refines(theirs, ours) and (theirs.code == ours.code or "StreamClosedError" in (theirs.error, ours.error))
        ),
    ),
    Difference(
        "-",
        "h2 lets KeyError and AssertionError out",
        lambda call, theirs, ours: theirs.error.startswith("leaked") and ours.error in vars(exceptions),
    ),
    Difference(
        "RFC 9113 8.2, 8.3",
        "a header section is checked as wholly when it is sent as when it is received",
        lambda call, theirs, ours: (
            call.method in ("send_headers", "push_stream")
            # Content-Length in a response to CONNECT is wrong too (RFC 9110 section 9.3.6).
            and (call.section in MALFORMED or (call.section == "200 of 5" and not call.client))
            and _only_ours(theirs, ours, "ProtocolError")
        ),
    ),
    Difference(
        "RFC 9113 5.1, 8.1",
        "an interim response can come on a promised stream too",
        lambda call, theirs, ours: (
            theirs == Result(error="ProtocolError", code=1)
            and (
                (call.type == h.HEADERS and call.client and ours.names == {"InformationalResponseReceived"})
                if call.method == "receive"
                else (call.method == "send_headers" and not call.client and call.section == "103" and ours == Result())
            )
            and (call.stream_id or call.args[0]) % 2 == 0
        ),
    ),
    Difference(
        "RFC 9113 8.1.1",
        "a body that is sent has to have the length its content-length says",
        lambda call, theirs, ours: call.method in SENDING and _only_ours(theirs, ours, "InvalidBodyLengthError"),
    ),
    Difference(
        "RFC 9113 8.1",
        "a server cannot open a stream with HEADERS",
        lambda call, theirs, ours: (
            call.method == "send_headers"
            and not call.client
            and theirs.error in ("", "TooManyStreamsError")
            and ours.error == "NoSuchStreamError"
        ),
    ),
    Difference(
        "RFC 7838 4",
        "a client does not send ALTSVC",
        lambda call, theirs, ours: (
            call.method == "advertise_alternative_service" and call.client and ours.error == "ProtocolError"
        ),
    ),
    Difference(
        "RFC 9113 8.1",
        "a body does not come before its header section",
        lambda call, theirs, ours: (
            call.method in ("send_data", "end_stream") and not call.begun and _only_ours(theirs, ours, "ProtocolError")
        ),
    ),
    Difference(
        "RFC 9113 5.1",
        "a call on a stream that was used and is closed raises StreamClosedError, whether or not it is forgotten",
        lambda call, theirs, ours: (
            call.method in SENDING
            and theirs.error in ("StreamIDTooLowError", "TooManyStreamsError")
            and ours.error == "StreamClosedError"
        ),
    ),
    Difference(
        "RFC 9113 6.5.2",
        "a server cannot announce ENABLE_PUSH",
        lambda call, theirs, ours: (
            call.method == "update_settings"
            and not call.client
            and call.args[0].get(SettingCodes.ENABLE_PUSH) == 1
            and theirs.error in ("", ours.error)
            and ours.error == "InvalidSettingsValueError"
        ),
    ),
    Difference(
        "RFC 9113 5.1",
        "a promised stream of ours takes no WINDOW_UPDATE from us",
        lambda call, theirs, ours: (
            call.method == "increment_flow_control_window"
            and not call.client
            and call.args[1] is not None
            and call.args[1] % 2 == 0
            and ours.error == "ProtocolError"
        ),
    ),
    # What is received
    Difference(
        "RFC 9113 8.1.1",
        "a malformed message ends its stream, not the connection",
        lambda call, theirs, ours: call.method == "receive" and _to_stream_error(theirs, ours, 1),
    ),
    Difference(
        "RFC 9113 4.3",
        "a field block that cannot be decoded is a COMPRESSION_ERROR",
        lambda call, theirs, ours: (
            call.method == "receive" and bool(theirs.error) and ours.error == "ProtocolError" and ours.code == 9
        ),
    ),
    Difference(
        "RFC 9110 15.3.5, RFC 9113 8.1.1",
        "a 204 or 304 response has no content",
        lambda call, theirs, ours: (
            call.type == h.DATA and call.client and "DataReceived" in theirs.names and set(ours.resets.values()) == {1}
        ),
    ),
    Difference(
        "RFC 9113 5.1",
        "a promised stream of the peer's gets no WINDOW_UPDATE from it",
        lambda call, theirs, ours: (
            call.type == h.WINDOW_UPDATE
            and call.client
            and call.stream_id % 2 == 0
            and theirs.names == {"WindowUpdated"}
            and ours.error == "ProtocolError"
        ),
    ),
    Difference(
        "RFC 9113 6.5.3",
        "an acknowledgement of no SETTINGS is a connection error",
        lambda call, theirs, ours: (
            call.type == h.SETTINGS
            and theirs.events == (("SettingsAcknowledged", ()),)
            and ours.error == "ProtocolError"
        ),
    ),
    Difference(
        "RFC 9113 6.4",
        "RST_STREAM on an idle stream is a connection error",
        lambda call, theirs, ours: (
            call.type == h.RST_STREAM
            and call.idle
            and theirs == Result()
            and ours.error == "ProtocolError"
            and ours.code == 1
        ),
    ),
    Difference(
        "RFC 9113 8.4",
        "a promise is for the authority of the stream that it is on; another one is refused as malformed",
        lambda call, theirs, ours: call.client and _refuses(theirs, ours),
    ),
    Difference(
        "RFC 9113 8.4",
        "a server opens a stream with PUSH_PROMISE alone; with h2 it may send a client a request",
        lambda call, theirs, ours: (
            call.type == h.HEADERS
            and call.client
            and "RequestReceived" in theirs.names
            and ours.error == "ProtocolError"
        ),
    ),
    Difference(
        "RFC 9113 5.1",
        "DATA or HEADERS on a stream that we promised is a connection error, also after its parent was reset; and so is"
        " DATA before the response on one that the peer promised",
        lambda call, theirs, ours: (
            ((call.type == h.DATA and not call.closed) if call.client else call.type in (h.DATA, h.HEADERS))
            and call.stream_id % 2 == 0
            and set(theirs.resets) == {call.stream_id}
            and ours.error == "ProtocolError"
            and ours.code == 1
        ),
    ),
    Difference(
        "RFC 9113 5.1, 6.9",
        "WINDOW_UPDATE on a stream that is closed is ignored, also when its increment is 0",
        lambda call, theirs, ours: (
            call.type == h.WINDOW_UPDATE and call.closed and theirs.code == 1 and ours == Result()
        ),
    ),
    Difference(
        "RFC 9113 6.9.1",
        "DATA beyond the window of its stream alone ends that stream",
        lambda call, theirs, ours: (
            call.type == h.DATA and theirs.error == "FlowControlError" and ours.resets == {call.stream_id: 3}
        ),
    ),
    Difference(
        "RFC 9113 6.9",
        "DATA on a stream of ours that was passed over, and so never had a window, is beyond all windows there were",
        lambda call, theirs, ours: (
            call.type == h.DATA and call.closed and not call.reset and _only_ours(theirs, ours, "FlowControlError")
        ),
    ),
    Difference(
        "RFC 9113 6.9",
        "the reserved bit before an increment says nothing",
        lambda call, theirs, ours: (
            call.type == h.WINDOW_UPDATE
            and len(call.payload) == 4
            and call.payload[0] >= 0x80
            and theirs == Result(error="ProtocolError", code=1)
            and (
                ours.error == "FlowControlError" or ours.names == {"WindowUpdated"} or set(ours.resets.values()) == {3}
            )
        ),
    ),
    Difference(
        "RFC 9113 6.8",
        "the reserved bit before GOAWAY's last stream ID says nothing",
        lambda call, theirs, ours: (
            call.type == h.GOAWAY
            and not ours.error
            and [(*e[:2], e[2] & 0x7FFF_FFFF, e[3]) for e in theirs.events] == list(ours.events)
        ),
    ),
    Difference(
        "RFC 7838 4",
        "ALTSVC on a stream is about its origin also when the response has begun",
        lambda call, theirs, ours: (
            call.type == h.ALTSVC
            and call.client
            and call.stream_id > 0
            and not call.idle
            and call.payload[:2] == b"\0\0"
            and theirs == Result()
            and ours.names == {"AlternativeServiceAvailable"}
        ),
    ),
    Difference(
        "RFC 9113 6.6, 4.2",
        "a PUSH_PROMISE whose padding leaves no room for the promised stream ID",
        lambda call, theirs, ours: (
            call.type == h.PUSH_PROMISE and bool(theirs.error) and ours.error == "FrameDataMissingError"
        ),
    ),
    Difference(
        "RFC 9113 8.4.2, 6.8",
        "a promise on a stream that was reset is refused with CANCEL, not REFUSED_STREAM, and is below a GOAWAY",
        lambda call, theirs, ours: not call.client and _refused_promise(theirs) == _refused_promise(ours),
    ),
    Difference(
        "RFC 9113 6.10",
        "CONTINUATION without a field block is a connection error, also on a stream that was reset",
        lambda call, theirs, ours: (
            call.type == h.CONTINUATION and theirs == Result() and ours.error == "ProtocolError" and ours.code == 1
        ),
    ),
    Difference(
        "RFC 9113 4.2, 6.2",
        "a frame that is wrong in two ways: which of them is said",
        lambda call, theirs, ours: (
            call.method == "receive" and bool(theirs.error) and bool(ours.error) and 6 in (theirs.code, ours.code)
        ),
    ),
    Difference(
        "RFC 9113 5.1.2",
        "a limit of streams holds from when it was said, and what is beyond it is refused, stream by stream",
        lambda call, theirs, ours: not call.client and _refuses(theirs, ours) and call.room < _opened(theirs),
    ),
    Difference(
        "RFC 9113 8.5",
        "a tunnel has no trailers and no promises",
        lambda call, theirs, ours: (
            call.method in ("send_headers", "push_stream")
            and call.tunnel
            and call.begun
            and _only_ours(theirs, ours, "ProtocolError")
        ),
    ),
    Difference(
        "RFC 9110 9.3.6",
        "content-length in the response to CONNECT says nothing of a tunnel's octets",
        lambda call, theirs, ours: (
            call.type == h.DATA
            and call.client
            and call.tunnel
            and theirs.error == "InvalidBodyLengthError"
            and ours.names <= {"DataReceived", "StreamEnded"}
            and not ours.error
        ),
    ),
    Difference(
        "RFC 9113 5.1",
        "a promise on a stream that the peer has ended is an error of that stream; h2 refuses what was promised",
        lambda call, theirs, ours: (
            call.type == h.PUSH_PROMISE
            and call.client
            and theirs == Result()
            and ours.resets == {call.stream_id: 5}
            and len(ours.events) == 1
        ),
    ),
    Difference(
        "RFC 9113 8.5",
        "a promise on a tunnel is a stream error of the tunnel",
        lambda call, theirs, ours: (
            call.client
            and not theirs.error
            and not ours.error
            and "PushedStreamReceived" in theirs.names - ours.names
            and all(ours.resets.get(e[2]) == 1 for e in theirs.events if e[0] == "PushedStreamReceived")
        ),
    ),
    Difference(
        "RFC 9113 4.3",
        "what is wrong with a PUSH_PROMISE is said when its field block is whole",
        lambda call, theirs, ours: (
            call.type == h.PUSH_PROMISE and not call.frame[4] & h.END_HEADERS and theirs.code == 1 and ours == Result()
        ),
    ),
    Difference(
        "RFC 9113 5.1.2",
        "a request beyond the limit is refused, also when it is malformed",
        lambda call, theirs, ours: (
            call.type == h.HEADERS
            and not call.client
            and call.idle
            and call.room <= 0
            and theirs.code == 1
            and ours == Result()
        ),
    ),
    Difference(
        "RFC 9113 6.5.3",
        "a larger frame may come with the acknowledgement that allows it; h2 wants it in the next bytes",
        lambda call, theirs, ours: (
            theirs == Result(error="FrameTooLargeError", code=6) and not ours.error and _larger_frames(ours)
        ),
    ),
    Difference(
        "RFC 8441 3",
        "SETTINGS_ENABLE_CONNECT_PROTOCOL cannot be taken back",
        lambda call, theirs, ours: (
            call.type == h.SETTINGS
            and any((8, 1, 0) in event[1] for event in theirs.events if event[0] == "RemoteSettingsChanged")
            and ours == Result(error="InvalidSettingsValueError", code=1)
        ),
    ),
    Difference(
        "RFC 9113 6.5.2",
        "a setting that nobody knows is reported and not kept, so it has no original value the next time",
        lambda call, theirs, ours: (
            not ours.error
            and not theirs.error
            and "RemoteSettingsChanged" in ours.names
            and ours.names == theirs.names
            and _without_unknown_settings(ours) == _without_unknown_settings(theirs)
        ),
    ),
    Difference(
        "RFC 9113 6.3, RFC 7540 5.3.1",
        "a PRIORITY that is wrong is a stream error, which says nothing of a stream that is closed",
        lambda call, theirs, ours: (
            call.type == h.PRIORITY
            and (_to_stream_error(theirs, ours, 6) or (call.closed and theirs.code in (1, 6) and ours == Result()))
        ),
    ),
    Difference(
        "RFC 9113 5.1",
        "HEADERS on a half that has ended is a stream error, whatever is in it",
        lambda call, theirs, ours: call.type == h.HEADERS and _to_stream_error(theirs, ours, 5),
    ),
    Difference(
        "RFC 9113 8.1.1",
        "a header section that ends the stream is held to its content-length too",
        lambda call, theirs, ours: (
            call.type == h.HEADERS
            and (b"content-length" in call.frame or not call.idle)
            and "StreamEnded" in theirs.names
            and set(ours.resets.values()) == {1}
        ),
    ),
    Difference(
        "RFC 9113 5.1",
        "HEADERS on a stream that was reset are ignored, also when h2 has forgotten it, and whatever is in them",
        lambda call, theirs, ours: (
            call.type == h.HEADERS
            and call.closed
            and (
                theirs.error in ("StreamIDTooLowError", "TooManyStreamsError", "ProtocolError")
                or (theirs.error == "StreamClosedError" and call.reset)
            )
            and ours == Result()
        ),
    ),
)
