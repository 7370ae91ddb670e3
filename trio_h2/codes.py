"""The numbers that HTTP/2 gives names to: error codes and settings. A leaf: everybody may import it."""

from __future__ import annotations

import enum

__all__ = [
    "NEEDS_ANOTHER_PROTOCOL",
    "OTHER_CODE",
    "ErrorCodes",
    "SettingCodes",
    "error_code_from_int",
    "error_name",
    "setting_code_from_int",
]


class ErrorCodes(enum.IntEnum):
    """The error codes of RFC 9113 section 7."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


OTHER_CODE = len(ErrorCodes)
"""What counts of error codes have in the place of every code that RFC 9113 does not define."""


def error_code_from_int(code: int) -> ErrorCodes | int:
    """The enumeration member for `code`, or `code` itself when RFC 9113 does not define it."""
    try:
        return ErrorCodes(code)
    except ValueError:
        return code


NEEDS_ANOTHER_PROTOCOL = frozenset({ErrorCodes.INADEQUATE_SECURITY, ErrorCodes.HTTP_1_1_REQUIRED})
"""What a peer that says it would say again on a new connection."""


def error_name(code: ErrorCodes | int) -> str:
    """A code for a message: its name, or a number when RFC 9113 does not define it."""
    return code.name if isinstance(code, ErrorCodes) else f"error code {code:#x}"


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


def setting_code_from_int(code: int) -> SettingCodes | int:
    """The enumeration member for `code`, or `code` itself when it is not known."""
    try:
        return SettingCodes(code)
    except ValueError:
        return code
