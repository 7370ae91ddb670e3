"""Where trio_h2 and hypercorn differ, and what decides it: docs/asgi-differences.md has the same, in words."""

from __future__ import annotations

from dataclasses import dataclass

from .sites import Site

HTTP = "ASGI, HTTP and WebSocket, 2.5"


@dataclass(frozen=True)
class Difference:
    """Attributes:
    ours, hypercorn: what a test finds.
    source: the document that decides.
    sentence: its words.
    """

    ours: object
    hypercorn: object
    source: str
    sentence: str


DIFFERENCES: dict[str, Difference] = {
    "sending to a client that has gone": Difference(
        "OSError",
        "sent",
        HTTP,
        "If `send()` is called on a closed connection the server should raise a server-specific subclass of `OSError`.",
    ),
    "an app that does not look for its client": Difference(
        True,
        False,
        HTTP,
        "the *connection scope* will persist until the response closes from either the client or server side.",
    ),
    "an upload whose connection is lost": Difference(
        True,
        False,
        HTTP,
        "Sent to the application if receive is called after a response has been sent or after the HTTP connection has "
        "been closed.",
    ),
    "an error after the response has begun, over HTTP/2": Difference(
        "failed",
        "waits",
        "ASGI, 3.0",
        "they must terminate the application instance and its associated connection if this happens.",
    ),
    "messages after the end": Difference(
        ["ignored", "ignored"],
        ["refused: UnexpectedMessageError", "refused: UnexpectedMessageError"],
        HTTP,
        "response will be taken as complete and closed, and any further messages on the channel will be ignored.",
    ),
    "trailers over HTTP/1.1": Difference(
        True,
        False,
        "RFC 9112, section 7.1.2",
        "A trailer section allows the sender to include additional fields at the end of a chunked message",
    ),
    "early hints over HTTP/1.1": Difference(
        True,
        False,
        "RFC 9110, section 15.2",
        "The 1xx (Informational) class of status code indicates an interim response",
    ),
    "content-length of a 204": Difference(
        None,
        "0",
        "RFC 9110, section 8.6",
        "A server MUST NOT send a Content-Length header field in any response with a status code of 1xx "
        "(Informational) or 204 (No Content).",
    ),
    "a status that is text": Difference(
        "TypeError: http.response.start: 'status' must be an int, not str",
        None,
        "ASGI, 3.0",
        "If a server receives an invalid event dictionary [...] it should raise an exception out of the `send` "
        "awaitable back to the application.",
    ),
    "the code of the client's Close": Difference(
        "closed with 4001 done",
        "closed with 1006",
        HTTP,
        "`code` (*int*) -- The WebSocket close code, as per the WebSocket spec.",
    ),
    "the extensions of HTTP/1.1": Difference(
        ["http.response.early_hint", "http.response.pathsend", "http.response.trailers"],
        [],
        "ASGI, 3.0",
        "If the server supports an extension, it should place an entry into the `extensions` dictionary",
    ),
    "a WebSocket that is closed over HTTP/2": Difference(
        "served",
        "the server ends",
        "RFC 8441, section 5",
        "Orderly TCP-level closures are represented as END_STREAM flags",
    ),
}


def expected(site: Site, what: str) -> object:
    """What a test has to find on a site, where the servers differ."""
    difference = DIFFERENCES[what]
    return difference.ours if site.server == "ours" else difference.hypercorn
