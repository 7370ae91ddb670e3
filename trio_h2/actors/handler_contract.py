"""HandlerContract: how a server's stream ends with its handler (docs/architecture.md has the contract in words)."""

from __future__ import annotations

from ..exceptions import ErrorCodes
from ..protocol.message_half import Phase
from .logs import escaped, log_handler_error, logger, tells_nothing, too_large
from .stream_facts import StreamFacts

__all__ = ["HandlerContract"]

CUT = "while its last sending call was not done, or was cancelled"


class HandlerContract(StreamFacts):
    """A stream as its handler leaves it. A StreamActor is one, with a task."""

    __slots__ = ()

    @property
    def handler(self) -> str:
        """A server's handler, in words; of a pushed stream, the one that answers what it promises."""
        method, path = map(escaped, self.request_line)
        return f"the handler of {method} {path} for {self._context.peer}"

    def _handler_returned(self) -> None:
        """The handler returned: end the response as the handler contract says."""
        stream = self.machine
        context = self._context
        if stream.closed:
            return
        if stream.sending.phase is Phase.HEAD:
            logger.warning("%s returned without responding: it gets 500", self.handler)
            self.answer_alone(500)
        elif stream.tunnel:
            if self._cut_short:
                logger.warning("%s returned %s: the stream is reset", self.handler, CUT)
            return
        elif stream.can_send:
            if stream.sending.too_short or self._cut_short:
                half = stream.sending
                length = f"with {half.seen} octets sent of its content-length of {half.expected}"
                what = length if half.too_short else CUT
                logger.warning("%s returned %s: the stream is reset", self.handler, what)
                self.reset(ErrorCodes.INTERNAL_ERROR)
            else:
                context.machine.end_stream(stream)
        if not stream.closed:
            # The response is complete, the request is not: the client may stop sending (RFC 9113 section 8.1).
            self.reset(ErrorCodes.NO_ERROR)
        context.writer.wake()

    def _handler_raised(self, error: BaseException | None) -> bool:
        """See to what a handler raised, None if it was cancelled. Whether that is done, and it goes no further."""
        report = self._context.on_handler_error
        if error is None or (report is None and not isinstance(error, Exception)):
            return False
        refused = too_large(error)
        # A handler that raises because its stream or connection is gone tells nothing new, and nobody is answered.
        if self.failure is None or self.closed_by_user or not tells_nothing(error):
            if refused is not None and tells_nothing(error):
                logger.info("%s does not take its body: %s", self.handler, refused)
            elif report is None:
                log_handler_error(self.handler, error)
            else:
                report(self.handler, error)
        if self.failure is None:
            self.answer_failure(500 if refused is None else 413)
        return True
