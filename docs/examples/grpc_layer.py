"""gRPC on trio_h2's stream API, whole in this file: `Service` has a handler for `serve_h2`, `Client` makes calls.

`grpc_service.py` and `grpc_client.py` use it. Messages are what the functions of a `Method` turn into bytes, and back.
The rules: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, and statuscodes.md beside it.
"""

from __future__ import annotations

import base64
import math
import re
import string
import struct
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from enum import IntEnum
from functools import partial
from typing import Generic, NamedTuple, TypeVar
from urllib.parse import quote, unquote

import trio

import trio_h2

Q = TypeVar("Q")
R = TypeVar("R")
S = TypeVar("S", bound=trio_h2.ClientStream | trio_h2.ServerStream)
Over = trio_h2.ClientConnection | trio_h2.Pool
Metadata = Sequence[tuple[str, str | bytes]]  # bytes where a name ends in -bin, else str

PREFIX = struct.Struct(">BI")  # before each message: whether it is compressed, and its length
MAX_MESSAGE = 4 * 2**20  # octets, uncompressed, of what is sent and of what comes
MAX_TEXT = 4096  # octets of grpc-message: peers take 8 KiB of metadata, or 64 (trio_h2)
BATCH = 16 * 1024  # octets of small messages that go together, at most
IS_GRPC = re.compile("application/grpc([+;]|$)")
HEAD = [("content-type", "application/grpc"), ("grpc-accept-encoding", "identity,gzip")]
COMPRESSED = [*HEAD, ("grpc-encoding", "gzip")]
OK = trio_h2.Headers([("grpc-status", "0")])  # is encoded once, where a list is each time
OWN = {"te", "content-length", "grpc-timeout", "grpc-status", "grpc-message", *dict(COMPRESSED)}
UNITS = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "S": 1.0, "M": 60.0, "H": 3600.0}  # of grpc-timeout, in seconds


class Code(IntEnum):
    OK, CANCELLED, UNKNOWN, INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND, ALREADY_EXISTS = range(7)
    PERMISSION_DENIED, RESOURCE_EXHAUSTED, FAILED_PRECONDITION, ABORTED, OUT_OF_RANGE, UNIMPLEMENTED = range(7, 13)
    INTERNAL, UNAVAILABLE, DATA_LOSS, UNAUTHENTICATED = range(13, 17)


CODES = {str(code.value): code for code in Code}
OF_HTTP = {400: Code.INTERNAL, 401: Code.UNAUTHENTICATED, 403: Code.PERMISSION_DENIED, 404: Code.UNIMPLEMENTED}
OF_HTTP.update({431: Code.INTERNAL} | dict.fromkeys((429, 502, 503, 504), Code.UNAVAILABLE))
OF_RESET = {7: Code.UNAVAILABLE, 8: Code.CANCELLED, 11: Code.RESOURCE_EXHAUSTED, 12: Code.PERMISSION_DENIED}


class RpcError(Exception):
    """A status that is not OK: handlers raise it, and so do calls. Its metadata is that of the trailers."""

    def __init__(self, code: Code, message: str = "", metadata: Metadata = ()) -> None:
        if code is Code.OK:
            raise ValueError("OK is no error")
        super().__init__(f"{code.name}: {message}")
        self.code, self.message, self.metadata = code, message, metadata

    def trailers(self) -> Metadata:
        text = quote(self.message, string.punctuation.replace("%", ""), errors="replace")
        return [("grpc-status", str(self.code.value)), ("grpc-message", text[:MAX_TEXT]), *sendable(self.metadata)]


class Method(NamedTuple, Generic[Q, R]):
    path: str  # "/package.Service/Method"
    encode_request: Callable[[Q], bytes]  # with protobuf `Ask.SerializeToString`, of the class
    decode_request: Callable[[bytes], Q]  # `Ask.FromString`
    encode_reply: Callable[[R], bytes]
    decode_reply: Callable[[bytes], R]


def sendable(metadata: Metadata) -> Metadata:
    for name, value in metadata:
        if name.lower() in OWN or name.lower().endswith("-bin") != isinstance(value, bytes):
            raise ValueError(f"metadata: {name!r} is gRPC's own, or has not bytes for a name in -bin, str for others")
    return [(n, base64.b64encode(v).rstrip(b"=") if isinstance(v, bytes) else v.strip()) for n, v in metadata]


def metadata_of(headers: trio_h2.Headers) -> Metadata:
    metadata: list[tuple[str, str | bytes]] = []
    for name, value in headers.items():
        try:
            parts = [octets_of(part.strip()) for part in value.split(",")] if name.endswith("-bin") else [value]
        except ValueError:
            raise RpcError(Code.INTERNAL, f"metadata: {name} is no base64") from None
        metadata += [(name, part) for part in parts if name not in OWN]
    return metadata


def octets_of(text: str) -> bytes:
    text = text.rstrip("=")  # which may be there or not
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


def timeout_text(seconds: float) -> str:
    unit = next((unit for unit, size in UNITS.items() if seconds <= 99_999_999 * size), "H")
    return f"{math.ceil(min(seconds / UNITS[unit], 99_999_999))}{unit}"


def seconds_of(timeout: str) -> float:
    if not re.fullmatch("[0-9]{1,8}[numSMH]", timeout):
        raise RpcError(Code.INTERNAL, f"grpc-timeout: {timeout[:20]!r} is none")
    return int(timeout[:-1]) * UNITS[timeout[-1]]


async def until(deadline: float, awaited: Awaitable[R]) -> R:
    if deadline == math.inf:  # what most calls have, and a cancel scope takes longer than all else here
        return await awaited
    with trio.CancelScope(deadline=deadline):
        return await awaited
    raise RpcError(Code.DEADLINE_EXCEEDED, "the deadline has passed")


class Call(AsyncIterator[R], Generic[S, Q, R]):
    """One side of a call: `async for` gives what comes, or `only()` the one message that has to; `send()` sends."""

    stream: S
    deadline = math.inf  # on trio's clock
    encoding = "identity"  # of what comes
    _sender: trio.lowlevel.Task | None = None

    def __init__(self, encode: Callable[[Q], bytes], decode: Callable[[bytes], R], limit: int, compress: bool) -> None:
        self._encode, self._decode, self._limit, self._compress = encode, decode, limit, compress
        self.most = limit + PREFIX.size  # octets of a body with one message
        self._head, self._come, self.due = COMPRESSED if compress else HEAD, bytearray(), bytearray()

    def pack(self, message: Q) -> None:
        octets = self._encode(message)
        if len(octets) > self._limit:
            raise RpcError(Code.RESOURCE_EXHAUSTED, f"a message to send has {len(octets)} octets, above {self._limit}")
        if self._compress:
            octets = zlib.compress(octets, wbits=31)
        self.due += PREFIX.pack(self._compress, len(octets)) + octets

    def _next(self) -> list[R]:
        """The next message, if all of it has come."""
        if len(self._come) < PREFIX.size:
            return []
        flags, length = PREFIX.unpack_from(self._come)
        if flags > (self.encoding == "gzip"):
            raise RpcError(Code.INTERNAL, f"a message has the flags {flags}, its grpc-encoding is {self.encoding[:20]}")
        if length > self._limit:
            raise RpcError(Code.RESOURCE_EXHAUSTED, f"a message has {length} octets, above {self._limit}")
        if len(self._come) < (end := PREFIX.size + length):
            return []
        octets = bytes(self._come[PREFIX.size : end])
        del self._come[:end]
        try:
            return [self._decode(self._unzipped(octets) if flags else octets)]
        except RpcError:
            raise
        except Exception as error:
            raise RpcError(Code.INTERNAL, f"a message cannot be decoded: {error}") from error

    def _unzipped(self, octets: bytes) -> bytes:
        inflater = zlib.decompressobj(wbits=31)
        message = inflater.decompress(octets, self._limit + 1)
        if len(message) > self._limit:
            raise RpcError(Code.RESOURCE_EXHAUSTED, f"a message has more than {self._limit} octets, uncompressed")
        if not inflater.eof or inflater.unused_data:
            raise ValueError("it is not gzip from its beginning to its end")
        return message

    def one(self, body: bytes) -> R:
        """The message that a whole body has to be."""
        self._come += body
        messages = self._next() + self._next()
        if self._come and len(messages) < 2:
            raise RpcError(Code.INTERNAL, "the body ends within a message")
        if len(messages) != 1:
            raise RpcError(Code.UNIMPLEMENTED, "there has to be one message, and there is none, or another")
        return messages[0]

    async def only(self) -> R:
        return self.one(await self._receive(whole=True))

    async def __anext__(self) -> R:
        while not (messages := self._next()):
            if self._sender is trio.lowlevel.current_task():
                await self.flush()
            if octets := await self._receive():
                self._come += octets
            elif self._come:
                raise RpcError(Code.INTERNAL, "the body ends within a message")
            else:
                raise StopAsyncIteration
        return messages[0]

    async def send(self, message: Q, *, more: bool = False) -> None:
        """Send a message; with `more` it may wait until this task sends another or receives, or the handler returns."""
        self.pack(message)
        self._sender = trio.lowlevel.current_task()
        if not more or len(self.due) > BATCH:
            await self.flush()

    async def flush(self) -> None:
        if octets := bytes(self.due):
            await self.stream.send_all(octets)
            del self.due[: len(octets)]  # not before: what is cancelled meanwhile is not lost

    async def _receive(self, *, whole: bool = False) -> bytes:
        try:
            return await (self.stream.read(max_body=self.most) if whole else self.stream.receive_some())
        except (trio_h2.RequestTooLargeError, trio_h2.ResponseTooLargeError) as error:
            raise RpcError(Code.RESOURCE_EXHAUSTED, str(error)) from error


class ServiceCall(Call[trio_h2.ServerStream, R, Q], Generic[Q, R]):
    """What handlers get. Put metadata into `trailers` to send with the status."""

    def __init__(self, stream: trio_h2.ServerStream, method: Method[Q, R], limit: int, compress: bool) -> None:
        headers = stream.request.headers
        compress = compress and "gzip" in headers.get("grpc-accept-encoding", "")
        super().__init__(method.encode_reply, method.decode_request, limit, compress)
        self.stream, self.trailers = stream, list[tuple[str, str | bytes]]()
        self.encoding = headers.get("grpc-encoding", "identity")

    def metadata(self) -> Metadata:
        return metadata_of(self.stream.request.headers)

    async def begin(self, metadata: Metadata = ()) -> None:
        """Send initial metadata, before the first reply: that goes without any otherwise."""
        await self.stream.send_response(200, [*self._head, *sendable(metadata)])

    async def flush(self) -> None:
        if self.due and self.stream.status is None:
            await self.begin()
        await super().flush()

    async def run(self, handler: Handler[Q, R]) -> None:
        if self.encoding not in ("identity", "gzip"):
            raise RpcError(Code.UNIMPLEMENTED, f"grpc-encoding: {self.encoding[:20]!r} is not known here")
        if (reply := await handler(self)) is not None:
            self.pack(reply)
        await self.finish(OK, bytes(self.due))

    async def finish(self, status: trio_h2.Headers | Metadata, body: bytes) -> None:
        trailers = [*status, *sendable(self.trailers)] if self.trailers else status
        try:
            if self.stream.status is not None:
                await self.stream.send_all(body)
                await self.stream.send_trailers(trailers)
            elif body or status is OK:
                await self.stream.respond(200, self._head, body, trailers=trailers)
            else:
                await self.stream.send_response(200, [*HEAD, *trailers], end_stream=True)
        except (trio_h2.StreamClosedError, trio_h2.InvalidBodyLengthError):  # cut off within a message: no status fits
            await self.stream.reset(trio_h2.ErrorCodes.CANCEL)


Handler = Callable[[ServiceCall[Q, R]], Awaitable[R | None]]


class Service:
    """Handlers by method: they return a reply, or send any number. What they raise, if it is no RpcError, is logged."""

    def __init__(self, *, max_message: int = MAX_MESSAGE, compress: bool = False) -> None:
        self._options, self._methods = (max_message, compress), dict[str | None, trio_h2.Handler]()

    def add(self, method: Method[Q, R], handler: Handler[Q, R]) -> None:
        self._methods[method.path] = partial(self._run, method, handler)

    async def handle(self, stream: trio_h2.ServerStream) -> None:
        if stream.request.method != "POST" or not IS_GRPC.match(stream.request.headers.get("content-type", "")):
            await stream.respond(415)
        elif run := self._methods.get(stream.request.path):
            await run(stream)
        else:
            status = RpcError(Code.UNIMPLEMENTED, "there is no such method")
            await stream.send_response(200, [*HEAD, *status.trailers()], end_stream=True)

    async def _run(self, method: Method[Q, R], handler: Handler[Q, R], stream: trio_h2.ServerStream) -> None:
        call = ServiceCall(stream, method, *self._options)
        try:
            if (timeout := stream.request.headers.get("grpc-timeout")) is not None:
                call.deadline = trio.current_time() + seconds_of(timeout)
            await until(call.deadline, call.run(handler))
        except Exception as error:
            cause: object = error
            while len(causes := list(getattr(cause, "exceptions", []))) == 1:  # in the groups of a handler's nurseries
                cause = causes[0]
            status = cause if isinstance(cause, RpcError) else RpcError(Code.UNKNOWN, "the handler failed")
            await call.finish(status.trailers(), b"" if status.code is Code.DEADLINE_EXCEEDED else bytes(call.due))
            if status is not cause:
                await stream.reset(trio_h2.ErrorCodes.NO_ERROR)  # of the rest of the request, if there is one
                raise


class ClientCall(Call[trio_h2.ClientStream, Q, R], Generic[Q, R]):
    """What `Client.call` gives. `trailers` are there when the replies have ended."""

    trailers: Metadata = ()
    _response: trio_h2.Response | None = None

    def __init__(self, method: Method[Q, R], timeout: float, metadata: Metadata, limit: int, compress: bool) -> None:
        super().__init__(method.encode_request, method.decode_reply, limit, compress)
        now = trio.current_time()
        self.deadline = min(now + timeout, trio.current_effective_deadline())
        limited = [("grpc-timeout", timeout_text(max(self.deadline - now, 0)))] if self.deadline < math.inf else []
        self.fields = [*limited, ("te", "trailers"), *self._head, *sendable(metadata)]

    @contextmanager
    def statuses(self) -> Generator[None, None, None]:
        """Raise what an error of HTTP/2 means: a status, unless it is this side's own doing."""
        try:
            yield
        except trio_h2.ResponseTooLargeError as error:
            raise RpcError(Code.RESOURCE_EXHAUSTED, str(error)) from error
        except trio_h2.H2Error as error:
            if error.initiator == "local" and not isinstance(error, trio_h2.RequestTimeoutError):  # the pool's
                raise
            code = OF_RESET.get(getattr(error, "error_code", 0), Code.INTERNAL)
            if not isinstance(error, trio_h2.StreamResetError):
                code = Code.UNAVAILABLE
            elif code is Code.CANCELLED and trio.current_time() >= self.deadline:  # the service was the first to see it
                code = Code.DEADLINE_EXCEEDED
            raise RpcError(code, str(error)) from error

    async def metadata(self) -> Metadata:
        """Wait for the initial metadata."""
        with self.statuses():
            return metadata_of(self.begin(await self.stream.response()).headers)

    def begin(self, response: trio_h2.Response) -> trio_h2.Response:
        self._response, self.encoding = response, response.headers.get("grpc-encoding", "identity")
        if response.status != 200 or not IS_GRPC.match(response.headers.get("content-type", "")):
            self.check(response, None)
        return response

    def check(self, response: trio_h2.Response, trailers: trio_h2.Headers | None) -> None:
        """Raise the status, unless it is OK."""
        trailers = trailers or response.headers
        status = trailers.get("grpc-status")
        if status is None:
            what = f"HTTP status {response.status}, content-type {response.headers.get('content-type')}"
            raise RpcError(OF_HTTP.get(response.status, Code.UNKNOWN), f"no grpc-status, but {what}")
        if len(trailers) > 1:
            self.trailers = metadata_of(trailers)
        if status != "0":
            message = unquote(trailers.get("grpc-message", ""))
            raise RpcError(CODES.get(status, Code.UNKNOWN), message, self.trailers)

    async def _receive(self, *, whole: bool = False) -> bytes:
        with self.statuses():
            response = self._response or self.begin(await self.stream.response())
            octets = await super()._receive(whole=whole)
            if whole or not octets:
                self.check(response, self.stream.trailers)
            return octets

    async def flush(self) -> None:
        """Raises trio.BrokenResourceError if the service has ended the call; its status instead, if that can be had."""
        try:
            await super().flush()
        except trio.BrokenResourceError:
            with suppress(trio.BusyResourceError):  # another task receives, and hears it
                while octets := await self._receive():
                    self._come += octets
            raise

    async def end(self) -> None:
        """Say that this was the last request. If the service has ended the call already, that is no error."""
        with suppress(trio.BrokenResourceError):
            await self.flush()
            await self.stream.send_eof()


class Client:
    """Calls over a connection, or over a pool to `origin`, "https://example.org" say; timeouts are in seconds."""

    def __init__(self, over: Over, origin: str = "", *, max_message: int = MAX_MESSAGE, compress: bool = False) -> None:
        self._over, self._origin, self._options = over, origin.rstrip("/"), (max_message, compress)

    async def unary(self, method: Method[Q, R], request: Q, *, timeout: float = math.inf, metadata: Metadata = ()) -> R:
        call = ClientCall(method, timeout, metadata, *self._options)
        call.pack(request)
        url, body = self._origin + method.path, bytes(call.due)
        making = self._over.request("POST", url, headers=call.fields, body=body, max_body=call.most)
        with call.statuses():
            response = await until(call.deadline, making)
        call.check(call.begin(response), response.trailers)
        return call.one(response.body)

    @asynccontextmanager
    async def call(
        self, method: Method[Q, R], *, timeout: float = math.inf, metadata: Metadata = ()
    ) -> AsyncGenerator[ClientCall[Q, R], None]:
        """Make a call of any kind. Leaving the block before its end cancels it."""
        call = ClientCall(method, timeout, metadata, *self._options)
        with call.statuses(), trio.CancelScope(deadline=call.deadline) as scope:
            async with self._over.stream("POST", self._origin + method.path, headers=call.fields) as call.stream:
                yield call
        if scope.cancelled_caught:
            raise RpcError(Code.DEADLINE_EXCEEDED, "the deadline has passed")
