"""Real HTTP/2 programs to test against: servers started on loopback, and clients run to their end.

Every server peer is an async context manager that yields a `Peer` once the program accepts connections, and
ends the program on the way out. All of a peer's files and its output are in one temporary directory. When
the body of the `async with` raises, the end of what the program wrote is added to the exception as a note, so
that a failed test shows both sides of the story.

    async with (
        peers.run_nghttpd(docroot, tls=tls_files) as peer,
        trio_h2.connect(peer.url, ssl_context=client_ssl_context) as connection,
    ):
        ...
"""

from __future__ import annotations

import errno
import os
import random
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

import pytest
import trio

HOST = "127.0.0.1"

START_LIMIT = 15.0
"""Seconds a server has to accept its first connection."""

STOP_LIMIT = 5.0
"""Seconds a server has to end after SIGTERM; then it is killed."""

OUTPUT_SHOWN = 8_000
"""Characters of a program's output that a failed test shows."""


@dataclass(frozen=True)
class TLSFiles:
    """PEM files of a test authority and of a server certificate for localhost, 127.0.0.1 and ::1."""

    ca: Path
    certificate: Path
    key: Path
    combined: Path
    """Key and certificate chain in one file, as HAProxy wants it."""


@dataclass(frozen=True)
class Peer:
    """A running server program."""

    name: str
    port: int
    scheme: Literal["http", "https"]
    log: Path
    process: trio.Process

    @property
    def url(self) -> str:
        return f"{self.scheme}://{HOST}:{self.port}"

    def output(self) -> str:
        """What the program has written so far, to standard output, standard error and its error log."""
        return self.log.read_text(errors="replace")


# Finding things -----------------------------------------------------------------------------------


def require_program(name: str, *, package: str) -> str:
    """The path of a program. Without it the test is skipped, or fails in CI, where nothing may be missing."""
    # Debian has its servers in /usr/sbin, which is not on everybody's PATH.
    path = shutil.which(name, path=os.environ.get("PATH", os.defpath) + os.pathsep + "/usr/sbin")
    if path is not None:
        return path
    message = f"{name} is not installed (Debian package {package})"
    if os.environ.get("CI"):
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def free_port() -> int:
    """A TCP port on loopback that nothing listens on.

    It is taken from below the range that the kernel gives to outgoing connections: a port out of that range
    could be taken by any client before the server binds it, or even by our own polling, which TCP would then
    connect to itself.
    """
    for _ in range(1000):
        port = random.randrange(10_000, 32_000)
        with socket.socket() as candidate:
            # As servers do: a port whose last connections are in TIME_WAIT is free.
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                candidate.bind((HOST, port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                return port
    raise RuntimeError("no free port on loopback")


# Running a client to its end ----------------------------------------------------------------------


@dataclass(frozen=True)
class Completed:
    """A program that has ended, and what it wrote."""

    argv: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        return self.stdout.decode(errors="replace")

    @property
    def errors(self) -> str:
        return self.stderr.decode(errors="replace")

    def fail(self, why: str) -> NoReturn:
        raise AssertionError(
            f"{' '.join(self.argv)}: {why}\n"
            f"--- standard error\n{self.errors[-OUTPUT_SHOWN:]}\n"
            f"--- standard output\n{self.text[-OUTPUT_SHOWN:]}"
        )


async def run_program(*argv: str | Path, seconds: float = 60, check: bool = True) -> Completed:
    """Run a program to its end and return what it wrote; it is killed after `seconds` (`trio.TooSlowError`).

    With `check`, an exit code other than 0 is an AssertionError that shows the output.
    """
    arguments = tuple(str(argument) for argument in argv)
    with trio.fail_after(seconds):
        ended = await trio.run_process(arguments, capture_stdout=True, capture_stderr=True, check=False)
    completed = Completed(arguments, ended.returncode, ended.stdout, ended.stderr)
    if check and completed.returncode != 0:
        completed.fail(f"exit code {completed.returncode}")
    return completed


@asynccontextmanager
async def running_program(*argv: str | Path) -> AsyncIterator[trio.Process]:
    """Run a program whose output does not matter; it is killed on the way out if it still runs."""
    arguments = [str(argument) for argument in argv]
    process = await trio.lowlevel.open_process(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        with trio.CancelScope(shield=True):
            process.kill()
            await process.wait()


@dataclass(frozen=True)
class H2LoadReport:
    """The closing lines of h2load."""

    requests_per_second: float
    total: int
    succeeded: int
    status_2xx: int
    received_bytes: int

    @property
    def all_succeeded(self) -> bool:
        """Did every request end, and with a 2xx? h2load itself exits with 0 even when all of them failed."""
        return self.total == self.succeeded == self.status_2xx


def parse_h2load(output: str) -> H2LoadReport:
    """Read h2load's closing lines; a ValueError shows output that has none."""
    finished = re.search(r"^finished in .*, ([\d.]+) req/s,", output, re.MULTILINE)
    requests = re.search(
        r"^requests: (\d+) total, \d+ started, \d+ done, (\d+) succeeded,",
        output,
        re.MULTILINE,
    )
    statuses = re.search(r"^status codes: (\d+) 2xx,", output, re.MULTILINE)
    traffic = re.search(r"^traffic: .* \((\d+)\) total,", output, re.MULTILINE)
    if finished is None or requests is None or statuses is None or traffic is None:
        raise ValueError(f"not the output of a finished h2load:\n{output[-OUTPUT_SHOWN:]}")
    return H2LoadReport(
        requests_per_second=float(finished[1]),
        total=int(requests[1]),
        succeeded=int(requests[2]),
        status_2xx=int(statuses[1]),
        received_bytes=int(traffic[1]),
    )


# Running a server ---------------------------------------------------------------------------------


@asynccontextmanager
async def run_server(
    name: str,
    argv: list[str],
    *,
    port: int,
    scheme: Literal["http", "https"],
    log: Path,
    cwd: Path | None = None,
    may_end: bool = False,
) -> AsyncIterator[Peer]:
    """Run any server program that will listen on `port`; what it writes goes to the file `log`.

    With `may_end` it may have ended, by exit code 0, before the block does.
    """
    with log.open("ab") as output:
        process = await trio.lowlevel.open_process(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=cwd
        )
    peer = Peer(name, port, scheme, log, process)
    try:
        await _wait_until_accepting(peer)
        yield peer
        if process.poll() is not None and not (may_end and process.returncode == 0):
            raise AssertionError(f"{name} ended by itself with exit code {process.returncode}")
    except BaseException as error:
        error.add_note(f"--- {name} wrote:\n{peer.output()[-OUTPUT_SHOWN:]}")
        raise
    finally:
        await _stop(process)


async def _wait_until_accepting(peer: Peer) -> None:
    with trio.fail_after(START_LIMIT):
        while True:
            if peer.process.poll() is not None:
                raise AssertionError(f"{peer.name} did not start: exit code {peer.process.returncode}")
            try:
                stream = await trio.open_tcp_stream(HOST, peer.port)
            except OSError:
                # Nothing in this process can tell when another one has called listen().
                await trio.sleep(0.02)
            else:
                await stream.aclose()
                return


async def _stop(process: trio.Process) -> None:
    with trio.CancelScope(shield=True):
        process.terminate()
        with trio.move_on_after(STOP_LIMIT):
            await process.wait()
        process.kill()
        await process.wait()


@asynccontextmanager
async def run_nghttpd(
    docroot: Path, *, tls: TLSFiles | None = None, echo: bool = True, options: tuple[str, ...] = ()
) -> AsyncIterator[Peer]:
    """nghttp2's own server: files from `docroot`; with `echo`, the body of a POST or PUT is sent back once it is whole.

    `options` go to the command line, `-v` for one to log each frame.
    """
    program = require_program("nghttpd", package="nghttp2-server")
    port = free_port()
    argv = [program, f"--address={HOST}", f"--htdocs={docroot}", *(["--echo-upload"] if echo else []), *options]
    if tls is None:
        argv += ["--no-tls", str(port)]
    else:
        argv += [str(port), str(tls.key), str(tls.certificate)]
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory, "log")
        async with run_server("nghttpd", argv, port=port, scheme=_scheme(tls), log=log) as peer:
            yield peer


@asynccontextmanager
async def run_nginx(docroot: Path, *, tls: TLSFiles | None = None) -> AsyncIterator[Peer]:
    """nginx: files from `docroot`, and PUT writes a file there (201, or 204 over one that was there)."""
    program = require_program("nginx", package="nginx")
    port = free_port()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        log = directory / "log"
        configuration = directory / "nginx.conf"
        configuration.write_text(_nginx_configuration(directory, docroot, port, tls))
        # -e: without it nginx opens the error log it was compiled with before it has read the configuration.
        argv = [program, "-p", str(directory), "-c", str(configuration), "-e", str(log)]
        async with run_server("nginx", argv, port=port, scheme=_scheme(tls), log=log) as peer:
            yield peer


def _nginx_configuration(directory: Path, docroot: Path, port: int, tls: TLSFiles | None) -> str:
    # Started by root, nginx's worker becomes another user, who may read nothing in a private directory.
    user = "user root;" if os.geteuid() == 0 else ""
    listen = f"listen {HOST}:{port} http2;"
    if tls is not None:
        listen = f"""
        listen {HOST}:{port} ssl http2;
        ssl_certificate {tls.certificate};
        ssl_certificate_key {tls.key};"""
    temporary = "\n".join(
        f"    {module}_temp_path {directory}/{module};"
        for module in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""
daemon off;
{user}
worker_processes 1;
pid {directory}/pid;
error_log {directory}/log warn;
events {{ worker_connections 512; }}
http {{
{temporary}
    access_log off;
    log_not_found off;
    default_type application/octet-stream;
    sendfile on;
    # One connection serves any number of requests, and a body may have any size.
    keepalive_requests 10000000;
    client_max_body_size 0;
    server {{
        {listen}
        root {docroot.absolute()};
        dav_methods PUT DELETE;
        create_full_put_path on;
    }}
}}
"""


@asynccontextmanager
async def run_haproxy(backend_port: int, *, tls: TLSFiles) -> AsyncIterator[Peer]:
    """HAProxy: HTTP/2 over TLS in front, HTTP/2 in the clear to `backend_port` of loopback behind."""
    program = require_program("haproxy", package="haproxy")
    port = free_port()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        configuration = directory / "haproxy.cfg"
        configuration.write_text(f"""
global
    maxconn 500
    log stderr format raw local0 warning
defaults
    mode http
    log global
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend front
    bind {HOST}:{port} ssl crt {tls.combined} alpn h2
    default_backend back
backend back
    http-reuse always
    server trio_h2 {HOST}:{backend_port} proto h2
""")
        # -db: stay in the foreground.
        argv = [program, "-db", "-f", str(configuration)]
        log = directory / "log"
        async with run_server("haproxy", argv, port=port, scheme="https", log=log) as peer:
            yield peer


def _scheme(tls: TLSFiles | None) -> Literal["http", "https"]:
    return "http" if tls is None else "https"
