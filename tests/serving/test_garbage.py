"""While `serve` serves, Python looks for garbage seldom, unless the app has said how often it should."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator

import httpx
import pytest
import trio

from trio_h2.cli.serving.garbage import OBJECTS, rare_collection

from .running import serving

DEFAULT = gc.get_threshold()

APP = """
import gc
{}

async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({{"type": "http.response.start", "status": 200}})
    await send({{"type": "http.response.body", "body": b"%d %d" % (gc.get_threshold()[0], gc.get_freeze_count() > 0)}})
"""


@pytest.fixture(autouse=True)
def thresholds_are_restored() -> Iterator[None]:
    yield
    gc.set_threshold(*DEFAULT)


@pytest.mark.parametrize(("wish", "found"), [("", f"{OBJECTS} 1"), ("gc.set_threshold(900)", "900 0")])
async def test_an_app_is_served_with_it(
    module: Callable[[str, str], object], lines: trio.MemoryReceiveChannel[str], wish: str, found: str
) -> None:
    module("with_wish", APP.format(wish))
    async with serving(lines, "with_wish:app") as running:
        async with httpx.AsyncClient() as client:
            assert (await client.get(running.url)).text == found


def test_it_is_as_before_when_the_block_ends() -> None:
    with pytest.raises(ValueError, match="an error"), rare_collection():
        assert gc.get_threshold() == (OBJECTS, *DEFAULT[1:])
        assert gc.get_freeze_count() > 0
        raise ValueError("an error")
    assert gc.get_threshold() == DEFAULT
    assert gc.get_freeze_count() == 0
