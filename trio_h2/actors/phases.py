"""The phases of a connection, and what moves it from one to the next.

All changes of phase are in `TRANSITIONS`, and no role is here: a client begins with its preface, and so never is in
`LOOKING` when anything else happens. A step that has no cell changes nothing: what ends a connection may come about
more than once, and the first of it counts.

A connection has two failures. Its `refusal` says why nothing new begins on it, while what is open may still finish; its
`cause` says why everything on it is over. The first of them sticks, so once there is a cause the two are the same.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

import trio

from ..exceptions import H2Error, InternalError

__all__ = ["TRANSITIONS", "ConnectionPhase", "Life", "Step"]


class ConnectionPhase(enum.Enum):
    """How far a connection has come."""

    LOOKING = enum.auto()  # we have said nothing: a server in the clear looks at the client's first octets
    HANDSHAKE = enum.auto()  # our preface is on its way, the peer's SETTINGS are to come
    OPEN = enum.auto()
    DRAINING = enum.auto()  # nothing new of ours begins, and what is open may finish
    ENDING = enum.auto()  # all is over: what is cut is written, and the transport is closed gently
    ANSWERING_HTTP1 = enum.auto()  # all is over, and the client is told so in HTTP/1.1
    ABANDONED = enum.auto()  # all is over, and nobody is there to write to
    CLOSED = enum.auto()  # the transport is closed, and only code of the user may still run


class Step(enum.Enum):
    """What moves a connection."""

    PREFACE_SENT = enum.auto()
    HTTP1_SEEN = enum.auto()
    SETTINGS_RECEIVED = enum.auto()
    DRAIN = enum.auto()  # one side said GOAWAY, or we cannot write any more
    END = enum.auto()
    GIVE_UP = enum.auto()  # the peer takes nothing, or is there no more
    TRANSPORT_CLOSED = enum.auto()


_P = ConnectionPhase

TRANSITIONS: Mapping[ConnectionPhase, Mapping[Step, ConnectionPhase]] = {
    _P.LOOKING: {
        Step.PREFACE_SENT: _P.HANDSHAKE,
        Step.HTTP1_SEEN: _P.ANSWERING_HTTP1,
        Step.END: _P.ENDING,
    },
    _P.HANDSHAKE: {
        Step.SETTINGS_RECEIVED: _P.OPEN,
        Step.DRAIN: _P.DRAINING,
        Step.END: _P.ENDING,
    },
    _P.OPEN: {
        Step.DRAIN: _P.DRAINING,
        Step.END: _P.ENDING,
    },
    _P.DRAINING: {
        Step.END: _P.ENDING,
    },
    _P.ENDING: {
        Step.GIVE_UP: _P.ABANDONED,
        Step.TRANSPORT_CLOSED: _P.CLOSED,
    },
    _P.ANSWERING_HTTP1: {
        Step.TRANSPORT_CLOSED: _P.CLOSED,
    },
    _P.ABANDONED: {
        Step.TRANSPORT_CLOSED: _P.CLOSED,
    },
    _P.CLOSED: {},
}

_BEGINS = frozenset((_P.LOOKING, _P.HANDSHAKE, _P.OPEN))


class Life:
    """Where one connection is, and why. Owner of every field: this object.

    Attributes:
        phase: how far it has come.
        begins: whether something new may begin.
        refusal: why nothing new begins on it, once that is so.
        cause: why everything on it is over, once that is so.
        settings_received: set when the peer's first SETTINGS are in force, or never will be.
        drained: set when a shutdown has left no stream but those whose handlers asked for it, and with `closed`.
        closed: set when the transport is closed.
        spoke_http1: Whether the client is one of HTTP/1.x.
    """

    def __init__(self) -> None:
        self.phase = ConnectionPhase.LOOKING
        self.begins = True
        self.refusal: H2Error | None = None
        self.cause: H2Error | None = None
        self.settings_received = trio.Event()
        self.drained = trio.Event()
        self.closed = trio.Event()
        self.spoke_http1 = False

    def step(self, step: Step) -> bool:
        """Move as the table says. Whether that is to another phase."""
        target = TRANSITIONS[self.phase].get(step)
        if target is None:
            return False
        self.phase = target
        self.begins = target in _BEGINS
        if target is ConnectionPhase.ANSWERING_HTTP1:
            self.spoke_http1 = True
        elif target is ConnectionPhase.CLOSED:
            self.drained.set()
            self.closed.set()
        return True

    def receive_settings(self) -> bool:
        """The peer's SETTINGS are in force. Whether they are its first."""
        first = not self.settings_received.is_set()
        self.settings_received.set()
        self.step(Step.SETTINGS_RECEIVED)
        return first

    def refuse(self, refusal: H2Error) -> H2Error:
        """Nothing new begins any more, for the reason that is returned: the first there was."""
        self.step(Step.DRAIN)
        if self.refusal is None:
            self.refusal = refusal
        return self.refusal

    def end(self, cause: H2Error) -> H2Error:
        """All is over, for the reason that is returned: the first there was."""
        self.step(Step.END)
        if self.refusal is None:
            self.refusal = cause
        self.cause = self.refusal
        self.settings_received.set()
        return self.cause

    def blame(self, bug: InternalError) -> None:
        """A bug of ours is told whatever came before it."""
        self.refusal = bug
        if self.cause is not None:
            self.cause = bug
