"""The example that serves Django, by trio-asyncio: views in threads and on the loop, and a client that leaves."""

from __future__ import annotations

import json
import ssl
import sys
from pathlib import Path

import trio

import trio_h2
from tests import peers

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "django_app.py"


async def test_django_is_served(tmp_path: Path, tls_files: peers.TLSFiles, client_ssl_context: ssl.SSLContext) -> None:
    port = peers.free_port()
    # Not with -W error, as other examples: trio-asyncio uses what is deprecated from Python 3.12 on.
    argv = [sys.executable, str(EXAMPLE), str(port), str(tls_files.certificate), str(tls_files.key)]
    log = tmp_path / "django.log"
    async with peers.run_server("django", argv, port=port, scheme="https", log=log, may_end=True) as peer:
        with trio.fail_after(30):
            async with trio_h2.connect(peer.url, ssl_context=client_ssl_context) as connection:
                index = await connection.request("GET", "/")
                assert (index.status, index.body[:22]) == (200, b"hello from ThreadPoolE")
                body = bytes(2_000_000)
                length = await connection.request("POST", "/length", body=body)
                assert json.loads(length.body) == {"length": len(body)}
                assert (await connection.request("GET", "/nowhere")).status == 404
                async with connection.stream("GET", "/ticks") as stream:
                    assert await stream.receive_some() == b"data: 0\n\n"
                    await stream.reset()
                while "the ticks have ended" not in peer.output():  # noqa: ASYNC110 - a file says nothing
                    await trio.sleep(0.02)
            curl = peers.require_program("curl", package="curl")
            how = ["-sS", "--http1.1", "--cacert", str(tls_files.ca), "--data", "milk"]
            assert json.loads((await peers.run_program(curl, *how, f"{peer.url}/length")).text) == {"length": 4}
    assert peer.process.returncode == 0, peer.output()
    assert "Traceback" not in peer.output()
