"""The error hierarchy: hyper-h2's by name, and what every error says of itself."""

from __future__ import annotations

import pytest

from trio_h2 import exceptions as e
from trio_h2.codes import error_code_from_int
from trio_h2.exceptions import ErrorCodes, H2Error, ProtocolError

Code = ErrorCodes

# Class, the class above it, error code, scope, initiator, safe to retry.
HIERARCHY: list[tuple[type[H2Error], type[Exception], ErrorCodes, str, str, bool]] = [
    (e.H2Error, Exception, Code.INTERNAL_ERROR, "connection", "library", False),
    (e.InternalError, e.H2Error, Code.INTERNAL_ERROR, "connection", "library", False),
    (e.HandshakeError, e.H2Error, Code.CONNECT_ERROR, "connection", "remote", True),
    (e.ALPNError, e.HandshakeError, Code.CONNECT_ERROR, "connection", "remote", False),
    (e.ConnectError, e.H2Error, Code.CONNECT_ERROR, "connection", "remote", True),
    (e.ProxyError, e.ConnectError, Code.CONNECT_ERROR, "connection", "remote", False),
    (e.RequestTimeoutError, e.H2Error, Code.CANCEL, "stream", "local", False),
    (e.ProtocolError, e.H2Error, Code.PROTOCOL_ERROR, "connection", "library", False),
    (e.FrameTooLargeError, e.ProtocolError, Code.FRAME_SIZE_ERROR, "connection", "library", False),
    (e.FrameDataMissingError, e.ProtocolError, Code.FRAME_SIZE_ERROR, "connection", "library", False),
    (e.TooManyStreamsError, e.ProtocolError, Code.PROTOCOL_ERROR, "connection", "library", False),
    (e.FlowControlError, e.ProtocolError, Code.FLOW_CONTROL_ERROR, "connection", "library", False),
    (e.StreamIDTooLowError, e.ProtocolError, Code.PROTOCOL_ERROR, "connection", "library", False),
    (e.NoAvailableStreamIDError, e.ProtocolError, Code.PROTOCOL_ERROR, "connection", "library", True),
    (e.NoSuchStreamError, e.ProtocolError, Code.PROTOCOL_ERROR, "stream", "library", False),
    (e.StreamClosedError, e.NoSuchStreamError, Code.STREAM_CLOSED, "stream", "library", False),
    (e.InvalidSettingsValueError, e.ProtocolError, Code.PROTOCOL_ERROR, "connection", "library", False),
    (e.InvalidBodyLengthError, e.ProtocolError, Code.PROTOCOL_ERROR, "stream", "library", False),
    (e.UnsupportedFrameError, e.ProtocolError, Code.PROTOCOL_ERROR, "connection", "library", False),
    (e.RFC1122Error, e.H2Error, Code.PROTOCOL_ERROR, "connection", "local", False),
    (e.DenialOfServiceError, e.ProtocolError, Code.ENHANCE_YOUR_CALM, "connection", "library", False),
    (e.StreamResetError, e.H2Error, Code.CANCEL, "stream", "library", False),
    (e.RequestTooLargeError, e.H2Error, Code.CANCEL, "stream", "local", False),
    (e.ResponseTooLargeError, e.H2Error, Code.CANCEL, "stream", "local", False),
    (e.ConnectionTerminatedError, e.H2Error, Code.NO_ERROR, "connection", "library", False),
]

# What the constructors ask for.
ARGUMENTS: dict[type[H2Error], tuple[object, ...]] = {
    e.StreamIDTooLowError: (3, 5),
    e.NoSuchStreamError: (3,),
    e.StreamClosedError: (3,),
    e.InvalidSettingsValueError: ("wrong", Code.PROTOCOL_ERROR),
    e.InvalidBodyLengthError: (5, 3),
}


def made(kind: type[H2Error], **details: object) -> H2Error:
    return kind(*ARGUMENTS.get(kind, ("message",)), **details)


def test_every_error_of_the_module_is_in_the_table_above() -> None:
    classes = {thing for thing in vars(e).values() if isinstance(thing, type) and issubclass(thing, Exception)}
    assert classes == {row[0] for row in HIERARCHY}


@pytest.mark.parametrize(("kind", "above", "code", "scope", "initiator", "retry"), HIERARCHY)
def test_what_an_error_says_of_itself(
    kind: type[H2Error], above: type, code: ErrorCodes, scope: str, initiator: str, retry: bool
) -> None:
    error = made(kind)
    assert kind.__bases__[0] is above
    assert (error.error_code, error.scope, error.initiator, error.safe_to_retry) == (code, scope, initiator, retry)
    assert kind.__doc__


@pytest.mark.parametrize("kind", [row[0] for row in HIERARCHY if row[0] is not e.InvalidSettingsValueError])
def test_an_error_can_say_something_else(kind: type[H2Error]) -> None:
    plain = made(kind)
    error = made(kind, error_code=0xBAD, scope="stream", initiator="remote", safe_to_retry=True)
    assert (error.error_code, error.scope, error.initiator, error.safe_to_retry) == (0xBAD, "stream", "remote", True)
    assert str(error) == str(plain)
    assert made(kind).safe_to_retry is plain.safe_to_retry


def test_an_error_may_name_its_stream() -> None:
    assert H2Error("x").stream_id is None
    assert H2Error("x", stream_id=7).stream_id == 7
    assert e.NoSuchStreamError(7).stream_id == 7
    assert e.StreamIDTooLowError(3, 5).stream_id == 3


@pytest.mark.parametrize("kind", [e.StreamIDTooLowError, e.InvalidSettingsValueError, e.InvalidBodyLengthError])
def test_wrong_values_are_value_errors_too(kind: type[H2Error]) -> None:
    assert issubclass(kind, ValueError)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ProtocolError("what happened"), "what happened"),
        (e.StreamIDTooLowError(3, 5), "stream ID 3 is not above 5, the highest one used"),
        (e.NoSuchStreamError(3), "no stream 3"),
        (e.NoSuchStreamError(3, "it never was"), "it never was"),
        (e.StreamClosedError(3), "stream 3 is closed"),
        (e.StreamClosedError(3, "you closed it"), "you closed it"),
        (e.InvalidBodyLengthError(5, 3), "content-length says 5 bytes, the body has 3"),
        (e.InvalidSettingsValueError("too large", Code.FLOW_CONTROL_ERROR), "too large"),
    ],
)
def test_messages(error: H2Error, message: str) -> None:
    assert str(error) == message


def test_details_of_single_errors() -> None:
    assert e.StreamIDTooLowError(3, 5).max_stream_id == 5
    body = e.InvalidBodyLengthError(5, 3)
    assert (body.expected_length, body.actual_length) == (5, 3)
    assert e.InvalidSettingsValueError("x", Code.FLOW_CONTROL_ERROR).error_code is Code.FLOW_CONTROL_ERROR
    ended = e.ConnectionTerminatedError("x")
    assert (ended.last_stream_id, ended.additional_data) == (None, b"")


def test_rfc9113_7_error_codes() -> None:
    assert [code.value for code in ErrorCodes] == list(range(14))
    assert ErrorCodes.HTTP_1_1_REQUIRED == 0xD
    assert error_code_from_int(8) is ErrorCodes.CANCEL
    assert error_code_from_int(0xE) == 0xE
    assert type(error_code_from_int(0xFFFF_FFFF)) is int
