"""Fixtures of the adapters' tests."""

from __future__ import annotations

import pytest

from .httpx_packages import PACKAGES, Package


@pytest.fixture(params=PACKAGES, ids=str)
def package(request: pytest.FixtureRequest) -> Package:
    """httpx, then httpx2."""
    found: Package = request.param
    return found
