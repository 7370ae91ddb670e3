"""The harness itself: what it counts, how it reads figures, what it refuses."""

from __future__ import annotations

import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import hpack
import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage

from tests.benchmarks import bench, echoes, load, loads, report, runner, wire
from tests.benchmarks.example import FIGURES, never, results, workload
from tests.benchmarks.memory import batches, serve
from tests.benchmarks.model import (
    Load,
    RefusedError,
    Results,
    Running,
    Side,
    Target,
    ahead_of,
    before,
    flat,
    on_python,
    times,
)
from tests.benchmarks.workloads import find_workloads
from tests.benchmarks.workloads.link import check_size, third_second

# Statistics ---------------------------------------------------------------------------------------


def test_medians_and_spread() -> None:
    taken = results(FIGURES)
    assert taken.median("one", "trio_h2") == 120
    assert taken.spread("one", "trio_h2") == (100, 200)


def test_ratio_is_of_medians_and_its_spread_of_rounds() -> None:
    taken = results(FIGURES)
    assert taken.ratio("one", "trio_h2") == 6
    assert taken.ratio_spread("one", "trio_h2") == (4, 10)
    assert taken.ratio("one", "peer", against="trio_h2") == 20 / 120


def test_sides_and_loads_that_were_measured() -> None:
    taken = results(FIGURES)
    assert taken.sides("one") == ["trio_h2", "peer"]
    assert taken.sides("many") == ["trio_h2"]
    assert [item.name for item in taken.loads()] == ["one", "many"]
    assert [item.name for item in results({("one", "peer"): [1.0]}).loads()] == ["one"]


def test_growth_is_against_the_first_step() -> None:
    assert results(FIGURES, series="one").growth("many", "trio_h2") == 0.75


def test_rounds_by_themselves() -> None:
    taken = results({("one", "trio_h2"): [1.0, 2.0], ("one", "peer"): [3.0]})
    assert [each.figures for each in taken.rounds()] == [
        {("one", "trio_h2"): [1.0], ("one", "peer"): [3.0]},
        {("one", "trio_h2"): [2.0]},
    ]
    assert results({}).rounds() == []


def test_what_was_before_stands_for_ours() -> None:
    names = ("trio_h2", "trio_h2, before", "trio_h2, TLS", "trio_h2, TLS, before", "peer")
    taken = results({("one", name): [float(number)] for number, name in enumerate(names)})
    assert taken.before().figures == {("one", "trio_h2"): [1.0], ("one", "trio_h2, TLS"): [3.0], ("one", "peer"): [4.0]}


def test_figures_survive_json() -> None:
    taken = results(FIGURES)
    taken.missing["other"] = "not installed"
    again = Results.from_json(taken.workload, json.loads(json.dumps(taken.as_json())))
    assert again == taken


def test_targets() -> None:
    taken = results(FIGURES, series="one")
    assert times("one", "peer", 5).figure(taken) == 6
    assert times("one", "peer", 5).reached(6)
    assert not times("one", "peer", 7).reached(6)
    assert ahead_of("one", "peer").figure(taken) == 6
    assert not ahead_of("one", "peer", at_least=7).reached(6)
    assert flat("trio_h2", ("one", "many"), within=0.15).figure(taken) == 0.75
    assert not flat("trio_h2", ("one", "many"), within=0.15).reached(0.75)
    assert flat("trio_h2", ("one", "many"), within=0.15).reached(0.85)
    assert Target("", lambda results: 0, at_most=12).reached(12)
    assert not Target("", lambda results: 0, at_most=12).reached(13)
    with pytest.raises(KeyError):
        ahead_of("one", "peer", "other").figure(taken)


# The workloads ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", find_workloads())
def test_workload_is_consistent(name: str) -> None:
    chosen = find_workloads()[name]
    sides = [side.name for side in chosen.sides]
    assert len(set(sides)) == len(sides)
    assert chosen.baseline in sides
    names = [item.name for item in chosen.loads]
    assert len(set(names)) == len(names)
    assert chosen.series is None or chosen.series in names
    assert all(set(side.cannot) <= set(names) for side in chosen.sides)
    taken = Results(chosen, {(item, side): [1.0] for item in names for side in sides})
    assert all(target.figure(taken) == 1.0 for target in chosen.targets)
    assert name in report.table(taken)


# Running ------------------------------------------------------------------------------------------


def test_sides_take_turns() -> None:
    assert runner.in_turn("abc", 0) == ["a", "b", "c"]
    assert runner.in_turn("abc", 1) == ["b", "c", "a"]
    assert runner.in_turn("abc", 5) == ["c", "a", "b"]


def test_loads_go_backwards_every_second_round() -> None:
    timed = [Load(name, "requests/s", never, 1, 1.0) for name in "abc"]
    once = Load("once", "KiB", never, 1)
    assert "".join(item.name for item in runner.in_order([*timed, once], 0)) == "onceabc"
    assert "".join(item.name for item in runner.in_order([*timed, once], 1)) == "oncecba"


def test_amount_fills_the_seconds() -> None:
    item = Load("one", "requests/s", never, 100, 1.5)
    assert runner.next_amount(1000.0, item, haste=1.0) == 1500
    assert runner.next_amount(1000.0, item, haste=3.0) == 500
    assert runner.next_amount(10.0, item, haste=1.0) == 100


async def test_rounds_warm_up_and_skip_what_a_side_cannot() -> None:
    made: list[tuple[str, int]] = []

    async def count(bench: bench.Bench, running: Running, amount: int) -> float:
        made.append(("shared", amount))
        return 200.0

    async def own(bench: bench.Bench, running: Running, amount: int) -> float:
        made.append(("own", amount))
        return 50.0

    chosen = workload(
        sides=(Side("trio_h2", bench.nothing), Side("peer", bench.nothing, measure=own, cannot=("once",))),
        loads=(Load("timed", "requests/s", count, 10, 0.5), Load("once", "KiB", count, 7)),
    )
    taken = await runner.run_workload(bench.Bench(0, 1, Path()), chosen, rounds=2)
    ours, theirs = [("shared", 7), ("shared", 10), ("shared", 100)], [("own", 10), ("own", 25)]
    assert made == [*ours, *theirs, *theirs, *ours]
    assert taken.figures == {
        ("timed", "trio_h2"): [200.0, 200.0],
        ("once", "trio_h2"): [200.0, 200.0],
        ("timed", "peer"): [50.0, 50.0],
    }


async def test_a_side_that_fails_is_left_out_from_then_on() -> None:
    calls: list[str] = []

    async def run(bench: bench.Bench, running: Running, amount: int) -> float:
        calls.append("shared")
        return 100.0

    async def refuse(bench: bench.Bench, running: Running, amount: int) -> float:
        calls.append("failing")
        if calls.count("failing") == 2:
            raise RefusedError("one request failed\nmore of it")
        return 50.0

    sides = (Side("trio_h2", bench.nothing), Side("peer", bench.nothing, measure=refuse))
    chosen = workload(sides=sides, loads=(Load("one", "requests/s", run, 1),))
    taken = await runner.run_workload(bench.Bench(0, 1, Path()), chosen, rounds=3)
    assert taken.missing == {"peer": "failed in round 2: under one: one request failed"}
    assert taken.failed
    assert taken.figures == {("one", "trio_h2"): [100.0] * 3, ("one", "peer"): [50.0]}
    assert taken.ratio("one", "trio_h2") == 2


async def test_a_side_that_is_absent_is_named() -> None:
    async def run(bench: bench.Bench, running: Running, amount: int) -> float:
        return 100.0

    @asynccontextmanager
    async def does_not_start(bench: bench.Bench) -> AsyncIterator[Running]:
        raise AssertionError("other did not start: exit code 1")
        yield

    ours = Side("trio_h2", bench.nothing)
    sides = (
        ours,
        on_python("3.98", ours),
        before(ours),
        Side("peer", bench.nothing, needs=("trio", "no_such_module")),
        Side("other", does_not_start),
    )
    chosen = workload(sides=sides, loads=(Load("one", "requests/s", run, 1),))
    taken = await runner.run_workload(bench.Bench(0, 1, Path()), chosen, rounds=2)
    assert taken.missing == {
        "trio_h2 (3.98)": "there is no python3.98 on PATH; --python 3.98=PATH names one",
        "trio_h2, before": "--before TREE names the older checkout",
        "peer": "no_such_module not installed",
        "other": "failed in round 1: other did not start: exit code 1",
    }
    assert taken.figures == {("one", "trio_h2"): [100.0, 100.0]}
    assert "peer is missing: no_such_module not installed" in report.table(taken)


# Reading figures ----------------------------------------------------------------------------------

H2LOAD = """\
finished in 1.02s, 9811.01 req/s, 335.41KB/s
requests: 10000 total, 10000 started, 10000 done, {succeeded} succeeded, {failed} failed, {failed} errored, 0 timeout
status codes: {succeeded} 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 341.87KB (350074) total, 87.96KB (90068) headers (space savings 92.00%), 48.83KB ({data}) data
"""


def test_h2load_figure() -> None:
    output = H2LOAD.format(succeeded=10_000, failed=0, data=50_000)
    assert loads.requests_per_second(output, body=5) == 9811.01


@pytest.mark.parametrize(
    ("output", "why"),
    [
        (H2LOAD.format(succeeded=9_999, failed=1, data=50_000), "not every request"),
        (H2LOAD.format(succeeded=10_000, failed=0, data=49_995), "bytes of data"),
        ("killed", "not the output"),
    ],
)
def test_h2load_refused(output: str, why: str) -> None:
    with pytest.raises(RefusedError, match=why):
        loads.requests_per_second(output, body=5)


def test_rate() -> None:
    assert loads.rate({"requests": 10, "seconds": 0.5}, requests=10) == 20
    with pytest.raises(RefusedError, match="9 of 10"):
        loads.rate({"requests": 9, "seconds": 0.5}, requests=10)


def test_third_second_of_a_link() -> None:
    assert third_second([1, 2, 12_500_000, 3]) == 1.0
    with pytest.raises(RefusedError, match="too early"):
        third_second([1, 2, 12_500_000])
    check_size(95, [50, 50])
    with pytest.raises(RefusedError, match="the client saw"):
        check_size(80, [50, 50])
    with pytest.raises(RefusedError, match="the client saw"):
        check_size(101, [50, 50])


# Prepared requests and their answers --------------------------------------------------------------


def frames_of(data: bytes) -> list[tuple[int, int, int, bytes]]:
    frames = []
    while data:
        high, low, kind, flags, stream_id = struct.unpack(">HBBBL", data[:9])
        length = high << 8 | low
        frames.append((kind, flags, stream_id, data[9 : 9 + length]))
        data = data[9 + length :]
    return frames


def test_browser_requests_have_twelve_fields_and_vary() -> None:
    decoder = hpack.Decoder()
    paths, cookies = set(), set()
    for number, data in enumerate(wire.requests("browser", 50, "example.org", first=7)):
        ((kind, flags, stream_id, block),) = frames_of(data)
        assert (kind, flags, stream_id) == (wire.HEADERS, wire.END_HEADERS | wire.END_STREAM, 2 * number + 1)
        fields = decoder.decode(block)
        names = [name for name, _ in fields]
        assert names[:4] == [":method", ":scheme", ":authority", ":path"]
        assert len(names) == 4 + 12
        paths.add(dict(fields)[":path"])
        cookies.add(dict(fields)["cookie"])
    assert len(paths) == len(cookies) == 50


def answer(stream_id: int, block: bytes = b"\x88", body: bytes = b"hello") -> bytes:
    head = wire.frame(wire.HEADERS, wire.END_HEADERS, stream_id, block)
    return head + wire.frame(wire.DATA, wire.END_STREAM, stream_id, body)


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_answers_are_counted(step: int) -> None:
    head_only = wire.frame(wire.HEADERS, wire.END_HEADERS | wire.END_STREAM, 3, b"\x88")
    data = wire.frame(wire.SETTINGS, 0, 0, struct.pack(">HL", 3, 100)) + answer(1) + head_only
    # With trailers, and with an update of the table's size before the status.
    data += wire.frame(wire.HEADERS, wire.END_HEADERS, 5, b"\x3f\xe1\x1f\x88") + wire.frame(wire.DATA, 0, 5, b"four")
    data += wire.frame(wire.HEADERS, wire.END_HEADERS | wire.END_STREAM, 5, b"\x00\x01x\x01y")
    data += wire.frame(wire.PING, 0, 0, b"12345678") + wire.frame(wire.PING, wire.ACK, 0, bytes(8))
    answers = wire.Answers()
    for at in range(0, len(data), step):
        answers.receive(data[at : at + step])
    assert (answers.ended, answers.octets, answers.pings, answers.settings) == (3, 9, 1, {3: 100})
    assert frames_of(bytes(answers.replies)) == [
        (wire.SETTINGS, wire.ACK, 0, b""),
        (wire.PING, wire.ACK, 0, b"12345678"),
    ]


@pytest.mark.parametrize(
    "data",
    [
        answer(1, block=b"\x8d"),
        answer(1, block=b""),
        wire.frame(wire.HEADERS, 0, 1, b"\x88"),
        wire.frame(wire.DATA, wire.PADDED, 1, b"\0"),
        wire.frame(wire.RST_STREAM, 0, 1, bytes(4)),
        wire.frame(wire.GOAWAY, 0, 0, bytes(8)),
    ],
    ids=["404", "no status", "continued", "padded", "reset", "GOAWAY"],
)
def test_answers_refused(data: bytes) -> None:
    with pytest.raises(RefusedError):
        wire.Answers().receive(data)


def test_shares_add_up() -> None:
    assert load.shares(10, 4) == [3, 3, 2, 2]
    assert load.shares(2, 3) == [1, 1, 0]


@pytest.mark.parametrize("kind", ["hello", "browser"])
def test_h2_in_memory_answers_everything(kind: str) -> None:
    _, writes = serve(batches(kind, 150))
    answers = wire.Answers()
    answers.receive(b"".join(writes))
    assert (answers.ended, answers.octets) == (150, 750)


# Echoes -------------------------------------------------------------------------------------------


def test_an_echo_may_come_in_parts_and_is_whole_once() -> None:
    taken = echoes.Echoes()
    first, rest = echoes.ECHO[:2], echoes.ECHO[2:]
    taken.receive(wire.frame(wire.DATA, 0, 1, first) + wire.frame(wire.DATA, 0, 3, echoes.ECHO))
    assert taken.whole == [3]
    taken.receive(wire.frame(wire.DATA, 0, 1, rest))
    assert taken.whole == [3, 1]
    with pytest.raises(RefusedError, match="more than was sent came back on stream 1"):
        taken.receive(wire.frame(wire.DATA, 0, 1, echoes.ECHO + b"x"))


def test_the_message_of_an_echo_is_one_frame() -> None:
    """By the library that the servers here take it apart with."""
    server = Connection(ConnectionType.SERVER)
    server.receive_data(echoes.MESSAGE)
    (message,) = server.events()
    assert isinstance(message, BytesMessage)
    assert message.message_finished
    assert server.send(BytesMessage(bytes(message.data))) == echoes.ECHO
