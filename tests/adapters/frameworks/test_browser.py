"""Chromium and each framework's page: fetches, a form, events and a WebSocket, all of it over HTTP/2.

TRIO_H2_SCREENSHOTS=1 keeps the picture of Starlette's in docs/images.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import trio

from tests.peers import TLSFiles, require_program, run_program

from .sites import ROOT, running_site

HEADLESS = ["--headless", "--no-sandbox", "--disable-gpu", "--ignore-certificate-errors", "--hide-scrollbars"]


async def test_a_page_in_a_browser(tls_files: TLSFiles, tmp_path: Path) -> None:
    chromium = require_program("chromium", package="chromium")
    picture = tmp_path / "page.png"
    if os.environ.get("TRIO_H2_SCREENSHOTS"):
        picture = ROOT / "docs" / "images" / "asgi.png"
    with running_site("ours", "starlette", tls_files, tmp_path) as site:
        options = [f"--screenshot={picture}", "--window-size=640,420", f"--user-data-dir={tmp_path}/profile"]
        await run_program(chromium, *HEADLESS, *options, site.url("/"), seconds=60)
        (found,) = [json.loads(each) for each in await site.journal("report")]
        assert found == {
            "page": "h2",
            "GET /json": {"path": "/json", "query": {"a": "b"}},
            "over": "h2",
            "POST /json": {"sum": 6},
            "POST /form": "one",
            "GET /events": "0 1 2",
            "WebSocket closed": "4000 bye",
            "WebSocket": "echoed",
            "subprotocol": "two",
        }
        assert "HTTP/2" in await site.journal("socket")
        assert await site.ended("events")
        assert site.own_errors() == []
    assert (await trio.Path(picture).read_bytes()).startswith(b"\x89PNG")
