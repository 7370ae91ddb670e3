"""What programs give to H2Connection's methods, looked at."""

from __future__ import annotations

from ..codes import ErrorCodes, error_code_from_int

__all__ = ["check_pad_length", "error_code_of"]


def check_pad_length(pad_length: int) -> None:
    """Raise TypeError or ValueError for what one octet cannot say (RFC 9113 section 6.1)."""
    if isinstance(pad_length, bool) or not isinstance(pad_length, int):
        raise TypeError("pad_length must be an int")
    if not 0 <= pad_length <= 255:
        raise ValueError("pad_length must be from 0 to 255")


def error_code_of(code: int) -> ErrorCodes | int:
    """The code as an enumeration member, if it is one. Raises ValueError for what has no room in a frame."""
    if not 0 <= code < 2**32:
        raise ValueError(f"error_code must be from 0 to 2**32-1, not {code}")
    return error_code_from_int(code)
