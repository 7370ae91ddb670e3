"""`TracedRequest`: a request with its span, from its beginning to its end; `set_route`."""

from __future__ import annotations

from contextvars import ContextVar

import trio
from opentelemetry.context import Context
from opentelemetry.trace import Span, Status, StatusCode

import trio_h2

from .conventions import MAX_VALUE
from .request_facts import Attributes, RequestFacts

__all__ = ["TracedRequest", "current_request", "set_route"]


class TracedRequest:
    """A request that is not over. Owner of every field: this object.

    Args:
        facts: what is known of it from its beginning.
        span: its span, which has begun.
        context: what its handler runs in: the span, and what came with the request.
        client: Whether this side made it.

    Attributes:
        facts, span, context: as given.
    """

    def __init__(self, facts: RequestFacts, span: Span, context: Context, *, client: bool) -> None:
        self.facts = facts
        self.span = span
        self.context = context
        self._client = client
        self._since = trio.current_time()
        self._status: int | None = None
        self._route: str | None = None

    def answered(self, status: int) -> None:
        """A response's header section was begun, or has come; an interim one says nothing."""
        if status >= 200:
            self._status = status
            self.span.set_attribute("http.response.status_code", status)

    def set_route(self, route: str) -> None:
        """Its handler knows the route."""
        self._route = route
        self.span.update_name(f"{self.facts.name} {route}")
        self.span.set_attribute("http.route", route)

    def end(self, error: trio_h2.H2Error | None, *, cancelled: bool = False) -> tuple[float, Attributes]:
        """It is over, and its span is about to end; how many seconds it took, and the attributes of that.

        Args:
            error: why it was cut short, None if it was not.
            cancelled: Whether its caller gave it up before anything of it was sent.
        """
        kind = "CANCEL" if cancelled else self._error_type(error)
        series = self.facts.client_series() if self._client else self.facts.server_series()
        if self._status is not None:
            series["http.response.status_code"] = self._status
        if self._route is not None:
            series["http.route"] = self._route
        if kind is not None:
            series["error.type"] = kind
            self.span.set_attribute("error.type", kind)
            description = None if error is None or kind.isdigit() else str(error)[:MAX_VALUE]
            self.span.set_status(Status(StatusCode.ERROR, description))
        return trio.current_time() - self._since, series

    def _error_type(self, error: trio_h2.H2Error | None) -> str | None:
        """A name from a short list, whatever a peer says; None if it went well."""
        if isinstance(error, trio_h2.StreamResetError):
            return _code_name(error)
        if error is not None:
            return _class_name(error)
        bad = 400 if self._client else 500
        return str(self._status) if self._status is not None and self._status >= bad else None


def _code_name(error: trio_h2.StreamResetError) -> str:
    try:
        return trio_h2.ErrorCodes(error.error_code).name
    except ValueError:
        return _class_name(error)


def _class_name(error: trio_h2.H2Error) -> str:
    return f"trio_h2.{type(error).__name__}"


current_request: ContextVar[TracedRequest | None] = ContextVar("the request whose handler runs", default=None)


def set_route(route: str) -> None:
    """Say which route the request has whose handler this is called in: `set_route("/users/{id}")`.

    Its span is called by it (`GET /users/{id}`), and its durations are told apart by it. Without an OTelTrace, as in a
    test, it does nothing.

    Args:
        route: the pattern, and not the path: every route is a series of its own.

    Raises:
        TypeError: `route` is not a str.
    """
    if not isinstance(route, str):
        raise TypeError(f"route must be a str, not {type(route).__name__}")
    request = current_request.get()
    if request is not None:
        request.set_route(route)
