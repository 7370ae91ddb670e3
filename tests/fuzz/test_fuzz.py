"""Whatever a peer sends (RFC 9113 section 10.5): every target of `python -m tests.fuzz`, for a while.

TRIO_H2_FUZZ_SECONDS is how long atheris gets for each of them: 20 in CI, where it has to be there, and 2 elsewhere.
"""

from __future__ import annotations

import importlib.util
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hyperframe.frame import GoAwayFrame

from tests.fuzz.grammar import Source
from tests.fuzz.targets import TARGETS, TIGHT, OnMachine
from tests.protocol import helpers as h
from trio_h2.exceptions import ErrorCodes
from trio_h2.protocol.connection_machine import ConnectionMachine

CI = bool(os.environ.get("CI"))
SECONDS = float(os.environ.get("TRIO_H2_FUZZ_SECONDS", "20" if CI else "2"))
FRAMES = 10_000
"""Frames by seeded random numbers for each target, the same ones every time."""


@pytest.mark.parametrize("target", TARGETS)
def test_rfc9113_10_5_random_inputs(target: str) -> None:
    numbers = random.Random(target)
    frames = 0
    while frames < FRAMES:
        octets = numbers.randbytes(numbers.choice((16, 64, 256, 1024)))
        try:
            frames += TARGETS[target].run(octets)
        except BaseException as error:
            error.add_note(f"python -m tests.fuzz {target} --input {octets.hex()}")
            raise


@pytest.mark.parametrize("target", TARGETS)
def test_rfc9113_10_5_inputs_by_coverage(target: str) -> None:
    if importlib.util.find_spec("atheris") is None:
        missing = "atheris is not installed, which the extra `fuzz` has: pip install -e '.[fuzz]'"
        pytest.fail(missing) if CI else pytest.skip(missing)
    command = [sys.executable, "-m", "tests.fuzz", target, "--seconds", str(SECONDS)]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS + 240
    )
    assert done.returncode == 0, done.stdout
    assert "no failure" in done.stdout


def started(*, client: bool) -> OnMachine:
    """A machine in the middle of its life: greeted, a client with a request under way."""
    program = OnMachine(Source(b""), client)
    program.start(1)
    program.receive((b"" if client else h.PREFACE) + h.settings() + h.settings_ack())
    return program


@pytest.mark.parametrize("client", [False, True])
@pytest.mark.parametrize("type_", [*range(10), h.ALTSVC, h.ORIGIN, h.PRIORITY_UPDATE])
def test_rfc9113_4_2_every_short_payload_of_every_type(type_: int, client: bool) -> None:
    """All lengths to 20 of every frame type, with every flag alone and all at once, on every kind of stream."""
    for flags in (0, 1, 4, 8, 0x20, 0x2C, 0xFF):
        for stream_id in (0, 1, 2, 9):
            for count in range(21):
                program = started(client=client)
                program.receive(h.raw(type_, flags, stream_id, bytes(count)))
                program.check()


@pytest.mark.parametrize("client", [False, True])
def test_rfc9113_5_4_1_what_a_failure_sends_is_a_goaway_and_nothing_after_it(client: bool) -> None:
    """Read back by hyperframe, which knows nothing of the code under test."""
    numbers = random.Random(1)
    for _ in range(500):
        machine = ConnectionMachine(TIGHT, client=client)
        machine.initiate()
        machine.receive((b"" if client else h.PREFACE) + h.settings() + numbers.randbytes(40))
        frames = h.parse(machine.take())
        goaways = [frame for frame in frames if isinstance(frame, GoAwayFrame)]
        assert len(goaways) == (machine.failure is not None)
        if machine.failure is not None:
            assert isinstance(machine.failure.error_code, ErrorCodes)
            assert frames[-1] is goaways[0]
            assert goaways[0].error_code == machine.failure.error_code
