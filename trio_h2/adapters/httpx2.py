"""`H2Transport`: trio_h2 as a transport of httpx2. It needs the extra `httpx2`; docs/httpx.md says what it does."""

from __future__ import annotations

from types import ModuleType
from typing import ClassVar

import httpx2

from .httpx_transport.pool_transport import PoolTransport
from .httpx_transport.response_body import ResponseBody

__all__ = ["H2Transport"]


class _ResponseStream(ResponseBody, httpx2.AsyncByteStream):
    pass


class H2Transport(PoolTransport[httpx2.Request, httpx2.Response], httpx2.AsyncBaseTransport):
    __doc__ = PoolTransport.__doc__

    _package: ClassVar[ModuleType] = httpx2
    _response_body: ClassVar[type[ResponseBody]] = _ResponseStream
