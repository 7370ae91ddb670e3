"""The command `trio-h2`. It needs the extra `cli`, and is a user of trio_h2's public names like any other."""

from __future__ import annotations

import signal
import sys

from .shared.missing_extra import missing_package

__all__ = ["main"]

INTERRUPTED = 128 + signal.SIGINT
EXTRA = dict.fromkeys(("click", "cryptography", "rich", "trustme"), "cli")


def main() -> int:
    """Run the command line and return its exit code.

    The commands are imported here and not above, so that a missing package is one clear line, and Ctrl-C while they are
    being imported no traceback.
    """
    try:
        from .commands import run

        exit_code = run()
        if exit_code == INTERRUPTED:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # who is impatient gets no traceback of Python's last steps
        return exit_code
    except ModuleNotFoundError as error:
        print(f"trio-h2: {missing_package(error, EXTRA)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
