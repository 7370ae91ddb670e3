"""The bars that an attack has to stay under, and the table of all of them."""

from __future__ import annotations

from tests.attacks.model import Attack
from tests.attacks.runner import MIB, Figures

TIMES_LIKE = 5
"""How often the CPU of a like frame without the trick a frame may cost."""

SET_UP = 0.005
"""Seconds of CPU a connection may take to begin and to end, which is no frame's cost."""

STEP = 0.010
"""Seconds of CPU at most in one task between two checkpoints: the 99.9th percentile."""

KEPT = 8 * MIB
"""Octets kept for an attacking connection."""

KEPT_PER_OCTET = 50
"""Octets kept for each octet sent, above 1 MiB a connection."""


BYSTANDERS_TASKS = 10
"""Tasks that a bystander may have at a moment."""


def judge_whatever_the_machine(attack: Attack, figures: Figures, *, margin: float = 1.0) -> list[str]:
    """What was broken of the bars that do not depend on how fast the machine is."""
    failures = []
    if figures.tracebacks:
        failures.append(f"{figures.tracebacks} tracebacks")
    if figures.tasks_left is None:
        failures.append("the loop was still held at the end")
    elif figures.tasks_left > 0:
        failures.append(f"{figures.tasks_left} tasks left")
    if figures.peak > KEPT * figures.connections * margin:
        failures.append(f"{figures.peak / figures.connections / MIB:.1f} MiB kept a connection")
    if figures.per_sent > KEPT_PER_OCTET * margin:
        failures.append(f"{figures.per_sent:.0f} octets kept for each sent")
    if attack.ends and not _ended(figures):
        failures.append("slow connections were not ended")
    if "stalled" in figures.ended and not attack.ends:
        failures.append("it was not worked off in time")
    if figures.bystander.get("failed") or figures.bystander.get("unanswered"):
        lost = figures.bystander["failed"] + figures.bystander["unanswered"]
        failures.append(f"{lost} of the bystander's requests were lost")
    return failures


def _ended(figures: Figures) -> bool:
    """Did the victim end the connections, or reset their hundred streams?

    An attacker that does not read sees no end. Then the victim's tasks tell: a connection has two at least.
    """
    if not figures.ended.keys() & {"still serving", "stalled"}:
        return True
    if sum(figures.resets.values()) >= 100 * figures.connections:
        return True
    return figures.tasks_held <= BYSTANDERS_TASKS + figures.connections


def judge(attack: Attack, figures: Figures, like: Figures | None) -> list[str]:
    """What was broken of all bars; notes how often the like's cost it was."""
    failures = judge_whatever_the_machine(attack, figures)
    if figures.step_p999 > STEP:
        failures.append(f"steps of {figures.step_p999 * 1000:.1f} ms")
    if like is not None:
        by_frame = attack.per == "frame"
        units, cost = (figures.frames, like.per_frame) if by_frame else (figures.sent_octets, like.per_octet)
        figures.times_like = (figures.per_frame if by_frame else figures.per_octet) / cost
        if figures.cpu - SET_UP * figures.connections > TIMES_LIKE * cost * units:
            failures.append(f"{figures.times_like:.1f} times the CPU of its like")
    return failures


COLUMNS = (
    "attack",
    "n",
    "frames sent",
    "worked off",
    "us/frame",
    "x like",
    "CPU s",
    "peak MiB",
    "MiB/conn",
    "end MiB",
    "kept/octet",
    "step p99.9",
    "step max",
    "bystander p50/p99/max ms",
    "lost",
    "tracebacks",
    "tasks",
    "ended",
    "verdict",
)


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f}"


def row(figures: Figures) -> tuple[str, ...]:
    by = figures.bystander
    times = " / ".join(milliseconds(by[key]) for key in ("p50", "p99", "max")) if by else ""
    resets = ", ".join(f"RST {code} x{count}" for code, count in figures.resets.items())
    ended = ", ".join(f"{how}" + (f" x{count}" if count > 1 else "") for how, count in figures.ended.items())
    return (
        figures.name,
        str(figures.attackers),
        str(figures.sent_frames),
        str(figures.frames),
        f"{figures.per_frame * 1e6:.1f}",
        "" if figures.times_like is None else f"{figures.times_like:.2f}",
        f"{figures.process_cpu:.2f}",
        f"{figures.peak / MIB:.1f}",
        f"{figures.peak / MIB / figures.connections:.2f}",
        f"{figures.kept / MIB:.1f}",
        f"{figures.per_sent:.1f}",
        milliseconds(figures.step_p999),
        milliseconds(figures.step_max),
        times,
        str(by.get("failed", 0) + by.get("unanswered", 0)) if by else "",
        str(figures.tracebacks),
        "?" if figures.tasks_left is None else str(figures.tasks_left),
        "; ".join(filter(None, (ended, resets))),
        "PASS" if not figures.failures else "FAIL: " + "; ".join(figures.failures),
    )


def line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"
