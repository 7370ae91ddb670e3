"""SETTINGS (RFC 9113 section 6.5, RFC 8441 section 3, RFC 9218 section 2.1), ours and the peer's.

The peer's settings apply when received; ours are in force when the peer has acknowledged them.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterable, Mapping

import attrs

from ..exceptions import ErrorCodes, FlowControlError, InvalidSettingsValueError, ProtocolError
from .verdicts import ConnectionFailure
from .windows import DEFAULT_WINDOW, MAX_WINDOW

__all__ = [
    "ChangedSetting",
    "LocalSettings",
    "RemoteSettings",
    "SettingCodes",
    "SettingsView",
    "invalid_setting",
]

MIN_FRAME_SIZE = 2**14
MAX_FRAME_SIZE = 2**24 - 1


class SettingCodes(enum.IntEnum):
    """The settings this package knows (RFC 9113 section 6.5.2, RFC 8441, RFC 9218)."""

    HEADER_TABLE_SIZE = 0x1
    ENABLE_PUSH = 0x2
    MAX_CONCURRENT_STREAMS = 0x3
    INITIAL_WINDOW_SIZE = 0x4
    MAX_FRAME_SIZE = 0x5
    MAX_HEADER_LIST_SIZE = 0x6
    ENABLE_CONNECT_PROTOCOL = 0x8
    NO_RFC7540_PRIORITIES = 0x9


INITIAL_VALUES: Mapping[int, int] = {
    SettingCodes.HEADER_TABLE_SIZE: 4096,
    SettingCodes.ENABLE_PUSH: 1,
    SettingCodes.INITIAL_WINDOW_SIZE: DEFAULT_WINDOW,
    SettingCodes.MAX_FRAME_SIZE: MIN_FRAME_SIZE,
    SettingCodes.ENABLE_CONNECT_PROTOCOL: 0,
    SettingCodes.NO_RFC7540_PRIORITIES: 0,
}

_BOOLEAN = (
    SettingCodes.ENABLE_PUSH,
    SettingCodes.ENABLE_CONNECT_PROTOCOL,
    SettingCodes.NO_RFC7540_PRIORITIES,
)


@attrs.define
class ChangedSetting:
    """One setting that changed: its code, the value before (None if it had none) and the value now."""

    setting: SettingCodes | int
    original_value: int | None
    new_value: int


def setting_code_from_int(code: int) -> SettingCodes | int:
    """The enumeration member for `code`, or `code` itself when it is not known."""
    try:
        return SettingCodes(code)
    except ValueError:
        return code


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


class SettingsView:
    """The settings in force in one direction, by name. A setting with no value has no limit: None."""

    def __init__(self) -> None:
        self._values: dict[int, int] = dict(INITIAL_VALUES)

    def get(self, code: int) -> int | None:
        """The value in force of `code`, or None if nothing set it and it has no initial value."""
        return self._values.get(code)

    def __iter__(self) -> Iterable[tuple[SettingCodes | int, int]]:
        return iter([(setting_code_from_int(code), value) for code, value in self._values.items()])

    @property
    def header_table_size(self) -> int:
        return self._values[SettingCodes.HEADER_TABLE_SIZE]

    @property
    def enable_push(self) -> bool:
        return self._values[SettingCodes.ENABLE_PUSH] == 1

    @property
    def max_concurrent_streams(self) -> int | None:
        return self._values.get(SettingCodes.MAX_CONCURRENT_STREAMS)

    @property
    def initial_window_size(self) -> int:
        return self._values[SettingCodes.INITIAL_WINDOW_SIZE]

    @property
    def max_frame_size(self) -> int:
        return self._values[SettingCodes.MAX_FRAME_SIZE]

    @property
    def max_header_list_size(self) -> int | None:
        return self._values.get(SettingCodes.MAX_HEADER_LIST_SIZE)

    @property
    def enable_connect_protocol(self) -> bool:
        return self._values[SettingCodes.ENABLE_CONNECT_PROTOCOL] == 1

    def _set(self, code: int, value: int) -> ChangedSetting:
        change = ChangedSetting(setting_code_from_int(code), self._values.get(code), value)
        self._values[code] = value
        return change


class RemoteSettings(SettingsView):
    """What the peer told us: in force as soon as received."""

    def __init__(self, *, peer_is_server: bool) -> None:
        super().__init__()
        self._peer_is_server = peer_is_server
        self.received = False

    def apply_untrusted(self, pairs: Iterable[tuple[int, int]]) -> list[ChangedSetting] | ConnectionFailure:
        """Take one SETTINGS frame's pairs in the order they stand (RFC 9113 section 6.5.3)."""
        changes = []
        for code, value in pairs:
            failure = self._refuse(code, value)
            if failure is not None:
                return failure
            changes.append(self._set(code, value))
        self.received = True
        return changes

    def _refuse(self, code: int, value: int) -> ConnectionFailure | None:
        error_code = invalid_setting(code, value)
        if error_code is not None:
            error_class = FlowControlError if error_code == ErrorCodes.FLOW_CONTROL_ERROR else ProtocolError
            return ConnectionFailure(error_code, f"invalid value {value} for setting {code:#x}", error_class)
        if code == SettingCodes.ENABLE_PUSH and value == 1 and self._peer_is_server:
            return ConnectionFailure(ErrorCodes.PROTOCOL_ERROR, "a server set SETTINGS_ENABLE_PUSH to 1")
        if code == SettingCodes.ENABLE_CONNECT_PROTOCOL and value == 0 and self.enable_connect_protocol:
            return ConnectionFailure(ErrorCodes.PROTOCOL_ERROR, "SETTINGS_ENABLE_CONNECT_PROTOCOL was taken back")
        if code == SettingCodes.NO_RFC7540_PRIORITIES and self.received and value != self.get(code):
            return ConnectionFailure(ErrorCodes.PROTOCOL_ERROR, "SETTINGS_NO_RFC7540_PRIORITIES was changed")
        return None


class LocalSettings(SettingsView):
    """What we told the peer: in force, frame by frame, as the peer acknowledges."""

    def __init__(self) -> None:
        super().__init__()
        self._unacknowledged: deque[dict[int, int]] = deque()

    @property
    def awaiting_acknowledgement(self) -> int:
        """How many SETTINGS frames of ours the peer has not acknowledged yet."""
        return len(self._unacknowledged)

    def submit(self, values: Mapping[int, int]) -> None:
        """Note a SETTINGS frame as sent. Raises InvalidSettingsValueError on a value the RFC forbids."""
        for code, value in values.items():
            error_code = invalid_setting(code, value)
            if error_code is not None:
                raise InvalidSettingsValueError(
                    f"{setting_code_from_int(code)!r} cannot be {value}", error_code, initiator="local"
                )
        self._unacknowledged.append(dict(values))

    def acknowledge(self) -> list[ChangedSetting] | None:
        """The peer acknowledged our oldest frame: its changes, now in force. None if none was waiting."""
        if not self._unacknowledged:
            return None
        return [self._set(code, value) for code, value in self._unacknowledged.popleft().items()]
