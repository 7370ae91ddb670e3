"""WebSocketExchange: one WebSocket (RFC 6455) on a stream of HTTP/2 (RFC 8441), as an ASGI app knows it.

A task of the handler's reads: it takes frames off the stream, answers PING and Close, and puts whole messages into a
bounded queue. Where the app does not receive them it stops reading, and the stream's window stops the client.
"""

from __future__ import annotations

import enum
import io

import trio
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage
from wsproto.frame_protocol import CloseReason

import trio_h2

from .app_messages import checked_fields, checked_octets, checked_text, message_type
from .asgi_types import Message
from .disconnecting import ClientDisconnected, client_error
from .http_exchange import HttpExchange
from .mending import mended_fields
from .message_queue import MessageQueue
from .permessage_deflate import agree_on_deflate
from .request_stream import RequestStream
from .scopes import offered_subprotocols

__all__ = ["WebSocketExchange"]

QUEUED = 64 * 1024
"""Octets of messages that wait for the app before reading pauses."""

PIECE = 4 * 1024
"""Octets that are decompressed at once: they may become a thousand times as many."""

TURN = 64
"""Frames that are taken before others have a turn of the loop."""

OF_HANDSHAKES = (b"sec-websocket-accept", b"sec-websocket-extensions", b"sec-websocket-protocol")
"""What the server has to say itself: for the last of them an app has `subprotocol`."""

CLOSE_CODES = (range(1000, 1004), range(1007, 1015), range(3000, 5000))
"""What an app may close with: those that are defined for it (RFC 6455 section 7.4), and its own."""

CLOSE_TIME = 5.0
"""Seconds for which the client's answer to our Close is waited for."""

SILENCE = 20.0
"""Seconds without an octet from the client after which it is sent a PING: proxies cut what is silent for a minute."""

PING_TIME = 20.0
"""Seconds that its answer, or anything else, may take; then it has gone."""


class Phase(enum.Enum):
    """How far a WebSocket is."""

    CONNECTING = "it was accepted"
    OPEN = "it was open"
    DENIED = "it was denied"
    CLOSED = "it was closed"


ALLOWED: dict[Phase, tuple[str, ...]] = {
    Phase.CONNECTING: ("websocket.accept", "websocket.close", "websocket.http.response.start"),
    Phase.OPEN: ("websocket.send", "websocket.close"),
    Phase.DENIED: ("websocket.http.response.body",),
    Phase.CLOSED: (),
}
"""What an app may send."""

# Named here, because to make a union takes longer than to look in it.
MESSAGES = (TextMessage, BytesMessage)


class WebSocketExchange:
    """Owner of every field: this object.

    Args:
        stream: the request's.
        server: the value of Server where the app sends none, or None.
        max_message_size: octets, or characters, of a message; more than that closes with 1009.

    Attributes:
        gone: whether the client has gone, or closed, before the app was done.
        ended: set when nothing more comes from the client: it has closed, gone, or broken a rule.
    """

    def __init__(self, stream: RequestStream, server: bytes | None, max_message_size: int) -> None:
        self.gone = False
        self.ended = trio.Event()
        self._stream = stream
        self._server = server
        self._max_message_size = max_message_size
        self._phase = Phase.CONNECTING
        self._connected = False
        self._accepted = trio.Event()
        self._protocol = Connection(ConnectionType.SERVER)
        self._denial: HttpExchange | None = None
        self._queue = MessageQueue(QUEUED)
        self._message = io.BytesIO()  # a list of its parts could be far larger than what is in them
        self._size = 0
        self._sending = trio.Lock()
        self._broken = False
        self._over = False
        self._reads = 0  # that were begun
        self._reading = False

    @property
    def complete(self) -> bool:
        """Whether the app has closed or denied it."""
        return self._phase is Phase.CLOSED or (self._denial is not None and self._denial.complete)

    @property
    def accepted(self) -> bool:
        """Whether the app has accepted it."""
        return self._accepted.is_set()

    def client_gone(self) -> None:
        """The client has gone without a Close."""
        self._closed_by_client(CloseReason.ABNORMAL_CLOSURE, "")

    def _closed_by_client(self, code: int, reason: str) -> None:
        if not self.complete:
            self.gone = True
        self._queue.end({"type": "websocket.disconnect", "code": int(code), "reason": reason})
        self.ended.set()

    # What the app calls

    async def receive(self) -> Message:
        """The connect message, then the client's messages, then again and again that it has closed or gone."""
        if not self._connected:
            self._connected = True
            await trio.lowlevel.checkpoint()
            return {"type": "websocket.connect"}
        return await self._queue.get()

    async def send(self, message: Message) -> None:
        """Send a message of the app's. Raises ClientDisconnected, or what is wrong with it."""
        kind = message_type(message)
        if kind not in ALLOWED[self._phase]:
            where = "before" if self._phase is Phase.CONNECTING else "while" if self._phase is Phase.OPEN else "after"
            raise RuntimeError(f"the app sent {kind!r} to a WebSocket {where} {self._phase.value}")
        if self.gone and kind == "websocket.close":
            await trio.lowlevel.checkpoint()
            return
        if self.gone:
            raise ClientDisconnected("the client has gone")
        try:
            if kind == "websocket.accept":
                await self._accept(message)
            elif kind == "websocket.send":
                await self._send(message)
            elif kind == "websocket.close":
                await self._close(message)
            else:
                await self._deny(message)
        except ClientDisconnected:  # the denial's own
            self.client_gone()
            raise
        except trio_h2.H2Error as error:
            disconnected = client_error(error)
            if disconnected is None:
                raise
            self.client_gone()
            raise disconnected from error

    # The handshake

    async def _accept(self, message: Message) -> None:
        headers = self._stream.request.headers
        fields = checked_fields(message)
        for index, (name, _) in enumerate(fields):
            if name in OF_HANDSHAKES:
                raise ValueError(f"websocket.accept: headers[{index}] must not be {name.decode()}: the server sends it")
        if message.get("subprotocol") is not None:
            subprotocol = checked_text(message, "subprotocol")
            if subprotocol in offered_subprotocols(self._stream.request):  # else its client would have to fail
                fields.append((b"sec-websocket-protocol", subprotocol.encode("latin-1")))
        offers = [each.strip() for each in ",".join(headers.get_all("sec-websocket-extensions")).split(",")]
        agreed = agree_on_deflate(offers)
        if agreed is not None:
            fields.append((b"sec-websocket-extensions", agreed[1]))
        await self._stream.send_response(200, mended_fields(200, fields, self._server))
        self._protocol = Connection(ConnectionType.SERVER, [] if agreed is None else [agreed[0]])
        self._phase = Phase.OPEN
        self._accepted.set()

    async def _deny(self, message: Message) -> None:
        if self._denial is None:
            status = message.get("status")
            if isinstance(status, int) and 200 <= status < 300:
                raise ValueError(
                    f"{message['type']}: 'status' {status} would accept the WebSocket (RFC 8441 section 5)"
                )
            self._denial = HttpExchange(self._stream, self._server)
        await self._denial.send(message, message["type"].removeprefix("websocket."))
        self._phase = Phase.DENIED
        if self._denial.complete:
            self._queue.end({"type": "websocket.disconnect", "code": 1006, "reason": ""})

    # Messages and Close

    async def _send(self, message: Message) -> None:
        text, octets = message.get("text"), message.get("bytes")
        if (text is None) == (octets is None):
            raise ValueError("websocket.send: exactly one of 'text' and 'bytes' must be there")
        if text is not None:
            await self._transmit(TextMessage(checked_text(message, "text")))
        else:
            await self._transmit(BytesMessage(bytes(checked_octets(message, "bytes"))))

    async def _close(self, message: Message) -> None:
        code, reason = message.get("code", 1000), message.get("reason") or ""
        if isinstance(code, bool) or not isinstance(code, int):
            raise TypeError(f"websocket.close: 'code' must be an int, not {type(code).__name__}")
        if not any(code in codes for codes in CLOSE_CODES):
            raise ValueError(f"websocket.close: 'code' must be one that may be sent (RFC 6455 section 7.4), not {code}")
        if not isinstance(reason, str):
            raise TypeError(f"websocket.close: 'reason' must be str, not {type(reason).__name__}")
        if self._phase is Phase.CONNECTING:
            await self._stream.respond(403, mended_fields(403, [], self._server))
        else:
            await self._transmit(CloseConnection(code, reason))
        self._done(code, reason)

    async def _transmit(self, event: Event) -> None:
        """Send a frame of the app's, unless the closing handshake forbids it. A cancelled call breaks the WebSocket."""
        if not await self._answer(event):
            raise RuntimeError("a cancelled send has broken this WebSocket")

    async def _answer(self, event: Event) -> bool:
        """As `_transmit`; it is False, and nothing is sent, where the WebSocket is broken: the app knows."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._sending.locked():
            await self._sending.acquire()
        else:
            self._sending.acquire_nowait()  # sending takes a turn of the loop: this need not
        try:
            answers_close = (
                isinstance(event, CloseConnection) and self._protocol.state is ConnectionState.REMOTE_CLOSING
            )
            if self._protocol.state is not ConnectionState.OPEN and not answers_close:
                await trio.lowlevel.checkpoint()
                return True
            if self._broken:
                await trio.lowlevel.checkpoint()
                return False
            octets = self._protocol.send(event)
            self._broken = True  # the compressor is a message ahead of the client's until it is sent
            await self._stream.send_all(octets)
            self._broken = False
            return True
        finally:
            self._sending.release()

    # The reader

    async def read(self) -> None:
        """Take what comes until the client has closed or gone, end this side, and drop what comes then."""
        await self._accepted.wait()
        try:
            while not self.ended.is_set():
                await self._read_some()
            await self._end()
            while await self._stream.receive_some():
                pass
        except trio_h2.H2Error:
            self.client_gone()

    async def _read_some(self) -> None:
        self._reads += 1
        self._reading = True
        octets = await self._stream.receive_some()
        self._reading = False
        if not octets:
            self._protocol.receive_data(None)  # nothing is sent any more
            self.client_gone()
        for start in range(0, len(octets), PIECE):
            if start:
                await trio.lowlevel.checkpoint()
            self._protocol.receive_data(octets[start : start + PIECE])
            await self._take()
            if self.ended.is_set():
                break

    async def _take(self) -> None:
        """Take the frames that are there. Each waits until there is room for it: compressed ones may be large."""
        for number, event in enumerate(self._protocol.events(), 1):
            if isinstance(event, MESSAGES):
                await self._take_part(event)
            elif isinstance(event, Ping):
                await self._answer(event.response())
            elif isinstance(event, CloseConnection):
                await self._answer(event.response())
                self._closed_by_client(event.code, event.reason or "")
            if self.ended.is_set():
                return
            await self._queue.room()
            if number % TURN == 0:
                await trio.lowlevel.checkpoint()

    async def _end(self) -> None:
        """The closing handshake is over: so is the stream, at once, whatever the app does (RFC 6455 section 5.5.1)."""
        async with self._sending:
            if not (self._broken or self._over):
                self._over = True
                await self._stream.send_eof()

    async def _take_part(self, part: TextMessage | BytesMessage) -> None:
        data = part.data
        self._message.write(data.encode() if isinstance(data, str) else data)
        self._size += len(data)
        if self._size > self._max_message_size:
            await self._give_up(CloseReason.MESSAGE_TOO_BIG, f"more than {self._max_message_size} octets")
        elif part.message_finished:
            whole, size = self._message.getvalue(), self._size
            self._message, self._size = io.BytesIO(), 0
            text, octets = (whole.decode(), None) if isinstance(data, str) else (None, whole)
            self._queue.put({"type": "websocket.receive", "bytes": octets, "text": text}, size)

    async def _give_up(self, code: int, reason: str) -> None:
        """The client has broken a rule."""
        await self._answer(CloseConnection(code, reason))
        self._closed_by_client(code, reason)

    async def tend(self, closing: trio.Event) -> None:
        """Ask a client that is silent whether it is there, and close when the server is going away."""
        await self._accepted.wait()
        try:
            while not closing.is_set():
                await self._look_after(closing)
            await self._answer(CloseConnection(CloseReason.GOING_AWAY))
        except trio_h2.H2Error:
            self.client_gone()
            return
        if not self.complete:
            self.gone = True
        self._queue.end({"type": "websocket.disconnect", "code": 1001, "reason": ""})

    async def _look_after(self, closing: trio.Event) -> None:
        """Send a client that says nothing a PING, and give it up if it still says nothing."""
        reads = self._reads
        with trio.move_on_after(SILENCE):
            await closing.wait()
        if not closing.is_set() and self._heard_nothing_in(reads):
            await self._answer(Ping())
            with trio.move_on_after(PING_TIME):
                await closing.wait()
            if not closing.is_set() and self._heard_nothing_in(reads):
                self.client_gone()

    def _heard_nothing_in(self, reads: int) -> bool:
        """Whether the read of this number still waits: while the app does not receive there is none."""
        return self._reading and self._reads == reads

    async def finish(self, raised: BaseException | None) -> None:
        """The app has ended: close, if that is still to be done, and end the stream in bounded time."""
        if not self._accepted.is_set():
            return
        code = CloseReason.NORMAL_CLOSURE if raised is None else CloseReason.INTERNAL_ERROR
        try:
            with trio.move_on_after(CLOSE_TIME):
                if await self._answer(CloseConnection(code)):
                    self._done(code, "")
                    await self.ended.wait()
                    await self._end()
        except trio_h2.H2Error:
            self.client_gone()

    def _done(self, code: int, reason: str) -> None:
        """This side has closed. What was not received is dropped, so that the reader comes to the client's Close."""
        self._phase = Phase.CLOSED
        self._queue.end({"type": "websocket.disconnect", "code": int(code), "reason": reason})
        self._queue.clear()
