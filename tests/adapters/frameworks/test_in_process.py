"""What needs no process of its own: where an app is mounted, and a startup that fails."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

import pytest
import trio
from fastapi import FastAPI
from litestar import Litestar
from quart_trio import QuartTrio
from starlette.applications import Starlette

from tests.adapters.helpers import app_and_client
from tests.engine.helpers import MemoryListener
from trio_h2.adapters.asgi import LifespanError, serve_asgi_listeners

from .sites import FRAMEWORKS

pytestmark = pytest.mark.usefixtures("logging_comes_back")  # Litestar sets it up


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what Litestar will call otherwise
@pytest.mark.parametrize("framework", FRAMEWORKS)
async def test_an_app_below_the_servers_root_path(framework: str) -> None:
    app = import_module(f"tests.adapters.frameworks.{framework}_app").app
    async with app_and_client(app, root_path="/root") as pair:
        response = await pair.client.request("GET", "/json?a=b")
        assert json.loads(response.body) == {"path": "/root/json", "query": {"a": "b"}}
        assert (await pair.client.request("GET", "/nowhere")).status == 404


@asynccontextmanager
async def fails(app: Any) -> AsyncIterator[None]:
    raise ValueError("no database")
    yield


def quart_that_fails() -> QuartTrio:
    app = QuartTrio(__name__, static_folder=None)

    @app.before_serving
    async def begin() -> None:
        raise ValueError("no database")

    return app


@pytest.mark.parametrize(
    "make",
    [
        lambda: Starlette(lifespan=fails),
        lambda: FastAPI(lifespan=fails),
        lambda: Litestar(lifespan=[fails], logging_config=None),
        quart_that_fails,
    ],
    ids=FRAMEWORKS,
)
async def test_a_startup_that_fails_is_an_error_of_the_call(make: Any) -> None:
    listener = MemoryListener()
    with trio.fail_after(10), pytest.raises(LifespanError, match=r"(?s)the app's startup failed.*no database"):
        await serve_asgi_listeners(make(), [listener])
