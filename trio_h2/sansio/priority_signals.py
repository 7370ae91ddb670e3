"""RFC 7540's priority signals, which RFC 9113 section 5.3.2 deprecates, as hyper-h2 takes them."""

from __future__ import annotations

from ..exceptions import ProtocolError, RFC1122Error
from ..protocol.frames import PriorityFields
from ..protocol.stream_table import MAX_STREAM_ID

__all__ = ["DEFAULT_WEIGHT", "priority_fields"]

DEFAULT_WEIGHT = 16


def priority_fields(
    stream_id: int, weight: int | None, depends_on: int | None, exclusive: bool | None, *, client: bool
) -> PriorityFields | None:
    """The signal for this stream; None if nothing was given.

    Raises:
        RFC1122Error: a server prioritizes.
        ProtocolError: a value is out of range, or the stream would depend on itself.
    """
    if weight is None and depends_on is None and exclusive is None:
        return None
    if not client:
        raise RFC1122Error("a server does not prioritize")
    weight = DEFAULT_WEIGHT if weight is None else weight
    if not 1 <= weight <= 256:
        raise ProtocolError(f"a weight is from 1 to 256, not {weight}", initiator="local")
    if depends_on == stream_id:
        raise ProtocolError(f"stream {stream_id} cannot depend on itself", initiator="local")
    depends_on = depends_on or 0
    if not 0 <= depends_on <= MAX_STREAM_ID:
        raise ProtocolError(f"a stream ID is from 1 to 2**31-1, not {depends_on} (5.1.1)", initiator="local")
    return PriorityFields(depends_on, weight, bool(exclusive))
