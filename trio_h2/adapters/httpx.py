"""`H2Transport`: trio_h2 as a transport of httpx. It needs the extra `httpx`; docs/httpx.md says what it does."""

from __future__ import annotations

from types import ModuleType
from typing import ClassVar

import httpx

from .httpx_transport.pool_transport import PoolTransport
from .httpx_transport.response_body import ResponseBody

__all__ = ["H2Transport"]


class _ResponseStream(ResponseBody, httpx.AsyncByteStream):
    pass


class H2Transport(PoolTransport[httpx.Request, httpx.Response], httpx.AsyncBaseTransport):
    __doc__ = PoolTransport.__doc__

    _package: ClassVar[ModuleType] = httpx
    _response_body: ClassVar[type[ResponseBody]] = _ResponseStream
