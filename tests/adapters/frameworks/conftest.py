"""The sites, and the clients that are let loose on them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.peers import TLSFiles

from .sites import FRAMEWORKS, SERVERS, Site, running_site

SITES = [(server, framework) for framework in FRAMEWORKS for server in SERVERS]


@pytest.fixture(scope="session", params=SITES, ids=["-".join(each) for each in SITES])
def site(
    request: pytest.FixtureRequest, tls_files: TLSFiles, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Each framework on each server, one after the other."""
    server, framework = request.param
    with running_site(server, framework, tls_files, tmp_path_factory.mktemp("site")) as site:
        yield site


_numbers = itertools.count(1)


@pytest.fixture
def name() -> str:
    """What a test's requests call themselves, for the journal."""
    return f"test-{next(_numbers)}"
