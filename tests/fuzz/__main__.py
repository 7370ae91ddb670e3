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
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path
from types import ModuleType
from typing import NoReturn

TARGETS = ("reader", "engine", "fields", "hpack")
LENGTHS = (16, 64, 256, 1024)
"""Octets of an input. The longest makes some two hundred frames; short ones end before the connection does."""

FIRST_INPUTS = 100
"""What atheris begins with."""


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
    """Inputs of all lengths."""
    numbers = random.Random(seed)
    while not run.over:
        run.one(numbers.randbytes(numbers.choice(LENGTHS)))
    run.report()


def with_atheris(arguments: argparse.Namespace) -> NoReturn:
    """Let coverage guide. Never returns: libFuzzer would end the process, and so does this."""
    import atheris

    with atheris.instrument_imports(include=["trio_h2"]):
        from . import targets
    run = Run(arguments, targets)
    directory = Path(tempfile.mkdtemp(prefix="trio-h2-fuzz-"))

    def leave(code: int) -> NoReturn:
        shutil.rmtree(directory)
        os._exit(code)

    def one(octets: bytes) -> None:
        try:
            run.one(octets)
        except BaseException:
            leave(1)
        if run.over:
            run.report()
            leave(0)

    for name in ("corpus", "first"):
        (directory / name).mkdir()
    # Long inputs from the beginning: with short ones it would take long to get deep.
    numbers = random.Random(arguments.seed)
    for number in range(FIRST_INPUTS):
        (directory / "first" / str(number)).write_bytes(numbers.randbytes(numbers.choice(LENGTHS)))
    corpus = [str(arguments.corpus or directory / "corpus"), str(directory / "first")]
    options = [f"-artifact_prefix={directory}/", f"-seed={arguments.seed}", f"-max_len={LENGTHS[-1]}", "-len_control=0"]
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
