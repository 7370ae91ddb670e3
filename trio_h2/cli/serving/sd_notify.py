"""What systemd is told: sd_notify(3)."""

from __future__ import annotations

import logging
import os
import socket
import time

__all__ = ["notify", "notify_ready", "notify_reloading", "notify_stopping"]

logger = logging.getLogger("trio_h2.serving")


def notify_ready(status: str) -> None:
    """It serves, or serves again after `notify_reloading`."""
    notify("READY=1", f"MAINPID={os.getpid()}", f"STATUS={status}")


def notify_reloading() -> None:
    """It loads its code again; `notify_ready` is to follow."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", "STATUS=starting new workers")


def notify_stopping() -> None:
    """It ends."""
    notify("STOPPING=1", "STATUS=finishing open requests")


def notify(*assignments: str) -> None:
    """Send variables to who has asked for them in NOTIFY_SOCKET, if anybody has. That never waits."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # Linux' abstract sockets
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
            sending.setblocking(False)
            sending.sendto("\n".join(assignments).encode(), address)
    except OSError as error:
        logger.warning("cannot notify %s: %s", os.environ["NOTIFY_SOCKET"], error)
