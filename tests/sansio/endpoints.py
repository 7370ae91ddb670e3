"""One program in both compositions of the protocol core: over H2Connection, and over the actors.

An `Endpoint` is the side under test. Its peer is a script of octets, and its program does what it is told to, call by
call. What is to be held against each other is kept in the same shape by both: the frames that were sent, what each
stream's reader was told, what each call came to, what the connection told its user, and the protocol's state.

Actors do for a program what in memory it has to do for itself, and `MemoryEndpoint` is such a program. It waits for
flow-control windows, and for the peer's SETTINGS_MAX_CONCURRENT_STREAMS; it stops sending a request whose response has
ended (RFC 9113 section 8.1); it gives up what the peer's GOAWAY gave up, and closes when the rest has ended (6.8); it
gives credit back for what it will not read; and it ends a response as the handler contract says.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import attrs
import hpack
import trio
import trio.testing
from hyperframe.frame import Frame

import trio_h2
from tests.protocol import helpers as h
from tests.sansio.differential import shape
from tests.sansio.guest import GuestRun
from trio_h2 import Config, exceptions
from trio_h2 import events as ev
from trio_h2.protocol.connection_machine import ConnectionMachine
from trio_h2.protocol.message_half import Phase
from trio_h2.protocol.stream_machine import StreamMachine
from trio_h2.sansio import H2Configuration, H2Connection

# What the in-memory engine says of itself when it is not told otherwise.
LIKE_MEMORY = Config(
    initial_window_size=65_535,
    connection_window_size=65_535,
    max_unread=0,
    max_continuations=64,
    max_header_fields=2**31,
    enable_connect_protocol=False,
)
AUTHORITY = "example.org"
ANSWER = b"x" * 100

OF_THE_CONNECTION = (
    ev.AlternativeServiceAvailable,
    ev.ConnectionTerminated,
    ev.PingAckReceived,
    ev.PingReceived,
    ev.RemoteSettingsChanged,
    ev.SettingsAcknowledged,
    ev.UnknownFrameReceived,
)

Token = tuple[Any, ...]


@dataclass(frozen=True)
class Outcome:
    """What a call came to. `error` is a class name, and empty when nothing was raised."""

    error: str = ""
    code: int | None = None
    safe_to_retry: bool = False


DONE = Outcome()
POINTLESS = Outcome("StreamResetError", 0)
"""The response has ended, so the rest of the request is pointless."""

LEFT = Outcome("StreamResetError", 8)
"""The program itself is done with the stream."""


def outcome_of(error: exceptions.H2Error) -> Outcome:
    return Outcome(type(error).__name__, int(error.error_code), error.safe_to_retry)


def token(event: ev.Event) -> Token | None:
    """An event as a stream's reader is told it; None for what may be told or not."""
    match event:
        case ev.InformationalResponseReceived() | ev.ResponseReceived() | ev.TrailersReceived():
            return type(event).__name__, *event.headers
        case ev.DataReceived():
            return "data", len(event.data)
        case ev.StreamEnded():
            return ("ended",)
        case ev.StreamReset():
            return "reset", int(event.error_code), event.remote_reset
    return None


def tell(told: list[Token], one: Token) -> None:
    """However content is cut, it is the same content; empty DATA is none."""
    if one == ("data", 0):
        return
    if one[0] == "data" and told and told[-1][0] == "data":
        one = "data", told.pop()[1] + one[1]
    told.append(one)


def state_of(machine: ConnectionMachine, released: Iterable[int]) -> dict[Any, Any]:
    """What can be seen of the protocol's state at rest. Credit counts whether or not it is announced yet.

    Args:
        released: streams of which nothing is to be seen, because one side may have forgotten them.
    """
    table = machine.table
    seen: dict[Any, Any] = {
        "inbound window": machine.inbound.available + machine.inbound.unannounced,
        "outbound window": machine.outbound.available,
        "IDs": (table.highest_inbound, table.highest_outbound),
        "GOAWAY": machine.goaway_last_stream_id,
        "awaited": machine.local_settings.awaiting_acknowledgement,
    }
    for stream in table:
        if stream.stream_id not in released:
            seen[stream.stream_id] = _state_of_stream(stream)
    return seen


def _state_of_stream(stream: StreamMachine) -> tuple[Any, ...]:
    sending, receiving = stream.sending, stream.receiving
    window = stream.inbound
    return (
        stream.state.name,
        (sending.phase, sending.seen, sending.expected),
        (receiving.phase, receiving.seen, receiving.expected, receiving.interim),
        stream.tunnel,
        stream.outbound.available,
        window.available + window.unannounced,
    )


class Endpoint:
    """A side under test and its program. Streams are named by ID, a client's own by their number from -1 down.

    Attributes:
        frames: all that it sent since they were looked at, with the fields of those that bear any.
        told: what each stream's reader was told.
        outcomes: what each call came to, by its number: the method, the stream, the outcome. Calls that wait are not
            in it.
        events: what the connection told its user.
        handles: the streams that the program has not left yet.
        machine: the protocol's state, if it can be seen yet.
    """

    machine: ConnectionMachine | None

    def __init__(self, *, client: bool) -> None:
        self.client = client
        self.frames: list[tuple[Frame, Any]] = []
        self.told: dict[int, list[Token]] = {}
        self.outcomes: dict[int, tuple[str, int, Outcome]] = {}
        self.events: list[Token] = []
        self.handles: list[int] = []
        self._decoder = hpack.Decoder()
        self._calls = 0
        self._requests = 0

    def _sent(self, octets: bytes) -> None:
        for frame in h.parse(octets):
            fields = getattr(frame, "data", None) if frame.type in (h.HEADERS, h.PUSH_PROMISE) else None
            self.frames.append((frame, None if fields is None else tuple(self._decoder.decode(fields, raw=True))))

    def greet(self, window: int) -> None:
        """The peer's half of the handshake. Its connection window is for all streams of a script."""
        preface = b"" if self.client else h.PREFACE
        self.receive(preface + h.settings() + h.settings_ack() + h.window_update(0, window))

    def next_call(self) -> int:
        self._calls += 1
        return self._calls

    def receive(self, octets: bytes) -> None:
        raise NotImplementedError

    def stream_id(self, handle: int) -> int:
        raise NotImplementedError


# In memory


@dataclass
class Sending:
    """Content that waits for windows."""

    call: int
    method: str
    data: bytes
    end: bool
    offset: int = 0


@dataclass
class Waiting:
    """A header section that waits for the peer's limit of streams."""

    call: int
    method: str
    handle: int
    send: Callable[[], None]


@dataclass
class Reader:
    """One stream's reader in memory.

    Attributes:
        discards: what it has not taken is thrown away, and credit goes back for it.
    """

    reading: bool = False
    discards: bool = False
    ended: bool = False
    unread: deque[tuple[Token, int]] = field(default_factory=deque)


class MemoryEndpoint(Endpoint):
    """A program over H2Connection.

    Attributes:
        over: why each stream of which the program was told so is over.
        failure: why the connection is.
        abandoned: the streams above the last stream ID of the peer's GOAWAY.
    """

    def __init__(self, *, client: bool, push: bool) -> None:
        super().__init__(client=client)
        self.connection = H2Connection(H2Configuration(client_side=client))
        if client:
            self.connection.local_settings.enable_push = int(push)
        self.connection.initiate_connection()
        self.machine = self.connection._machine
        self.over: dict[int, Outcome] = {}
        self.failure: Outcome | None = None
        self.abandoned: set[int] = set()
        self.goaway: ev.ConnectionTerminated | None = None
        self.sending: dict[int, Sending] = {}
        self.waiting: list[Waiting] = []
        self._pings: dict[bytes, int] = {}
        self._ping_number = 0
        self._ids: dict[int, int] = {}
        self._readers: dict[int, Reader] = {}
        self._begun = b""  # of a frame that is not whole yet

    # The peer

    def receive(self, octets: bytes) -> None:
        for piece in self._frames(octets) if self.client else [octets]:
            alone = self.client and not self.handles and not self.waiting
            try:
                events = self.connection.receive_data(piece)
            except exceptions.ProtocolError as error:
                events = list(error.events)
                self.failure = outcome_of(error)
            for event in events:
                self._on(event)
            if self.failure is not None or (alone and self.goaway is not None):
                break  # the connection has ended: the rest of a read is dropped
        if self.failure is not None:
            self._fail_all(self.failure if self.goaway is None else _why_gone(self.goaway))
        self._rest()

    def _frames(self, octets: bytes) -> Iterator[bytes]:
        """What a client is sent, cut where frames end."""
        data, fed, start = self._begun + octets, len(self._begun), 0
        while len(data) - start >= 9 and len(data) - start >= (
            size := 9 + int.from_bytes(data[start : start + 3], "big")
        ):
            yield data[max(start, fed) : start + size]
            start += size
        self._begun = data[start:]
        if len(data) > max(start, fed):
            yield data[max(start, fed) :]

    def _on(self, event: ev.Event) -> None:
        stream_id = getattr(event, "stream_id", 0)
        if isinstance(event, ev.RequestReceived):
            self.handles.append(stream_id)
            self._readers[stream_id] = Reader()
        elif isinstance(event, ev.PushedStreamReceived):
            self.handles.append(event.pushed_stream_id)
            self._readers[event.pushed_stream_id] = Reader()
        elif isinstance(event, ev.StreamReset):
            self._end(stream_id, _why_reset(event))
        elif isinstance(event, ev.ConnectionTerminated):
            self._on_goaway(event)
        elif isinstance(event, ev.PingAckReceived) and event.ping_data in self._pings:
            self.outcomes[self._pings.pop(event.ping_data)] = ("ping", 0, DONE)
        elif isinstance(event, ev.DataReceived):
            padding = event.flow_controlled_length - len(event.data)
            self.connection.acknowledge_received_data(padding, stream_id)
        if isinstance(event, ev.StreamEnded) and self._pointless(stream_id):
            self._drop(stream_id, POINTLESS)
        one = token(event)
        if one is not None and stream_id in self._readers:
            reader = self._readers[stream_id]
            if not reader.ended and stream_id not in self.abandoned:
                reader.unread.append((one, one[1] if one[0] == "data" else 0))
            reader.ended |= one == ("ended",)
        elif isinstance(event, OF_THE_CONNECTION) or (isinstance(event, ev.WindowUpdated) and not stream_id):
            self.events += shape([event])

    def _on_goaway(self, event: ev.ConnectionTerminated) -> None:
        self.goaway = self.goaway or event
        why = _why_gone(event, safe_to_retry=True)
        for stream_id in self.connection._machine.table.live:
            own = (stream_id % 2 == 1) is self.client
            if own and stream_id > event.last_stream_id and stream_id not in self.abandoned:
                self.abandoned.add(stream_id)
                self._end(stream_id, why)
                if stream_id in self._readers and not self._readers[stream_id].ended:
                    self._readers[stream_id].unread.append((("failed", why), 0))
        for one in self.waiting:
            if one.method == "request":
                self.outcomes[one.call] = (one.method, one.handle, why)
        self.waiting = [one for one in self.waiting if one.method != "request"]

    def _fail_all(self, why: Outcome) -> None:
        """The connection is of no use any more."""
        for stream_id, reader in self._readers.items():
            if self.over.setdefault(stream_id, why) is why and not reader.ended:
                reader.unread.append((("failed", why), 0))
        for stream_id in list(self.sending):
            self._drop(stream_id, why)
        unsent = Outcome(why.error, why.code, True)
        for call in self._pings.values():
            self.outcomes[call] = ("ping", 0, unsent)
        for one in self.waiting:
            self.outcomes[one.call] = (one.method, one.handle, unsent if one.method == "request" else why)
        self.waiting.clear()
        self._pings.clear()

    def _end(self, stream_id: int, why: Outcome) -> None:
        """The stream is over: what waits on it fails, and a server's handler is gone; what came can be read."""
        self.over.setdefault(stream_id, why)
        reader = self._readers.get(stream_id)
        if reader is not None:
            reader.discards = not self.client
        self._drop(stream_id, why)
        for one in self.waiting:
            if one.handle == stream_id:
                self.outcomes[one.call] = (one.method, one.handle, why)
        self.waiting = [one for one in self.waiting if one.handle != stream_id]
        if not self.client and stream_id % 2 and stream_id in self.handles:
            self.handles.remove(stream_id)

    def _drop(self, stream_id: int, why: Outcome) -> None:
        sending = self.sending.pop(stream_id, None)
        if sending is not None:
            self.outcomes[sending.call] = (sending.method, self.handle_of(stream_id), why)

    def _rest(self) -> None:
        """Do all that can be done now."""
        self._read_all()
        self._grant()
        for stream_id in list(self.sending):
            self._cut(stream_id)
        if self.client and self.goaway is not None and not self.handles and self.failure is None:
            self.connection.close_connection()
            self.failure = _why_gone(self.goaway)
            self._fail_all(self.failure)
        self._sent(self.connection.data_to_send())

    def _read_all(self) -> None:
        for stream_id, reader in self._readers.items():
            if not reader.reading and not reader.discards:
                continue
            kept = []
            while reader.unread:
                one, length = reader.unread.popleft()
                if length:
                    self.connection.acknowledge_received_data(length, stream_id)
                if reader.reading:
                    tell(self.told.setdefault(stream_id, []), one)
                elif one[0] in ("reset", "failed"):
                    kept.append((one, 0))
            reader.unread.extend(kept)

    def _grant(self) -> None:
        for one in list(self.waiting):
            try:
                if one.method != "request" and one.handle in self.machine.table.live and one.handle % 2 == 0:
                    self._check_promised(one.handle)
                one.send()
            except exceptions.TooManyStreamsError:
                continue
            except exceptions.H2Error as error:
                self.outcomes[one.call] = (one.method, one.handle, outcome_of(error))
            else:
                if one.method == "request":
                    self.outcomes[one.call] = (one.method, one.handle, DONE)
            self.waiting.remove(one)

    def _check_promised(self, stream_id: int) -> None:
        """A promised response does not wait for a client that allows none."""
        if self.machine.table.live[stream_id].reserved:
            self.machine.check_push_limit()

    def _cut(self, stream_id: int) -> None:
        sending = self.sending[stream_id]
        total = len(sending.data)
        while sending.offset < total:
            room = self.connection.local_flow_control_window(stream_id)
            count = min(total - sending.offset, room, self.connection.max_outbound_frame_size, 64 * 1024)
            if count <= 0:
                return
            end = sending.offset + count
            piece = sending.data[sending.offset : end]
            self.connection.send_data(stream_id, piece, end_stream=sending.end and end == total)
            sending.offset = end
        self._drop(stream_id, DONE)

    def _pointless(self, stream_id: int) -> bool:
        """Has the response to an ordinary request of ours ended before the request?"""
        stream = self.connection._machine.table.live.get(stream_id)
        if stream is None or not self.client or stream.tunnel or not stream.can_send:
            return False
        return stream.receiving.phase is Phase.DONE and stream_id not in self.abandoned

    # The program

    def stream_id(self, handle: int) -> int:
        return self._ids.get(handle, 0) if handle < 0 else handle

    def handle_of(self, stream_id: int) -> int:
        return next((handle for handle, one in self._ids.items() if one == stream_id), stream_id)

    def is_tunnel(self, handle: int) -> bool:
        stream = self.connection._machine.table.live.get(self.stream_id(handle))
        return stream is not None and stream.tunnel

    def unread_by_anybody(self, handle: int) -> bool:
        """Has the stream a message to read, and no reader yet?"""
        reader = self._readers.get(self.stream_id(handle))
        return reader is not None and not reader.reading

    def _given_up(self, number: int, method: str, handle: int) -> bool:
        """Does the program know better than to make this call?"""
        stream_id = self.stream_id(handle)
        if stream_id in self.abandoned:
            self.outcomes[number] = (method, handle, DONE if method in ("reset", "close") else self.over[stream_id])
        elif method in ("send", "trailers") and self._pointless(stream_id):
            self.outcomes[number] = (method, handle, POINTLESS)
        return number in self.outcomes

    def _call(self, method: str, handle: int, call: Callable[[int], None]) -> None:
        """Make a call that does not wait."""
        number = self.next_call()
        if self._given_up(number, method, handle):
            self._rest()
            return
        try:
            call(self.stream_id(handle))
        except exceptions.H2Error as error:
            self.outcomes[number] = (method, handle, outcome_of(error))
        else:
            self.outcomes[number] = (method, handle, DONE)
        self._rest()

    def request(self, method: str, fields: h.Fields, end: bool) -> None:
        number = self.next_call()
        self._requests += 1
        handle = -self._requests

        def send() -> None:
            stream_id = self.connection.get_next_available_stream_id()
            self.connection.send_headers(stream_id, fields, end_stream=end)
            self._ids[handle] = stream_id
            self._readers[stream_id] = Reader()
            self.handles.append(handle)

        self.waiting.append(Waiting(number, "request", handle, send))
        self._rest()

    def response(self, handle: int, status: int, end: bool) -> None:
        self._respond("response", handle, [(":status", str(status))], end, b"")

    def respond(self, handle: int) -> None:
        stream = self.connection._machine.table.live.get(handle)
        to_connect = stream is not None and stream.request_method == b"CONNECT"
        bodiless = stream is not None and stream.request_method == b"HEAD"
        length = [] if to_connect else [("content-length", str(len(ANSWER)))]
        self._respond("respond", handle, [(":status", "200"), *length], bodiless, b"" if bodiless else ANSWER)

    def _respond(self, method: str, handle: int, fields: list[tuple[str, str]], end: bool, body: bytes) -> None:
        number = self.next_call()
        if self._given_up(number, method, handle):
            return

        def send() -> None:
            self.connection.send_headers(handle, fields, end_stream=end)
            if body:
                self.sending[handle] = Sending(number, method, body, True)
            else:
                self.outcomes[number] = (method, handle, DONE)

        self.waiting.append(Waiting(number, method, handle, send))
        self._rest()

    def send(self, handle: int, data: bytes) -> None:
        number = self.next_call()
        stream_id = self.stream_id(handle)
        stream = self.connection._machine.table.live.get(stream_id)
        if self._given_up(number, "send", handle):
            return
        if stream is not None and stream.discards_body:  # RFC 9110 section 6.4.1: taken, and left out
            self.outcomes[number] = ("send", handle, DONE)
            self._rest()
            return
        try:
            if stream is None or not stream.can_send:
                self.connection.send_data(stream_id, b"")  # which is refused
            else:
                stream.check_body(len(data), end_stream=False)
                self.sending[stream_id] = Sending(number, "send", data, False)
        except exceptions.H2Error as error:
            self.outcomes[number] = ("send", handle, outcome_of(error))
        self._rest()

    def trailers(self, handle: int) -> None:
        self._call("trailers", handle, lambda i: self.connection.send_headers(i, [("x-sum", "1")], end_stream=True))

    def end(self, handle: int) -> None:
        self._call("end", handle, self.connection.end_stream)

    def push(self, handle: int) -> None:
        promised = self.connection.get_next_available_stream_id()
        stream = self.connection._machine.table.live.get(handle)
        authority = AUTHORITY if stream is None else stream.authority.decode()
        fields = [(":method", "GET"), (":scheme", "https"), (":authority", authority), (":path", "/pushed")]

        def promise(stream_id: int) -> None:
            if stream is not None and stream.can_send:
                self.machine.check_push_limit()
            self.connection.push_stream(stream_id, promised, fields)

        self._call("push", handle, promise)
        if promised in self.connection._machine.table.live:
            self.handles.append(promised)

    def ping(self) -> None:
        self._ping_number += 1
        payload = self._ping_number.to_bytes(8, "big")
        self._pings[payload] = self.next_call()
        self.connection.ping(payload)
        self._rest()

    def read(self, handle: int) -> None:
        self._readers[self.stream_id(handle)].reading = True
        self._rest()

    # Leaving a stream

    def reset(self, handle: int, code: int) -> None:
        self._leave(handle)
        self._call("reset", handle, lambda i: self.connection.reset_stream(i, code))

    def close(self, handle: int) -> None:
        """What `aclose` does: CANCEL, but NO_ERROR when only the request has not ended (RFC 9113 section 8.1).

        INTERNAL_ERROR when a body is still being sent: it is cut short.
        """
        cut_short = self.stream_id(handle) in self.sending
        self._leave(handle)
        stream = self.connection._machine.table.live.get(self.stream_id(handle))
        answered = stream is not None and not self.client and stream.sending.phase is Phase.DONE
        code = 2 if cut_short else 0 if answered else 8
        self._call("close", handle, lambda i: self.connection.reset_stream(i, code))

    def finish(self, handle: int) -> None:
        """The handler returns: end the response as its contract says."""
        connection = self.connection
        cut_short = handle in self.sending
        self._leave(handle)
        stream = connection._machine.table.live.get(handle)
        if stream is not None and stream.sending.phase is Phase.HEAD:
            connection.send_headers(handle, [(":status", "500"), ("content-length", "0")], end_stream=True)
        elif stream is not None and stream.can_send:
            if stream.sending.too_short or cut_short:
                connection.reset_stream(handle, 2)
            else:
                connection.end_stream(handle)
        if handle in connection._machine.table.live:
            connection.reset_stream(handle, 0)
        self._rest()

    def _leave(self, handle: int) -> None:
        stream_id = self.stream_id(handle)
        self.handles.remove(handle)
        reader = self._readers.get(stream_id)
        if reader is not None:
            reader.reading, reader.discards = False, True
        why = self.over.setdefault(stream_id, LEFT)
        self._drop(stream_id, why)
        for one in self.waiting:
            if one.handle == handle:
                self.outcomes[one.call] = (one.method, handle, why)
        self.waiting = [one for one in self.waiting if one.handle != handle]


def _why_reset(event: ev.StreamReset) -> Outcome:
    code = int(event.error_code)
    return Outcome("StreamResetError", code, event.remote_reset and code == 7)


def _why_gone(event: ev.ConnectionTerminated, *, safe_to_retry: bool = False) -> Outcome:
    return Outcome("ConnectionTerminatedError", int(event.error_code), safe_to_retry)


# Actors


class ActorEndpoint(Endpoint):
    """The same program over the actors, its peer at the other end of a transport in memory."""

    def __init__(self, run: GuestRun, *, client: bool, push: bool) -> None:
        super().__init__(client=client)
        self._run = run
        self._output = trio.testing.MemorySendStream()
        self._input = trio.testing.MemoryReceiveStream()
        self._streams: dict[int, Any] = {}
        self._left: set[int] = set()
        self._leaving: dict[int, trio.Event] = {}
        self._scope = trio.CancelScope()
        self._connection: trio_h2.Connection | None = None
        self._nursery: trio.Nursery
        self._config = attrs.evolve(LIKE_MEMORY, enable_push=push)
        run.do(lambda: run.nursery.start_soon(self._live))

    async def _live(self) -> None:
        transport = trio.StapledStream(self._output, self._input)
        with self._scope:
            async with trio.open_nursery() as self._nursery:
                if not self.client:
                    await trio_h2.serve_h2_connection(self._handle, transport, config=self._config)
                    await trio.sleep_forever()
                async with trio_h2.connect_over(
                    transport, authority=AUTHORITY, scheme="https", config=self._config
                ) as connection:
                    self._met(connection)
                    self._nursery.start_soon(self._take_pushes, connection)
                    await trio.sleep_forever()

    def _met(self, connection: trio_h2.Connection) -> None:
        if self._connection is None:
            self._connection = connection
            self._nursery.start_soon(self._watch, connection)

    async def _watch(self, connection: trio_h2.Connection) -> None:
        async for event in connection.events():
            self.events += shape([event])

    async def _take_pushes(self, connection: trio_h2.ClientConnection) -> None:
        if self._config.enable_push:
            async for pushed in connection.pushes():
                assert pushed.stream_id is not None
                self._streams[pushed.stream_id] = pushed
                self.handles.append(pushed.stream_id)

    async def _handle(self, stream: trio_h2.ServerStream) -> None:
        self._met(stream.connection)
        assert stream.stream_id is not None
        self._streams[stream.stream_id] = stream
        self.handles.append(stream.stream_id)
        leaving = self._leaving[stream.stream_id] = trio.Event()
        try:
            await leaving.wait()
        except trio.Cancelled:
            self.handles.remove(stream.stream_id)
            raise

    def leave(self) -> None:
        """Cancel the connection and all that belongs to it."""
        self._run.do(self._scope.cancel)

    @property
    def machine(self) -> ConnectionMachine | None:  # type: ignore[override]
        return None if self._connection is None else self._connection._actor.machine

    def _do(self, step: Callable[[], object]) -> None:
        self._run.do(step)
        try:
            self._sent(bytes(self._output.get_data_nowait()))
        except trio.WouldBlock:
            pass

    def receive(self, octets: bytes) -> None:
        self._do(lambda: self._input.put_data(octets))

    def stream_id(self, handle: int) -> int:
        return self._streams[handle].stream_id if handle in self._streams else 0

    def _call(self, method: str, handle: int, call: Callable[[], Awaitable[object]]) -> None:
        number = self.next_call()

        async def make() -> None:
            try:
                await call()
            except exceptions.H2Error as error:
                self.outcomes[number] = (method, handle, outcome_of(error))
            else:
                self.outcomes[number] = (method, handle, DONE)

        self._do(lambda: self._nursery.start_soon(make))

    # The program

    def request(self, method: str, fields: h.Fields, end: bool) -> None:
        self._requests += 1
        handle = -self._requests
        connection = self._connection
        assert isinstance(connection, trio_h2.ClientConnection)
        target = dict(fields)[b":authority" if method == "CONNECT" else b":path"].decode()
        headers = [pair for pair in fields if pair[0][:1] != b":"]

        async def opened() -> None:
            opening = connection.stream(method, target, headers=headers, end_stream=end)
            self._streams[handle] = await opening.__aenter__()
            self.handles.append(handle)

        self._call("request", handle, opened)

    def response(self, handle: int, status: int, end: bool) -> None:
        stream = self._streams[handle]
        if status < 200:
            self._call("response", handle, lambda: stream.send_informational(status))
        else:
            self._call("response", handle, lambda: stream.send_response(status, end_stream=end))

    def respond(self, handle: int) -> None:
        self._call("respond", handle, lambda: self._streams[handle].respond(200, body=ANSWER))

    def send(self, handle: int, data: bytes) -> None:
        self._call("send", handle, lambda: self._streams[handle].send_all(data))

    def trailers(self, handle: int) -> None:
        self._call("trailers", handle, lambda: self._streams[handle].send_trailers([("x-sum", "1")]))

    def end(self, handle: int) -> None:
        self._call("end", handle, lambda: self._streams[handle].send_eof())

    def push(self, handle: int) -> None:
        async def pushed() -> None:
            stream = await self._streams[handle].push("/pushed")
            self._streams[stream.stream_id] = stream
            self.handles.append(stream.stream_id)

        self._call("push", handle, pushed)

    def ping(self) -> None:
        assert self._connection is not None
        self._call("ping", 0, self._connection.ping)

    def read(self, handle: int) -> None:
        stream = self._streams[handle]
        told = self.told[stream.stream_id] = []

        async def collect() -> None:
            try:
                async for event in stream.events():
                    one = token(event)
                    if one is not None:
                        tell(told, one)
            except exceptions.H2Error as error:
                if handle not in self._left:
                    tell(told, ("failed", outcome_of(error)))

        self._do(lambda: self._nursery.start_soon(collect))

    # Leaving a stream

    def reset(self, handle: int, code: int) -> None:
        self._leave(handle)
        self._call("reset", handle, lambda: self._streams[handle].reset(code))
        self._let_go(handle)

    def close(self, handle: int) -> None:
        self._leave(handle)
        self._call("close", handle, lambda: self._streams[handle].aclose())
        self._let_go(handle)

    def finish(self, handle: int) -> None:
        self._leave(handle)
        self._let_go(handle)

    def _leave(self, handle: int) -> None:
        self.handles.remove(handle)
        self._left.add(handle)

    def _let_go(self, handle: int) -> None:
        if handle in self._leaving:
            self._do(self._leaving[handle].set)
