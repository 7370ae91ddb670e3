"""The bench: two cores, a directory, and the ways to run a program on either core."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import trio
import trustme

from tests.benchmarks.model import RefusedError, Running, Side
from tests.benchmarks.runtimes import HERE, ROOT, Runtime, Runtimes
from tests.peers import Completed, TLSFiles, free_port, run_program, run_server

HOST = "127.0.0.1"

MIB = 2**20

RUN_LIMIT = 300.0
"""Seconds that one run of a load may take."""

WIDE_WINDOWS = ("--window-bits=20", "--connection-window-bits=24")
"""1 MiB for a stream and 16 MiB for a connection. nghttpd's own 64 KiB hold back even curl, and it is the client that
shall be measured."""

SEARCH_PATH = os.environ.get("PATH", os.defpath) + os.pathsep + "/usr/sbin"
"""Debian has its servers in /usr/sbin, which is not on everybody's PATH."""


class Bench:
    """Where everything runs."""

    def __init__(self, side_core: int, load_core: int, directory: Path, *, runtimes: Runtimes | None = None) -> None:
        self.runtimes = runtimes or Runtimes(directory)
        self._runtime = HERE
        self.side_core = side_core
        self.load_core = load_core
        self.both_cores = f"{side_core},{load_core}"
        self.directory = directory

    @cached_property
    def tls(self) -> TLSFiles:
        """A certificate for loopback."""
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost", HOST)
        files = TLSFiles(*(self.directory / name for name in ("ca.pem", "certificate.pem", "key.pem", "combined.pem")))
        authority.cert_pem.write_to_path(files.ca)
        for blob in certificate.cert_chain_pems:
            blob.write_to_path(files.certificate, append=True)
        certificate.private_key_pem.write_to_path(files.key)
        certificate.private_key_and_cert_chain_pem.write_to_path(files.combined)
        return files

    @cached_property
    def docroot(self) -> Path:
        """What a server of files serves: hello.txt and, by size, files of zeros."""
        docroot = self.directory / "docroot"
        docroot.mkdir()
        (docroot / "hello.txt").write_bytes(b"hello")
        return docroot

    def zeros(self, size: int) -> Path:
        """A file of so many zeros in the document root, named by its size."""
        path = self.docroot / str(size)
        if not path.exists():
            with path.open("w+b") as file:
                file.truncate(size)
                # Into the page cache, which the side that is measured first would wait for otherwise.
                while file.read(1024 * 1024):
                    pass
        return path

    async def run(self, core: int | str, *argv: str | Path, codes: tuple[int, ...] = (0,)) -> Completed:
        """Run a program to its end on that core; RefusedError for an exit code that is not one of `codes`."""
        try:
            completed = await run_program(*pinned(core, argv), seconds=RUN_LIMIT, check=False)
        except trio.TooSlowError:
            raise RefusedError(f"{' '.join(map(str, argv))} took more than {RUN_LIMIT:g} s") from None
        if completed.returncode not in codes:
            raise RefusedError(f"exit code {completed.returncode}:\n{completed.errors}{completed.text}")
        return completed

    @contextmanager
    def running_on(self, runtime: Runtime) -> Iterator[None]:
        """What the programs of a side run on while the block lasts. AbsentError when that is not there."""
        self.runtimes.command(runtime)
        self._runtime = runtime
        try:
            yield
        finally:
            self._runtime = HERE

    def program(self, module: str, *arguments: object) -> list[str]:
        """The command line of a program of the harness that is of the side."""
        return [*self.runtimes.command(self._runtime), "-m", f"tests.benchmarks.{module}", *map(str, arguments)]

    def load_program(self, module: str, *arguments: object) -> list[str]:
        """Likewise of one that belongs to no side, and is the same for all."""
        return [*self.runtimes.command(HERE), "-m", f"tests.benchmarks.{module}", *map(str, arguments)]

    async def run_ours(self, core: int, module: str, *arguments: object) -> Any:
        """Run a program of the side, `tests.benchmarks.<module>`, and return the JSON that it wrote."""
        return await self._reported(core, self.program(module, *arguments))

    async def run_load(self, module: str, *arguments: object) -> Any:
        """Run a program of the harness that puts the side under load, likewise."""
        return await self._reported(self.load_core, self.load_program(module, *arguments))

    async def _reported(self, core: int, argv: list[str]) -> Any:
        completed = await self.run(core, *argv)
        try:
            return json.loads(completed.text)
        except ValueError:
            raise RefusedError(f"not JSON:\n{completed.errors}{completed.text}") from None

    @asynccontextmanager
    async def serve(
        self, core: int | str, name: str, argv: list[str], port: int, scheme: Literal["http", "https"] = "http"
    ) -> AsyncIterator[Running]:
        """Run a server on that core while the block lasts."""
        with tempfile.TemporaryDirectory(dir=self.directory) as directory:
            log = Path(directory, "log")
            async with run_server(name, pinned(core, argv), port=port, scheme=scheme, log=log, cwd=ROOT) as peer:
                # taskset replaces itself with the server.
                yield Running(name, port, scheme, peer.process.pid)

    @asynccontextmanager
    async def serve_nghttpd(
        self, core: int, name: str = "nghttpd", *, options: tuple[str, ...] = ()
    ) -> AsyncIterator[Running]:
        """nghttpd on that core, for what is in the document root; it takes an upload of any size."""
        port = free_port()
        program = shutil.which("nghttpd", path=SEARCH_PATH)
        assert program is not None, "see require_programs"
        argv = [program, f"--address={HOST}", f"--htdocs={self.docroot}", *options, "--no-tls", str(port)]
        async with self.serve(core, name, argv, port) as running:
            yield running


def pinned(core: int | str, argv: Any) -> list[str]:
    return ["taskset", "--cpu-list", str(core), *map(str, argv)]


@contextmanager
def open_bench(pythons: Mapping[str, str] | None = None, before: Path | None = None) -> Iterator[Bench]:
    """A bench on the first two cores that this process may use; for the rest see Runtimes."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("the benchmarks need two cores: one for the side, one for the load")
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as directory:
        runtimes = Runtimes(Path(directory), pythons, before)
        yield Bench(cores[0], cores[1], Path(directory), runtimes=runtimes)


def require_programs(*names: str) -> None:
    missing = [name for name in names if shutil.which(name, path=SEARCH_PATH) is None]
    if missing:
        packages = "nghttp2-client, nghttp2-server, curl, util-linux"
        raise SystemExit(f"the benchmarks need {', '.join(missing)} (Debian packages {packages})")


# Sides --------------------------------------------------------------------------------------------

NEEDS = {
    "hypercorn-trio": ("hypercorn",),
    "hypercorn-asyncio": ("hypercorn",),
    "hypercorn-uvloop": ("hypercorn", "uvloop"),
    "granian": ("granian", "uvloop"),
    "h2corn": ("h2corn", "uvloop"),
    "node": ("node",),
    "httpcore": ("httpcore",),
    "httpcore2": ("httpcore2",),
    "httpx2": ("httpx2",),
    "trio_h2 in httpx2": ("httpx2",),
    "niquests": ("niquests",),
    "grpclib": ("grpclib",),
    "grpcio": ("grpc",),
    "h2 on asyncio": ("h2",),
    "h2 on asyncio with tasks": ("h2",),
    "h2 in memory": ("h2",),
}
"""What a side cannot do without, by its name."""


def server_side(
    name: str, app: str, *, tls: bool = False, called: str | None = None, on_both_cores: bool = False
) -> Side:
    """A server of `servers.py` with one of its applications, on the side's core or on both."""

    @asynccontextmanager
    async def start(bench: Bench) -> AsyncIterator[Running]:
        port = free_port()
        files = [bench.tls.certificate, bench.tls.key] if tls else []
        argv = bench.program("servers", name, app, port, *files)
        core = bench.both_cores if on_both_cores else bench.side_core
        async with bench.serve(core, name, argv, port, "https" if tls else "http") as running:
            yield running

    return Side(called or name, start, needs=NEEDS.get(name, ()))


def client_side(name: str) -> Side:
    """A client of `clients.py`, which runs on the side's core; nghttpd, on the other one, answers it."""

    @asynccontextmanager
    async def start(bench: Bench) -> AsyncIterator[Running]:
        async with bench.serve_nghttpd(bench.load_core, name, options=WIDE_WINDOWS) as running:
            yield running

    return Side(name, start, needs=NEEDS.get(name, ()))


@asynccontextmanager
async def nothing(bench: Bench) -> AsyncIterator[Running]:
    """Nothing to start: the measure runs all there is."""
    yield Running("")
