"""The protocol core as a purely in-memory engine, by hyper-h2's names: bytes in, events out, no I/O, no trio."""

from ..codes import SettingCodes
from ..events import ChangedSetting
from ..protocol.settings import Settings
from ..protocol.stream_machine import StreamState
from .configuration import DummyLogger, H2Configuration, OutputLogger
from .h2_connection import H2Connection
from .views import ConnectionState, H2Stream

__all__ = [
    "ChangedSetting",
    "ConnectionState",
    "DummyLogger",
    "H2Configuration",
    "H2Connection",
    "H2Stream",
    "OutputLogger",
    "SettingCodes",
    "Settings",
    "StreamState",
]
