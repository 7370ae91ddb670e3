"""What an attack is, and the list of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.attacks import wire
from tests.attacks.peer import Door

Run = Callable[[Door, Any], None]

ATTACKS: dict[str, Attack] = {}


@dataclass(frozen=True)
class Attack:
    """An attack, or the like of one without its trick.

    Attributes:
        name, text: what it is called, and which published attack it is.
        prepare: makes what is sent, before the clock runs, of an amount.
        run: sends it, as one attacker.
        amount, crowd: how much one attacker alone sends, and each of twenty.
        like: the same without the trick, whose cost is the measure of this one's.
        per: what the cost is divided by: "frame" or "octet".
        config: fields of the victim's Config that make it short.
        way: what a client does that is the victim; None if a server is.
        connections: how many an attacker has open at once.
        files: how many files the victim may have open.
        ends: whether the victim has to end the connection, or every stream of it.
    """

    name: str
    text: str
    prepare: Callable[[int], Any]
    run: Run
    amount: int
    crowd: int
    like: Attack | None = None
    per: str = "frame"
    config: Mapping[str, Any] = field(default_factory=dict)
    way: str | None = None
    connections: int = 1
    files: int | None = None
    ends: bool = False

    @property
    def own(self) -> int:
        """Octets that the victim's own doing takes, a connection: a client's hundred requests and their tasks."""
        return 768 * 1024 if self.way == "hold" else 0


def attack(
    amount: int, *, crowd: int | None = None, run: Run | None = None, listed: bool = True, **options: Any
) -> Callable[[Callable[..., Any]], Attack]:
    """Make an attack of a function: of an amount to what `run` sends, or without `run` of a Door and an amount."""

    def decorate(function: Callable[..., Any]) -> Attack:
        made = Attack(
            name=function.__name__.replace("_", "-"),
            text=(function.__doc__ or "").partition("\n")[0].rstrip("."),
            prepare=function if run is not None else int,
            run=run or function,
            amount=amount,
            crowd=max(1, amount // 5) if crowd is None else crowd,
            **options,
        )
        if listed:
            assert made.name not in ATTACKS, made.name
            ATTACKS[made.name] = made
        return made

    return decorate


# Ways to send -------------------------------------------------------------------------------------


def flood(*settings: tuple[int, int], window: int = wire.MAX_WINDOW, seconds: float | None = None) -> Run:
    """All of it at once on one connection, with these SETTINGS."""

    def run(door: Door, data: bytes) -> None:
        peer = door.connect(*settings, window=window)
        peer.send(data)
        if seconds is None:
            peer.settle()
        else:
            peer.wait(lambda: False, seconds)
        door.hold()

    return run


def paced(door: Door, requests: list[bytes], at_once: int = 100) -> None:
    """Requests, of which no more are open than a client may have: each batch waits for the last one's answers."""
    peer = door.connect()
    for at in range(0, len(requests), at_once):
        batch = requests[at : at + at_once]
        wanted = peer.ends + len(batch)
        if not peer.send(b"".join(batch)) or not peer.wait(lambda wanted=wanted: peer.ends >= wanted):
            break
    peer.settle()
    door.hold()


@attack(5_000, run=paced, listed=False)
def small_requests(count: int) -> list[bytes]:
    """Small requests, one frame each, within the limit."""
    return [wire.headers(stream_id, wire.request()) for stream_id in wire.streams(count)]


@attack(20_000, run=flood(), listed=False)
def unknown_frames(count: int) -> bytes:
    """Frames of eight octets that mean nothing."""
    return wire.frame(wire.UNKNOWN, 0, 0, bytes(8)) * count


@attack(20_000, run=flood(), listed=False)
def pings(count: int) -> bytes:
    """PINGs."""
    return wire.ping() * count


@attack(20_000, run=flood(), way="get", listed=False)
def unknown_frames_to_a_client(count: int) -> bytes:
    """Frames of eight octets that mean nothing."""
    return wire.frame(wire.UNKNOWN, 0, 0, bytes(8)) * count
