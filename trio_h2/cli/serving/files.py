"""From a request's path to a file: what `serve` may give out, and what it says about it. No HTTP/2 in here."""

from __future__ import annotations

import errno
import mimetypes
import os
import stat
import string
from dataclasses import dataclass
from email.utils import formatdate
from io import BufferedReader
from pathlib import Path
from urllib.parse import quote, quote_from_bytes, unquote_to_bytes

__all__ = ["Moved", "OpenedFile", "content_type", "find"]

INDEX = "index.html"

NO_SUCH_FILE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL}

COMPRESSED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}
"""A compressed file is served as the file that it is; `content-encoding` would have clients unpack it."""


@dataclass(frozen=True)
class OpenedFile:
    """A file that was found. Whoever gets it closes `stream`.

    Attributes:
        name: its own name, which may be that of an index file.
        size: in octets, when it was opened.
        modified: its last modification, as HTTP writes dates (RFC 9110 section 5.6.7).
    """

    stream: BufferedReader
    name: str
    size: int
    modified: str


@dataclass(frozen=True)
class Moved:
    """The path is that of a directory without its slash, from which relative links would lead astray."""

    location: str


def find(root: Path, target: str) -> OpenedFile | Moved | None:
    """Open the file below `root` that a request asks for. It blocks, so it runs in a thread.

    Nothing outside `root` is ever opened: `..` is refused in whichever spelling, and what is left is resolved, so
    that a symbolic link that leads out is seen to lead out.

    Args:
        root: a directory, itself resolved.
        target: `:path` as it was received.

    Returns:
        None if there is no such file to give out. A directory has none but its index file: a listing would give
        out names that nobody linked to.

    Raises:
        PermissionError: the file is there, and may not be read.
        OSError: the system failed in another way.
    """
    path, _, query = target.partition("?")
    octets = unquote_to_bytes(path.encode("latin-1"))
    segments = os.fsdecode(octets).split("/")
    if ".." in segments or b"\0" in octets:
        return None
    try:
        found = root.joinpath(*filter(None, segments)).resolve(strict=True)
        if not found.is_relative_to(root):
            return None
        if found.is_dir() and segments[-1]:
            return Moved(_directory(octets) + (f"?{quote(query, string.punctuation, 'latin-1')}" if query else ""))
        if found.is_dir():
            found = (found / INDEX).resolve(strict=True)
        elif not segments[-1]:
            return None
        return _open(found) if found.is_relative_to(root) else None
    except OSError as error:
        if error.errno in NO_SUCH_FILE:
            return None
        raise
    except RuntimeError:  # a loop of symbolic links, until Python 3.12
        return None


def _directory(octets: bytes) -> str:
    """The location of a directory. One slash begins it and a backslash is quoted: `//name/` would be a host's."""
    return f"/{quote_from_bytes(octets.strip(b'/'))}/"


def _open(path: Path) -> OpenedFile | None:
    # Looked at before it is opened: to open a FIFO waits for its writer.
    if not stat.S_ISREG(path.stat().st_mode):
        return None
    stream = path.open("rb")
    status = os.fstat(stream.fileno())
    return OpenedFile(stream, path.name, status.st_size, formatdate(status.st_mtime, usegmt=True))


def content_type(name: str) -> str:
    """The media type of a file by its name; text says that it is UTF-8."""
    guessed, encoding = mimetypes.guess_type(name)
    if encoding is not None:
        return COMPRESSED.get(encoding, "application/octet-stream")
    if guessed is not None and guessed.startswith("text/"):
        return f"{guessed}; charset=utf-8"
    return guessed or "application/octet-stream"
