"""What has the C library keep the memory of large reads and writes, to use it again.

glibc gives what is freed at the end of its heap back to the kernel once that is 128 KiB, and takes fresh pages for the
next block: those of bulk are a quarter of a MiB, so each read and each write would have all of its pages zeroed by the
kernel, which takes as long as everything that is done here with what is in them. A block that is larger than any before
moves that bound to twice its size for good when it is freed (mallopt(3), M_MMAP_THRESHOLD).
"""

from __future__ import annotations

from functools import cache

__all__ = ["keep_large_blocks"]

LARGE = 4 * 1024 * 1024


@cache
def keep_large_blocks() -> None:
    """Bulk has begun in this process. Once is enough; other C libraries take no notice."""
    bytes(LARGE)  # nobody writes to it, so it takes no memory
