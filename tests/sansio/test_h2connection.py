"""H2Connection: what hyper-h2's users find in it, beyond its release history up to 2.0.0."""

from __future__ import annotations

import copy
import inspect
import io
import pickle
import threading
import time

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import h2.stream
import hpack
import pytest
from hyperframe.frame import AltSvcFrame, ExtensionFrame, GoAwayFrame, HeadersFrame, SettingsFrame

from tests.protocol import helpers as h
from tests.sansio.test_release_history import pair, pump
from trio_h2 import ErrorCodes, SettingCodes, exceptions, sansio
from trio_h2 import events as ev
from trio_h2.exceptions import (
    FlowControlError,
    FrameTooLargeError,
    InvalidBodyLengthError,
    NoSuchStreamError,
    ProtocolError,
    RFC1122Error,
    StreamClosedError,
    TooManyStreamsError,
)
from trio_h2.sansio import ConnectionState, DummyLogger, H2Configuration, H2Connection, Settings, StreamState


def sent(connection: H2Connection) -> list[object]:
    return list(h.parse(connection.data_to_send()))


def new(*, client: bool = True, **options: object) -> H2Connection:
    connection = H2Connection(H2Configuration(client_side=client, **options))  # type: ignore[arg-type]
    connection.initiate_connection()
    return connection


def connected(**options: object) -> tuple[H2Connection, H2Connection]:
    """Like `pair`, with both sides configured."""
    one, other = new(**options), new(client=False, **options)
    pump(one, other)
    return one, other


def opened(fields: h.Fields = h.POST, *, end: bool = False) -> tuple[H2Connection, H2Connection]:
    """A pair, and stream 1 open."""
    one, other = pair()
    one.send_headers(1, fields, end_stream=end)
    pump(one, other)
    return one, other


# The same names


def public(thing: object) -> set[str]:
    return {name for name in vars(thing) if not name.startswith("_")}


def test_every_public_name_of_h2_is_here() -> None:
    methods = public(h2.connection.H2Connection)
    assert methods <= public(sansio.H2Connection)
    assert public(h2.config.H2Configuration) <= {*inspect.signature(H2Configuration).parameters}
    # What h2's own connection calls.
    internal = {"validate_received_setting"}
    assert public(h2.settings.Settings) - internal <= public(Settings)
    ours = H2Connection()
    attributes = public(h2.connection.H2Connection())
    assert {name for name in attributes if not hasattr(ours, name)} == {"encoder", "incoming_buffer"}
    for theirs, ours in ((h2.exceptions, exceptions), (h2.events, ev), (h2.config, sansio), (h2.settings, sansio)):
        names = {name for name, value in vars(theirs).items() if getattr(value, "__module__", "") == theirs.__name__}
        names = {name for name in names if not name.startswith("_")}
        assert names <= {*vars(ours)}
        for name in names:
            assert public(getattr(theirs, name)) - internal <= {*dir(getattr(ours, name))}, name


def test_methods_have_the_signatures_of_h2() -> None:
    for name, method in vars(h2.connection.H2Connection).items():
        if name.startswith("_") or not inspect.isfunction(method):
            continue
        theirs = [(p.name, p.default, p.kind) for p in inspect.signature(method).parameters.values()]
        mine = inspect.signature(getattr(H2Connection, name)).parameters.values()
        assert [(p.name, p.default, p.kind) for p in mine] == theirs, name
    for theirs_class, ours_class in (
        (h2.connection.H2Connection, H2Connection),
        (h2.settings.Settings, Settings),
        (h2.settings.ChangedSetting, sansio.ChangedSetting),
    ):
        parameters = inspect.signature(ours_class).parameters.values()
        # What hyper-h2 took until 2.6 is by keyword alone.
        ours_are = [(p.name, p.default) for p in parameters if p.kind is not p.KEYWORD_ONLY]
        assert ours_are == [(p.name, p.default) for p in inspect.signature(theirs_class).parameters.values()]
    theirs_made = inspect.signature(h2.config.H2Configuration).parameters
    ours_made = inspect.signature(H2Configuration).parameters
    assert [(p.name, p.default) for p in ours_made.values()] == [(p.name, p.default) for p in theirs_made.values()]


def test_enumerations_have_the_members_of_h2() -> None:
    for theirs, ours in (
        (h2.errors.ErrorCodes, ErrorCodes),
        (h2.settings.SettingCodes, SettingCodes),
    ):
        assert {member.name: member.value for member in theirs}.items() <= {m.name: m.value for m in ours}.items()
    for theirs, ours in ((h2.connection.ConnectionState, ConnectionState), (h2.stream.StreamState, StreamState)):
        assert {*theirs.__members__} == {*ours.__members__}
    assert [H2Connection.HIGHEST_ALLOWED_STREAM_ID, H2Connection.MAX_WINDOW_INCREMENT] == [2**31 - 1] * 2


def test_errors_have_the_parents_and_the_arguments_of_h2() -> None:
    for name, theirs in vars(h2.exceptions).items():
        if not inspect.isclass(theirs) or theirs.__module__ != "h2.exceptions":
            continue
        ours = getattr(exceptions, name)
        assert {each.__name__ for each in theirs.__mro__} <= {each.__name__ for each in ours.__mro__}
        assert {*dir(theirs)} - {*dir(ours)} == set()
        if theirs.__init__ is not Exception.__init__ and "__init__" in vars(theirs):
            expected = [*inspect.signature(theirs).parameters]
            assert [*inspect.signature(ours).parameters][: len(expected)] == expected, name


def test_events_and_errors_are_pickled_and_copied() -> None:
    one, other = pair()
    one.send_headers(1, h.POST, priority_weight=7)
    one.send_data(1, b"x", end_stream=True)
    one.update_settings({SettingCodes.ENABLE_PUSH: 0})
    _, *events = pump(one, other)  # the first has hpack's header tuples, which cannot be pickled
    assert len(events) == 5
    assert pickle.loads(pickle.dumps(events)) == events == copy.deepcopy(events)
    for error in (
        StreamClosedError(3),
        exceptions.StreamIDTooLowError(1, 3),
        InvalidBodyLengthError(expected=3, actual=4),
        ProtocolError("why", error_code=ErrorCodes.CANCEL),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), again.args, vars(again)) == (type(error), error.args, vars(error))


def test_events_have_the_attributes_of_h2_and_are_built_by_keyword_or_attribute() -> None:
    for name, theirs in vars(h2.events).items():
        if name.startswith("_") or not inspect.isclass(theirs) or theirs.__module__ != "h2.events" or name == "Event":
            continue
        ours = getattr(ev, name)()
        try:
            example = theirs()
        except TypeError:
            example = theirs(
                **{p: None for p, v in inspect.signature(theirs).parameters.items() if v.default is v.empty}
            )
        for attribute in vars(example):
            assert hasattr(ours, attribute), f"{name}.{attribute}"
        getattr(ev, name)(**dict.fromkeys(vars(example)))
    event = ev.StreamReset()
    event.stream_id = 7
    assert event == ev.StreamReset(stream_id=7)
    assert ev.RequestReceived(stream_id=1, headers=[(b":method", b"GET")]).headers == [(b":method", b"GET")]  # type: ignore[arg-type]


def test_an_unknown_frame_may_be_given_as_a_frame() -> None:
    frame = ExtensionFrame(0x55, 7, flag_byte=3, body=b"what")
    assigned = ev.UnknownFrameReceived()
    assigned.frame = frame
    for event in (assigned, ev.UnknownFrameReceived(frame=frame)):
        assert event == ev.UnknownFrameReceived(0x55, 3, 7, b"what")
        assert (event.frame.type, event.frame.flag_byte, event.frame.stream_id) == (0x55, 3, 7)


def test_settings_have_what_h2_lists() -> None:
    for client in (True, False):
        assert dict(Settings(client)) == dict(h2.settings.Settings(client))
        one = H2Connection(H2Configuration(client))
        theirs = h2.connection.H2Connection(h2.config.H2Configuration(client))
        assert dict(one.local_settings) == dict(theirs.local_settings)
        one.initiate_connection()
        assert dict(one.local_settings) == dict(theirs.local_settings)


def test_the_goaway_of_a_connection_error_has_no_debug_data() -> None:
    """As with h2; what was wrong is in the error that is raised."""
    one = H2Connection()
    one.initiate_connection()
    one.data_to_send()
    with pytest.raises(ProtocolError, match="stream 0"):
        one.receive_data(h.data(0, b"x"))
    (goaway,) = sent(one)
    assert isinstance(goaway, GoAwayFrame)
    assert (goaway.error_code, goaway.additional_data) == (ErrorCodes.PROTOCOL_ERROR, b"")


def test_a_configuration_refuses_what_is_no_flag() -> None:
    for name in ("client_side", "validate_outbound_headers", "split_outbound_cookies", "normalize_inbound_headers"):
        with pytest.raises(ValueError, match=name):
            H2Configuration(**{name: "yes"})
    for encoding in (True, 7, "no such encoding", "utf-16", "utf-7", "hex"):
        with pytest.raises(ValueError, match="header_encoding"):
            H2Configuration(header_encoding=encoding)
    config = H2Configuration(False, "ascii")
    with pytest.raises(ValueError, match="client_side"):
        config.client_side = None


# Settings


def test_local_settings_may_be_replaced_and_changed_before_they_are_sent() -> None:
    one = H2Connection()
    one.local_settings = Settings(client=True, initial_values={SettingCodes.MAX_CONCURRENT_STREAMS: 7})
    one.local_settings.initial_window_size = 100_000
    one.update_settings({SettingCodes.MAX_FRAME_SIZE: 20_000})
    del one.local_settings[SettingCodes.ENABLE_CONNECT_PROTOCOL]
    one.initiate_connection()
    (frame,) = sent(one)
    assert isinstance(frame, SettingsFrame)
    assert frame.settings == {1: 4096, 2: 1, 3: 7, 4: 100_000, 5: 20_000}
    assert one.local_settings.max_concurrent_streams == 7


def test_an_update_with_an_invalid_setting_changes_nothing_before_the_start_either() -> None:
    one = H2Connection()
    with pytest.raises(exceptions.InvalidSettingsValueError):
        one.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 70_000, SettingCodes.MAX_FRAME_SIZE: 1})
    one.initiate_connection()
    assert sent(one)[0].settings[SettingCodes.INITIAL_WINDOW_SIZE] == 65_535  # type: ignore[attr-defined]


def test_what_is_staged_may_be_put_in_force_before_it_is_sent() -> None:
    one = H2Connection(H2Configuration(client_side=False))
    settings = dict(one.local_settings)
    settings[SettingCodes.ENABLE_CONNECT_PROTOCOL] = 1
    one.local_settings.update(settings)
    changes = one.local_settings.acknowledge()
    change = changes[SettingCodes.ENABLE_CONNECT_PROTOCOL]
    assert (change.original_value, change.new_value, one.local_settings.enable_connect_protocol) == (0, 1, 1)
    assert one.local_settings.acknowledge() == {}
    one.initiate_connection()
    (frame,) = sent(one)
    assert frame.settings[SettingCodes.ENABLE_CONNECT_PROTOCOL] == 1  # type: ignore[attr-defined]
    one.receive_data(h.PREFACE + h.settings() + h.settings_ack())
    assert one.local_settings.acknowledge() == {}


def test_frame_sizes_may_be_assigned() -> None:
    one, other = opened()
    other.max_inbound_frame_size = 20_000
    one.max_outbound_frame_size = 20_000
    one.send_data(1, bytes(20_000))
    (event,) = pump(one, other)
    assert len(event.data) == 20_000  # type: ignore[attr-defined]
    one.max_outbound_frame_size = 8192
    with pytest.raises(FrameTooLargeError):
        one.send_data(1, bytes(8193))
    other.update_settings({SettingCodes.MAX_FRAME_SIZE: 30_000})
    pump(one, other)
    assert one.max_outbound_frame_size == other.max_inbound_frame_size == 30_000


def test_the_decoder_has_the_limit_on_header_lists() -> None:
    one, other = pair()
    assert other.decoder.max_header_list_size == H2Connection.DEFAULT_MAX_HEADER_LIST_SIZE == 65_536
    other.decoder.max_header_list_size = 1000
    one.send_headers(1, [*h.GET, ("x", "y" * 1000)], end_stream=True)
    pump(one, other)
    assert one.receive_data(other.data_to_send()) == []
    other.update_settings({SettingCodes.MAX_HEADER_LIST_SIZE: 5000})
    pump(one, other)
    assert other.decoder.max_header_list_size == 5000


def test_a_subclass_may_have_another_limit_on_header_lists() -> None:
    class Careful(H2Connection):
        DEFAULT_MAX_HEADER_LIST_SIZE = 5000

    careful = Careful()
    assert careful.local_settings.max_header_list_size == careful.decoder.max_header_list_size == 5000


def test_loggers_may_be_given_and_are_there() -> None:
    H2Configuration().logger.debug("%s", 1)
    H2Configuration(logger=None).logger.trace("%s", 1)

    class Logger(DummyLogger):
        def __init__(self, peer: str) -> None:
            super().__init__()
            self.peer = peer

    logger = Logger("peer")
    assert H2Configuration(logger=logger).logger is logger


def test_local_settings_show_an_update_when_it_is_acknowledged() -> None:
    one, other = pair()
    one.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 70_000})
    assert one.local_settings.initial_window_size == 65_535
    pump(one, other)
    assert one.local_settings.initial_window_size == other.remote_settings.initial_window_size == 70_000


def test_rfc9113_6_9_2_a_stream_window_that_grew_keeps_its_growth_when_settings_are_acknowledged() -> None:
    """The increment leaves before the acknowledgement of the preface comes back."""
    one = new()
    one.send_headers(1, h.GET, end_stream=True)
    one.increment_flow_control_window(2**24, 1)
    one.receive_data(h.settings() + h.settings_ack())
    assert one._machine.table.get(1).inbound.available == 65_535 + 2**24  # type: ignore[union-attr]
    one.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 65_536})
    one.receive_data(h.settings_ack())
    assert one._machine.table.get(1).inbound.available == 65_536 + 2**24  # type: ignore[union-attr]


def test_max_header_list_size_is_what_we_say_it_is() -> None:
    fields = [*h.GET, (b"x-long", b"x" * 70_000)]
    _, other = pair()
    other.update_settings({SettingCodes.MAX_HEADER_LIST_SIZE: 100_000})
    block = hpack.Encoder().encode(fields)
    pieces = [block[i * 16_384 : (i + 1) * 16_384] for i in range(-(-len(block) // 16_384))]
    frames = [h.raw(h.CONTINUATION if i else h.HEADERS, 0, 1, piece) for i, piece in enumerate(pieces[:-1])]
    frames.append(h.raw(h.CONTINUATION, h.END_HEADERS, 1, pieces[-1]))
    events = other.receive_data(h.settings_ack() + b"".join(frames))
    assert [type(event) for event in events] == [ev.SettingsAcknowledged, ev.RequestReceived]


# The state


def test_state_machine_state() -> None:
    one, other = H2Connection(), H2Connection(H2Configuration(client_side=False))
    assert one.state_machine.state is ConnectionState.IDLE
    one.initiate_connection()
    other.initiate_connection()
    one.send_headers(1, h.GET, end_stream=True)
    other.receive_data(one.data_to_send())
    assert one.state_machine.state is ConnectionState.CLIENT_OPEN
    assert other.state_machine.state is ConnectionState.SERVER_OPEN
    other.close_connection(last_stream_id=1)
    assert other.state_machine.state is ConnectionState.CLOSED
    one.receive_data(other.data_to_send())
    assert one.state_machine.state is ConnectionState.CLOSED


def test_after_close_connection_nothing_is_sent_and_the_rest_is_received() -> None:
    one, other = opened()
    other.close_connection(ErrorCodes.ENHANCE_YOUR_CALM, b"enough", 1)
    (goaway,) = sent(other)
    assert isinstance(goaway, GoAwayFrame)
    assert (goaway.error_code, goaway.additional_data, goaway.last_stream_id) == (11, b"enough", 1)
    for call in (
        lambda: other.send_headers(1, h.OK),
        lambda: other.ping(b"12345678"),
        lambda: other.update_settings({}),
        lambda: other.increment_flow_control_window(1),
    ):
        with pytest.raises(ProtocolError):
            call()
    one.send_data(1, b"late")
    (event,) = other.receive_data(one.data_to_send())
    assert isinstance(event, ev.DataReceived)


def test_rfc9113_6_8_streams_below_a_goaway_finish() -> None:
    one, other = opened()
    one.receive_data(h.goaway(1))
    one.send_data(1, b"still", end_stream=True)
    with pytest.raises(ProtocolError) as caught:
        one.send_headers(3, h.GET)
    assert caught.value.safe_to_retry
    assert [type(e) for e in other.receive_data(one.data_to_send())] == [ev.DataReceived, ev.StreamEnded]


def test_a_connection_is_initiated_once() -> None:
    with pytest.raises(ProtocolError):
        new().initiate_connection()


# Events before a failure


def test_events_before_a_failure_in_the_same_chunk_are_not_lost() -> None:
    one, other = pair()
    one.send_headers(1, h.POST)
    chunk = one.data_to_send() + h.ping() + h.raw(h.PING, 0, 0, b"short") + h.ping()
    with pytest.raises(ProtocolError) as caught:
        other.receive_data(chunk)
    assert [type(event) for event in caught.value.events] == [ev.RequestReceived, ev.PingReceived]
    assert isinstance(caught.value.events[0].headers, list)  # type: ignore[attr-defined]
    assert isinstance(sent(other)[-1], GoAwayFrame)
    with pytest.raises(ProtocolError) as again:
        other.receive_data(h.ping())
    assert list(again.value.events) == []


# Headers


def test_related_events() -> None:
    one, other = pair()
    one.send_headers(1, h.GET, end_stream=True, priority_weight=7, priority_depends_on=0, priority_exclusive=True)
    request, *others = pump(one, other)
    assert isinstance(request, ev.RequestReceived)
    assert request.stream_ended in others
    assert request.priority_updated == ev.PriorityUpdated(1, 7, 0, True)
    other.send_headers(1, h.status(103))
    other.send_headers(1, h.OK)
    other.send_data(1, b"x")
    other.send_headers(1, h.TRAILERS, end_stream=True)
    events = pump(one, other)
    names = [type(event) for event in events]
    assert names[:2] == [ev.InformationalResponseReceived, ev.ResponseReceived]
    assert names[2:] == [ev.DataReceived, ev.TrailersReceived, ev.StreamEnded]
    assert events[3].stream_ended is events[4]  # type: ignore[attr-defined]


def test_header_encoding() -> None:
    one, other = connected(header_encoding="utf-8")
    one.send_headers(1, [*h.GET, ("x-name", "Zoë"), (b"x-raw", b"\xff")], end_stream=True)
    (request, _) = pump(one, other)
    assert isinstance(request, ev.RequestReceived)
    assert (":method", "GET") in request.headers
    assert ("x-name", "Zoë") in request.headers
    value = dict(request.headers)["x-raw"]  # type: ignore[index]
    assert value.encode("utf-8", "surrogateescape") == b"\xff"  # type: ignore[union-attr]


def test_text_that_was_received_can_be_sent_on_whatever_its_octets() -> None:
    one, other = connected(header_encoding="utf-8")
    one.send_headers(1, [*h.GET, (b"x", b"\xff\xc3\xa4")], end_stream=True)
    request = pump(one, other)[0]
    field = request.headers[-1]  # type: ignore[attr-defined]
    assert field == ("x", "\udcff\u00e4")
    other.send_headers(1, [*h.OK, field], end_stream=True)
    response = pump(one, other)[0]
    assert response.headers[-1] == field  # type: ignore[attr-defined]


def test_never_indexed_headers_stay_so() -> None:
    one, other = pair()
    fields = [*h.GET, hpack.NeverIndexedHeaderTuple("x-secret", "1"), ("authorization", "a"), ("cookie", "short=1")]
    for stream_id in (1, 3):
        one.send_headers(stream_id, fields, end_stream=True)
        (request, _) = pump(one, other)
        secret = [p[0] for p in request.headers if isinstance(p, hpack.NeverIndexedHeaderTuple)]  # type: ignore[attr-defined]
        assert secret == [b"x-secret", b"authorization", b"cookie"]
    one.send_headers(5, [*h.GET, ("x-secret", "1"), ("cookie", "longer=" + "x" * 20)], end_stream=True)
    (request, _) = pump(one, other)
    assert not [p for p in request.headers if isinstance(p, hpack.NeverIndexedHeaderTuple)]  # type: ignore[attr-defined]


def test_normalization_and_what_it_leaves_when_it_is_off() -> None:
    one, other = pair()
    messy = [*h.GET, ("X-Mixed", " spaced "), ("Connection", "close"), ("Transfer-Encoding", "chunked")]
    one.send_headers(1, messy, end_stream=True)
    (request, _) = pump(one, other)
    assert request.headers == [*h.GET, (b"x-mixed", b"spaced")]  # type: ignore[attr-defined]
    one, other = connected(normalize_outbound_headers=False)
    with pytest.raises(ProtocolError):
        one.send_headers(1, messy)
    one, other = connected(
        normalize_outbound_headers=False, validate_outbound_headers=False, validate_inbound_headers=False
    )
    one.send_headers(1, messy, end_stream=True)
    (request, _) = pump(one, other)
    assert (b"X-Mixed", b" spaced ") in request.headers  # type: ignore[attr-defined]


def test_a_host_alone_is_sent_as_authority_too() -> None:
    one, other = pair()
    one.send_headers(1, [*h.GET[:2], h.GET[3], ("host", "example.org")], end_stream=True)
    (request, _) = pump(one, other)
    assert request.headers[:4] == [*h.GET[:2], h.GET[3], h.GET[2]]  # type: ignore[attr-defined]


def test_without_inbound_validation_a_malformed_request_is_received() -> None:
    _, other = pair()
    block = hpack.Encoder().encode([(b":method", b"GET"), (b"Upper", b"1")])
    (reset,) = other.receive_data(h.raw(h.HEADERS, h.END_HEADERS, 1, block))
    assert isinstance(reset, ev.StreamReset)
    other = new(client=False, validate_inbound_headers=False)
    events = other.receive_data(h.PREFACE + h.settings() + h.raw(h.HEADERS, h.END_HEADERS, 1, block))
    assert isinstance(events[1], ev.RequestReceived)


def test_what_a_configuration_says_counts_when_it_is_used() -> None:
    one, other = pair()
    messy = [*h.GET, ("X-Mixed", "1"), ("cookie", "a=1; b=2")]
    one.send_headers(1, messy, end_stream=True)
    (request, _) = pump(one, other)
    assert (b"x-mixed", b"1") in request.headers  # type: ignore[attr-defined]
    one.config.normalize_outbound_headers = one.config.validate_outbound_headers = False
    for stream_id in (3, 5, 7):
        one.send_headers(stream_id, messy, end_stream=True)
        reset, *_ = pump(one, other)
        assert isinstance(reset, ev.StreamReset)
    other.config.validate_inbound_headers = False
    one.send_headers(9, messy, end_stream=True)  # the same octets again: what was found of them does not count
    (request, _) = pump(one, other)
    assert (b"X-Mixed", b"1") in request.headers  # type: ignore[attr-defined]
    one.config = H2Configuration(split_outbound_cookies=True)
    other.config = H2Configuration(client_side=False, header_encoding="utf-8", normalize_inbound_headers=False)
    one.send_headers(11, messy, end_stream=True)
    (request, _) = pump(one, other)
    assert request.headers[4:] == [("x-mixed", "1"), ("cookie", "a=1"), ("cookie", "b=2")]  # type: ignore[attr-defined]


def test_cookies_are_split_and_joined() -> None:
    fields = [*h.GET, ("cookie", "one=1; two=2"), ("x", "y")]
    one, other = connected(split_outbound_cookies=True)
    one.send_headers(1, fields, end_stream=True)
    (request, _) = pump(one, other)
    assert [p for p in request.headers if p[0] == b"cookie"] == [(b"cookie", b"one=1; two=2")]  # type: ignore[attr-defined]
    one, other = connected(split_outbound_cookies=True, normalize_inbound_headers=False)
    one.send_headers(1, fields, end_stream=True)
    (request, _) = pump(one, other)
    cookies = [p for p in request.headers if p[0] == b"cookie"]  # type: ignore[attr-defined]
    assert cookies == [(b"cookie", b"one=1"), (b"cookie", b"two=2")]


def test_headers_may_be_a_mapping_or_a_generator_and_hold_lists() -> None:
    one, other = pair()
    one.send_headers(1, dict(h.GET), end_stream=True)
    one.send_headers(3, (pair_ for pair_ in h.GET), end_stream=True)
    one.send_headers(5, [list(pair_) for pair_ in h.GET], end_stream=True)  # type: ignore[misc]
    requests = [event for event in pump(one, other) if isinstance(event, ev.RequestReceived)]
    assert [request.headers for request in requests] == [h.GET] * 3
    with pytest.raises(TypeError):
        one.send_headers(7, [*h.GET, ("content-length", 5)])  # type: ignore[list-item]


def test_what_is_remembered_of_header_lists_is_bounded() -> None:
    one, other = pair()
    for number in range(200):
        stream_id = one.get_next_available_stream_id()
        one.send_headers(stream_id, [*h.GET, ("x-number", str(number))], end_stream=True)
        (request, _) = pump(one, other)
        assert request.headers[-1] == (b"x-number", b"%d" % number)  # type: ignore[attr-defined]
        other.send_headers(stream_id, h.status(200), end_stream=True)
        pump(one, other)
    assert len(one._outbound._remembered) <= 64


# Bodies and credit


def test_flow_controlled_length_counts_padding() -> None:
    one, other = opened()
    one.send_data(1, b"12345", pad_length=10)
    (event,) = pump(one, other)
    assert isinstance(event, ev.DataReceived)
    assert (event.data, event.flow_controlled_length) == (b"12345", 16)
    assert one.local_flow_control_window(1) == other.remote_flow_control_window(1) == 65_535 - 16


def test_rfc9113_6_9_padding_is_credit_once_and_not_that_of_other_streams() -> None:
    """A stream that was reset is acknowledged by `flow_controlled_length` too, and that is all it gives back."""
    one, other = opened()
    one.send_headers(3, h.POST)
    one.send_data(1, b"12345", pad_length=255)
    one.send_data(3, bytes(1000))
    one.reset_stream(1)
    events = pump(one, other)
    other.acknowledge_received_data(next(e for e in events if isinstance(e, ev.DataReceived)).flow_controlled_length, 1)
    assert other._machine.inbound.held == 1000


def test_headers_on_a_half_that_has_ended_are_a_closed_stream_whatever_they_are() -> None:
    _, other = opened()
    other.send_headers(1, h.status(204), end_stream=True)
    for end_stream in (False, True):
        with pytest.raises(StreamClosedError):
            other.send_headers(1, h.status(200), end_stream=end_stream)
    with pytest.raises(StreamClosedError):
        other.send_headers(1, h.TRAILERS, end_stream=True)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bodies_of_every_kind_of_bytes_are_taken_as_they_are_now(kind: type) -> None:
    one, other = opened()
    source = bytearray(b"body")
    one.send_data(1, source if kind is bytearray else kind(source), end_stream=True)
    source[:] = b"gone"
    (event, _) = pump(one, other)
    assert event.data == b"body"  # type: ignore[attr-defined]


@pytest.mark.parametrize("pad_length", [-1, 256, True, "1"])
def test_a_wrong_pad_length_is_an_error(pad_length: object) -> None:
    one, _ = opened()
    with pytest.raises((ValueError, TypeError)):
        one.send_data(1, b"", pad_length=pad_length)


def test_a_body_that_does_not_fit_is_refused_and_changes_nothing() -> None:
    one, _ = opened()
    one.data_to_send()
    for _ in range(3):
        one.send_data(1, bytes(16_384))
    one.data_to_send()
    before = one.local_flow_control_window(1)
    with pytest.raises(FlowControlError):
        one.send_data(1, bytes(16_384))
    assert one.local_flow_control_window(1) == before
    assert one.data_to_send() == b""


def test_acknowledged_data_is_given_back_to_stream_and_connection() -> None:
    one, other = opened()
    for _ in range(3):
        one.send_data(1, bytes(16_383), pad_length=0)
    for event in pump(one, other):
        assert isinstance(event, ev.DataReceived)
        other.acknowledge_received_data(event.flow_controlled_length, 1)
    pump(one, other)
    assert one.local_flow_control_window(1) == one.outbound_flow_control_window == 65_535


def test_nothing_is_given_back_twice() -> None:
    """Acknowledged more than was received, or by hand and by acknowledgement: the peer's window never outgrows ours."""
    one, other = opened()
    for number in range(100):
        one.send_data(1, bytes(16_384))
        (event,) = pump(one, other)
        assert isinstance(event, ev.DataReceived)
        if number % 2:
            other.increment_flow_control_window(16_384)
            other.increment_flow_control_window(16_384, 1)
        other.acknowledge_received_data(20_000, 1)
        pump(one, other)
        assert one.local_flow_control_window(1) <= 65_535
        assert one.outbound_flow_control_window <= 65_535


def test_credit_by_hand_alone_goes_on_for_ever() -> None:
    """Programs that send back what they received, and no more, do not raise the window."""
    one, other = opened()
    for _ in range(200):
        one.send_data(1, bytes(16_000))
        pump(one, other)
        other.increment_flow_control_window(16_000)
        other.increment_flow_control_window(16_000, 1)
        pump(one, other)
    assert one.local_flow_control_window(1) == other.remote_flow_control_window(1) == 65_535
    other.increment_flow_control_window(1000, 1)
    assert other._machine.table.get(1).inbound.available == 66_535  # type: ignore[union-attr]


def test_acknowledging_for_a_stream_that_is_gone() -> None:
    one, other = opened()
    one.send_data(1, bytes(16_384))
    one.send_data(1, bytes(16_384))
    pump(one, other)
    other.reset_stream(1)
    other.acknowledge_received_data(32_768, 1)
    pump(one, other)
    assert one.outbound_flow_control_window == 65_535
    with pytest.raises(NoSuchStreamError):
        other.acknowledge_received_data(0, 3)
    for size, stream_id in ((-1, 1), (1, 0), (1, -1)):
        with pytest.raises(ValueError, match="must"):
            other.acknowledge_received_data(size, stream_id)


def test_a_body_has_to_have_its_content_length() -> None:
    one, _ = opened([*h.POST, h.length(5)])
    with pytest.raises(InvalidBodyLengthError) as caught:
        one.send_data(1, b"123456")
    assert (caught.value.expected_length, caught.value.actual_length) == (5, 6)
    with pytest.raises(InvalidBodyLengthError):
        one.end_stream(1)


@pytest.mark.parametrize("status", [b"200", b"204", b"103"])
@pytest.mark.parametrize("method", [b"HEAD", b"POST"])
def test_without_outbound_validation_any_body_is_sent(method: bytes, status: bytes) -> None:
    one, other = connected(validate_outbound_headers=False)
    one.send_headers(1, [(b":method", method), *h.POST[1:], h.length(5)])
    other.receive_data(one.data_to_send())
    if status == b"103":
        other.send_headers(1, [(b":status", status)])
        status = b"200"
    other.send_headers(1, [(b":status", status), h.length(5)])
    for sender in (one, other):
        sender.data_to_send()
        sender.send_data(1, b"123456")
        sender.end_stream(1)
        assert len(sent(sender)) == 2
    one.send_headers(3, [*h.POST, h.length(5)], end_stream=True)


# Streams


def test_too_many_streams_is_an_error_on_our_side() -> None:
    one, other = pair()
    other.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 1})
    pump(one, other)
    one.send_headers(1, h.GET)
    with pytest.raises(TooManyStreamsError):
        one.send_headers(3, h.GET)
    assert (one.open_outbound_streams, one.open_inbound_streams) == (1, 0)
    one.reset_stream(1)
    one.send_headers(3, h.GET)


def test_push() -> None:
    one, other = opened()
    other.push_stream(1, 2, h.GET)
    other.send_headers(1, h.OK, end_stream=True)
    other.send_headers(2, h.OK)
    other.send_data(2, b"pushed", end_stream=True)
    names = [type(event) for event in pump(one, other)]
    assert names[0] is ev.PushedStreamReceived
    assert names.count(ev.DataReceived) == 1
    with pytest.raises(ProtocolError):
        one.push_stream(1, 3, h.GET)
    one.update_settings({SettingCodes.ENABLE_PUSH: 0})
    pump(one, other)
    one.send_headers(3, h.GET)
    pump(one, other)
    with pytest.raises(ProtocolError):
        other.push_stream(3, 4, h.GET)


def test_rfc9113_6_6_no_promise_on_a_pushed_stream() -> None:
    _, other = opened()
    other.push_stream(1, 2, h.GET)
    other.send_headers(2, h.OK)
    with pytest.raises(ProtocolError):
        other.push_stream(2, 4, h.GET)


def test_extended_connect() -> None:
    one, other = pair()
    other.update_settings({SettingCodes.ENABLE_CONNECT_PROTOCOL: 1})
    pump(one, other)
    assert one.remote_settings.enable_connect_protocol == 1
    one.send_headers(1, h.WEBSOCKET)
    (request,) = pump(one, other)
    assert isinstance(request, ev.RequestReceived)
    assert (b":protocol", b"websocket") in request.headers
    other.send_headers(1, h.OK)
    other.send_data(1, b"frames")
    one.send_data(1, b"frames")
    assert [type(e) for e in pump(one, other)].count(ev.DataReceived) == 2


def test_streams_are_to_be_looked_at() -> None:
    one, other = opened()
    stream = one.streams[1]
    assert (stream.stream_id, stream.open, stream.closed) == (1, True, False)
    assert stream.state_machine.state is StreamState.OPEN
    assert (stream.state_machine.headers_sent, stream.state_machine.headers_received) == (True, False)
    one.send_data(1, bytes(10))
    assert (stream.outbound_flow_control_window, stream.inbound_flow_control_window) == (65_525, 65_535)
    one.end_stream(1)
    assert stream.state_machine.state is StreamState.HALF_CLOSED_LOCAL
    assert list(one.streams) == [1]
    assert one.streams.get(3) is None
    with pytest.raises(KeyError):
        one.streams[3]
    assert len(other.streams) == 1


def test_a_stream_that_closed_in_the_same_bytes_can_still_be_asked_for() -> None:
    """Its first events are worked on when its last has come: a server that is about to answer asks for the window."""
    one, other = pair()
    for stream_id in (1, 3):
        one.send_headers(stream_id, h.GET, end_stream=True)
        one.reset_stream(stream_id)
    events = other.receive_data(one.data_to_send())
    assert [type(event) for event in events] == [ev.RequestReceived, ev.StreamEnded, ev.StreamReset] * 2
    for stream_id in (1, 3):
        assert other.local_flow_control_window(stream_id) == other.remote_flow_control_window(stream_id) == 65_535
        assert other.streams[stream_id].closed
        with pytest.raises(StreamClosedError):
            other.send_headers(stream_id, h.OK)
    assert len(other.streams) == 2
    other.receive_data(b"")
    assert len(other.streams) == 0
    with pytest.raises(StreamClosedError):
        other.local_flow_control_window(1)


def test_streams_that_closed_are_kept_no_longer_than_they_are_needed() -> None:
    one, _ = pair()
    for stream_id in range(1, 201, 2):
        one.send_headers(stream_id, h.GET)
        one.reset_stream(stream_id)
        assert list(one.streams) == [stream_id]
    assert one.open_outbound_streams == 0
    assert len(one.streams) == 0


def test_streams_that_closed_are_bounded_when_a_server_pushes_and_never_receives() -> None:
    _, other = opened()
    for promised in range(2, 4002, 2):
        other.push_stream(1, promised, h.GET)
        other.reset_stream(promised)
        assert other.local_flow_control_window(promised) == 65_535
    assert len(other.streams) <= H2Connection.MAX_CLOSED_STREAMS + 1


class Buffered(H2Connection):
    """A connection as proxies extend it: windows as large as can be, and bodies that wait in it for credit."""

    def __init__(self, config: H2Configuration) -> None:
        super().__init__(config)
        self.local_settings.initial_window_size = 2**31 - 1
        self.local_settings.max_frame_size = 2**17
        self.max_inbound_frame_size = 2**17
        self.local_settings.acknowledge()
        self.waiting: dict[int, bytes] = {}

    def initiate_connection(self) -> None:
        super().initiate_connection()
        self.increment_flow_control_window(2**31 - 1 - self.inbound_flow_control_window)

    def send_body(self, stream_id: int, data: bytes) -> None:
        self.waiting[stream_id] = self.waiting.get(stream_id, b"") + data
        while window := min(self.local_flow_control_window(stream_id), self.max_outbound_frame_size):
            rest = self.waiting.get(stream_id, b"")
            if not rest:
                break
            super().send_data(stream_id, data=rest[:window], end_stream=False)
            self.waiting[stream_id] = rest[window:]

    def receive_data(self, data: bytes | bytearray | memoryview) -> list[ev.Event]:
        events = super().receive_data(data)
        for event in events:
            if isinstance(event, (ev.WindowUpdated, ev.RemoteSettingsChanged)):
                for stream_id in list(self.waiting):
                    if self.streams[stream_id].state_machine.state in (
                        StreamState.OPEN,
                        StreamState.HALF_CLOSED_REMOTE,
                    ):
                        self.send_body(stream_id, b"")
        return events


def test_a_subclass_that_has_buffers_and_the_largest_windows() -> None:
    one, other = Buffered(H2Configuration()), Buffered(H2Configuration(client_side=False))
    one.initiate_connection()
    other.initiate_connection()
    one.send_headers(1, h.POST)
    one.send_body(1, bytes(1_000_000))
    assert len(one.waiting[1]) == 1_000_000 - 65_535
    received = sum(len(e.data) for e in pump(one, other) if isinstance(e, ev.DataReceived))
    assert received == 1_000_000
    assert other.inbound_flow_control_window == 2**31 - 1 - 1_000_000
    assert one.max_outbound_frame_size == 2**17


# Upgrade, extensions


@pytest.mark.parametrize("text", [False, True])
def test_upgrade_from_http_1_1(text: bool) -> None:
    one, other = H2Connection(), H2Connection(H2Configuration(client_side=False))
    one.local_settings.initial_window_size = 70_000
    header = one.initiate_upgrade_connection()
    assert isinstance(header, bytes)
    assert other.initiate_upgrade_connection(header.decode().rstrip("=") if text else header) is None
    assert other.remote_settings.initial_window_size == 70_000
    pump(one, other)
    assert (one.open_outbound_streams, other.open_inbound_streams) == (1, 1)
    other.push_stream(1, 2, h.GET)
    other.send_headers(1, h.OK)
    other.send_data(1, b"upgraded", end_stream=True)
    names = [type(event) for event in pump(one, other)]
    assert names == [ev.PushedStreamReceived, ev.ResponseReceived, ev.DataReceived, ev.StreamEnded]
    assert one.get_next_available_stream_id() == 3


@pytest.mark.parametrize("header", [b"!", b"AAMAAABkAA", b"AAQAAP\xff", "AAMAAAB\udcff"])
def test_an_upgrade_with_broken_settings_is_a_protocol_error(header: str | bytes) -> None:
    with pytest.raises(ProtocolError):
        H2Connection(H2Configuration(client_side=False)).initiate_upgrade_connection(header)


def test_alternative_services() -> None:
    one, other = opened()
    other.advertise_alternative_service(b'h2=":1"', origin=b"https://example.org")
    other.advertise_alternative_service(b'h2=":2"', stream_id=1)
    assert pump(one, other) == [
        ev.AlternativeServiceAvailable(b"https://example.org", b'h2=":1"'),
        ev.AlternativeServiceAvailable(b"example.org", b'h2=":2"'),
    ]
    other.send_headers(1, h.OK)
    with pytest.raises(ProtocolError):
        other.advertise_alternative_service(b"x", stream_id=1)
    for arguments in ({}, {"origin": b"a", "stream_id": 1}):
        with pytest.raises(ValueError, match="either"):
            other.advertise_alternative_service(b"x", **arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="bytes"):
        other.advertise_alternative_service("x", origin=b"a")  # type: ignore[arg-type]
    assert not [frame for frame in sent(other) if isinstance(frame, AltSvcFrame)]


def test_pings() -> None:
    one, other = pair()
    one.ping(b"12345678")
    assert pump(one, other) == [ev.PingReceived(b"12345678"), ev.PingAckReceived(b"12345678")]
    for wrong in (b"1234567", "12345678", bytearray(8)):
        with pytest.raises(ValueError, match="8 bytes"):
            one.ping(wrong)  # type: ignore[arg-type]


def test_our_window_may_be_0_before_and_after_the_start() -> None:
    one, other = H2Connection(), H2Connection(H2Configuration(client_side=False))
    one.local_settings.initial_window_size = 0
    other.local_settings.initial_window_size = 0
    one.initiate_connection()
    other.initiate_connection()
    pump(one, other)
    one.send_headers(1, h.POST)
    pump(one, other)
    assert one.local_flow_control_window(1) == other.remote_flow_control_window(1) == 0
    with pytest.raises(FlowControlError):
        one.send_data(1, b"x")
    other.increment_flow_control_window(5, 1)
    pump(one, other)
    one.send_data(1, b"12345")
    events = pump(one, other)
    assert [event.data for event in events if isinstance(event, ev.DataReceived)] == [b"12345"]
    other.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 10})
    pump(one, other)
    other.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
    pump(one, other)
    one.send_headers(3, h.POST)
    assert one.local_flow_control_window(3) == 0


def test_interim_responses_are_the_programs_to_count() -> None:
    one, other = opened()
    fields = h.status(103, (b"link", b"x" * 1_000))
    for _ in range(300):
        other.send_headers(1, fields)
        assert [type(event) for event in pump(one, other)] == [ev.InformationalResponseReceived]


def test_an_event_of_changed_settings_can_be_made_from_settings() -> None:
    old = Settings(True, {SettingCodes.INITIAL_WINDOW_SIZE: 100})
    new = {4: 200, SettingCodes.MAX_FRAME_SIZE: 20_000, 0xABCD: 7}
    for before in (old, dict(old)):
        ours = ev.RemoteSettingsChanged.from_settings(before, new)
        theirs = h2.events.RemoteSettingsChanged.from_settings(before, new)
        assert [(code, c.setting, c.original_value, c.new_value) for code, c in ours.changed_settings.items()] == [
            (code, c.setting, c.original_value, c.new_value) for code, c in theirs.changed_settings.items()
        ]
        assert type(next(iter(ours.changed_settings))) is SettingCodes


@pytest.mark.parametrize("trace", [False, True])
def test_an_output_logger_prints(trace: bool, capsys: pytest.CaptureFixture[str]) -> None:
    printed = []
    for kind in (h2.config.OutputLogger, sansio.OutputLogger):
        file = io.StringIO()
        for logger in (kind(file, trace), kind(trace_level=trace)):
            logger.debug("%s and %d", "one", 2)
            logger.trace("three")
        printed.append((file.getvalue(), capsys.readouterr().err))
    assert printed[0] == printed[1]
    assert isinstance(H2Configuration(logger=sansio.OutputLogger()).logger, sansio.OutputLogger)


def test_a_connection_is_made_as_hyper_h2_2_6_spelled_it() -> None:
    def made(**arguments: object) -> tuple[bool, object]:
        config = H2Connection(**arguments).config  # type: ignore[arg-type]
        return config.client_side, config.header_encoding

    assert made() == (True, None)
    assert made(client_side=False) == (False, "utf-8")
    assert made(client_side=True) == (True, "utf-8")
    assert made(header_encoding="latin-1") == (True, "latin-1")
    for none in (False, None, ""):
        assert made(client_side=False, header_encoding=none) == (False, None)
    assert made(config=H2Configuration(client_side=False), client_side=True, header_encoding="utf-8") == (False, None)
    for wrong in ({"client_side": "yes"}, {"header_encoding": True}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            made(**wrong)
    one, other = H2Connection(client_side=True), H2Connection(client_side=False)
    one.initiate_connection()
    other.initiate_connection()
    one.send_headers(1, h.GET)
    (event,) = [event for event in pump(one, other) if isinstance(event, ev.RequestReceived)]
    assert event.headers == [(name.decode(), value.decode()) for name, value in h.GET]


def test_an_origin_frame_keeps_its_flag_byte() -> None:
    one, _ = pair()
    (event,) = one.receive_data(h.origin(b"https://a", flags=0xA0))
    assert isinstance(event, ev.UnknownFrameReceived)
    assert event.flags == event.frame.flag_byte == 0xA0
    assert event.frame.serialize() == h.origin(b"https://a", flags=0xA0)


def test_unknown_frames_are_events_with_a_frame() -> None:
    _, other = pair()
    (event,) = other.receive_data(h.raw(0x55, 3, 1, b"what"))
    assert isinstance(event, ev.UnknownFrameReceived)
    assert isinstance(event.frame, ExtensionFrame)
    assert (event.frame.type, event.frame.flag_byte, event.frame.stream_id, event.frame.body) == (0x55, 3, 1, b"what")


def test_rfc8336_origin_is_an_unknown_frame_for_programs_that_do_not_know_it() -> None:
    one, _ = pair()
    (event,) = one.receive_data(h.origin(b"https://a", b"https://b"))
    assert event == ev.OriginReceived((b"https://a", b"https://b"))
    assert isinstance(event, ev.UnknownFrameReceived)
    assert event.frame.serialize() == h.origin(b"https://a", b"https://b")
    assert repr(event) == "OriginReceived(origins=(b'https://a', b'https://b'))"


def test_a_server_does_not_prioritize() -> None:
    _, other = opened()
    with pytest.raises(RFC1122Error):
        other.prioritize(1, weight=3)
    with pytest.raises(RFC1122Error):
        other.send_headers(1, h.OK, priority_weight=3)
    assert not issubclass(RFC1122Error, ProtocolError)


def test_priorities_out_of_range_are_refused() -> None:
    one, _ = opened()
    for weight, depends_on in ((0, 0), (257, 0), (16, 1)):
        with pytest.raises(ProtocolError):
            one.prioritize(1, weight, depends_on)
    with pytest.raises(ProtocolError):
        one.send_headers(3, h.GET, priority_depends_on=3)


def test_rfc9218_priority_updates_have_the_attributes_of_rfc7540() -> None:
    _, other = pair()
    (event,) = other.receive_data(h.priority_update(1, b"u=1"))
    assert event == ev.PriorityUpdated(1, 16, 0, False, b"u=1")


# Output


def test_data_to_send_in_pieces_and_not_at_all() -> None:
    one, other = opened()
    one.send_data(1, bytes(100), end_stream=True)
    assert len(one.data_to_send(10)) == 10
    assert one.data_to_send(0) == b""
    rest = one.data_to_send()
    assert len(rest) == 99
    assert one.data_to_send() == b""
    other.ping(b"12345678")
    other.clear_outbound_data_buffer()
    assert other.data_to_send() == b""


def test_a_refused_call_sends_nothing_and_changes_nothing() -> None:
    one, other = opened()
    for call in (
        lambda: one.send_headers(1, h.TRAILERS),
        lambda: one.send_headers(3, h.GET[:2]),
        lambda: one.send_data(5, b"x"),
        lambda: other.send_data(1, b"early"),
        lambda: other.send_headers(1, h.status(101)),
        lambda: other.send_headers(1, h.status(103), end_stream=True),
    ):
        with pytest.raises(ProtocolError):
            call()
    assert one.data_to_send() == other.data_to_send() == b""
    one.send_headers(1, h.TRAILERS, end_stream=True)
    other.send_headers(1, h.OK, end_stream=True)
    assert isinstance(sent(one)[0], HeadersFrame)


def test_what_has_no_room_in_a_frame_is_refused_and_changes_nothing() -> None:
    one, other = opened()
    for call in (
        lambda: one.reset_stream(1, 2**32),
        lambda: one.reset_stream(1, -1),
        lambda: one.close_connection(2**32),
        lambda: one.close_connection(0, None, 2**31),
        lambda: one.close_connection(0, None, -1),
        lambda: one.prioritize(0, 16),
        lambda: one.prioritize(2**31, 16),
        lambda: one.prioritize(1, 16, 2**31),
        lambda: one.send_headers(3, h.GET, priority_depends_on=-1),
        lambda: one.update_settings({2**16: 1}),
    ):
        with pytest.raises((ValueError, ProtocolError)):
            call()
    for call in (
        lambda: one.close_connection(0, "text"),  # type: ignore[arg-type]
        lambda: one.update_settings({1: 1.5}),  # type: ignore[dict-item]
    ):
        with pytest.raises(TypeError):
            call()
    assert one.data_to_send() == b""
    assert (one.open_outbound_streams, one.get_next_available_stream_id()) == (1, 3)
    assert one._machine.goaway_last_stream_id is None
    assert one._machine.local_settings.awaiting_acknowledgement == 0
    one.send_headers(3, h.GET, end_stream=True)
    one.reset_stream(1, 2**32 - 1)
    assert [type(event) for event in pump(one, other)] == [ev.RequestReceived, ev.StreamEnded, ev.StreamReset]


def test_the_body_of_a_closed_stream() -> None:
    one, other = opened()
    other.reset_stream(1, ErrorCodes.CANCEL)
    with pytest.raises(StreamClosedError):
        other.reset_stream(1)
    one.send_data(1, b"crossing")
    frames = one.data_to_send()
    assert other.receive_data(frames) == []
    (reset,) = one.receive_data(other.data_to_send())
    assert reset == ev.StreamReset(1, ErrorCodes.CANCEL, True)


def test_connections_in_plain_threads() -> None:
    """Ten threads with a pair of connections each: nothing is shared."""
    counts: list[int] = []

    def work() -> None:
        one, other = pair()
        for stream_id in range(1, 200, 2):
            one.send_headers(stream_id, h.GET, end_stream=True)
            for event in other.receive_data(one.data_to_send()):
                if isinstance(event, ev.RequestReceived):
                    other.send_headers(event.stream_id, h.OK, end_stream=True)
            counts.append(len(one.receive_data(other.data_to_send())))

    threads = [threading.Thread(target=work) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [2] * 1000


def test_rfc9113_3_4_a_peer_that_says_nothing_of_its_settings_is_heard() -> None:
    """As with hyper-h2: programs' own tests script such peers. On actors it ends the connection."""
    server = H2Connection(H2Configuration(client_side=False))
    server.initiate_connection()
    request = h.raw(h.HEADERS, h.END_HEADERS | h.END_STREAM, 1, hpack.Encoder().encode(h.GET))
    received = server.receive_data(h.PREFACE + request)
    assert [type(event) for event in received] == [ev.RequestReceived, ev.StreamEnded]
    client = H2Connection()
    client.initiate_connection()
    assert [type(event) for event in client.receive_data(h.ping(b"12345678"))] == [ev.PingReceived]


# What a peer may cost


def test_rfc9113_10_5_budgets_hold_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    _, other = pair()
    other.receive_data(h.ping() * 10_000)
    now += 60
    other.receive_data(h.ping() * 10_000)
    with pytest.raises(exceptions.DenialOfServiceError, match=r"Config\.max_control_frames"):
        other.receive_data(h.ping() * 10_000)
    assert isinstance(sent(other)[-1], GoAwayFrame)


def test_rfc9113_10_5_1_no_header_section_is_held_in_memory() -> None:
    """How long an event is kept is its program's to say."""
    one, other = connected()
    for stream_id in range(1, 101, 2):
        one.send_headers(stream_id, [*h.GET, (b"x", b"y" * 30_000)], end_stream=True)
        pump(one, other)
    assert other.open_inbound_streams == 50


def test_rfc9113_6_9_the_peers_windows_count_credit_that_goes_with_the_next_octets() -> None:
    one, other = opened()
    one.send_data(1, bytes(16_384))
    one.send_data(1, bytes(16_384))
    other.receive_data(one.data_to_send())
    windows = [(other.inbound_flow_control_window, other.remote_flow_control_window(1))]
    other.acknowledge_received_data(2 * 16_384, 1)
    windows.append((other.inbound_flow_control_window, other.remote_flow_control_window(1)))
    other.data_to_send()
    windows.append((other.inbound_flow_control_window, other.remote_flow_control_window(1)))
    assert windows == [(32_767, 32_767), (65_535, 65_535), (65_535, 65_535)]
