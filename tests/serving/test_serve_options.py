"""ServeOptions: what goes together, and its way to another process."""

from __future__ import annotations

import math
import os
from typing import Any

import pytest

import trio_h2
from trio_h2.cli.serving.serve_options import ServeOptions


def test_options_become_json_and_come_back() -> None:
    config = trio_h2.Config(max_concurrent_streams=7, idle_timeout=math.inf, enable_connect_protocol=False)
    options = ServeOptions(
        target=os.fsdecode(b"caf\xe9"),
        is_directory=True,
        port=0,
        certificate_pem="PEM",
        self_signed=True,
        config=config,
    )
    assert ServeOptions.from_json(options.to_json()) == options
    assert "PEM" not in repr(options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"port": 1, "unix": "x"}, "--port and --unix do not go together"),
        ({"host": "x", "port": 1, "fd": 3}, "--host and --fd do not go together"),
        ({"unix": "x", "fd": 3}, "--unix and --fd do not go together"),
        ({"unix_mode": 0o600}, "--unix-mode is of the file of --unix"),
        ({"certfile": "x"}, "--certfile and --keyfile go together"),
        ({"keyfile": "x"}, "--certfile and --keyfile go together"),
        ({"self_signed": True, "certfile": "x", "keyfile": "x"}, "--self-signed makes a certificate"),
        ({"ca_certs": "x"}, "--ca-certs is for certificates of clients: it needs TLS"),
        ({"is_directory": True, "root_path": "/x"}, "--root-path makes no sense for a directory"),
        ({"is_directory": True, "factory": True}, "--factory makes no sense for a directory"),
        ({"is_directory": True, "reload": True}, "--reload makes no sense for a directory"),
        ({"is_directory": True, "forwarded_allow_ips": "*"}, "--forwarded-allow-ips makes no sense for a directory"),
        ({"is_directory": True, "workers": 1, "max_requests": 1}, "--max-requests makes no sense for a directory"),
        ({"max_requests": 1}, "--max-requests needs --workers"),
        ({"max_requests_jitter": 1}, "--max-requests-jitter needs --workers"),
        ({"workers": 1, "max_requests_jitter": 1}, "--max-requests-jitter is added to --max-requests"),
        ({"workers": 1, "reload": True}, "--reload runs one process"),
    ],
)
def test_what_does_not_go_together_is_said(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ServeOptions(target="x", **options)


def test_where_it_listens_by_default() -> None:
    plain = ServeOptions(target="x")
    assert (plain.listening_host, plain.listening_port, plain.names_address) == ("127.0.0.1", 8080, False)
    assert ServeOptions(target="x", self_signed=True).listening_port == 8443
    assert ServeOptions(target="x", fd=0).names_address
