"""`Config`: a value that makes no sense is refused, by the name of its knob."""

from __future__ import annotations

import math

import attrs
import pytest

from trio_h2.config import Config

FLAGS = ["enable_push", "enable_connect_protocol"]
FLOATS = [field.name for field in attrs.fields(Config) if field.type in ("float", float)]
RATES = [name for name in FLOATS if name.endswith("_rate")]
SECONDS = [name for name in FLOATS if name not in RATES]
WHOLE = [field.name for field in attrs.fields(Config) if field.type in ("int", int)]

# Knob, least and most (RFC 9113 6.5.2 and 6.9.1 where they are settings and windows).
LIMITS = [
    ("max_concurrent_streams", 0, 2**32 - 1),
    ("initial_window_size", 1, 2**31 - 1),
    ("connection_window_size", 65_535, 2**31 - 1),
    ("max_window_size", 0, 2**31 - 1),
    ("max_frame_size", 16_384, 2**24 - 1),
    ("max_header_list_size", 1, 2**32 - 1),
    ("header_table_size", 0, 2**32 - 1),
    ("max_unread", 0, None),
    ("max_header_fields", 1, None),
    ("max_header_block_size", 1, None),
    ("max_continuations", 0, None),
    ("max_remembered_blocks", 0, None),
    ("max_interim_responses", 0, None),
    ("max_interim_octets", 0, None),
    ("max_stream_errors", 0, None),
    ("max_resets", 0, None),
    ("max_control_frames", 1, None),
    ("max_held_headers", 1, None),
    ("max_closed_streams", 0, None),
    ("max_queued_replies", 1, None),
    ("max_queued_events", 1, None),
    ("max_event_octets", 0, None),
    ("write_buffer_size", 1, None),
    ("max_outbound_frame_size", 1, 2**24 - 1),
]


def test_every_knob_is_tested_here() -> None:
    assert {name for name, _, _ in LIMITS} == set(WHOLE)
    assert len(attrs.fields(Config)) == len(WHOLE) + len(FLOATS) + len(FLAGS)


@pytest.mark.parametrize("field", attrs.fields(Config), ids=lambda field: field.name)
def test_every_knob_is_documented(field: attrs.Attribute[object]) -> None:
    assert f"{field.name}:" in (Config.__doc__ or "")


@pytest.mark.parametrize(("name", "least", "most"), LIMITS)
def test_the_ends_of_what_is_allowed(name: str, least: int, most: int | None) -> None:
    assert getattr(Config(**{name: least}), name) == least
    with pytest.raises(ValueError, match=rf"Config\.{name} must be from {least} to .*, not {least - 1}"):
        Config(**{name: least - 1})
    if most is not None:
        assert getattr(Config(**{name: most}), name) == most
        with pytest.raises(ValueError, match=rf"Config\.{name} must be from {least} to {most}, not {most + 1}"):
            Config(**{name: most + 1})


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("value", [True, 1.0, "1", None])
def test_a_whole_number_has_to_be_an_int(name: str, value: object) -> None:
    with pytest.raises(TypeError, match=rf"Config\.{name} must be an int, not {type(value).__name__}"):
        Config(**{name: value})


@pytest.mark.parametrize("name", SECONDS)
def test_a_timeout_is_a_positive_number_of_seconds(name: str) -> None:
    for good in (1, 0.001, math.inf):
        assert getattr(Config(**{name: good}), name) == good
    for bad in (0, -1, -math.inf, math.nan):
        with pytest.raises(ValueError, match=rf"Config\.{name} must be more than 0 seconds"):
            Config(**{name: bad})
    for wrong in (True, "1", None):
        with pytest.raises(TypeError, match=rf"Config\.{name} must be a number of seconds"):
            Config(**{name: wrong})


@pytest.mark.parametrize("name", RATES)
def test_a_rate_is_a_number_of_octets_a_second(name: str) -> None:
    for good in (0, 1, 0.5, 1e9):
        assert getattr(Config(**{name: good}), name) == good
    for bad in (-1, math.inf, -math.inf, math.nan):
        with pytest.raises(ValueError, match=rf"Config\.{name} must be 0 or more octets a second"):
            Config(**{name: bad})
    for wrong in (True, "1", None):
        with pytest.raises(TypeError, match=rf"Config\.{name} must be a number of octets a second"):
            Config(**{name: wrong})


@pytest.mark.parametrize("name", FLAGS)
def test_a_flag_is_a_bool(name: str) -> None:
    for good in (True, False):
        assert getattr(Config(**{name: good}), name) is good
    for wrong in (0, 1, "yes", None):
        with pytest.raises(TypeError, match=rf"Config\.{name} must be True or False"):
            Config(**{name: wrong})


def test_a_config_is_frozen_and_can_be_evolved() -> None:
    config = Config()
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        config.max_concurrent_streams = 5  # type: ignore[misc]
    changed = attrs.evolve(config, max_concurrent_streams=5)
    assert (config.max_concurrent_streams, changed.max_concurrent_streams) == (100, 5)
    assert config == Config()
    with pytest.raises(ValueError, match=r"Config\.max_frame_size"):
        attrs.evolve(config, max_frame_size=1)


def test_knobs_are_given_by_name() -> None:
    with pytest.raises(TypeError):
        Config(100)  # type: ignore[misc]


def test_defaults_that_the_documentation_promises() -> None:
    config = Config()
    assert not config.enable_push
    assert config.max_concurrent_streams == 100
    assert config.keepalive_interval == math.inf
    assert config.idle_timeout == config.stall_timeout == 300
    assert config.min_body_rate == 0
    # Every stream of the default limit can be full without stalling another.
    assert config.max_concurrent_streams * config.initial_window_size <= config.max_unread
