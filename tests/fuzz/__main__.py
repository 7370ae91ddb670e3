"""`python -m tests.fuzz TARGET`: fuzz one of the targets until it fails, or until time or frames are up.

With `--engine atheris`, the default, coverage guides what is tried; `--engine random` tries seeded random numbers with
the same grammar, many times as fast. What failed is printed, and tried again with `--input`.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import random
import sys
import tempfile
import time
import traceback
from pathlib import Path
from types import ModuleType
from typing import NoReturn

TARGETS = ("reader", "engine", "fields", "hpack")
MAX_INPUT = 1024
"""Octets of an input: some two hundred frames."""


class Run:
    """One run of a target, and its counts."""

    def __init__(self, arguments: argparse.Namespace, targets: ModuleType) -> None:
        self._arguments = arguments
        self._target = targets.TARGETS[arguments.target]
        self._started = time.monotonic()
        self._inputs = 0
        self._frames = 0

    @property
    def over(self) -> bool:
        """Are the time or the frames up?"""
        arguments = self._arguments
        return self._frames >= arguments.frames or time.monotonic() - self._started >= arguments.seconds

    def one(self, octets: bytes) -> None:
        """Try one input."""
        try:
            self._frames += self._target.run(octets)
        except BaseException:
            traceback.print_exc()
            print(
                f"It fails again with: python -m tests.fuzz {self._arguments.target} --input {octets.hex()}", flush=True
            )
            raise
        self._inputs += 1

    def report(self) -> None:
        """Say what was done."""
        arguments = self._arguments
        took = time.monotonic() - self._started
        print(
            f"{arguments.target}: {self._frames:,} {self._target.counts} in {self._inputs:,} inputs, {took:.1f} s"
            f" ({self._frames / took:,.0f} a second), engine {arguments.engine}, seed {arguments.seed}: no failure",
            flush=True,
        )


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__, allow_abbrev=False)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--engine", choices=("atheris", "random"), default="atheris")
    parser.add_argument("--seconds", type=float, default=math.inf, help="how long; without a limit until it fails")
    parser.add_argument("--frames", type=float, default=math.inf, help="how many")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--corpus", type=Path, help="where atheris keeps the inputs that reached something new")
    parser.add_argument("--input", type=bytes.fromhex, help="try this one input alone, in hexadecimal digits")
    return parser.parse_args(arguments)


def random_inputs(run: Run, seed: int) -> None:
    """Inputs of all lengths: the short ones end before the connection does."""
    numbers = random.Random(seed)
    while not run.over:
        run.one(numbers.randbytes(numbers.choice((16, 64, 256, MAX_INPUT))))
    run.report()


def with_atheris(arguments: argparse.Namespace) -> NoReturn:
    """Let coverage guide. Never returns: libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["trio_h2.protocol", "trio_h2.sansio", "trio_h2.headers"]):
        from . import targets
    run = Run(arguments, targets)

    def one(octets: bytes) -> None:
        run.one(octets)
        if run.over:
            run.report()
            os._exit(0)

    with tempfile.TemporaryDirectory(prefix="trio-h2-fuzz-") as directory:
        options = [
            f"-artifact_prefix={directory}/",
            f"-seed={arguments.seed}",
            f"-max_len={MAX_INPUT}",
            "-len_control=20",
        ]
        corpus = [] if arguments.corpus is None else [str(arguments.corpus)]
        atheris.Setup([sys.argv[0], *options, "-verbosity=0", *corpus], one)
        atheris.Fuzz()
    raise AssertionError("libFuzzer returned")


def main() -> None:
    """Run what the command line says."""
    arguments = parse()
    if arguments.input is None and arguments.engine == "atheris":
        if importlib.util.find_spec("atheris") is None:
            sys.exit("atheris is not installed: pip install -e '.[fuzz]', or use --engine random")
        with_atheris(arguments)
    from . import targets

    run = Run(arguments, targets)
    if arguments.input is None:
        random_inputs(run, arguments.seed)
    else:
        run.one(arguments.input)
        run.report()


if __name__ == "__main__":
    main()
