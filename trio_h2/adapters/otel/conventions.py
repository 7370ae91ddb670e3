"""What OpenTelemetry's semantic conventions for HTTP lay down: known methods, buckets, what is kept out of a span."""

from __future__ import annotations

import os
import re

__all__ = ["DURATION_BUCKETS", "MAX_VALUE", "OTHER", "SCHEMA_URL", "known_methods", "redacted"]

SCHEMA_URL = "https://opentelemetry.io/schemas/1.23.1"
"""The version in which the conventions for HTTP became stable."""

OTHER = "_OTHER"
"""What stands for a value that a peer has made up: its own would make a metric of as many series as it likes."""

DURATION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""Of the histograms of durations, in seconds."""

MAX_VALUE = 4096
"""Characters of an attribute's value: an exporter may keep thousands of spans, and a peer chooses what is in them."""

METHODS_VARIABLE = "OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS"

_METHODS = ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE")

# Parameters whose values sign a URL: who has it may use it.
_SIGNATURES = (
    *("AWSAccessKeyId", "Signature", "sig", "X-Goog-Signature"),
    *("X-Amz-Credential", "X-Amz-Security-Token", "X-Amz-Signature"),
)
_SIGNED = re.compile(rf"(?<![^&?])({'|'.join(_SIGNATURES)})=[^&]*")


def known_methods() -> frozenset[str]:
    """The methods that are told by their names: the environment may have a list of them, separated by commas."""
    given = os.environ.get(METHODS_VARIABLE)
    names = _METHODS if given is None else (name.strip() for name in given.split(","))
    return frozenset(name for name in names if name)


def redacted(query: str) -> str:
    """A query, or a URL, without the signatures in it, and cut where it is long."""
    return _SIGNED.sub(r"\1=REDACTED", query)[:MAX_VALUE]
