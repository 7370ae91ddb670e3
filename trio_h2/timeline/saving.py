"""Where a recording goes: a page, or JSON lines, by the end of the file's name; whole, or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable

from .json_lines import as_json_lines, from_json_lines
from .page_writer import as_page
from .rows import Recording

__all__ = ["load", "save"]

MODE = 0o666


def load(path: str | os.PathLike[str]) -> Recording:
    """The recording in a file of JSON lines. Whoever wrote it is not trusted.

    Args:
        path: the file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no recording; the message says where, and what is wrong with it.
    """
    name = os.fspath(path)
    with open(name, encoding="utf-8") as file:
        try:
            return from_json_lines(file)
        except UnicodeDecodeError:
            raise ValueError(f"{name}: it is no text in UTF-8") from None
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None


def save(recording: Recording, path: str | os.PathLike[str]) -> None:
    """Write a recording as a page, or as JSON lines if `path` ends in `.jsonl`; whole, or not at all.

    Args:
        recording: by `Timeline.recording`, or `load`.
        path: the file, which is replaced if there is one.

    Raises:
        OSError: it cannot be written.
    """
    name = os.fspath(path)
    _write(name, as_json_lines(recording) if name.endswith(".jsonl") else [as_page(recording)])


def _write(path: str, pieces: Iterable[str]) -> None:
    """A new file that takes the place of an old one; what is no regular file, `/dev/stdout` say, is written to."""
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            with open(path, "w", encoding="utf-8") as file:
                file.writelines(pieces)
            return
        target = os.path.realpath(path)
        number, temporary = tempfile.mkstemp(dir=os.path.dirname(target), prefix=f".{os.path.basename(target)}.")
        try:
            with open(number, "w", encoding="utf-8") as file:
                file.writelines(pieces)
                file.flush()
                os.fchmod(number, _mode(target))
            os.replace(temporary, target)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), path) from error


def _mode(target: str) -> int:
    """That of the file that is there, else what a new one would have."""
    try:
        return os.stat(target).st_mode & 0o777
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return MODE & ~mask
