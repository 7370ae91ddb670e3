"""What apps send, checked: the usual shapes have a fast path, which must not differ from the slow one."""

from __future__ import annotations

from collections import UserDict
from typing import Any

import pytest

from trio_h2.adapters.asgi import mending
from trio_h2.adapters.asgi.app_messages import checked_fields, message_type

MESSAGES = (
    {"type": "http.response.start", "status": 200},
    {"type": "http.response.body"},
    {"status": 200},
    {"type": None},
    {"type": 200},
    {"type": b"http.response.start"},
)

FIELDS: tuple[list[Any], ...] = (
    [],
    [(b"content-type", b"text/plain")],
    [[b"Content-Type", b" text/plain\t"], (b"x", bytearray(b"y"))],
    [(b"x", b"1"), (b"x", b"2")],
    [("x", b"1")],
    [(b"x", "1")],
    [(b"x",)],
    [b"x", (b"x", b"1")],
    [None],
)


def outcome(call: Any, *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except Exception as error:
        return type(error), str(error)


@pytest.mark.parametrize("message", MESSAGES)
def test_a_dict_is_taken_as_any_mapping_is(message: dict[str, Any]) -> None:
    assert outcome(message_type, message) == outcome(message_type, UserDict(message))


@pytest.mark.parametrize("fields", FIELDS)
def test_a_list_of_fields_is_taken_as_any_iterable_is(fields: list[Any]) -> None:
    message = {"type": "http.response.start", "headers": fields}
    assert outcome(checked_fields, message) == outcome(checked_fields, message | {"headers": tuple(fields)})


@pytest.mark.parametrize("server", [None, b"x"])
@pytest.mark.parametrize("status", [200, 204, 304])
@pytest.mark.parametrize(
    "names",
    [(), ("content-type",), ("content-length",), ("date",), ("server", "x"), ("connection", "upgrade", "x", "date")],
)
def test_fields_with_nothing_to_mend_are_mended_as_all_are(
    status: int, names: tuple[str, ...], server: bytes | None
) -> None:
    fields = [(name.encode(), b"value") for name in names]
    assert mending.mended_fields(status, fields.copy(), server) == mending._all_mended(status, fields.copy(), server)
