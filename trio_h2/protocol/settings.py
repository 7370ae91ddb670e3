"""SETTINGS (RFC 9113 section 6.5, RFC 8441 section 3, RFC 9218 section 2.1), ours and the peer's.

The peer's settings apply when received; ours are in force when the peer has acknowledged them.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from operator import index

from ..codes import ErrorCodes, SettingCodes, setting_code_from_int
from ..events import ChangedSetting
from ..exceptions import InvalidSettingsValueError, ProtocolError
from .verdicts import ConnectionFailure
from .windows import DEFAULT_WINDOW, MAX_WINDOW

__all__ = [
    "UNLIMITED",
    "ChangedSetting",
    "LocalSettings",
    "RemoteSettings",
    "SettingCodes",
    "Settings",
    "decode_settings_header",
    "encode_settings_header",
    "invalid_setting",
]

MIN_FRAME_SIZE = 2**14
MAX_FRAME_SIZE = 2**24 - 1
UNLIMITED = 2**32 + 1
"""More concurrent streams than any setting can say, and than there are stream IDs."""


INITIAL_VALUES: Mapping[int, int] = {
    SettingCodes.HEADER_TABLE_SIZE: 4096,
    SettingCodes.ENABLE_PUSH: 1,
    SettingCodes.INITIAL_WINDOW_SIZE: DEFAULT_WINDOW,
    SettingCodes.MAX_FRAME_SIZE: MIN_FRAME_SIZE,
    SettingCodes.ENABLE_CONNECT_PROTOCOL: 0,
}

_KNOWN = frozenset(SettingCodes)
_BOOLEAN = (
    SettingCodes.ENABLE_PUSH,
    SettingCodes.ENABLE_CONNECT_PROTOCOL,
    SettingCodes.NO_RFC7540_PRIORITIES,
)


def invalid_setting(code: int, value: int) -> ErrorCodes | None:
    """The error code that RFC 9113 section 6.5.2 gives to this value, or None if it is valid."""
    if code in _BOOLEAN and value not in (0, 1):
        return ErrorCodes.PROTOCOL_ERROR
    if code == SettingCodes.INITIAL_WINDOW_SIZE and not 0 <= value <= MAX_WINDOW:
        return ErrorCodes.FLOW_CONTROL_ERROR
    if code == SettingCodes.MAX_FRAME_SIZE and not MIN_FRAME_SIZE <= value <= MAX_FRAME_SIZE:
        return ErrorCodes.PROTOCOL_ERROR
    if not 0 <= value < 2**32:
        return ErrorCodes.PROTOCOL_ERROR
    return None


class Settings(MutableMapping[int, int]):
    """The settings of one direction: a mapping from setting code to the value in force, and by name.

    Assigning stages a value: what is staged goes into the next SETTINGS frame and is in force when that is
    acknowledged.

    Attributes:
        stream_window: SETTINGS_INITIAL_WINDOW_SIZE in force, for whoever opens a stream: a look-up costs that a call.
        extended_connect: the same of SETTINGS_ENABLE_CONNECT_PROTOCOL, as a bool.
        concurrent_streams: the same of SETTINGS_MAX_CONCURRENT_STREAMS; `UNLIMITED` while nobody has set one.

    Args:
        client: Whether these are a client's settings. It has ENABLE_PUSH, with an initial value of 1.
        initial_values: values in force from the start, beside those of RFC 9113 section 6.5.2.

    Raises:
        InvalidSettingsValueError: a value that RFC 9113 forbids, there or in an assignment.
    """

    def __init__(self, client: bool = True, initial_values: Mapping[int, int] | None = None) -> None:
        self._values: dict[int, int] = dict(INITIAL_VALUES)
        self._values[SettingCodes.ENABLE_PUSH] = int(client)
        self._staged: dict[int, int] = {}
        for code, value in (initial_values or {}).items():
            _check(code, value)
            self._values[code] = value
        self._note_plain()

    def _note_plain(self) -> None:
        self.stream_window = self._values.get(SettingCodes.INITIAL_WINDOW_SIZE, DEFAULT_WINDOW)
        self.extended_connect = bool(self._values.get(SettingCodes.ENABLE_CONNECT_PROTOCOL))
        self.concurrent_streams = self._values.get(SettingCodes.MAX_CONCURRENT_STREAMS, UNLIMITED)

    def __getitem__(self, code: int) -> int:
        return self._values[code]

    def __setitem__(self, code: int, value: int) -> None:
        _check(code, value)
        self._staged[code] = value

    def __delitem__(self, code: int) -> None:
        del self._values[code]
        self._note_plain()

    def __iter__(self) -> Iterator[SettingCodes | int]:
        return iter([setting_code_from_int(code) for code in self._values])

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {dict(self)}>"

    def to_send(self) -> dict[int, int]:
        """Every value, staged ones first: what a connection preface says of them."""
        return {**self._values, **self._staged}

    @property
    def header_table_size(self) -> int:
        """SETTINGS_HEADER_TABLE_SIZE, in octets."""
        return self._values[SettingCodes.HEADER_TABLE_SIZE]

    @header_table_size.setter
    def header_table_size(self, value: int) -> None:
        self[SettingCodes.HEADER_TABLE_SIZE] = value

    @property
    def enable_push(self) -> int:
        """SETTINGS_ENABLE_PUSH, 0 or 1."""
        return self._values[SettingCodes.ENABLE_PUSH]

    @enable_push.setter
    def enable_push(self, value: int) -> None:
        self[SettingCodes.ENABLE_PUSH] = value

    @property
    def max_concurrent_streams(self) -> int:
        """SETTINGS_MAX_CONCURRENT_STREAMS; `UNLIMITED` while nobody has set one."""
        return self._values.get(SettingCodes.MAX_CONCURRENT_STREAMS, UNLIMITED)

    @max_concurrent_streams.setter
    def max_concurrent_streams(self, value: int) -> None:
        self[SettingCodes.MAX_CONCURRENT_STREAMS] = value

    @property
    def initial_window_size(self) -> int:
        """SETTINGS_INITIAL_WINDOW_SIZE, in octets."""
        return self._values[SettingCodes.INITIAL_WINDOW_SIZE]

    @initial_window_size.setter
    def initial_window_size(self, value: int) -> None:
        self[SettingCodes.INITIAL_WINDOW_SIZE] = value

    @property
    def max_frame_size(self) -> int:
        """SETTINGS_MAX_FRAME_SIZE, in octets."""
        return self._values[SettingCodes.MAX_FRAME_SIZE]

    @max_frame_size.setter
    def max_frame_size(self, value: int) -> None:
        self[SettingCodes.MAX_FRAME_SIZE] = value

    @property
    def max_header_list_size(self) -> int | None:
        """SETTINGS_MAX_HEADER_LIST_SIZE, or None while nobody has set one."""
        return self._values.get(SettingCodes.MAX_HEADER_LIST_SIZE)

    @max_header_list_size.setter
    def max_header_list_size(self, value: int) -> None:
        self[SettingCodes.MAX_HEADER_LIST_SIZE] = value

    @property
    def enable_connect_protocol(self) -> int:
        """SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441), 0 or 1."""
        return self._values[SettingCodes.ENABLE_CONNECT_PROTOCOL]

    @enable_connect_protocol.setter
    def enable_connect_protocol(self, value: int) -> None:
        self[SettingCodes.ENABLE_CONNECT_PROTOCOL] = value

    def put_in_force(self, code: int, value: int) -> ChangedSetting:
        """Make this the value in force; what that changed."""
        change = ChangedSetting(setting_code_from_int(code), self._values.get(code), value)
        self._values[code] = value
        self._note_plain()
        if self._staged.get(code) == value:
            del self._staged[code]
        return change

    def acknowledge(self) -> dict[SettingCodes | int, ChangedSetting]:
        """Put everything that is staged in force, without waiting for the peer; what that changed, by code."""
        changes = [self.put_in_force(code, value) for code, value in list(self._staged.items())]
        return {change.setting: change for change in changes}


def _check(code: int, value: int) -> None:
    fits = 0 <= index(code) < 2**16
    error_code = invalid_setting(code, index(value)) if fits else ErrorCodes.PROTOCOL_ERROR
    if error_code is not None:
        raise InvalidSettingsValueError(
            f"{setting_code_from_int(code)!r} cannot be {value}", error_code, initiator="local"
        )


class RemoteSettings(Settings):
    """What the peer told us: in force as soon as received."""

    def __init__(self, *, peer_is_server: bool) -> None:
        super().__init__(client=not peer_is_server)
        self._peer_is_server = peer_is_server
        self.received = False

    def apply_untrusted(self, pairs: Iterable[tuple[int, int]]) -> list[ChangedSetting] | ConnectionFailure:
        """Take one SETTINGS frame's pairs in the order they stand (RFC 9113 section 6.5.3).

        Unknown settings are reported and not kept: there can be 65,528 of them.
        """
        changes = []
        for code, value in pairs:
            failure = self._refuse(code, value)
            if failure is not None:
                return failure
            changes.append(self.put_in_force(code, value) if code in _KNOWN else ChangedSetting(code, None, value))
        self.received = True
        return changes

    def _refuse(self, code: int, value: int) -> ConnectionFailure | None:
        error_code = invalid_setting(code, value)
        if error_code is not None:
            problem = f"invalid value {value} for setting {code:#x}"
        elif code == SettingCodes.ENABLE_PUSH and value == 1 and self._peer_is_server:
            problem = "a server set SETTINGS_ENABLE_PUSH to 1"
        elif code == SettingCodes.ENABLE_CONNECT_PROTOCOL and value == 0 and self.enable_connect_protocol:
            problem = "SETTINGS_ENABLE_CONNECT_PROTOCOL was taken back"
        elif code == SettingCodes.NO_RFC7540_PRIORITIES and self.received and value != self.get(code, 0):
            problem = "SETTINGS_NO_RFC7540_PRIORITIES was changed"
        else:
            return None
        return ConnectionFailure(error_code or ErrorCodes.PROTOCOL_ERROR, problem, InvalidSettingsValueError)


class LocalSettings(Settings):
    """What we told the peer: in force, frame by frame, as the peer acknowledges.

    Attributes:
        stream_limit: the SETTINGS_MAX_CONCURRENT_STREAMS that we said last, acknowledged or not; None if we never did.
    """

    def __init__(self, client: bool = True) -> None:
        super().__init__(client)
        self._client = client
        self._started = False
        self._unacknowledged: deque[dict[int, int]] = deque()
        self._announced: dict[int, int] = {}
        self.stream_limit: int | None = None

    @property
    def awaiting_acknowledgement(self) -> int:
        """How many SETTINGS frames of ours the peer has not acknowledged yet."""
        return len(self._unacknowledged)

    def largest(self, code: int) -> int:
        """The largest value that the peer may go by: of the one in force, and those it has not acknowledged yet."""
        unacknowledged = [values[code] for values in self._unacknowledged if code in values]
        return max(self[code], *unacknowledged) if unacknowledged else self[code]

    def submit(self, values: Mapping[int, int]) -> None:
        """Note a SETTINGS frame as sent. Raises InvalidSettingsValueError on a value the RFC forbids, or forbids us."""
        for code, value in values.items():
            _check(code, value)
            self._check_change(code, value)
        self._started = True
        self._unacknowledged.append(dict(values))
        self._announced.update(values)
        self.stream_limit = self._announced.get(SettingCodes.MAX_CONCURRENT_STREAMS)

    def _check_change(self, code: int, value: int) -> None:
        """What a value may not become: RFC 9113 section 6.5.2, RFC 8441 section 3, RFC 9218 section 2.1."""
        before = self._announced.get(code)
        if code == SettingCodes.ENABLE_PUSH and value and not self._client:
            problem = "a server cannot enable push"
        elif code == SettingCodes.ENABLE_CONNECT_PROTOCOL and before == 1 and value == 0:
            problem = "SETTINGS_ENABLE_CONNECT_PROTOCOL cannot be taken back"
        elif code == SettingCodes.NO_RFC7540_PRIORITIES and self._started and value != (before or 0):
            problem = "SETTINGS_NO_RFC7540_PRIORITIES can only be in the first SETTINGS"
        else:
            return
        raise InvalidSettingsValueError(problem, ErrorCodes.PROTOCOL_ERROR, initiator="local")

    def acknowledge_oldest(self) -> list[ChangedSetting] | None:
        """The peer acknowledged our oldest frame: its changes, now in force. None if none was waiting."""
        if not self._unacknowledged:
            return None
        return [self.put_in_force(code, value) for code, value in self._unacknowledged.popleft().items()]


def encode_settings_header(values: Mapping[int, int]) -> bytes:
    """The value of HTTP2-Settings, in a request that asks for `Upgrade: h2c` (RFC 7540 section 3.2.1)."""
    return base64.urlsafe_b64encode(b"".join(struct.pack(">HL", code, value) for code, value in values.items()))


def decode_settings_header(header: str | bytes) -> list[tuple[int, int]]:
    """The settings that such a value says, in order. Raises ProtocolError if it cannot be read."""
    try:
        octets = header.encode() if isinstance(header, str) else header
        payload = base64.b64decode(octets + b"=" * (-len(octets) % 4), b"-_", validate=True)
        return list(struct.iter_unpack(">HL", payload))
    except (UnicodeEncodeError, binascii.Error, struct.error) as error:
        raise ProtocolError("HTTP2-Settings is not base64url of SETTINGS") from error
