"""What proxies say of their clients is believed from those that the user names, and from nobody else."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import trio_h2
from tests.adapters.helpers import answers, scope_of
from trio_h2.adapters.asgi import asgi_handler, serve_asgi
from trio_h2.adapters.asgi.forwarded import TrustedProxies

PROXY = ("192.0.2.1", 4000)
TRUSTED = "192.0.2.0/24, 2001:db8::/32"


def corrected(
    *fields: tuple[str, str], allowed: Any = TRUSTED, client: Any = PROXY, server: Any = None, kind: str = "http"
) -> tuple[Any, str, list[tuple[bytes, bytes]]]:
    """Client, scheme and Host of a request with these fields."""
    headers = [(b"host", b"inner"), *((name.encode(), value.encode()) for name, value in fields)]
    scheme = "ws" if kind == "websocket" else "http"
    scope = {"type": kind, "client": client, "server": server, "scheme": scheme, "headers": headers}
    TrustedProxies(allowed).correct(scope)
    return scope["client"], scope["scheme"], [field for field in scope["headers"] if field[0] == b"host"]


def believed(client: Any, scheme: str = "http", host: bytes = b"inner") -> Any:
    return client, scheme, [(b"host", host)]


NOTHING = believed(PROXY)


@pytest.mark.parametrize(
    ("value", "client"),
    [
        ("198.51.100.7", ("198.51.100.7", 0)),
        ("198.51.100.7:1234", ("198.51.100.7", 1234)),
        ("2001:db9::7", ("2001:db9::7", 0)),
        ("[2001:db9::7]:1234", ("2001:db9::7", 1234)),
        ("[2001:db9::7]", ("2001:db9::7", 0)),
        ("::ffff:198.51.100.7", ("198.51.100.7", 0)),
        ("198.51.100.7:123456", ("198.51.100.7", 0)),
        # What a client has made up comes before what proxies have added.
        ("10.0.0.1, 198.51.100.7", ("198.51.100.7", 0)),
        ("10.0.0.1, 198.51.100.7, 192.0.2.9, 2001:db8::1", ("198.51.100.7", 0)),
        ("192.0.2.8, 192.0.2.9", ("192.0.2.8", 0)),
        ("10.0.0.1, unknown, 192.0.2.9", None),
        ("10.0.0.1,,192.0.2.9", None),
        ("nonsense", None),
    ],
)
def test_the_client_is_the_last_address_that_is_no_trusted_proxys(value: str, client: Any) -> None:
    assert corrected(("x-forwarded-for", value)) == believed(client)


@pytest.mark.parametrize("server", [None, ("/run/app.sock", None), ("192.0.2.3", 80)])
def test_a_tcp_socket_that_was_reset_and_has_forgotten_its_peer_is_no_unix_socket(server: Any) -> None:
    got, _, _ = corrected(("x-forwarded-for", "198.51.100.7"), allowed="unix", client=None, server=server)
    assert got == (None if server == ("192.0.2.3", 80) else ("198.51.100.7", 0))


def test_fields_that_are_repeated_are_one_list() -> None:
    fields = [("x-forwarded-for", "10.0.0.1"), ("x-forwarded-for", "198.51.100.7, 192.0.2.9")]
    assert corrected(*fields) == believed(("198.51.100.7", 0))


@pytest.mark.parametrize(
    ("allowed", "client", "trusted"),
    [
        ("", PROXY, False),
        ((), PROXY, False),
        ("192.0.2.1", PROXY, True),
        (["10.0.0.1", "192.0.2.1"], PROXY, True),
        ("192.0.2.2", PROXY, False),
        ("*", PROXY, True),
        ("unix", PROXY, False),
        ("unix", None, True),
        ("*", None, True),
        ("192.0.2.0/24", None, False),
        ("192.0.2.0/24", ("::ffff:192.0.2.1", 1), True),
        ("fe80::/64", ("fe80::1%eth0", 1), True),
        ("2001:db8::/32", ("2001:db8::1", 1), True),
    ],
)
def test_who_is_believed(allowed: Any, client: Any, trusted: bool) -> None:
    got, _, _ = corrected(("x-forwarded-for", "198.51.100.7"), allowed=allowed, client=client)
    assert got == (("198.51.100.7", 0) if trusted else client)


@pytest.mark.parametrize(
    ("clients", "schemes", "scheme"),
    [
        ("198.51.100.7", "https", "https"),
        ("198.51.100.7", "HTTPS", "https"),
        ("198.51.100.7", "http", "http"),
        ("198.51.100.7", "wss", "https"),
        ("198.51.100.7", "gopher", "http"),
        ("198.51.100.7, 192.0.2.9", "https, http", "https"),
        ("10.0.0.1, 198.51.100.7, 192.0.2.9", "https, http, https", "http"),
        ("10.0.0.1, 198.51.100.7, 192.0.2.9", "http, https", "https"),
        ("198.51.100.7, 192.0.2.9", "https", "https"),
    ],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_the_scheme_is_what_the_clients_proxy_says(clients: str, schemes: str, scheme: str, kind: str) -> None:
    fields = [("x-forwarded-for", clients), ("x-forwarded-proto", schemes)]
    _, got, _ = corrected(*fields, kind=kind)
    assert got == (scheme if kind == "http" else {"http": "ws", "https": "wss"}[scheme])


@pytest.mark.parametrize(
    ("value", "host"),
    [
        ("example.org", b"example.org"),
        ("example.org:8443", b"example.org:8443"),
        ("[::1]:80", b"[::1]:80"),
        ("a/b", None),
    ],
)
def test_the_host_is_what_the_proxy_was_asked_for(value: str, host: bytes | None) -> None:
    fields = [("x-forwarded-for", "198.51.100.7"), ("x-forwarded-host", value)]
    assert corrected(*fields) == believed(("198.51.100.7", 0), host=host or b"inner")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("for=198.51.100.7", believed(("198.51.100.7", 0))),
        ('For="198.51.100.7:1234";Proto=HTTPS', believed(("198.51.100.7", 1234), "https")),
        ('for="[2001:db9::7]:80";proto=https;by=x;host=a.org', believed(("2001:db9::7", 80), "https", b"a.org")),
        (
            'proto=http;for=10.0.0.1,for=198.51.100.7;proto=https ,  for="192.0.2.9"',
            believed(("198.51.100.7", 0), "https"),
        ),
        ('for=198.51.100.7;x="a,b;c\\"d"', believed(("198.51.100.7", 0))),
        ('for="198.51.1\\00.7"', believed(("198.51.100.7", 0))),
        ("for=_hidden", believed(None)),
        ("for=unknown;proto=https", believed(None, "https")),
        ("proto=https", believed(None, "https")),
        ("", NOTHING),
        ("for", NOTHING),
        ("for=", NOTHING),
        ('for="198.51.100.7', NOTHING),
        ("for=198.51.100.7 for=10.0.0.1", NOTHING),
        ("for=198.51.100.7,", NOTHING),
    ],
)
def test_rfc7239_4_forwarded(value: str, expected: Any) -> None:
    assert corrected(("forwarded", value)) == expected


def test_where_both_kinds_are_there_neither_is_believed() -> None:
    """A proxy that adds one of them may pass on the other as its client has made it up."""
    fields = [("x-forwarded-for", "198.51.100.7"), ("forwarded", "for=10.0.0.1;proto=https")]
    assert corrected(*fields) == NOTHING


def test_without_a_word_of_the_client_nothing_changes() -> None:
    assert corrected() == NOTHING
    assert corrected(("x-forwarded-proto", "https")) == NOTHING


@pytest.mark.parametrize(
    ("allowed", "error", "message"),
    [
        (None, TypeError, "forwarded_allow_ips must be str or an iterable of str, not NoneType"),
        (b"*", TypeError, "forwarded_allow_ips must be of str, not of int"),
        ([1], TypeError, "forwarded_allow_ips must be of str, not of int"),
        ("localhost", ValueError, "forwarded_allow_ips: 'localhost' does not appear to be"),
        ("10.0.0.1/8", ValueError, "forwarded_allow_ips: 10.0.0.1/8 has host bits set"),
    ],
)
def test_wrong_arguments_are_named(allowed: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{message}"):
        asgi_handler(answers(), forwarded_allow_ips=allowed)


async def test_apps_behind_a_trusted_proxy_see_its_client() -> None:
    headers = [("x-forwarded-for", "198.51.100.7"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "outer.org")]
    scope = await scope_of(headers=headers, forwarded_allow_ips="unix")
    assert (scope["client"], scope["scheme"]) == (("198.51.100.7", 0), "https")
    assert scope["headers"][0] == (b"host", b"outer.org")
    scope = await scope_of(headers=headers)
    assert (scope["client"], scope["scheme"]) == (None, "http")
    assert scope["headers"][0] == (b"host", b"example.org")


async def test_servers_take_it_too() -> None:
    scopes: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        scopes.append(scope)
        await answers()(scope, receive, send)

    async def serve(*, task_status: Any) -> None:
        await serve_asgi(app, 0, host="127.0.0.1", forwarded_allow_ips="127.0.0.1", task_status=task_status)

    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve)
        async with trio_h2.connect(f"http://127.0.0.1:{server.port}") as client:
            await client.request("GET", "/", headers=[("forwarded", "for=198.51.100.7")])
        await server.shutdown()
    assert scopes[0]["client"] == ("198.51.100.7", 0)
