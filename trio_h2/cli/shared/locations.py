"""`Location`: a URL as HTTP/2 needs it; what people type becomes one, and so does a redirect."""

from __future__ import annotations

import re
from urllib.parse import quote, urljoin, urlsplit

import attrs

import trio_h2

from .exit_codes import ExitCode, Failure

__all__ = ["Location", "parse_url", "redirected"]

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://")
SAFE = "/%:@!$&'()*+,;=~"
"""What stays as it is in a path. What people type and paste is percent-encoded; what is encoded already stays."""


@attrs.frozen
class Location:
    """A URL as HTTP/2 needs it.

    Attributes:
        url: as it was given.
        effective: what is asked for: with a scheme, a path, and what has to be percent-encoded.
        origin: scheme, host and port (RFC 6454): what a connection is made to.
        host, port: its host, without brackets, and its port.
        target: path and query: what is asked for on it.
    """

    url: str
    effective: str
    origin: str
    host: str
    port: int
    target: str

    @property
    def scheme(self) -> str:
        """Of http and https, which."""
        return self.origin.partition(":")[0]

    @property
    def site(self) -> str:
        """Scheme and authority, which has no port if it is the scheme's."""
        return self.origin.removesuffix({"http": ":80", "https": ":443"}[self.scheme])

    @property
    def file_name(self) -> str:
        """What stands behind the last slash of the path; empty if that is nothing that a file can be called."""
        name = self.target.partition("?")[0].rpartition("/")[2]
        return "" if name in (".", "..") else name

    def with_query(self, query: str) -> Location:
        """The same with more of a query."""
        if not query:
            return self
        url, mark, fragment = self.effective.partition("#")
        return attrs.evolve(parse_url(f"{url}{'&' if '?' in url else '?'}{query}{mark}{fragment}"), url=self.url)


def parse_url(url: str) -> Location:
    """Take a URL apart; without a scheme it is one of http. Raises Failure, which does not repeat a password."""
    try:
        return _parsed(url)
    except ValueError as error:
        words = str(error)
        if "@" in url:  # a password may hold anything, "/" say, and then be taken for another part of the URL
            words = (
                "url must be scheme, host and port alone, without a user or a password, and then a path;"
                " one with an @ is not repeated here"
            )
        raise Failure(ExitCode.URL, words) from None


def _parsed(url: str) -> Location:
    if re.search(r"[\x00-\x1f\x7f]", url):  # some of which urlsplit would leave out
        raise ValueError(f"url has a control character: {url!r}")
    whole = url if SCHEME.match(url) else f"http://{url}"
    parts = urlsplit(whole)
    if parts.scheme not in ("http", "https"):
        shown = "" if "@" in url else f", not {url!r}"
        raise Failure(ExitCode.SCHEME, f"it must start with http:// or https://{shown}")
    if re.search(r"[\x00-\x20\x7f\ud800-\udfff]", parts.netloc):
        raise ValueError(f"url has no valid host and port: {url!r}")
    trio_h2.connect(f"{parts.scheme}://{parts.netloc}")  # only made, not entered: it judges host and port
    host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else parts.hostname
    port = parts.port or (443 if parts.scheme == "https" else 80)
    target = _quoted(_without_dots(parts.path or "/"), SAFE) + ("?" if parts.query else "")
    target += _quoted(parts.query, f"{SAFE}?[]")
    fragment = f"#{parts.fragment}" if parts.fragment else ""
    effective = f"{parts.scheme}://{parts.netloc}{target}{fragment}"
    return Location(url, effective, f"{parts.scheme}://{host}:{port}", str(parts.hostname), port, target)


def _quoted(text: str, safe: str) -> str:
    return quote(text, safe=safe, errors="surrogateescape")  # octets that are no UTF-8 stay what they are


def _without_dots(path: str) -> str:
    """A path without its dot segments (RFC 3986 section 5.2.4)."""
    segments = path.split("/")
    if "." not in segments and ".." not in segments:
        return path
    kept: list[str] = []
    for segment in segments[1:]:
        if segment == ".." and kept:
            kept.pop()
        elif segment not in (".", ".."):
            kept.append(segment)
    last = "/" if segments[-1] in (".", "..") and kept else ""
    return "/" + "/".join(kept) + last


def redirected(location: Location, reference: str) -> Location:
    """Where a Location field of a response leads (RFC 9110 section 10.2.2). Raises Failure."""
    here, _, fragment = location.effective.partition("#")
    octets = reference.encode("latin-1")  # which are UTF-8 as a rule, where they are not ASCII
    try:
        url = urljoin(here, octets.decode("utf-8", "surrogateescape"))
    except ValueError:
        raise Failure(ExitCode.URL, f"the server redirects to what is no URL: {reference!r}") from None
    if not SCHEME.match(url):  # without a scheme nothing comes out of urljoin: this is "mailto:a" and the like
        shown = "" if "@" in url else f", not {reference!r}"
        words = f"it must start with http:// or https://{shown}"
        raise Failure(ExitCode.SCHEME, f"the server redirects to another place: {words}")
    try:
        return parse_url(f"{url}#{fragment}" if fragment and "#" not in url else url)
    except Failure as failure:
        raise Failure(failure.exit_code, f"the server redirects to another place: {failure.words}") from None
