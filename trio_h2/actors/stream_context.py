"""StreamContext: what the streams of one connection share, and all that they know of it.

It points at no stream and at no connection actor, so a stream that has ended is freed with its last user.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio

from ..config import Config
from ..protocol.connection_machine import ConnectionMachine
from ..protocol.stream_machine import StreamMachine
from ..tracer import Tracer
from .admission import Slots
from .logs import peer_name
from .spare_channels import SpareChannels
from .writer import Writer

__all__ = ["StreamContext"]


class StreamContext:
    """One for each connection. No field of it changes.

    Attributes:
        machine: the protocol's state.
        writer: the task that writes.
        slots: a client's streams that wait to open.
        channels: what the inboxes of streams that have ended leave to those that begin.
        client: Whether this side is the client.
        now: trio's clock, bound: what `trio.current_time()` asks.
        peer_address: the peer's socket address, for what is logged; None if the transport has none.
        on_handler_error: what a server calls with what a handler raised, and a name for that handler, in place of
            logging an Exception and letting another BaseException propagate.
        tracer: tells a user's Trace, if there is one.
    """

    __slots__ = (
        "channels",
        "client",
        "config",
        "machine",
        "now",
        "on_handler_error",
        "peer_address",
        "slots",
        "tracer",
        "writer",
    )

    def __init__(
        self,
        machine: ConnectionMachine,
        writer: Writer,
        slots: Slots[Any],  # of StreamActor, which is made of this
        config: Config,
        *,
        client: bool,
        peer_address: Any,
        on_handler_error: Callable[[str, BaseException], None] | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self.machine = machine
        self.writer = writer
        self.slots = slots
        self.channels = SpareChannels()
        self.config = config
        self.client = client
        self.now = trio.lowlevel.current_clock().current_time
        self.peer_address = peer_address
        self.on_handler_error = on_handler_error
        self.tracer = tracer

    @property
    def peer(self) -> str:
        """Who the peer is, for what is logged."""
        return peer_name(self.peer_address)

    def give_credit(self, stream: StreamMachine, count: int) -> None:
        """The application took, or threw away, octets of a stream (invariant 4)."""
        if self.machine.acknowledge(stream, count):
            self.writer.wake()
