"""What the adapters' tests share: ASGI apps in a few lines, and an app and a client over memory streams."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio_h2
from tests.engine.helpers import Pair, client_and_server
from trio_h2.adapters.asgi import asgi_handler

START = {"type": "http.response.start", "status": 200}


def body(octets: Any = b"", *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": octets, "more_body": more}


def sends(*messages: Any) -> Any:
    """An app that sends these messages, and returns."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    return app


def answers(**start: Any) -> Any:
    """An app whose response is empty, and starts so."""
    return sends(START | start, body())


@asynccontextmanager
async def app_and_client(
    app: Any, *, config: trio_h2.Config | None = None, server_config: trio_h2.Config | None = None, **arguments: Any
) -> AsyncIterator[Pair]:
    """An app on a server, and a client of this package, connected."""
    handler = asgi_handler(app, **arguments)
    async with client_and_server(handler, config=config, server_config=server_config) as pair:
        yield pair


async def get(app: Any, target: str = "/", **arguments: Any) -> trio_h2.Response:
    """The response of an app to one request. Raises how the request failed, not in a group."""
    method = arguments.pop("method", "GET")
    headers = arguments.pop("headers", ())
    request_body = arguments.pop("request_body", None)
    async with app_and_client(app, **arguments) as pair:
        try:
            return await pair.client.request(method, target, headers=headers, body=request_body)
        except trio_h2.H2Error as error:
            failure = error
    raise failure


async def scope_of(target: str = "/", **arguments: Any) -> dict[str, Any]:
    """The scope that an app gets for one request."""
    scopes: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await answers()(scope, receive, send)

    await get(app, target, **arguments)
    return scopes[0]
