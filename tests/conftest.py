"""Fixtures that many test files share."""

from __future__ import annotations

import gc
import logging
import signal
import ssl
from collections.abc import Iterator

import pytest
import trustme
from hypothesis import settings

from tests.peers import TLSFiles
from trio_h2.actors.slices import SLICE, Turn

# No test is timed: a machine may be slow, or busy with others.
settings.register_profile("untimed", settings.default, deadline=None)
settings.load_profile("untimed")


def pytest_collection_finish() -> None:
    """What was imported and collected stays to the end: looking through it stopped tests for up to two seconds."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def ctrl_c() -> Iterator[None]:
    """Ctrl-C does what it does at a prompt: a shell that runs the tests in the background has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def still_slices(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a test has a clock that stands still while tasks run, slices of work do not end by time either."""
    if {"autojump_clock", "mock_clock"} & set(request.fixturenames):
        monkeypatch.setattr(Turn.__init__, "__defaults__", (lambda: 0.0, SLICE))


@pytest.fixture(scope="session")
def certificate_authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def server_certificate(certificate_authority: trustme.CA) -> trustme.LeafCert:
    return certificate_authority.issue_cert("localhost", "127.0.0.1", "::1")


@pytest.fixture(scope="session")
def tls_files(
    certificate_authority: trustme.CA,
    server_certificate: trustme.LeafCert,
    tmp_path_factory: pytest.TempPathFactory,
) -> TLSFiles:
    """The same authority and certificate as files, for peers that are programs of their own."""
    directory = tmp_path_factory.mktemp("tls")
    files = TLSFiles(
        ca=directory / "ca.pem",
        certificate=directory / "certificate.pem",
        key=directory / "key.pem",
        combined=directory / "combined.pem",
    )
    certificate_authority.cert_pem.write_to_path(files.ca)
    for blob in server_certificate.cert_chain_pems:
        blob.write_to_path(files.certificate, append=True)
    server_certificate.private_key_pem.write_to_path(files.key)
    server_certificate.private_key_and_cert_chain_pem.write_to_path(files.combined)
    return files


@pytest.fixture
def logging_comes_back() -> Iterator[None]:
    """For tests of what sets up logging: `dictConfig` disables all that it is not told of, and changes the root."""
    loggers = [logger for logger in logging.root.manager.loggerDict.values() if isinstance(logger, logging.Logger)]
    enabled = [logger for logger in loggers if not logger.disabled]
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    for logger in enabled:
        logger.disabled = False
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


# The contexts are made anew for each test: what one test sets on its own, no other test sees.


@pytest.fixture
def server_ssl_context(server_certificate: trustme.LeafCert) -> ssl.SSLContext:
    """A server's context, with no ALPN set."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_certificate.configure_cert(context)
    return context


@pytest.fixture
def client_ssl_context(certificate_authority: trustme.CA) -> ssl.SSLContext:
    """A client's context that verifies host names and trusts the test authority alone, with no ALPN set."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    certificate_authority.configure_trust(context)
    return context
