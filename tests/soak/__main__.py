"""`python -m tests.soak`: see the package's docstring."""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path

from tests.soak.report import summary
from tests.soak.supervisor import soak


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Soak trio_h2; exit with 1 if it fails.")
    parser.add_argument("--seconds", type=float, default=60, help="how long to make new requests (default: 60)")
    parser.add_argument("--seed", default=str(random.randrange(1 << 32)), help="of all that is chosen at random")
    parser.add_argument("--connections", type=int, default=50, help="at a time, over all clients (default: 50)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the whole report there")
    arguments = parser.parse_args()
    report = soak(arguments.seconds, arguments.seed, arguments.connections).as_json()
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")
    print(summary(report))
    sys.exit(not report["held"])


if __name__ == "__main__":
    main()
