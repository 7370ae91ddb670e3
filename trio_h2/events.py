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
    """One setting that changed: its code, the value before (None if it had none) and the value now."""

    setting: SettingCodes | int
    original_value: int | None
    new_value: int


class Event:
    """The base class of all events."""

    __slots__ = ()


@attrs.define
class StreamEnded(Event):
    """The peer sent END_STREAM: nothing more comes on this stream."""

    stream_id: int = 0


@attrs.define
class PriorityUpdated(Event):
    """The peer said how much a stream matters. It is reported and never acted on, unless it is RFC 9218's.

    Attributes:
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
    """A request's header section arrived; `headers` starts with its pseudo-header fields."""

    stream_id: int = 0
    headers: Headers = NO_HEADERS
    stream_ended: StreamEnded | None = None
    priority_updated: PriorityUpdated | None = None


@attrs.define
class ResponseReceived(Event):
    """A final response's header section arrived; `headers` starts with `:status`."""

    stream_id: int = 0
    headers: Headers = NO_HEADERS
    stream_ended: StreamEnded | None = None
    priority_updated: PriorityUpdated | None = None


@attrs.define
class InformationalResponseReceived(Event):
    """An interim (1xx) response arrived; `headers` starts with `:status`."""

    stream_id: int = 0
    headers: Headers = NO_HEADERS
    priority_updated: PriorityUpdated | None = None


@attrs.define
class TrailersReceived(Event):
    """A trailer section arrived; it always ends the stream."""

    stream_id: int = 0
    headers: Headers = NO_HEADERS
    stream_ended: StreamEnded | None = None
    priority_updated: PriorityUpdated | None = None


@attrs.define
class DataReceived(Event):
    """Bytes of a body arrived.

    Attributes:
        data: the bytes, without padding.
        flow_controlled_length: how many octets of the windows they used, with padding.
    """

    stream_id: int = 0
    data: bytes = b""
    flow_controlled_length: int = 0
    stream_ended: StreamEnded | None = None


@attrs.define
class StreamReset(Event):
    """A stream ended early: by the peer (`remote_reset`), or by us because the peer broke a rule on it."""

    stream_id: int = 0
    error_code: ErrorCodes | int = ErrorCodes.NO_ERROR
    remote_reset: bool = True
    reason: str = ""


@attrs.define
class PushedStreamReceived(Event):
    """The server promised a response: `headers` is the request it answers (RFC 9113 section 8.4)."""

    pushed_stream_id: int = 0
    parent_stream_id: int = 0
    headers: Headers = NO_HEADERS


@attrs.define
class WindowUpdated(Event):
    """The peer gave credit: on one stream, or on the connection when `stream_id` is 0."""

    stream_id: int = 0
    delta: int = 0


@attrs.define
class RemoteSettingsChanged(Event):
    """The peer sent SETTINGS, and they are in force. By setting code; acknowledged already."""

    changed_settings: dict[SettingCodes | int, ChangedSetting] = attrs.Factory(dict)

    @classmethod
    def from_settings(cls, old_settings: Mapping[int, int], new_settings: Mapping[int, int]) -> RemoteSettingsChanged:
        """The event for `new_settings` that came when `old_settings` were in force."""
        codes = {setting_code_from_int(code): value for code, value in new_settings.items()}
        return cls({code: ChangedSetting(code, old_settings.get(code), value) for code, value in codes.items()})


@attrs.define
class SettingsAcknowledged(Event):
    """The peer acknowledged SETTINGS of ours: these changes are in force now."""

    changed_settings: dict[SettingCodes | int, ChangedSetting] = attrs.Factory(dict)


@attrs.define
class PingReceived(Event):
    """The peer sent a PING; it has been answered already."""

    ping_data: bytes = b""


@attrs.define
class PingAckReceived(Event):
    """The peer answered a PING."""

    ping_data: bytes = b""


@attrs.define
class ConnectionTerminated(Event):
    """The peer sent GOAWAY (RFC 9113 section 6.8)."""

    error_code: ErrorCodes | int = ErrorCodes.NO_ERROR
    last_stream_id: int = 0
    additional_data: bytes | None = None


@attrs.define
class AlternativeServiceAvailable(Event):
    """The server advertised an alternative service (RFC 7838 section 4) for `origin`."""

    origin: bytes = b""
    field_value: bytes = b""


@attrs.define
class UnknownFrameReceived(Event):
    """A frame of a type this package does not know arrived, and was ignored (RFC 9113 section 5.5)."""

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
    """

    origins: tuple[bytes, ...] = ()
    type: int = attrs.field(default=0xC, init=False, repr=False)
    flags: int = attrs.field(default=0, kw_only=True, eq=False, repr=False)
    stream_id: int = attrs.field(default=0, init=False, repr=False)
    payload: bytes = attrs.field(init=False, repr=False)

    @payload.default
    def _encode(self) -> bytes:
        return b"".join([len(origin).to_bytes(2, "big") + origin for origin in self.origins])
