"""`Connection`: what a user sees of an HTTP/2 connection, on either side; `ServerConnection`."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeVar

import attrs
import trio

from . import events as ev
from .actors.addresses import local_address
from .actors.connection_actor import ConnectionActor
from .actors.stream_actor import StreamActor
from .actors.tls_info import TLSInfo, tls_info
from .config import Config
from .protocol.settings import UNLIMITED, RemoteSettings, SettingCodes
from .protocol.windows import InboundWindow
from .wording import number

__all__ = [
    "Connection",
    "ConnectionStatistics",
    "Incoming",
    "PeerSettings",
    "ServerConnection",
    "StreamStatistics",
    "TLSInfo",
    "WindowStatistics",
    "checked_config",
    "checked_grace",
    "counted",
    "start_pushed",
]


@attrs.frozen
class PeerSettings:
    """The peer's settings in force at one moment (RFC 9113 section 6.5.2); what it has not set has its initial value.

    Attributes:
        header_table_size: octets of HPACK's dynamic table for what we send; 4,096 at first.
        enable_push: Whether it takes pushed responses, which only a client can; of a server it is False.
        max_concurrent_streams: how many streams we may have open at once; None while it has set no limit.
        initial_window_size: octets of one stream's body that we may send before it gives credit; 65,535 at first.
        max_frame_size: the largest frame payload it accepts, in octets; 16,384 at first.
        max_header_list_size: the largest field section it says it accepts, in octets, and 32 for each field; None
            while it has set no limit.
        enable_connect_protocol: Whether it knows extended CONNECT (RFC 8441), as servers say; False at first.
        no_rfc7540_priorities: Whether it ignores the priorities of RFC 7540 (RFC 9218 section 2.1); False at first.
    """

    header_table_size: int
    enable_push: bool
    max_concurrent_streams: int | None
    initial_window_size: int
    max_frame_size: int
    max_header_list_size: int | None
    enable_connect_protocol: bool
    no_rfc7540_priorities: bool


@attrs.frozen
class WindowStatistics:
    """One flow-control window we give, in octets: available + held + unannounced == target.

    Attributes:
        available: what the peer may send now.
        held: received, and kept back from the peer because it is unread.
        unannounced: read, and not yet told to the peer.
        target: what they add up to.
    """

    available: int
    held: int
    unannounced: int
    target: int


@attrs.frozen
class StreamStatistics:
    """One stream, at this moment.

    Attributes:
        stream_id: its ID, or None while it waits for a slot.
        method: its request's, `"GET"` and the like.
        path: its request's path without the query, as in lines that are logged; of CONNECT the host and port.
        since: when its request came, or was made, on trio's clock (`trio.current_time()`).
        state: RFC 9113 section 5.1's word for its state, or `"WAITING"`; never `"CLOSED"`.
        waits_for: `"slot"`, `"stream window"`, `"connection window"`, `"transport"`, `"peer"` (its reader waits for
            the peer to send), `"application"` (there is data that nobody reads), or None.
        waits_since: when that began, on trio's clock; None where `waits_for` is. A sending call's wait begins with
            the call, whatever it waits for meanwhile.
        unread: octets of its body that nobody has taken.
        inbound_window: the window we give the peer on it, or None while it waits.
        outbound_window: octets that the peer lets us send on it; may be negative.
    """

    stream_id: int | None
    method: str
    path: str
    since: float
    state: str
    waits_for: str | None
    waits_since: float | None
    unread: int
    inbound_window: WindowStatistics | None
    outbound_window: int


@attrs.frozen
class ConnectionStatistics:
    """The connection at this moment.

    Attributes:
        streams: every stream that is not closed, by ID; those that wait for a slot last, in order.
        inbound_window: the connection window we give the peer.
        outbound_window: octets that the peer lets us send on all streams together.
        unread: octets of bodies that nobody has taken, over all streams.
        bytes_received: octets taken from the transport.
        bytes_sent: octets given to the transport.
        write_buffered: octets that are cut into frames and not given to the transport yet.
        dropped_events: connection events that nobody took in time.
        limits_hit: how often the peer went over which limit, by the name of its field in `Config`; those it kept to
            are not in it.
    """

    streams: tuple[StreamStatistics, ...]
    inbound_window: WindowStatistics
    outbound_window: int
    unread: int
    bytes_received: int
    bytes_sent: int
    write_buffered: int
    dropped_events: int
    limits_hit: Mapping[str, int] = attrs.field(hash=False)


def start_pushed(connection: ServerConnection, promised: StreamActor) -> StreamActor:
    """Give a stream that was promised on this connection its task."""
    return connection._actor.start_pushed_stream(promised)


def checked_grace(grace: float) -> float:
    """What a caller gave as `grace`. Raises TypeError, ValueError."""
    if type(grace) is float and grace >= 0:
        return grace
    if isinstance(grace, bool) or not isinstance(grace, int | float):
        raise TypeError(f"grace must be a number of seconds, not {type(grace).__name__}")
    if math.isnan(grace) or grace < 0:
        raise ValueError(f"grace must be 0 or more seconds, not {number(grace)}")
    return grace


def checked_config(config: Config | None) -> Config:
    """What a caller gave as `config`, or the defaults. Raises TypeError."""
    if config is not None and not isinstance(config, Config):
        raise TypeError(f"config must be a Config, not {type(config).__name__}")
    return Config() if config is None else config


def counted(count: int, noun: str) -> str:
    """So many of them, in words."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


T = TypeVar("T")


class Incoming(AsyncIterator[T]):
    """Iterates what a call gives until that is None. No generator: it may be left half-way without a warning."""

    def __init__(self, receive: Callable[[], Awaitable[T | None]]) -> None:
        self._receive = receive

    async def __anext__(self) -> T:
        item = await self._receive()
        if item is None:
            raise StopAsyncIteration
        return item


def _peer_settings(settings: RemoteSettings) -> PeerSettings:
    streams = settings.max_concurrent_streams
    return PeerSettings(
        settings.header_table_size,
        bool(settings.enable_push),
        None if streams == UNLIMITED else streams,
        settings.initial_window_size,
        settings.max_frame_size,
        settings.max_header_list_size,
        bool(settings.enable_connect_protocol),
        bool(settings.get(SettingCodes.NO_RFC7540_PRIORITIES, 0)),
    )


def _window(window: InboundWindow) -> WindowStatistics:
    return WindowStatistics(window.available, window.held, window.unannounced, window.target)


def _stream(actor: StreamActor) -> StreamStatistics:
    state = actor.state
    window = actor.inbound_window
    method, path = actor.request_line
    return StreamStatistics(
        stream_id=actor.stream_id,
        method=method,
        path=path,
        since=actor.since,
        state="WAITING" if state is None else state.name,
        waits_for=actor.waits_for,
        waits_since=actor.waits_since,
        unread=actor.inbox.unread,
        inbound_window=None if window is None else _window(window),
        outbound_window=actor.outbound_window,
    )


class Connection:
    """An HTTP/2 connection: what client and server connections share.

    Where calls raise ConnectionTerminatedError because the connection ended, and it was a rule that the peer broke or a
    bug in trio_h2 that ended it, they raise the ProtocolError or the InternalError that says so. Each is an H2Error.
    """

    def __init__(self, actor: ConnectionActor) -> None:
        self._actor = actor
        # Now, because a connection that is closed has forgotten them.
        self._tls = tls_info(actor.transport)
        self._local_address = local_address(actor.transport)

    def __repr__(self) -> str:
        closed = self._actor.life.closed.is_set()
        state = "closed" if closed else counted(len(self._actor.streams.in_order), "stream")
        return f"<{type(self).__name__} with {self.peer_address or 'its peer'}: {state}>"

    async def ping(self) -> float:
        """Send a PING and wait for the answer; the round-trip time in seconds (RFC 9113 section 6.7).

        Raises:
            ConnectionTerminatedError: the connection ended before the answer came.
        """
        return await self._actor.ping()

    async def wait_closed(self) -> None:
        """Wait until the connection has ended, whoever ended it, and its transport is closed."""
        await self._actor.life.closed.wait()

    @property
    def accepting(self) -> bool:
        """Whether a new stream can be opened: not after GOAWAY, at the last stream ID, or when the connection ended."""
        return self._actor.ending.accepting

    def events(self) -> AsyncIterator[ev.Event]:
        """What concerns the connection and no single stream: settings, PINGs, GOAWAY, unknown frames.

        They wait for their reader in bounded number and octets (`Config.max_queued_events`, `max_event_octets`); what
        comes beyond is dropped and counted in `statistics().dropped_events`. Ends when the connection has ended.
        """
        return Incoming(self._actor.events.next)

    @property
    def peer_settings(self) -> PeerSettings | None:
        """The peer's settings in force now, which later SETTINGS may change; None before its first SETTINGS.

        A handler never meets None. A client does at first; `await settings_received()` waits.
        """
        settings = self._actor.machine.remote_settings
        return _peer_settings(settings) if settings.received else None

    def statistics(self) -> ConnectionStatistics:
        """Streams, windows and counts at this moment."""
        actor = self._actor
        machine = actor.machine
        return ConnectionStatistics(
            streams=tuple(_stream(stream) for stream in actor.streams.in_order),
            inbound_window=_window(machine.inbound),
            outbound_window=machine.outbound.available,
            unread=machine.inbound.unread,
            bytes_received=actor.bytes_received,
            bytes_sent=actor.writer.bytes_sent,
            write_buffered=machine.outbox.size,
            dropped_events=actor.events.dropped,
            limits_hit=machine.limits_hit.copy(),
        )

    @property
    def peer_address(self) -> Any:
        """The peer's address, as `socket.getpeername` gives it, or as the transport says; None if it has none."""
        return self._actor.context.peer_address

    @property
    def local_address(self) -> Any:
        """Our own address, as `socket.getsockname` gives it, or as the transport says; None if it has none."""
        return self._local_address

    @property
    def transport(self) -> trio.abc.Stream:
        """What carries it, for what that has beyond `trio.abc.Stream`: not to be read, written or closed."""
        return self._actor.transport

    @property
    def tls(self) -> TLSInfo | None:
        """What TLS settled on, or None without TLS, and before its handshake."""
        if self._tls is None:
            self._tls = tls_info(self._actor.transport)
        return self._tls


class ServerConnection(Connection):
    """A server's side of a connection, as `ServerStream.connection` and `H2Server.connections` give it."""

    async def shutdown(self, grace: float = 10) -> None:
        """End this connection, and no other, gracefully, and return when its transport is closed.

        The client is told in two phases, as by `H2Server.shutdown`, and open streams may finish; what is still open at
        the end of `grace` is cancelled. That goes on if this call is cancelled. A second call joins the first, and the
        sooner end of both counts. Called in one of the connection's handlers it returns when every other stream has
        ended, or `grace` is over; its own may then answer.

        Args:
            grace: seconds, 10 by default.

        Raises:
            ValueError, TypeError: `grace` is not a number of seconds.
        """
        deadline = trio.current_time() + checked_grace(grace)
        asking = self._actor.streams.asking()
        self._actor.begin_shutdown(deadline)
        if asking is None:
            await self._actor.life.closed.wait()
        else:
            with asking:
                await self._actor.life.drained.wait()
