"""Every attack there is, by name: importing these modules is what lists them."""

from tests.attacks import clients, frames, headers, slow, streams
from tests.attacks.model import ATTACKS

__all__ = ["ATTACKS", "clients", "frames", "headers", "slow", "streams"]
