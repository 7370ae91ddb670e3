"""`python -m tests.rolling`: see the package's docstring."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import trio

from tests.rolling.behind_haproxy import HAProxyReport, behind_haproxy
from tests.rolling.run import Report, roll


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.rolling", description="Exit with 1 if a request was lost.")
    parser.add_argument(
        "form", nargs="?", choices=["workers", "haproxy"], default="workers", help="see the package (default: workers)"
    )
    parser.add_argument("--seconds", type=float, default=60, help="how long to make new requests (default: 60)")
    parser.add_argument("--tls", action="store_true", help="over TLS, as behind HAProxy always")
    parser.add_argument("--connections", type=int, default=20, help="at a time (default: 20)")
    parser.add_argument("--seed", default="1", help="of all that is chosen at random")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the whole report there")
    arguments = parser.parse_args()
    run: Callable[[], Awaitable[Report | HAProxyReport]]
    if arguments.form == "haproxy":
        run = partial(behind_haproxy, arguments.seconds, connections=arguments.connections, seed=arguments.seed)
    else:
        run = partial(
            roll, arguments.seconds, tls=arguments.tls, connections=arguments.connections, seed=arguments.seed
        )
    report = trio.run(run)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(report.as_json(), indent=1) + "\n")
    print(report)
    sys.exit(not report.held)


if __name__ == "__main__":
    main()
