"""What `trio-h2 probe` found out, as a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..shared.saying import printable, say
from .probe import DEFAULTS

__all__ = ["show_table", "table_rows"]

NAME_WIDTH = 27


def show_table(facts: dict[str, Any], console: Console) -> None:
    """Print it: on a terminal as a table, else a line for each row. Raises OSError."""
    if not console.is_terminal:
        for name, value in table_rows(facts):
            say(f"{name:<{NAME_WIDTH}}{value}")
        return
    table = Table(box=box.SIMPLE_HEAD, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in table_rows(facts):
        table.add_row(Text(name, "bold"), Text(_shown(value, console.encoding)))
    console.print(table)


def _shown(value: str, encoding: str) -> str:
    """A value as a terminal takes it that does not take every letter."""
    value = printable(value)
    return value.encode(encoding, "backslashreplace").decode(encoding)


def table_rows(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The rows: a name, and a value in words. What was not come to has none."""
    yield "URL", facts["url"]
    if facts.get("address"):
        yield "address", facts["address"]
    if "tls" in facts:
        yield from _tls_rows(facts["tls"])
    if "settings" in facts:
        yield from _settings_rows(facts["settings"])
    if "connection_window" in facts:
        times = facts["ping_ms"]
        yield (
            "PING",
            f"{min(times):.3f}/{sum(times) / len(times):.3f}/{max(times):.3f} ms (min/avg/max of {len(times)})",
        )
        yield "connection window", f"{facts['connection_window']:,} octets"
        yield "extended CONNECT", "yes (RFC 8441)" if facts["extended_connect"] else "no"
    for method in ("head", "get"):
        if method in facts:
            yield method.upper(), _response(facts[method])
    if "get" in facts and facts["get"].get("server"):
        yield "server", facts["get"]["server"]
    if "push" in facts:
        yield "push", ", ".join(facts["push"]["promised"]) or "nothing was pushed with the GET"
    if "goaway" in facts:
        yield from _goaway_rows(facts["goaway"])
    for line in facts.get("also_sent", ()):
        yield "also sent", line


def _tls_rows(tls: dict[str, Any] | None) -> Iterator[tuple[str, str]]:
    if tls is None:
        yield "TLS", "none: HTTP/2 in the clear, with prior knowledge"
        return
    yield "TLS", f"{tls['version']}, {tls['cipher']}"
    yield "ALPN", str(tls["alpn"])
    certificate = tls["certificate"]
    if certificate is None or "error" in certificate:
        yield "certificate", "none" if certificate is None else certificate["error"]
        return
    yield "certificate of", certificate["subject"] or "-"
    yield "signed by", certificate["issuer"] or "-"
    yield "for", ", ".join(certificate["names"]) or "-"
    yield "valid", f"{certificate['not_before']} to {certificate['not_after']}"


def _settings_rows(announced: dict[str, int]) -> Iterator[tuple[str, str]]:
    for name, value in announced.items():
        yield name, f"{value:,}"
    for code, default in DEFAULTS.items():
        if code.name not in announced:
            yield code.name, f"{'no limit' if default is None else f'{default:,}'} (not announced)"


def _response(response: dict[str, Any]) -> str:
    if "failure" in response:
        return str(response["failure"])
    size = f"{response['octets']:,} octets" if response["whole"] else f"more than {response['octets']:,} octets"
    kind = f" of {response['content_type']}" if response["content_type"] else ""
    return f"{response['status']}, {size}{kind} in {response['ms']:.1f} ms"


def _goaway_rows(goaway: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if goaway["unasked"] is not None:
        yield "GOAWAY unasked", _goaway(goaway["unasked"])
    yield "request before our GOAWAY", goaway["open_request"] or "none was possible"
    yield "answer to our GOAWAY", "none" if goaway["answered"] is None else _goaway(goaway["answered"])


def _goaway(goaway: dict[str, Any]) -> str:
    return f"GOAWAY {goaway['error_code']}, last stream {goaway['last_stream_id']}"
