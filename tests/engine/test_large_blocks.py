"""Reads of bulk: their sizes, and the memory that they take again and again."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from trio_h2.actors.reading import BULK_SIZE, READ_SIZE, next_size

FAULTS = """
import resource
from trio_h2.actors.large_blocks import keep_large_blocks

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(100):
        blocks = [b"x" * 200_000 for _ in range(4)]
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

without = faults()
keep_large_blocks()
faults()
print(without, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is about glibc's memory")
def test_bulk_takes_the_memory_of_the_bulk_before_it() -> None:
    run = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, check=True, text=True)
    without, kept = map(int, run.stdout.split())
    assert without > 10 * kept


def test_a_read_that_was_full_is_followed_by_a_larger_one() -> None:
    assert next_size(0) == next_size(READ_SIZE - 1) == READ_SIZE
    assert next_size(READ_SIZE) == next_size(BULK_SIZE) == BULK_SIZE
