"""What happened on a connection, as values, by hyper-h2's names and attributes.

Every event that this package gives is complete when it is built. The defaults are for programs that build events
themselves, by keyword or by attribute, as they may with hyper-h2. An event with a `stream_id` that is not 0 concerns
one stream and is given by that stream's `events()`; the others, and every UnknownFrameReceived, are given by the
connection's. A PushedStreamReceived becomes one of `ClientConnection.pushes()`.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs
from hyperframe.frame import ExtensionFrame

from .codes import ErrorCodes, SettingCodes, setting_code_from_int
from .headers import Headers

__all__ = [
    "AlternativeServiceAvailable",
    "ChangedSetting",
    "ConnectionTerminated",
    "DataReceived",
    "Event",
    "InformationalResponseReceived",
    "OriginReceived",
    "PingAckReceived",
    "PingReceived",
    "PriorityUpdated",
    "PushedStreamReceived",
    "RemoteSettingsChanged",
    "RequestReceived",
    "ResponseReceived",
    "SettingsAcknowledged",
    "StreamEnded",
    "StreamReset",
    "TrailersReceived",
    "UnknownFrameReceived",
    "WindowUpdated",
]

NO_HEADERS = Headers()


@attrs.define
class ChangedSetting:
    """One setting that changed.

    Attributes:
        setting: its code; a number where RFC 9113 and its extensions define none.
        original_value: the value before, in the setting's unit, or None if it had none.
        new_value: the value now, in the setting's unit.
    """

    setting: SettingCodes | int
    original_value: int | None
    new_value: int


class Event:
    """The base class of all events."""

    __slots__ = ()


@attrs.define
class StreamEnded(Event):
    """The peer sent END_STREAM: nothing more comes on this stream.

    Attributes:
        stream_id: the stream's ID.
    """

    stream_id: int = 0


@attrs.define
class PriorityUpdated(Event):
    """The peer said how much a stream matters. It is reported and never acted on, unless it is RFC 9218's.

    Attributes:
        stream_id: the stream's ID.
        weight: 1 to 256, from an RFC 7540 signal (PRIORITY, or HEADERS with priority fields), else None.
        depends_on: the stream ID it depends on, from an RFC 7540 signal, else None.
        exclusive: whether that dependency is exclusive, from an RFC 7540 signal, else None.
        field_value: the priority field value of a PRIORITY_UPDATE frame (RFC 9218 section 7.1), else None.
    """

    stream_id: int = 0
    weight: int | None = None
    depends_on: int | None = None
    exclusive: bool | None = None
    field_value: bytes | None = None


@attrs.define
class RequestReceived(Event):
    """A request's header section arrived.

    Attributes:
        stream_id: the stream's ID.
        headers: the header section, which starts with its pseudo-header fields.
        stream_ended: what comes with it if it ends the peer's side of the stream, else None.
        priority_updated: the priority that came with it (RFC 7540), else None.
    """

    stream_id: int = 0
    headers: Headers = NO_HEADERS
    stream_ended: StreamEnded | None = None
    priority_updated: PriorityUpdated | None = None


@attrs.define
class ResponseReceived(Event):
    """A final response's header section arrived.

    Attributes:
        stream_id: the stream's ID.
        headers: the header section, which starts with `:status`.
        stream_ended: what comes with it if it ends the peer's side of the stream, else None.
        priority_updated: the priority that came with it (RFC 7540), else None.
    """

    stream_id: int = 0
    headers: Headers = NO_HEADERS
    stream_ended: StreamEnded | None = None
    priority_updated: PriorityUpdated | None = None


@attrs.define
class InformationalResponseReceived(Event):
    """An interim (1xx) response arrived.

    Attributes:
        stream_id: the stream's ID.
        headers: the header section, which starts with `:status`.
        priority_updated: the priority that came with it (RFC 7540), else None.
    """

    stream_id: int = 0
    headers: Headers = NO_HEADERS
    priority_updated: PriorityUpdated | None = None


@attrs.define
class TrailersReceived(Event):
    """A trailer section arrived; it always ends the peer's side of the stream.

    Attributes:
        stream_id: the stream's ID.
        headers: the trailer section.
        stream_ended: what comes with it; a trailer section that ends nothing is malformed.
        priority_updated: the priority that came with it (RFC 7540), else None.
    """

    stream_id: int = 0
    headers: Headers = NO_HEADERS
    stream_ended: StreamEnded | None = None
    priority_updated: PriorityUpdated | None = None


@attrs.define
class DataReceived(Event):
    """Bytes of a body arrived.

    Attributes:
        stream_id: the stream's ID.
        data: the bytes, without padding.
        flow_controlled_length: how many octets of the windows they used, with padding.
        stream_ended: what comes with it if it ends the peer's side of the stream, else None.
    """

    stream_id: int = 0
    data: bytes = b""
    flow_controlled_length: int = 0
    stream_ended: StreamEnded | None = None


@attrs.define
class StreamReset(Event):
    """A stream ended early.

    Attributes:
        stream_id: the stream's ID.
        error_code: RST_STREAM's (RFC 9113 section 7).
        remote_reset: True if the peer ended it, False if it was ended here because the peer broke a rule on it.
        reason: what rule that was, in words; else empty.
    """

    stream_id: int = 0
    error_code: ErrorCodes | int = ErrorCodes.NO_ERROR
    remote_reset: bool = True
    reason: str = ""


@attrs.define
class PushedStreamReceived(Event):
    """The server promised a response (RFC 9113 section 8.4).

    Attributes:
        pushed_stream_id: the ID of the stream that the response will come on.
        parent_stream_id: the ID of the stream that it was promised on.
        headers: the request that it answers, which starts with its pseudo-header fields.
    """

    pushed_stream_id: int = 0
    parent_stream_id: int = 0
    headers: Headers = NO_HEADERS


@attrs.define
class WindowUpdated(Event):
    """The peer gave credit (RFC 9113 section 6.9).

    Attributes:
        stream_id: the stream's ID, or 0 for the connection's window.
        delta: octets.
    """

    stream_id: int = 0
    delta: int = 0


@attrs.define
class RemoteSettingsChanged(Event):
    """The peer sent SETTINGS; they are in force, and acknowledged already.

    Attributes:
        changed_settings: what it set, by setting code.
    """

    changed_settings: dict[SettingCodes | int, ChangedSetting] = attrs.Factory(dict)

    @classmethod
    def from_settings(cls, old_settings: Mapping[int, int], new_settings: Mapping[int, int]) -> RemoteSettingsChanged:
        """The event for `new_settings`, values by setting code, that came when `old_settings` were in force."""
        codes = {setting_code_from_int(code): value for code, value in new_settings.items()}
        return cls({code: ChangedSetting(code, old_settings.get(code), value) for code, value in codes.items()})


@attrs.define
class SettingsAcknowledged(Event):
    """The peer acknowledged SETTINGS of ours.

    Attributes:
        changed_settings: what they set, by setting code, which is in force now.
    """

    changed_settings: dict[SettingCodes | int, ChangedSetting] = attrs.Factory(dict)


@attrs.define
class PingReceived(Event):
    """The peer sent a PING; it has been answered already.

    Attributes:
        ping_data: its eight octets.
    """

    ping_data: bytes = b""


@attrs.define
class PingAckReceived(Event):
    """The peer answered a PING.

    Attributes:
        ping_data: the eight octets of both.
    """

    ping_data: bytes = b""


@attrs.define
class ConnectionTerminated(Event):
    """The peer sent GOAWAY (RFC 9113 section 6.8).

    Attributes:
        error_code: why (section 7); NO_ERROR for a shutdown.
        last_stream_id: the highest ID of a stream that it may have processed; those above it certainly were not.
        additional_data: its debug data, unchecked octets, or None if there is none.
    """

    error_code: ErrorCodes | int = ErrorCodes.NO_ERROR
    last_stream_id: int = 0
    additional_data: bytes | None = None


@attrs.define
class AlternativeServiceAvailable(Event):
    """The server advertised an alternative service (RFC 7838 section 4).

    Attributes:
        origin: for which origin.
        field_value: what an Alt-Svc field would say of it.
    """

    origin: bytes = b""
    field_value: bytes = b""


@attrs.define
class UnknownFrameReceived(Event):
    """A frame of a type this package does not know arrived, and was ignored (RFC 9113 section 5.5).

    Attributes:
        type: its type, a number.
        flags: its eight flags as one number.
        stream_id: the stream's ID, or 0.
        payload: all after its header.
    """

    type: int = 0
    flags: int = 0
    stream_id: int = 0
    payload: bytes = b""

    def __init__(
        self,
        type: int = 0,
        flags: int = 0,
        stream_id: int = 0,
        payload: bytes = b"",
        frame: ExtensionFrame | None = None,
    ) -> None:
        self.type, self.flags, self.stream_id, self.payload = type, flags, stream_id, payload
        if frame is not None:
            self.frame = frame

    @property
    def frame(self) -> ExtensionFrame:
        """The frame as an object of hyperframe, which is what hyper-h2 gives; assigning one sets the others."""
        frame = ExtensionFrame(self.type, self.stream_id, flag_byte=self.flags, body=self.payload)
        frame.body_len = len(self.payload)
        return frame

    @frame.setter
    def frame(self, frame: ExtensionFrame) -> None:
        self.type, self.flags = frame.type or 0, frame.flag_byte
        self.stream_id, self.payload = frame.stream_id, frame.body


@attrs.define
class OriginReceived(UnknownFrameReceived):
    """The server said which origins this connection may serve (RFC 8336).

    hyper-h2 does not know this frame, so programs take the event for the one that it gives.

    Attributes:
        origins: scheme, host and port of each, as they came: `b"https://example.org"`.
    """

    origins: tuple[bytes, ...] = ()
    type: int = attrs.field(default=0xC, init=False, repr=False)
    flags: int = attrs.field(default=0, kw_only=True, eq=False, repr=False)
    stream_id: int = attrs.field(default=0, init=False, repr=False)
    payload: bytes = attrs.field(init=False, repr=False)

    @payload.default
    def _encode(self) -> bytes:
        return b"".join([len(origin).to_bytes(2, "big") + origin for origin in self.origins])
