"""A decoded field block, with what was found out about it, and how far it is checked: repeats of a block share one."""

from __future__ import annotations

import attrs

from ..headers import Headers, trusted_headers
from .field_rules import Fields, Malformed, check_trailers_untrusted, join_cookies
from .limits import MAX_PRIORITY_OCTETS, Excess, held_size
from .request_rules import RequestHead, parse_request_untrusted, read_request_unchecked
from .response_rules import ResponseHead, parse_response_untrusted, read_response_unchecked

__all__ = ["FIELD_SIZE", "LITERAL_SIZE", "STRICT", "FieldSection", "InboundRules"]

# What CPython takes to remember a field: its places in the section and in the Request that is made of it; a literal's
# own tuple and strings.
FIELD_SIZE = 17
LITERAL_SIZE = 130


@attrs.frozen
class InboundRules:
    """How far what is received is checked and mended before anybody sees it.

    Attributes:
        validate: field sections by RFC 9113 section 8.2 and 8.3; without it, what the protocol needs is read from them.
        join_cookies: cookie crumbs become one field (8.2.3).
        settings_first: the peer's first frame has to be SETTINGS (3.4).
        return_padding: padding is credit again on receipt (6.1); without it the user acknowledges it with the content.
        hold_headers: header sections count as held for the user until they are released.
        explain_goaway: the GOAWAY for a connection error says in its debug data what was wrong (6.8).
    """

    validate: bool = True
    join_cookies: bool = True
    return_padding: bool = True
    settings_first: bool = True
    hold_headers: bool = True
    explain_goaway: bool = True


STRICT = InboundRules()


class FieldSection:
    """A decoded field block, with what was found out about it. Shared by repeats: nobody changes it.

    Attributes:
        fields: the raw pairs, in order.
        oversized: why it is more than we accept, or None.
        size: octets that it takes to hold `headers`, counted as for SETTINGS_MAX_HEADER_LIST_SIZE.
        joined_size: octets that joining the cookies took; None until `headers` was asked for, which is done only of a
            section that was found well-formed.
    """

    __slots__ = (
        "_distinct",
        "_headers",
        "_priority",
        "_request",
        "_response",
        "_rules",
        "_telling",
        "fields",
        "joined_size",
        "oversized",
        "size",
    )

    def __init__(
        self,
        fields: Fields,
        oversized: Excess | None,
        rules: InboundRules = STRICT,
        size: int = 0,
        telling: Fields | None = None,
    ) -> None:
        self._rules = rules
        self.fields = fields
        self._telling = telling = fields if telling is None else telling
        self.oversized = oversized
        self.joined_size: int | None = None
        self._headers: Headers | None = None
        # One pass at C's speed spares most sections those that look for what may come twice, or is there at all.
        values = dict(telling)
        self._distinct = len(values) == len(telling)
        self._priority: tuple[bytes | None] | None = (values.get(b"priority"),) if self._distinct else None
        joins = oversized is None and rules.join_cookies and not self._distinct
        self.size = held_size(telling, size) if joins else size
        self._request: tuple[bool, RequestHead] | None = None
        self._response: tuple[bool, ResponseHead] | None = None

    @property
    def headers(self) -> Headers:
        """The fields for the user, with cookie crumbs joined (RFC 9113 section 8.2.3)."""
        if self._headers is not None:
            return self._headers
        fields = self.fields
        if self._rules.join_cookies and not self._distinct:
            fields = join_cookies(fields)
        self._headers = headers = trusted_headers(fields)
        self.joined_size = 0
        if fields is not self.fields:
            self.joined_size = LITERAL_SIZE + FIELD_SIZE * len(fields) + len(dict(fields)[b"cookie"])
        self._telling = self.fields  # judged by now: what is remembered of a section does not hold them twice
        return headers

    @property
    def priority(self) -> bytes | None:
        """The value of the priority fields, joined if there are several (RFC 9218 section 5).

        None without one, and where they are too long to be joined.
        """
        if self._priority is not None:
            return self._priority[0]
        values = [value for name, value in self.fields if name == b"priority"]
        if len(values) > 1:  # what is joined is not kept
            return b", ".join(values) if sum(map(len, values)) <= MAX_PRIORITY_OCTETS else None
        self._priority = (values[0] if values else None,)
        return self._priority[0]

    def request(self, *, extended_connect: bool) -> RequestHead | Malformed:
        """What `parse_request_untrusted` says of it."""
        if not self._rules.validate:
            return read_request_unchecked(self.fields)
        if self._request is not None and self._request[0] is extended_connect:
            return self._request[1]
        head = parse_request_untrusted(self.fields, self._telling, extended_connect=extended_connect)
        if type(head) is RequestHead:
            self._request = extended_connect, head
        return head

    def response(self, *, to_connect: bool) -> ResponseHead | Malformed:
        """What `parse_response_untrusted` says of it."""
        if not self._rules.validate:
            return read_response_unchecked(self.fields)
        if self._response is not None and self._response[0] is to_connect:
            return self._response[1]
        head = parse_response_untrusted(self.fields, self._telling, to_connect=to_connect)
        if type(head) is ResponseHead:
            self._response = to_connect, head
        return head

    def trailers(self) -> Malformed | None:
        """What `check_trailers_untrusted` says of it."""
        return check_trailers_untrusted(self.fields, self._telling) if self._rules.validate else None
