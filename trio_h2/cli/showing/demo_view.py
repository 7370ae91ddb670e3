"""What `trio-h2 demo` shows of one moment: in full on a terminal, as a line anywhere else."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from rich.text import Text

import trio_h2

__all__ = ["DONE", "RUNNING", "Snapshot", "as_line", "as_text", "size"]

RUNNING, DONE = "running", "done"
"""The states of a sender beside what `StreamStatistics.waits_for` says."""

LEGEND = {
    "stream window": ("W", "bold red", "the stream's own window: its reader does not read"),
    "connection window": ("C", "yellow", "the window that all streams share"),
    "transport": ("T", "cyan", "room in the socket"),
    RUNNING: ("r", "green", "nothing, it runs"),
    DONE: (".", "dim", "nothing, the download is over"),
}
"""What a sender may wait for: its letter, its style, and what it means."""

PER_ROW = 50


@dataclass(frozen=True)
class Snapshot:
    """One moment of the demonstration.

    Attributes:
        seconds: since the start.
        senders: what each stream's sender waits for: a key of `LEGEND`.
        readers: how many readers wait for what, as `StreamStatistics.waits_for` has it.
        slow: the stream whose reader is slow, as the client sees it; None before and after it is open.
        unread: octets that lie unread at the client, over all streams.
        window: the connection window that the client gives.
        read: octets of bodies that were read.
        slow_read: those of the slow reader.
    """

    seconds: float
    senders: tuple[str, ...]
    readers: Counter[str]
    slow: trio_h2.StreamStatistics | None
    unread: int
    window: trio_h2.WindowStatistics
    read: int
    slow_read: int


def size(octets: int) -> str:
    """A number of octets as people read it."""
    return f"{octets / 2**20:.1f} MiB" if octets >= 2**20 else f"{octets / 2**10:.1f} KiB"


def as_line(moment: Snapshot) -> str:
    """For a log, a pipe or a file."""
    waiting = Counter(moment.senders)
    counts = ", ".join(f"{name} {waiting[name]}" for name in LEGEND if waiting[name])
    slow = "no stream open" if moment.slow is None else f"{size(moment.slow.unread)} unread"
    return f"{moment.seconds:4.1f} s  {size(moment.read):>9} read  senders: {counts}  slow reader: {slow}"


def as_text(moment: Snapshot) -> Text:
    """For a terminal."""
    waiting = Counter(moment.senders)
    text = Text(f"{len(moment.senders)} streams on one TLS connection, one reader is slow")
    text.append(f"  {moment.seconds:.1f} s\n\n", "bold")
    text.append("What each stream's sender waits for:\n")
    for start in range(0, len(moment.senders), PER_ROW):
        text.append("  ")
        for state in moment.senders[start : start + PER_ROW]:
            text.append(*LEGEND[state][:2])
        text.append("\n")
    for state, (letter, style, meaning) in LEGEND.items():
        text.append(f"  {letter}", style)
        text.append(f" {waiting[state]:3} {meaning}\n")
    peer, application = moment.readers["peer"], moment.readers["application"]
    text.append(f"\n{peer} readers wait for the peer; {application} streams have data that nobody has read yet\n")
    text.append(_slow_line(moment.slow))
    text.append("Connection window: " + _window_line(moment.window))
    text.append(f"Read so far: {size(moment.read)}, {size(int(moment.read / max(moment.seconds, 0.001)))}/s")
    return text


def _slow_line(slow: trio_h2.StreamStatistics | None) -> str:
    if slow is None or slow.inbound_window is None:
        return "The slow reader has no stream open\n"
    return f"The slow reader, stream {slow.stream_id}: {_window_line(slow.inbound_window)}"


def _window_line(window: trio_h2.WindowStatistics) -> str:
    return f"{size(window.target)}, of which available {size(window.available)}, kept back {size(window.held)}\n"
