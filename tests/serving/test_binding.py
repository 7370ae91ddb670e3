"""Where `serve` listens."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from trio_h2.cli.serving.banner import url_of
from trio_h2.cli.serving.binding import bind, bound
from trio_h2.cli.serving.serve_error import ServeError
from trio_h2.cli.serving.serve_options import ServeOptions


def told(**options: Any) -> ServeOptions:
    return ServeOptions(target="hello:app", **options)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "socket")


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
def test_a_host_and_a_free_port(host: str, family: int) -> None:
    with bound(told(host=host, port=0)) as [listener]:
        assert listener.family == family
        assert not listener.get_inheritable()
        socket.create_connection(listener.getsockname()[:2]).close()


def test_a_name_with_many_addresses_has_one_port_on_all(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))] * 2
    found.append((socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0)))  # type: ignore[arg-type]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **named: found)
    with bound(told(host="both", port=0)) as listeners:
        first, second = listeners
        assert first.getsockname()[1] == second.getsockname()[1]
        assert url_of(second, told()) == f"http://[::1]:{first.getsockname()[1]}/"


def test_a_port_that_is_free_on_one_address_only_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{last}", 0)) for last in (1, 2)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **named: found)
    really, failed = socket.create_server, []

    def create(address: tuple[str, int], **arguments: Any) -> socket.socket:
        if address[0] == "127.0.0.2" and len(failed) < 3:
            failed.append(address)
            raise OSError(errno.EADDRINUSE, "Address already in use")
        return really(address, **arguments)

    monkeypatch.setattr(socket, "create_server", create)
    with bound(told(host="both", port=0)) as listeners:
        assert len(listeners) == 2
    assert len({port for _, port in failed}) == 3


def test_a_system_without_ipv6_listens_on_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **named: found)
    really = socket.create_server

    def create(address: Any, *, family: int, **arguments: Any) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return really(address, family=family, **arguments)

    monkeypatch.setattr(socket, "create_server", create)
    with bound(told(host="localhost", port=0)) as [listener]:
        assert listener.family == socket.AF_INET
    found.pop()
    with pytest.raises(ServeError, match="cannot listen on localhost port 0: Address family not supported by protocol"):
        bind(told(host="localhost", port=0))


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("a" * 100, "it is no host's name"),
        ("192.0.2.1", "Cannot assign requested address"),
        ("fe80::1%nothing", "cannot listen on fe80::1%nothing port 0: "),
        ("no.such.host.invalid", "cannot listen on no.such.host.invalid port 0: "),
    ],
)
def test_hosts_on_which_one_cannot_listen(host: str, message: str) -> None:
    with pytest.raises(ServeError) as caught:
        bind(told(host=host, port=0))
    assert message in str(caught.value)
    assert caught.value.exit_code == 1


def test_a_unix_socket_and_its_permissions(path: str) -> None:
    with bound(told(unix=path, unix_mode=0o620)) as [listener]:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o620
        assert url_of(listener, told()) == f"unix:{path}"
    assert not os.path.exists(path)


def test_a_stale_unix_socket_is_replaced(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)
    with bound(told(unix=path)) as [listener]:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
        assert listener.getsockname() == path


def test_a_unix_socket_with_a_server_stays_that_servers(path: str) -> None:
    with bound(told(unix=path)) as [listener]:
        with pytest.raises(ServeError, match=f"cannot listen on {path}: Address already in use"):
            bind(told(unix=path))
        waiting = []
        listener.listen(0)
        for _ in range(2):  # until its backlog is full
            waiting.append(client := socket.socket(socket.AF_UNIX))
            client.settimeout(0.1)
            client.connect_ex(path)
        with pytest.raises(ServeError, match="Address already in use"):
            bind(told(unix=path))
        for client in waiting:
            client.close()


def test_the_file_of_a_server_that_came_after_is_not_removed(path: str) -> None:
    with bound(told(unix=path)) as [first]:
        first.close()
        second = bind(told(unix=path))
    assert os.path.exists(path)
    second[0].close()


@pytest.mark.parametrize("mode", [None, 0o600])
def test_unix_sockets_that_cannot_be(tmp_path: Path, mode: int | None) -> None:
    (tmp_path / "file").touch()
    for name, message in [
        ("file", "it is there, and no socket"),
        ("nothing/socket", "No such file or directory"),
        ("a" * 200, "AF_UNIX path too long"),
    ]:
        with pytest.raises(ServeError, match=message):
            bind(told(unix=str(tmp_path / name), unix_mode=mode))


def test_a_socket_that_is_open_already(path: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        with bound(told(fd=os.dup(given.fileno()))) as [listener]:
            assert listener.getsockname() == given.getsockname()
        with socket.create_connection(given.getsockname()) as connected:
            with pytest.raises(ServeError, match="it is no listening stream socket"):
                bind(told(fd=connected.fileno()))
            assert connected.getpeername() == given.getsockname()
    with socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        with pytest.raises(ServeError, match=f"cannot listen on --fd {datagrams.fileno()}: it is no listening stream"):
            bind(told(fd=datagrams.fileno()))
    with pytest.raises(ServeError, match="cannot listen on --fd 999: Bad file descriptor"):
        bind(told(fd=999))
    with open(os.devnull) as file, pytest.raises(ServeError, match="non-socket"):
        bind(told(fd=file.fileno()))


def test_the_sockets_of_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trio_h2.cli.serving.binding.FIRST_ACTIVATED", 700)
    monkeypatch.setenv("LISTEN_FDNAMES", "http:https")
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:

        def activate(pid: int, count: str) -> None:
            monkeypatch.setenv("LISTEN_PID", str(pid))
            monkeypatch.setenv("LISTEN_FDS", count)
            for number, given in enumerate((one, two), 700):
                os.dup2(given.fileno(), number)

        activate(os.getpid(), "2")
        with bound(told()) as listeners:
            assert [each.getsockname() for each in listeners] == [one.getsockname(), two.getsockname()]
            assert not any(each.get_inheritable() for each in listeners)
        assert {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} & set(os.environ) == set()
        activate(os.getpid(), "2")
        with pytest.raises(ServeError, match="systemd hands over sockets") as caught:
            bind(told(port=0))
        assert caught.value.exit_code == 2
        activate(os.getpid(), "many")
        with pytest.raises(ServeError, match="LISTEN_FDS must be a number, not 'many'"):
            bind(told())
        activate(os.getppid(), "2")  # a parent's, and not for this process
        with bound(told(port=0)) as [listener]:
            assert listener.getsockname() != one.getsockname()
        for number in (700, 701):
            os.close(number)
