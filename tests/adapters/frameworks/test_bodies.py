"""Large bodies, bodies that take their time, and what an app does after its response."""

from __future__ import annotations

import hashlib
import ssl
import subprocess
from pathlib import Path

import httpx2
import pytest
import trio

import trio_h2
from tests.peers import TLSFiles, require_program, run_program

from .drivers import Driver, by_each_driver, client_context
from .expectations import expected
from .journal import digest_of, pieces
from .sites import Site

LARGE = 50 * 1024 * 1024


@pytest.fixture(scope="session")
def large_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bodies") / "large"
    path.write_bytes(b"".join(pieces(LARGE)))
    return path


async def test_50_mib_up(site: Site, large_file: Path) -> None:
    curl = require_program("curl", package="curl")
    url = site.url("/upload", "http")
    done = await run_program(curl, "-sS", "--http2-prior-knowledge", "-T", large_file, "-X", "POST", url)
    assert done.text == digest_of(LARGE)


async def test_50_mib_down(site: Site, tls_files: TLSFiles, tmp_path: Path) -> None:
    curl = require_program("curl", package="curl")
    url = site.url(f"/download?size={LARGE}")
    await run_program(curl, "-sS", "--http2", "--cacert", tls_files.ca, "-o", tmp_path / "large", url)
    assert hashlib.sha256((tmp_path / "large").read_bytes()).hexdigest() == digest_of(LARGE)


@pytest.fixture
def context(tls_files: TLSFiles) -> ssl.SSLContext:
    return client_context(tls_files)


async def test_a_response_comes_as_it_is_made(site: Site, context: ssl.SSLContext, name: str) -> None:
    with trio.fail_after(20):
        async with trio_h2.connect(site.url(), ssl_context=context) as connection:
            async with connection.stream("GET", f"/stream?as={name}") as stream:
                assert (await stream.response()).status == 200
                assert await stream.receive_some() == b"first"
                await site.open_gate(name)
                assert await stream.read() == b"second"


@by_each_driver
async def test_a_background_task_goes_on_when_its_client_has_gone(site: Site, driver: Driver, name: str) -> None:
    answer = await driver(site, "GET", f"/background?as={name}")
    assert (answer.status, answer.body) == (202, b"accepted")
    await site.open_gate(name)
    await site.noted(name, "worked")


@by_each_driver
async def test_an_exception_after_the_response_began(site: Site, driver: Driver, name: str) -> None:
    """The response never looks complete."""
    outcome = "waits"
    with trio.move_on_after(20 if driver.version == "HTTP/1.1" or site.server == "ours" else 0.5):
        try:
            await driver(site, "GET", "/late")
            outcome = "whole"
        except (httpx2.RemoteProtocolError, trio_h2.StreamResetError, subprocess.CalledProcessError):
            outcome = "failed"
    over_http2 = expected(site, "an error after the response has begun, over HTTP/2")
    assert outcome == ("failed" if driver.version == "HTTP/1.1" else over_http2)
    await site.logged("ValueError: after")
