"""The watch: the task that sleeps until a deadline of the connection passes, and sees to it then."""

from __future__ import annotations

import math

import trio

from ..exceptions import ErrorCodes
from ..protocol.verdicts import ConnectionFailure
from .deadlines import BodyRates, Deadlines, Overdue
from .ending import Ending
from .live_streams import LiveStreams
from .logs import logger
from .stream_actor import StreamActor
from .stream_context import StreamContext

__all__ = ["Watch"]

KEEPALIVE_PING = b"keepaliv"


class Watch:
    """What is done about each deadline of `deadlines.py`. Owner of every field: this object."""

    def __init__(self, context: StreamContext, deadlines: Deadlines, streams: LiveStreams, ending: Ending) -> None:
        self._context = context
        self._deadlines = deadlines
        self._streams = streams
        self._ending = ending
        self._body_rates = BodyRates(context.config)

    async def run(self) -> None:
        """See to every deadline, as long as there is one."""
        while (deadline := self._deadlines.next(busy=bool(self._streams))) != math.inf:
            await trio.sleep_until(deadline)
            # What came while something held up the loop is there: the reader takes it first.
            await trio.lowlevel.checkpoint()
            overdue = self._deadlines.passed(busy=bool(self._streams))
            if overdue is not None:
                self._see_to(overdue)

    def _see_to(self, overdue: Overdue) -> None:
        ending = self._ending
        if overdue is Overdue.FIRST_SETTINGS:
            ending.give_up("the peer sent no SETTINGS in time")
        elif overdue is Overdue.SETTINGS_ACKNOWLEDGEMENT:
            reason = "our SETTINGS were not acknowledged in time"
            ending.rule_broken(ConnectionFailure(ErrorCodes.SETTINGS_TIMEOUT, reason))
        elif overdue is Overdue.WRITE:
            rate = self._context.config.min_send_rate
            self._count("min_send_rate", f"it takes less than {rate:g} octets a second")
            ending.give_up("the peer does not read what is sent to it")
        elif overdue is Overdue.KEEPALIVE_ANSWER:
            ending.give_up("the peer did not answer a keepalive PING")
        elif overdue is Overdue.KEEPALIVE:
            self._deadlines.pinged()
            self._context.machine.ping(KEEPALIVE_PING)
            self._context.writer.wake()
        elif overdue is Overdue.IDLE:
            ending.idle("the connection was idle")
        elif overdue is Overdue.STALL:
            self._reset_stalled()
        elif overdue is Overdue.BODIES:
            self._reset_slow_bodies()

    def _reset_stalled(self) -> None:
        timeout = self._context.config.stall_timeout
        for stream_id in self._context.writer.waiting.stalled(timeout):
            actor = self._streams.get(stream_id)
            if actor is not None:
                self._reset(actor, "stall_timeout", f"the peer gave it no window for {timeout:g} seconds")

    def _reset_slow_bodies(self) -> None:
        self._deadlines.bodies_looked_at()
        rate = self._context.config.min_body_rate
        for actor in self._body_rates.slow(self._streams.opened):
            self._reset(actor, "min_body_rate", f"its body comes at less than {rate:g} octets a second")

    def _reset(self, actor: StreamActor, limit: str, reason: str) -> None:
        self._count(limit, f"stream {actor.stream_id}: {reason}")
        self._streams.reset(actor.reset_slow(reason))

    def _count(self, limit: str, reason: str) -> None:
        """The peer was slower than a field of Config allows: counted each time, and logged once."""
        machine = self._context.machine
        machine.count_limit(limit)
        if machine.limits_hit[limit] == 1:
            logger.info("%s went over Config.%s: %s", self._context.peer, limit, reason)
