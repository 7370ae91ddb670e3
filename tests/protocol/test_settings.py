"""SETTINGS (RFC 9113 section 6.5, RFC 8441 section 3, RFC 9218 section 2.1), the peer's and ours."""

from __future__ import annotations

import pytest

from trio_h2 import events as ev
from trio_h2.config import Config
from trio_h2.exceptions import DenialOfServiceError, ErrorCodes, FlowControlError, InvalidSettingsValueError
from trio_h2.protocol.settings import ChangedSetting, LocalSettings, RemoteSettings, SettingCodes, Settings

from . import helpers as h

PROTOCOL_ERROR = (ErrorCodes.PROTOCOL_ERROR, InvalidSettingsValueError)
FLOW_CONTROL_ERROR = (ErrorCodes.FLOW_CONTROL_ERROR, InvalidSettingsValueError)

# RFC 9113 6.5.2, RFC 8441 3, RFC 9218 2.1: what no side may say.
FORBIDDEN = [
    (h.ENABLE_PUSH, 2, PROTOCOL_ERROR),
    (h.ENABLE_PUSH, 2**32 - 1, PROTOCOL_ERROR),
    (h.INITIAL_WINDOW_SIZE, 2**31, FLOW_CONTROL_ERROR),
    (h.INITIAL_WINDOW_SIZE, 2**32 - 1, FLOW_CONTROL_ERROR),
    (h.MAX_FRAME_SIZE, 0, PROTOCOL_ERROR),
    (h.MAX_FRAME_SIZE, 16_383, PROTOCOL_ERROR),
    (h.MAX_FRAME_SIZE, 2**24, PROTOCOL_ERROR),
    (h.ENABLE_CONNECT_PROTOCOL, 2, PROTOCOL_ERROR),
    (h.NO_RFC7540_PRIORITIES, 2, PROTOCOL_ERROR),
]

# The ends of what is allowed, from a client.
ALLOWED = [
    (h.HEADER_TABLE_SIZE, 0),
    (h.HEADER_TABLE_SIZE, 2**32 - 1),
    (h.ENABLE_PUSH, 0),
    (h.ENABLE_PUSH, 1),
    (h.MAX_CONCURRENT_STREAMS, 0),
    (h.MAX_CONCURRENT_STREAMS, 2**32 - 1),
    (h.INITIAL_WINDOW_SIZE, 0),
    (h.INITIAL_WINDOW_SIZE, 2**31 - 1),
    (h.MAX_FRAME_SIZE, 16_384),
    (h.MAX_FRAME_SIZE, 2**24 - 1),
    (h.MAX_HEADER_LIST_SIZE, 0),
    (h.MAX_HEADER_LIST_SIZE, 2**32 - 1),
    (h.ENABLE_CONNECT_PROTOCOL, 1),
    (h.NO_RFC7540_PRIORITIES, 0),
]


def server(*, greet: bool = True) -> h.RawPeer:
    return h.RawPeer(client=False, greet=greet)


# The peer's


@pytest.mark.parametrize(("code", "value"), ALLOWED)
def test_rfc9113_6_5_2_an_allowed_value_is_in_force_and_acknowledged_at_once(code: int, value: int) -> None:
    peer = server()
    original = peer.machine.remote_settings.get(code)
    (event,) = peer.receive(h.settings((code, value)))
    assert event == ev.RemoteSettingsChanged({code: ChangedSetting(code, original, value)})
    assert peer.machine.remote_settings.get(code) == value
    (ack,) = peer.frames()
    assert (ack.type, ack.stream_id, ack.body_len, sorted(ack.flags)) == (h.SETTINGS, 0, 0, ["ACK"])


@pytest.mark.parametrize(("code", "value"), [(0x0, 2**32 - 1), (0xFFFF, 7)])
def test_rfc9113_6_5_2_an_unknown_setting_is_reported_and_not_kept(code: int, value: int) -> None:
    peer = server()
    (event,) = peer.receive(h.settings((code, value)))
    assert event == ev.RemoteSettingsChanged({code: ChangedSetting(code, None, value)})
    assert code not in peer.machine.remote_settings
    peer.assert_alive()


@pytest.mark.parametrize(("code", "value", "error"), FORBIDDEN)
@pytest.mark.parametrize("client", [False, True])
def test_rfc9113_6_5_2_a_forbidden_value_is_a_connection_error(
    code: int, value: int, error: tuple[int, type], client: bool
) -> None:
    peer = h.RawPeer(client=client)
    assert peer.receive(h.settings((h.MAX_CONCURRENT_STREAMS, 1), (code, value))) == []
    peer.assert_connection_error(*error)


def test_rfc9113_6_5_2_a_server_may_not_enable_push() -> None:
    peer = h.RawPeer(client=True)
    assert peer.receive(h.settings((h.ENABLE_PUSH, 0)))
    peer.receive(h.settings((h.ENABLE_PUSH, 1)))
    peer.assert_connection_error(*PROTOCOL_ERROR)


def test_rfc9113_6_5_3_values_are_processed_in_order_and_the_last_one_counts() -> None:
    peer = server()
    (event,) = peer.receive(h.settings((h.MAX_CONCURRENT_STREAMS, 5), (h.MAX_CONCURRENT_STREAMS, 3)))
    assert event == ev.RemoteSettingsChanged({3: ChangedSetting(SettingCodes.MAX_CONCURRENT_STREAMS, 5, 3)})
    assert peer.machine.remote_settings.max_concurrent_streams == 3


def test_rfc9113_6_5_3_an_intermediate_value_counts_too() -> None:
    """In order means that a window overflows even if the next value would have put it right."""
    peer = h.RawPeer(client=True)
    h.open_request(peer.machine, h.POST, end=False)
    peer.receive(h.window_update(1, 1))
    peer.receive(h.settings((h.INITIAL_WINDOW_SIZE, h.MAX_WINDOW), (h.INITIAL_WINDOW_SIZE, 10)))
    peer.assert_connection_error(ErrorCodes.FLOW_CONTROL_ERROR, FlowControlError)


def test_rfc9113_6_5_3_every_settings_frame_is_acknowledged() -> None:
    peer = server()
    events = peer.receive(h.settings(), h.settings((h.ENABLE_PUSH, 0)), h.settings())
    assert len(events) == 3
    assert peer.machine.replies == 3
    assert [sorted(f.flags) for f in peer.frames()] == [["ACK"]] * 3
    assert peer.machine.replies == 0


def test_rfc9113_6_5_2_unknown_settings_are_ignored_and_reported() -> None:
    peer = server()
    (event,) = peer.receive(h.settings((0x7, 1), (0xABCD, 2)))
    assert event == ev.RemoteSettingsChanged({7: ChangedSetting(7, None, 1), 0xABCD: ChangedSetting(0xABCD, None, 2)})
    peer.assert_alive()


def test_rfc9113_10_5_a_frame_of_more_than_32_settings_ends_the_connection() -> None:
    """CVE-2020-11080. Each would be an object, and 2,730 of them fit into the smallest largest frame."""
    peer = server()
    pairs = [(0x5000 + number, number) for number in range(2_730)]
    (event,) = peer.receive(h.settings(*pairs[:32]))
    assert isinstance(event, ev.RemoteSettingsChanged)
    assert len(event.changed_settings) == 32
    peer.frames()
    frame = h.settings(*pairs)
    with h.counted_calls() as calls:
        assert peer.receive(frame) == []
    assert calls[0] < 200
    peer.assert_connection_error(ErrorCodes.ENHANCE_YOUR_CALM, DenialOfServiceError)
    assert peer.machine.failure is not None
    assert "2730 settings in one frame" in peer.machine.failure.reason


@pytest.mark.parametrize("client", [False, True])
def test_rfc9113_6_5_2_initial_values(client: bool) -> None:
    for view in (RemoteSettings(peer_is_server=not client), LocalSettings(client)):
        assert view.header_table_size == 4096
        assert view.enable_push == client
        assert view.max_concurrent_streams > 2**31
        assert view.initial_window_size == 65_535
        assert view.max_frame_size == 16_384
        assert view.max_header_list_size is None
        assert view.enable_connect_protocol == 0
        assert SettingCodes.NO_RFC7540_PRIORITIES not in view
        assert view.get(0x77) is None


def test_rfc9113_6_5_2_the_peers_limits_are_kept() -> None:
    peer = h.RawPeer(client=True)
    peer.receive(h.settings((h.MAX_FRAME_SIZE, 20_000), (h.MAX_HEADER_LIST_SIZE, 77)))
    assert peer.machine.outbox.max_frame_size == 20_000
    assert peer.machine.remote_settings.max_header_list_size == 77


@pytest.mark.parametrize("where", ["one frame", "two frames"])
def test_rfc8441_3_extended_connect_cannot_be_taken_back(where: str) -> None:
    peer = h.RawPeer(client=True)
    on, off = (h.ENABLE_CONNECT_PROTOCOL, 1), (h.ENABLE_CONNECT_PROTOCOL, 0)
    if where == "one frame":
        peer.receive(h.settings(on, off))
    else:
        peer.receive(h.settings(on))
        assert peer.machine.remote_settings.enable_connect_protocol
        peer.receive(h.settings(off))
    peer.assert_connection_error(*PROTOCOL_ERROR)


def test_rfc8441_3_extended_connect_can_be_offered_late_and_twice() -> None:
    peer = h.RawPeer(client=True)
    for value in (0, 1, 1):
        peer.receive(h.settings((h.ENABLE_CONNECT_PROTOCOL, value)))
    peer.assert_alive()


@pytest.mark.parametrize(("first", "later"), [(0, 1), (1, 0), (None, 1)])
def test_rfc9218_2_1_the_priority_scheme_cannot_be_changed_after_the_first_settings(
    first: int | None, later: int
) -> None:
    peer = server(greet=False)
    peer.receive(h.PREFACE, h.settings(*([] if first is None else [(h.NO_RFC7540_PRIORITIES, first)])))
    assert peer.machine.failure is None
    peer.receive(h.settings((h.NO_RFC7540_PRIORITIES, later)))
    peer.assert_connection_error(*PROTOCOL_ERROR)


@pytest.mark.parametrize("value", [0, 1])
def test_rfc9218_2_1_the_priority_scheme_may_be_repeated(value: int) -> None:
    peer = server(greet=False)
    setting = h.settings((h.NO_RFC7540_PRIORITIES, value))
    peer.receive(h.PREFACE, setting, setting)
    peer.assert_alive()


# Ours


def test_rfc9113_6_5_what_a_client_says_first() -> None:
    config = Config(max_concurrent_streams=7, initial_window_size=1000, max_frame_size=20_000, header_table_size=0)
    peer = h.RawPeer(client=True, config=config, greet=False)
    assert peer.frames()[0].settings == {
        h.HEADER_TABLE_SIZE: 0,
        h.ENABLE_PUSH: 0,
        h.MAX_CONCURRENT_STREAMS: 7,
        h.INITIAL_WINDOW_SIZE: 1000,
        h.MAX_FRAME_SIZE: 20_000,
        h.MAX_HEADER_LIST_SIZE: 65_536,
    }


@pytest.mark.parametrize("extended", [False, True])
def test_rfc9113_6_5_what_a_server_says_first(extended: bool) -> None:
    config = Config(initial_window_size=65_535, enable_connect_protocol=extended, enable_push=True)
    peer = h.RawPeer(client=False, config=config, greet=False)
    expected = {h.MAX_CONCURRENT_STREAMS: 100, h.MAX_HEADER_LIST_SIZE: 65_536, h.NO_RFC7540_PRIORITIES: 1}
    if extended:
        expected[h.ENABLE_CONNECT_PROTOCOL] = 1
    assert peer.frames()[0].settings == expected


def test_rfc9113_6_5_2_a_client_says_whether_it_takes_pushes() -> None:
    peer = h.RawPeer(client=True, config=Config(enable_push=True), greet=False)
    assert peer.frames()[0].settings[h.ENABLE_PUSH] == 1


def test_rfc9113_6_5_3_ours_are_in_force_when_acknowledged_in_order() -> None:
    peer = server()
    peer.machine.update_settings({h.INITIAL_WINDOW_SIZE: 10, 0x99: 5})
    peer.machine.update_settings({h.INITIAL_WINDOW_SIZE: 20})
    local = peer.machine.local_settings
    before = local.initial_window_size
    assert local.awaiting_acknowledgement == 2
    (event,) = peer.receive(h.settings_ack())
    assert event == ev.SettingsAcknowledged(
        {
            h.INITIAL_WINDOW_SIZE: ChangedSetting(SettingCodes.INITIAL_WINDOW_SIZE, before, 10),
            0x99: ChangedSetting(0x99, None, 5),
        }
    )
    assert local.initial_window_size == 10
    assert local.awaiting_acknowledgement == 1
    peer.receive(h.settings_ack())
    assert local.initial_window_size == 20
    assert local.awaiting_acknowledgement == 0


def test_rfc9113_6_5_3_an_acknowledgement_of_nothing_is_a_connection_error() -> None:
    peer = server()
    peer.receive(h.settings_ack())
    peer.assert_connection_error(ErrorCodes.PROTOCOL_ERROR)


def test_rfc9113_6_5_3_two_machines_acknowledge_each_other() -> None:
    pair = h.Pair(greet=False)
    for events in pair.pump():
        assert len(h.of_type(events, ev.RemoteSettingsChanged)) == 1
        assert len(h.of_type(events, ev.SettingsAcknowledged)) == 1
    assert pair.client.remote_settings.max_concurrent_streams == 100
    assert pair.client.remote_settings.enable_connect_protocol
    assert not pair.client.local_settings.enable_push
    assert not pair.server.remote_settings.enable_push


@pytest.mark.parametrize(
    ("code", "value", "error"),
    [
        *((code, value, error[0]) for code, value, error in FORBIDDEN),
        (h.INITIAL_WINDOW_SIZE, -1, ErrorCodes.FLOW_CONTROL_ERROR),
        (h.HEADER_TABLE_SIZE, -1, ErrorCodes.PROTOCOL_ERROR),
        (h.MAX_CONCURRENT_STREAMS, 2**32, ErrorCodes.PROTOCOL_ERROR),
        (0x99, 2**32, ErrorCodes.PROTOCOL_ERROR),
    ],
)
def test_rfc9113_6_5_2_a_forbidden_value_is_never_sent(code: int, value: int, error: int) -> None:
    peer = server()
    before = h.state_of(peer.machine)
    with pytest.raises(InvalidSettingsValueError) as caught:
        peer.machine.update_settings({h.MAX_HEADER_LIST_SIZE: 1, code: value})
    assert (caught.value.error_code, caught.value.initiator) == (error, "local")
    assert isinstance(caught.value, ValueError)
    assert h.state_of(peer.machine) == before


def refuses_to_send(peer: h.RawPeer, values: dict[int, int]) -> None:
    before = h.state_of(peer.machine)
    with pytest.raises(InvalidSettingsValueError) as caught:
        peer.machine.update_settings(values)
    assert caught.value.initiator == "local"
    assert h.state_of(peer.machine) == before


def test_rfc9113_6_5_2_a_server_does_not_send_that_push_is_enabled() -> None:
    refuses_to_send(server(), {h.ENABLE_PUSH: 1})


def test_rfc8441_3_a_server_does_not_take_extended_connect_back() -> None:
    refuses_to_send(server(), {h.ENABLE_CONNECT_PROTOCOL: 0})


def test_rfc9218_2_1_a_server_does_not_change_the_priority_scheme() -> None:
    refuses_to_send(server(), {h.NO_RFC7540_PRIORITIES: 0})


def test_rfc9113_6_5_2_settings_are_a_mapping_whose_assignments_are_staged() -> None:
    ours = Settings(client=False, initial_values={h.MAX_CONCURRENT_STREAMS: 7})
    assert ours[h.MAX_CONCURRENT_STREAMS] == 7
    assert ours.max_concurrent_streams == 7
    ours.header_table_size = 1
    ours.enable_push = 0
    ours.max_concurrent_streams = 2
    ours.initial_window_size = 3
    ours.max_frame_size = 20_000
    ours.max_header_list_size = 4
    ours.enable_connect_protocol = 1
    ours[0x99] = 5
    assert ours.initial_window_size == 65_535
    assert 0x99 not in ours
    assert {code: ours.to_send()[code] for code in (1, 2, 3, 4, 5, 6, 8, 0x99)} == {
        1: 1,
        2: 0,
        3: 2,
        4: 3,
        5: 20_000,
        6: 4,
        8: 1,
        0x99: 5,
    }
    del ours[h.MAX_CONCURRENT_STREAMS]
    assert len(ours) == len(list(ours))
    assert "MAX_FRAME_SIZE" in repr(ours)


def test_rfc9113_6_5_2_a_forbidden_value_is_never_staged() -> None:
    with pytest.raises(InvalidSettingsValueError):
        Settings(initial_values={h.MAX_FRAME_SIZE: 1})
    with pytest.raises(InvalidSettingsValueError):
        Settings().initial_window_size = 2**31


def test_rfc9113_6_5_2_what_was_announced_last() -> None:
    ours = LocalSettings()
    assert ours.stream_limit is None
    ours.submit({h.MAX_CONCURRENT_STREAMS: 5})
    assert ours.stream_limit == 5


def test_rfc9113_6_5_what_every_stream_asks_is_what_is_in_force() -> None:
    ours = LocalSettings(client=False)
    assert (ours.stream_window, ours.extended_connect) == (65_535, False)
    ours.submit({h.INITIAL_WINDOW_SIZE: 7, SettingCodes.ENABLE_CONNECT_PROTOCOL: 1})
    assert (ours.stream_window, ours.extended_connect) == (65_535, False)
    ours.acknowledge_oldest()
    assert (ours.stream_window, ours.extended_connect) == (7, True)
    del ours[h.INITIAL_WINDOW_SIZE]
    assert ours.stream_window == 65_535
    assert Settings(initial_values={h.INITIAL_WINDOW_SIZE: 9}).stream_window == 9


@pytest.mark.parametrize("acknowledged", [False, True])
def test_rfc9218_2_1_what_counts_is_what_we_said_acknowledged_or_not(acknowledged: bool) -> None:
    peer = server(greet=False)
    peer.receive(h.PREFACE, h.settings(), *([h.settings_ack()] if acknowledged else []))
    refuses_to_send(peer, {h.NO_RFC7540_PRIORITIES: 0})
    peer.machine.update_settings({h.NO_RFC7540_PRIORITIES: 1})


def test_rfc9218_2_1_a_client_that_said_nothing_first_cannot_say_it_later() -> None:
    peer = h.RawPeer(client=True)
    refuses_to_send(peer, {h.NO_RFC7540_PRIORITIES: 1})
    peer.machine.update_settings({h.NO_RFC7540_PRIORITIES: 0})


@pytest.mark.parametrize("acknowledged", [False, True])
def test_rfc8441_3_extended_connect_cannot_be_taken_back_acknowledged_or_not(acknowledged: bool) -> None:
    peer = server(greet=False)
    peer.receive(h.PREFACE, h.settings(), *([h.settings_ack()] if acknowledged else []))
    refuses_to_send(peer, {h.ENABLE_CONNECT_PROTOCOL: 0})
    peer.machine.update_settings({h.ENABLE_CONNECT_PROTOCOL: 1})
