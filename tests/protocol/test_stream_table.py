"""The stream states of RFC 9113 section 5.1, and the table that holds a connection's streams."""

from __future__ import annotations

import pytest

from trio_h2.exceptions import ErrorCodes, InvalidBodyLengthError, ProtocolError, StreamClosedError
from trio_h2.protocol.message_half import Phase
from trio_h2.protocol.stream_machine import CloseReason, Input, StreamMachine, StreamState
from trio_h2.protocol.stream_table import StreamTable
from trio_h2.protocol.verdicts import ConnectionFailure, StreamFailure
from trio_h2.protocol.windows import InboundWindow, OutboundWindow

REFUSED = "stream error STREAM_CLOSED"

# Section 5.1, read state by state. What is not here is not permitted there: "implementations SHOULD treat the receipt
# of a frame that is not expressly permitted in the description of a state as a connection error of type
# PROTOCOL_ERROR".
EXPECTED: dict[str, dict[str, str]] = {
    # "Sending a HEADERS frame as a client, or receiving a HEADERS frame as a server, causes the stream to become
    # open"; "Sending a PUSH_PROMISE frame on another stream reserves the idle stream"; and the same received.
    "IDLE": {
        "SEND_HEADERS": "OPEN",
        "RECV_HEADERS": "OPEN",
        "SEND_PROMISED": "RESERVED_LOCAL",
        "RECV_PROMISED": "RESERVED_REMOTE",
    },
    # "The endpoint can send a HEADERS frame. This causes the stream to open in a half-closed (remote) state. Either
    # endpoint can send a RST_STREAM"; "A PRIORITY or WINDOW_UPDATE frame MAY be received in this state"; "MUST NOT
    # send any type of frame other than HEADERS, RST_STREAM, or PRIORITY".
    "RESERVED_LOCAL": {
        "SEND_HEADERS": "HALF_CLOSED_REMOTE",
        "SEND_RST_STREAM": "CLOSED",
        "RECV_RST_STREAM": "CLOSED",
        "RECV_WINDOW_UPDATE": "RESERVED_LOCAL",
    },
    # "Receiving a HEADERS frame causes the stream to transition to half-closed (local)"; "MUST NOT send any type of
    # frame other than RST_STREAM, WINDOW_UPDATE, or PRIORITY"; all but HEADERS, RST_STREAM and PRIORITY received is a
    # connection error.
    "RESERVED_REMOTE": {
        "RECV_HEADERS": "HALF_CLOSED_LOCAL",
        "SEND_RST_STREAM": "CLOSED",
        "RECV_RST_STREAM": "CLOSED",
        "SEND_WINDOW_UPDATE": "RESERVED_REMOTE",
    },
    # "may be used by both peers to send frames of any type".
    "OPEN": {
        "SEND_HEADERS": "OPEN",
        "RECV_HEADERS": "OPEN",
        "SEND_DATA": "OPEN",
        "RECV_DATA": "OPEN",
        "SEND_END_STREAM": "HALF_CLOSED_LOCAL",
        "RECV_END_STREAM": "HALF_CLOSED_REMOTE",
        "SEND_RST_STREAM": "CLOSED",
        "RECV_RST_STREAM": "CLOSED",
        "SEND_PUSH_PROMISE": "OPEN",
        "RECV_PUSH_PROMISE": "OPEN",
        "SEND_WINDOW_UPDATE": "OPEN",
        "RECV_WINDOW_UPDATE": "OPEN",
    },
    # "cannot be used for sending frames other than WINDOW_UPDATE, PRIORITY, and RST_STREAM"; "An endpoint can receive
    # any type of frame in this state"; closed "when a frame is received with the END_STREAM flag set or when either
    # peer sends a RST_STREAM frame".
    "HALF_CLOSED_LOCAL": {
        "RECV_HEADERS": "HALF_CLOSED_LOCAL",
        "RECV_DATA": "HALF_CLOSED_LOCAL",
        "RECV_END_STREAM": "CLOSED",
        "SEND_RST_STREAM": "CLOSED",
        "RECV_RST_STREAM": "CLOSED",
        "RECV_PUSH_PROMISE": "HALF_CLOSED_LOCAL",
        "SEND_WINDOW_UPDATE": "HALF_CLOSED_LOCAL",
        "RECV_WINDOW_UPDATE": "HALF_CLOSED_LOCAL",
    },
    # "can be used by the endpoint to send frames of any type"; other than WINDOW_UPDATE, PRIORITY and RST_STREAM, a
    # frame received is a stream error of type STREAM_CLOSED. PUSH_PROMISE is section 6.6's: on a stream that is
    # "neither open nor half-closed (local)" it is a connection error.
    "HALF_CLOSED_REMOTE": {
        "SEND_HEADERS": "HALF_CLOSED_REMOTE",
        "SEND_DATA": "HALF_CLOSED_REMOTE",
        "SEND_END_STREAM": "CLOSED",
        "SEND_RST_STREAM": "CLOSED",
        "RECV_RST_STREAM": "CLOSED",
        "SEND_PUSH_PROMISE": "HALF_CLOSED_REMOTE",
        "SEND_WINDOW_UPDATE": "HALF_CLOSED_REMOTE",
        "RECV_WINDOW_UPDATE": "HALF_CLOSED_REMOTE",
        "RECV_HEADERS": REFUSED,
        "RECV_DATA": REFUSED,
    },
    # "MUST NOT send frames other than PRIORITY on a closed stream"; it "might receive a WINDOW_UPDATE or RST_STREAM
    # frame from its peer in the time before the peer receives and processes the frame that closes the stream".
    "CLOSED": {
        "RECV_RST_STREAM": "CLOSED",
        "RECV_WINDOW_UPDATE": "CLOSED",
    },
}

STATES = list(StreamState)
RECEIVED = [input_ for input_ in Input if input_.name.startswith("RECV")]
SENT = [input_ for input_ in Input if input_.name.startswith("SEND")]


def stream_in(state: StreamState, stream_id: int = 1) -> StreamMachine:
    return StreamMachine(stream_id, InboundWindow(), OutboundWindow(), state=state)


def test_rfc9113_5_1_the_table_above_speaks_of_every_state_and_of_known_inputs() -> None:
    assert set(EXPECTED) == {state.name for state in StreamState}
    assert {name for cells in EXPECTED.values() for name in cells} <= set(Input.__members__)
    assert len(RECEIVED) + len(SENT) == len(Input)


@pytest.mark.parametrize("input_", RECEIVED, ids=lambda i: i.name)
@pytest.mark.parametrize("state", STATES, ids=lambda s: s.name)
def test_rfc9113_5_1_a_frame_received_in_every_state(state: StreamState, input_: Input) -> None:
    stream = stream_in(state)
    verdict = stream.receive(input_)
    expected = EXPECTED[state.name].get(input_.name)
    if expected is None:
        assert isinstance(verdict, ConnectionFailure)
        assert verdict.error_code is ErrorCodes.PROTOCOL_ERROR
        assert input_.name in verdict.reason
        assert stream.state is state
    elif expected is REFUSED:
        assert isinstance(verdict, StreamFailure)
        assert (verdict.stream_id, verdict.error_code) == (1, ErrorCodes.STREAM_CLOSED)
        assert stream.state is state
    else:
        assert verdict is None
        assert stream.state.name == expected


@pytest.mark.parametrize("input_", SENT, ids=lambda i: i.name)
@pytest.mark.parametrize("state", STATES, ids=lambda s: s.name)
def test_rfc9113_5_1_a_frame_sent_in_every_state(state: StreamState, input_: Input) -> None:
    stream = stream_in(state)
    expected = EXPECTED[state.name].get(input_.name)
    if expected is not None:
        stream.send(input_)
        assert stream.state.name == expected
        return
    with pytest.raises(ProtocolError) as caught:
        stream.send(input_)
    assert stream.state is state
    assert (caught.value.scope, caught.value.initiator, caught.value.stream_id) == ("stream", "local", 1)
    our_half_is_over = state in (StreamState.CLOSED, StreamState.HALF_CLOSED_LOCAL)
    assert isinstance(caught.value, StreamClosedError) is our_half_is_over


@pytest.mark.parametrize(
    ("state", "can_send", "reserved", "closed"),
    [
        (StreamState.IDLE, False, False, False),
        (StreamState.RESERVED_LOCAL, True, True, False),
        (StreamState.RESERVED_REMOTE, False, True, False),
        (StreamState.OPEN, True, False, False),
        (StreamState.HALF_CLOSED_LOCAL, False, False, False),
        (StreamState.HALF_CLOSED_REMOTE, True, False, False),
        (StreamState.CLOSED, False, False, True),
    ],
)
def test_rfc9113_5_1_what_a_state_means(state: StreamState, can_send: bool, reserved: bool, closed: bool) -> None:
    stream = stream_in(state)
    assert (stream.can_send, stream.reserved, stream.closed) == (can_send, reserved, closed)


# The message in one direction (8.1.1)


def test_rfc9113_8_1_1_a_body_is_held_against_its_content_length() -> None:
    stream = stream_in(StreamState.OPEN)
    stream.sending.begin(5)
    stream.check_body(5, end_stream=True)
    stream.check_body(3, end_stream=False)
    for count, end in ((6, False), (6, True), (4, True), (0, True)):
        with pytest.raises(InvalidBodyLengthError) as caught:
            stream.check_body(count, end_stream=end)
        assert (caught.value.expected_length, caught.value.actual_length) == (5, count)


def test_rfc9113_8_1_1_no_content_length_promises_nothing() -> None:
    stream = stream_in(StreamState.OPEN)
    stream.sending.begin(None)
    stream.check_body(10**9, end_stream=True)
    assert stream.sending.receive(10**9)
    assert not stream.sending.too_short


def test_rfc9113_8_1_no_body_before_the_header_section() -> None:
    stream = stream_in(StreamState.OPEN)
    assert stream.sending.phase is Phase.HEAD
    with pytest.raises(ProtocolError, match="before its header section"):
        stream.check_body(0, end_stream=True)


# The table


def table_of(*, client: bool = False, max_tombstones: int = 10) -> StreamTable:
    return StreamTable(client=client, max_tombstones=max_tombstones)


def opened(table: StreamTable, stream_id: int, state: StreamState = StreamState.OPEN) -> StreamMachine:
    stream = stream_in(state, stream_id)
    table.use(stream_id)
    table.add(stream)
    table.count(stream)
    return stream


def test_rfc9113_5_1_1_clients_use_odd_stream_ids_and_servers_even_ones() -> None:
    client, server = table_of(client=True), table_of()
    assert (client.next_own_id(), server.next_own_id()) == (1, 2)
    client.use(1)
    server.use(2)
    assert (client.next_own_id(), server.next_own_id()) == (3, 4)
    assert client.is_own(7)
    assert not client.is_own(8)
    assert server.is_own(8)
    assert not server.is_own(7)


def test_rfc9113_5_1_1_stream_ids_end_at_2_31_minus_1() -> None:
    client, server = table_of(client=True), table_of()
    client.use(2**31 - 3)
    assert client.next_own_id() == 2**31 - 1
    client.use(2**31 - 1)
    assert client.next_own_id() is None
    server.use(2**31 - 2)
    assert server.next_own_id() is None


def test_rfc9113_5_1_1_using_an_id_closes_the_lower_idle_ones_of_its_side_alone() -> None:
    table = table_of()
    table.use(5)
    assert not table.is_idle(3)
    assert not table.is_idle(5)
    assert table.is_idle(7)
    assert table.is_idle(2)
    assert table.how_closed(3) is None


def test_rfc9113_5_1_2_reserved_streams_are_not_counted_until_they_open() -> None:
    table = table_of()
    stream = opened(table, 2, StreamState.RESERVED_LOCAL)
    assert (table.open_inbound, table.open_outbound) == (0, 0)
    stream.state = StreamState.HALF_CLOSED_REMOTE
    table.count(stream)
    table.count(stream)
    assert (table.open_inbound, table.open_outbound) == (0, 1)
    table.close(stream, CloseReason.ENDED)
    assert (table.open_inbound, table.open_outbound) == (0, 0)


def test_rfc9113_5_1_2_open_and_half_closed_streams_count_on_the_side_that_opened_them() -> None:
    table = table_of()
    states = (StreamState.OPEN, StreamState.HALF_CLOSED_LOCAL, StreamState.HALF_CLOSED_REMOTE)
    for number, state in enumerate(states):
        opened(table, 2 * number + 1, state)
        opened(table, 2 * number + 2, state)
    assert (table.open_inbound, table.open_outbound) == (3, 3)
    assert len(table) == 6
    for stream in table:
        table.close(stream, CloseReason.RESET_LOCALLY)
    assert (table.open_inbound, table.open_outbound, len(table)) == (0, 0, 0)


@pytest.mark.parametrize("reason", list(CloseReason), ids=lambda r: r.name)
def test_rfc9113_5_1_a_closed_stream_leaves_a_tombstone(reason: CloseReason) -> None:
    table = table_of()
    stream = opened(table, 1)
    table.close(stream, reason)
    assert table.get(1) is None
    assert stream.closed
    assert stream.close_reason is reason
    assert table.how_closed(1) is reason


def test_rfc9113_5_1_the_oldest_tombstones_are_forgotten() -> None:
    table = table_of(max_tombstones=2)
    for stream_id in (1, 3, 5):
        table.close(opened(table, stream_id), CloseReason.RESET_LOCALLY)
    assert [table.how_closed(stream_id) for stream_id in (1, 3, 5)] == [
        None,
        CloseReason.RESET_LOCALLY,
        CloseReason.RESET_LOCALLY,
    ]


def test_rfc9113_5_1_normal_ends_do_not_push_out_resets() -> None:
    table = table_of(max_tombstones=2)
    table.close(opened(table, 1), CloseReason.RESET_LOCALLY)
    for stream_id in (3, 5, 7):
        table.close(opened(table, stream_id), CloseReason.ENDED)
    assert table.how_closed(1) is CloseReason.RESET_LOCALLY
    assert table.how_closed(3) is None


def test_rfc9113_5_4_2_a_reset_after_the_end_is_what_counts() -> None:
    table = table_of()
    table.close(opened(table, 1), CloseReason.ENDED)
    table.bury(1, CloseReason.RESET_LOCALLY)
    assert table.how_closed(1) is CloseReason.RESET_LOCALLY
