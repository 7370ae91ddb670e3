"""All arithmetic of flow control (RFC 9113 section 6.9), one small class for each direction.

An `OutboundWindow` is what the peer lets us send. It may be negative (6.9.2) and has nothing to give then.

An `InboundWindow` is what we let the peer send. Every byte of its target is in one of three places, always:

    available    the peer may still send it
    held         received, and the application has not taken it yet
    unannounced  taken, and not yet told to the peer in a WINDOW_UPDATE

so `available + held + unannounced == target`, to the byte. The stream's window holds what its reader has not
taken. The connection's window holds nothing until more than `cap` bytes are unread, and then only the excess, so
one slow reader does not stall the others.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = [
    "DEFAULT_WINDOW",
    "MAX_WINDOW",
    "ConnectionInboundWindow",
    "ConnectionOutboundWindow",
    "InboundWindow",
    "InitialWindow",
    "LateData",
    "OutboundWindow",
]

DEFAULT_WINDOW = 65_535
MAX_WINDOW = 2**31 - 1


class LateData:
    """DATA that still comes on streams we have reset: what was left of their windows, and no more.

    The sender may have had all of it in flight when it learned of the reset (RFC 9113 section 5.4.2). Credit on the
    connection goes back for it at once, so nothing else would end a peer that never stops.

    Attributes:
        allowance: octets, over all those streams; no more than `most`, unless one stream alone had more.
    """

    __slots__ = ("_most", "allowance")

    def __init__(self, most: int) -> None:
        self._most = most
        self.allowance = 0

    def expect(self, window: int) -> None:
        """One more stream was reset, with so much left of its window; negative is none."""
        self.allowance = max(self.allowance, window, min(self.allowance + window, self._most))

    def receive(self, count: int) -> bool:
        """Count `count` octets as received; whether a stream had window for them."""
        self.allowance -= count
        return self.allowance >= 0


class InitialWindow:
    """What the peer's SETTINGS_INITIAL_WINDOW_SIZE gives to every stream: one number that all their windows count from.

    So a change of it moves them all at once (6.9.2), however many there are and however often it comes.

    Attributes:
        value: the setting.
        bound: no window is further beyond `value` than this.
    """

    __slots__ = ("bound", "value")

    def __init__(self, value: int = DEFAULT_WINDOW) -> None:
        self.value = value
        self.bound = 0

    def change(self, delta: int, windows: Iterable[OutboundWindow]) -> bool:
        """Move every window by `delta`; False if that takes one past 2**31-1 (6.9.2).

        Only if the bound is past it are the windows looked at: the widest may have closed, or have been used, since.
        """
        self.value += delta
        if self.value + self.bound > MAX_WINDOW:
            self.bound = max((window.beyond for window in windows), default=0)
        return self.value + self.bound <= MAX_WINDOW

    def raise_bound(self, beyond: int) -> None:
        """A window is further beyond `value` than any was: by so much."""
        self.bound = beyond


class OutboundWindow:
    """How many octets we may send now on a stream. Negative after the peer lowered SETTINGS_INITIAL_WINDOW_SIZE.

    Attributes:
        beyond: by how much it differs from the initial window that it counts from.
    """

    __slots__ = ("_initial", "beyond")

    def __init__(self, initial: InitialWindow | None = None) -> None:
        self._initial = InitialWindow() if initial is None else initial
        self.beyond = 0

    @property
    def available(self) -> int:
        """Octets that may be sent now, if it is more than 0."""
        return self._initial.value + self.beyond

    def _move(self, count: int) -> None:
        self.beyond += count
        if self.beyond > self._initial.bound:
            self._initial.raise_bound(self.beyond)

    def consume(self, count: int) -> None:
        """Count `count` octets as sent; the caller has checked `available`."""
        self.beyond -= count

    def increase(self, increment: int) -> bool:
        """Add what the peer granted; False if that passes 2**31-1 (RFC 9113 section 6.9.1)."""
        if self.available + increment > MAX_WINDOW:
            return False
        self._move(increment)
        return True


class ConnectionOutboundWindow:
    """How many octets we may send now on all streams together: no setting moves it (RFC 9113 section 6.9.2).

    Attributes:
        available: octets that may be sent now.
    """

    __slots__ = ("available",)

    def __init__(self) -> None:
        self.available = DEFAULT_WINDOW

    def consume(self, count: int) -> None:
        """Count `count` octets as sent; the caller has checked `available`."""
        self.available -= count

    def increase(self, increment: int) -> bool:
        """Add what the peer granted; False if that passes 2**31-1 (RFC 9113 section 6.9.1)."""
        if self.available + increment > MAX_WINDOW:
            return False
        self.available += increment
        return True


class InboundWindow:
    """How many octets the peer may send now, for one stream."""

    __slots__ = ("_mark", "available", "held", "target", "unannounced")

    def __init__(self, target: int = DEFAULT_WINDOW) -> None:
        self.target = target
        self.available = target
        self.held = 0
        self.unannounced = 0
        # A stream's: what the connection had received in all when this window was last announced.
        self._mark = 0

    def receive(self, count: int) -> bool:
        """Count `count` octets as received; whether the peer had window for them."""
        if count > self.available:
            return False
        self.available -= count
        self.held += count
        return True

    def release(self, count: int) -> None:
        """The application took `count` octets: they become credit."""
        self.held -= count
        self.unannounced += count

    @property
    def due(self) -> bool:
        """Whether there is enough credit to be worth a WINDOW_UPDATE.

        Enough is half the target (RFC 1122 section 4.2.3.3 on silly windows).
        """
        return self.unannounced * 2 >= self.target

    @property
    def offered(self) -> int:
        """What the peer may send when it has been told of what is due."""
        return self.available + (self.unannounced if self.due else 0)

    def announce(self) -> int:
        """The increment to put into a WINDOW_UPDATE now, or 0 while it is too small to be worth a frame."""
        if not self.due:
            return 0
        increment = self.unannounced
        self.unannounced = 0
        self.available += increment
        return increment

    def since_announced(self, received: int) -> int:
        """What the connection received since this was last asked; `received` is all so far."""
        since = received - self._mark
        self._mark = received
        return since

    def resize(self, target: int) -> None:
        """Take a new SETTINGS_INITIAL_WINDOW_SIZE: the peer's window moves by the difference (6.9.2)."""
        self.available += target - self.target
        self.target = target

    def grow(self, increment: int) -> bool:
        """Raise the target by what a WINDOW_UPDATE tells the peer at once; False if that passes 2**31-1."""
        if self.target + increment > MAX_WINDOW:
            return False
        self.target += increment
        self.available += increment
        return True

    def regrant(self, increment: int) -> bool:
        """Tell the peer of octets at once, those first that it used and is owed; only the rest raises the target.

        For a user who returns credit by hand; what is regranted must not be released again.
        """
        owed = min(increment, self.held + self.unannounced)
        if self.target + increment - owed > MAX_WINDOW:
            return False
        self.release(max(0, owed - self.unannounced))
        self.unannounced -= owed
        self.target -= owed
        return self.grow(increment)


class ConnectionInboundWindow(InboundWindow):
    """The connection's window: credit goes back on receipt while unread bytes are under `cap`."""

    __slots__ = ("cap", "received", "unread", "widened")

    def __init__(self, cap: int, target: int = DEFAULT_WINDOW) -> None:
        super().__init__(target)
        self.cap = cap
        self.unread = 0
        self.received = 0
        self.widened = 0

    def receive(self, count: int) -> bool:
        """Count received octets as unread, holding back credit only above the cap."""
        if count > self.available:
            return False
        self.available -= count
        self.received += count
        self.unread += count
        if self.held or self.unread > self.cap:
            self.held += count
            self._settle()
        else:
            self.unannounced += count
        return True

    def release(self, count: int) -> None:
        """The application took `count` octets, or they were discarded."""
        self.unread -= count
        if self.held:
            self._settle()

    @property
    def due(self) -> bool:
        """Whether there is enough credit for a WINDOW_UPDATE. What growth added, and is held now, asks for no more."""
        twice = self.unannounced * 2
        return twice >= self.target - self.widened and twice >= self.target - min(self.held, self.widened)

    def widen(self, wanted: int) -> int:
        """Grow by up to `wanted` octets, and hold credit back by as much earlier; by how much?

        So the most that can be unread, cap and window together, stays what it was.
        """
        increment = min(wanted, self.cap - self.unread)
        if increment <= 0 or not self.grow(increment):
            return 0
        self.cap -= increment
        self.widened += increment
        return increment

    def _settle(self) -> None:
        excess = self.unread - self.cap
        free = self.held - (excess if excess > 0 else 0)
        if free > 0:
            self.held -= free
            self.unannounced += free
