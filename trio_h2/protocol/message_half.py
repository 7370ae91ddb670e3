"""The message in one direction of a stream (RFC 9113 section 8.1): how far it has come, and its content-length."""

from __future__ import annotations

import enum

__all__ = ["MessageHalf", "Phase"]


class Phase(enum.IntEnum):
    """How far the message in one direction of a stream has come (RFC 9113 section 8.1)."""

    HEAD = 0  # the header section is still to come; interim responses may come before it
    BODY = 1
    DONE = 2


# By names of their own: to look one up in its class takes CPython 3.11 longer than its use.
_BODY, _DONE = Phase.BODY, Phase.DONE


class MessageHalf:
    """The message in one direction: its phase, and its body against its content-length (8.1.1).

    Attributes:
        expected: what content-length promises, or None when it promises nothing.
        seen: octets of body so far, without padding.
        interim: 1xx responses so far.
        interim_octets: the size of their header sections.
        bodiless: Whether the message has no content by definition (a HEAD response, 204, 304): its
            content-length then promises nothing and no octet of DATA may come.
        no_content: Whether it is a 204, which says so; HEAD and 304 leave out a body that a GET would have got.
        status: of the final response; None before its header section, and in a request.
    """

    __slots__ = ("bodiless", "expected", "interim", "interim_octets", "no_content", "phase", "seen", "status")

    def __init__(self, phase: Phase = Phase.HEAD) -> None:
        self.phase = phase
        self.expected: int | None = None
        self.seen = 0
        self.interim = self.interim_octets = 0
        self.bodiless = False
        self.no_content = False
        self.status: int | None = None

    def begin(
        self,
        content_length: int | None,
        *,
        status: int | None = None,
        bodiless: bool = False,
        no_content: bool = False,
    ) -> None:
        """The header section is there, with this status if it is a response's: the body follows."""
        self.phase = _BODY
        self.status = status
        self.bodiless = bodiless
        self.no_content = no_content
        self.expected = 0 if bodiless else content_length

    def expect_anything(self) -> None:
        """Whatever content-length says, the body is not held to it."""
        self.expected = None

    def be_whole(self, content_length: int | None, octets: int = 0, status: int | None = None) -> None:
        """All of it is there, with a body of so many octets: `begin`, `count` and `end` in one."""
        self.phase = _DONE
        self.expected = content_length
        self.seen = octets
        self.status = status

    def count(self, octets: int) -> None:
        """So many more octets of body were sent, or came."""
        self.seen += octets

    def receive(self, octets: int) -> bool:
        """So many more octets of body came; False, and nothing is counted, if content-length promises less."""
        seen = self.seen + octets
        if self.expected is not None and seen > self.expected:
            return False
        self.seen = seen
        return True

    def finish(self, octets: int) -> bool:
        """So many more octets came, and the end; False, and nothing is noted, if content-length promises another."""
        seen = self.seen + octets
        if self.expected is not None and seen != self.expected:
            return False
        self.seen = seen
        self.phase = _DONE
        return True

    def has_room(self, octets: int) -> bool:
        """Whether content-length allows so many more octets of body."""
        return self.expected is None or self.seen + octets <= self.expected

    def count_interim(self, size: int) -> None:
        """One more 1xx response came, with a header section of this size."""
        self.interim += 1
        self.interim_octets += size

    def end(self) -> None:
        """Nothing more belongs to the message."""
        self.phase = _DONE

    @property
    def too_short(self) -> bool:
        """Whether the body would be shorter than promised if it ended now."""
        return self.expected is not None and self.seen != self.expected
