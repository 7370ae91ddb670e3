"""What commands say, and in which words: on standard output, which may fail them, and on standard error."""

from __future__ import annotations

import errno
import os
import re
import sys
from typing import TextIO

import click

__all__ = [
    "complain",
    "discard",
    "hold_standard_files",
    "output_failed",
    "printable",
    "printable_octets",
    "reason",
    "say",
    "tell",
    "tell_as_it_is",
]

CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\xc2[\x80-\x9f]")
"""Control characters in UTF-8, but for those that make lines and columns."""


def printable(text: str | bytes) -> str:
    """Text of a peer's, fit for a terminal: nothing in it is a control sequence."""
    if isinstance(text, bytes):
        text = text.decode("latin-1")
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def printable_octets(data: bytes) -> bytes:
    """Lines of a peer's, fit for a terminal: nothing in them is a control sequence, whatever else they hold."""
    return CONTROL.sub(lambda match: ascii(match[0].decode())[1:-1].encode(), data)


def complain(message: str) -> None:
    """Say in one line on standard error what went wrong."""
    tell(f"Error: {message}")


def tell(line: str) -> None:
    """Print a line to standard error. When it takes nothing, go on without it: there is nobody to say so to."""
    try:
        click.echo(printable(line), err=True)
    except OSError:
        discard(sys.stderr)
    except ValueError:  # an app has closed it
        pass


def tell_as_it_is(text: str) -> None:
    """Print text of our user's own to standard error, with no line end. When it takes nothing, go on without it."""
    try:
        click.echo(text, err=True, nl=False)
    except OSError:
        discard(sys.stderr)


def say(line: str) -> None:
    """Print a line. When nobody reads standard output any more, go on without it.

    Raises OSError, once, when standard output takes nothing for another reason.
    """
    line = printable(line)
    try:  # in one piece: other processes may write, too
        try:
            print(f"{line}\n", end="", flush=True)
        except UnicodeEncodeError:  # where standard output does not take every letter
            print(f"{ascii(line)[1:-1]}\n", end="", flush=True)
    except BrokenPipeError:
        discard(sys.stdout)
    except OSError as error:
        discard(sys.stdout)
        raise OSError(error.errno, output_failed(error)) from error
    except ValueError as error:  # an app has closed it
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
        raise OSError(errno.EBADF, "standard output is closed") from error


def output_failed(error: OSError) -> str:
    """What is wrong with standard output, in words."""
    return "standard output is closed" if error.errno == errno.EBADF else f"standard output: {reason(error)}"


def discard(file: TextIO) -> None:
    """Write to nowhere from now on: what Python holds back would fail once more when it exits."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, file.fileno())
    os.close(nowhere)


def hold_standard_files() -> None:
    """Give standard files that are closed (`>&-`) a file, or some socket would get their number.

    What is then written to standard output fails, and what is written to standard error is dropped.
    """
    for number, flags in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # which takes the lowest number that is free: this one
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w")
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w")


def reason(error: BaseException) -> str:
    """What an error says, and what lies below it where that says more.

    trio's "all attempts to connect to host:port failed" has the reason of each attempt in a group below it.
    """
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(dict.fromkeys(map(reason, error.exceptions)))
    if isinstance(error.__cause__, BaseExceptionGroup):
        return f"{error}: {reason(error.__cause__)}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
