"""What `serve` logs: where trio_h2's own log goes, and in which form. The app's loggers are the app's."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from .serve_options import ServeOptions

__all__ = ["LEVELS", "configured_logging", "enable_logging", "timestamp"]

LEVELS = ("debug", "info", "warning", "error", "critical")


def timestamp(seconds: float) -> str:
    """A time since the epoch as text: in UTC, to the millisecond (RFC 3339)."""
    whole, milliseconds = divmod(int(seconds * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{milliseconds:03}Z"


class _TextFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s [%(process)d] %(levelname)s %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        return timestamp(record.created)


class _JSONFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": timestamp(record.created),
            "process": record.process,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry)


class _Handler(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:
        if not self.stream.closed:  # by an app: there is nobody left to say so to
            super().handleError(record)


def enable_logging() -> None:
    """Undo what an app does to trio_h2's loggers when it sets up its own: `logging.config` disables all others."""
    for name, logger in logging.root.manager.loggerDict.items():
        if name.partition(".")[0] == "trio_h2" and isinstance(logger, logging.Logger):
            logger.disabled = False


@contextmanager
def configured_logging(options: ServeOptions) -> Iterator[None]:
    """Within this, what trio_h2 logs goes to standard error as `--log-format` and `--log-level` say."""
    handler = _Handler(sys.stderr)
    handler.setFormatter(_JSONFormatter() if options.log_format == "json" else _TextFormatter())
    logger = logging.getLogger("trio_h2")
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(options.log_level.upper())
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
