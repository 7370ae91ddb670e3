"""The harness itself: what it counts, how it reads figures, what it refuses."""

from __future__ import annotations

import collections
import json
import os
import struct
import sys
from pathlib import Path
from typing import Any

import hpack
import pytest
import trio
import trio.testing
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage

from tests.benchmarks import bench, docs, echoes, load, loads, profile, proxy, report, runner, wire
from tests.benchmarks.memory import batches, serve
from tests.benchmarks.model import Load, RefusedError, Results, Running, Side, Target, Workload, ahead_of, flat, times
from tests.benchmarks.workloads import find_workloads
from tests.benchmarks.workloads.link import check_size, third_second
from tests.peers import require_program, run_program


async def never(bench: bench.Bench, running: Running, amount: int) -> float:
    raise AssertionError


def workload(**changes: object) -> Workload:
    arguments: dict[str, object] = {
        "name": "example",
        "about": "an example",
        "sides": tuple(Side(name, bench.nothing) for name in ("trio_h2", "peer", "other")),
        "loads": (Load("one", "requests/s", never, 10, 1.0), Load("many", "requests/s", never, 10, 1.0)),
        "baseline": "peer",
    }
    return Workload(**{**arguments, **changes})  # type: ignore[arg-type]


def results(figures: dict[tuple[str, str], list[float]], **changes: object) -> Results:
    return Results(workload(**changes), figures, "2020-02-02", "Some Python on some machine.")


FIGURES = {
    ("one", "trio_h2"): [100.0, 120.0, 200.0],
    ("one", "peer"): [10.0, 30.0, 20.0],
    ("many", "trio_h2"): [60.0, 90.0, 90.0],
}


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


def test_figures_survive_json() -> None:
    taken = results(FIGURES)
    again = Results.from_json(taken.workload, json.loads(json.dumps(taken.as_json())))
    assert again == taken


def test_targets() -> None:
    taken = results(FIGURES, series="one")
    assert times("one", "peer", 5).figure(taken) == 6
    assert times("one", "peer", 5).reached(6)
    assert not times("one", "peer", 7).reached(6)
    assert ahead_of("one", "peer").figure(taken) == 6
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


async def test_refusal_says_who_and_under_what() -> None:
    async def refuse(bench: bench.Bench, running: Running, amount: int) -> float:
        raise RefusedError("one request failed")

    chosen = workload(loads=(Load("one", "requests/s", refuse, 1),))
    with pytest.raises(RefusedError, match="trio_h2 under one: one request failed"):
        await runner.run_workload(bench.Bench(0, 1, Path()), chosen, rounds=1)


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


# Reports ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("figure", "text"),
    [(0.1234, "0.123"), (1.234, "1.23"), (12.34, "12.3"), (123.4, "123"), (12_345.6, "12,346")],
)
def test_numbers(figure: float, text: str) -> None:
    assert report.number(figure) == text


TARGETS = (times("one", "peer", 5), times("one", "peer", 8), times("one", "other", 1))


def test_table() -> None:
    lines = report.table(results(FIGURES, targets=TARGETS)).splitlines()
    assert lines[0] == "example: an example (3 rounds)"
    assert " ".join(lines[2].split()) == "one trio_h2 120 requests/s 100 to 200 6.00 4.00 to 10.0"
    assert " ".join(lines[3].split()) == "peer 20.0 requests/s 10.0 to 30.0 1.00 1.00 to 1.00"
    assert " ".join(lines[4].split()) == "many trio_h2 90.0 requests/s 60.0 to 90.0 - -"
    assert lines[5:] == [
        "  5 x peer under one: 6.00, at least 5: reached",
        "  8 x peer under one: 6.00, at least 8: missed by 25%",
    ]


def test_table_of_a_series() -> None:
    text = report.table(results(FIGURES, series="one"))
    assert "x first step" in text
    assert "0.750" in text


def test_markdown() -> None:
    text = report.markdown(results(FIGURES, targets=TARGETS))
    assert text.startswith("### example\n\nAn example. Taken on 2020-02-02, 3 rounds.\n\n| load | side | median |")
    assert "| one | trio_h2 | 120 requests/s | 100 to 200 | 6.00 | 4.00 to 10.0 |" in text
    assert text.endswith("- 8 x peer under one: 6.00, at least 8: missed by 25%")


PAGE = "# Title\n\n<!-- results: begin -->\nold\n<!-- results: end -->\n\nThe end.\n"


def test_page_section_is_replaced() -> None:
    assert docs.replaced(PAGE, "results", "new") == PAGE.replace("old", "\nnew\n")
    with pytest.raises(ValueError, match="profile: begin"):
        docs.replaced(PAGE, "profile", "new")


def test_page_keeps_what_was_not_measured_anew(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    first, second = results(FIGURES), results(FIGURES, name="second", series="one")
    known = {taken.workload.name: taken.workload for taken in (first, second)}
    docs.write_results([second], known, page)
    docs.write_results([first], known, page)
    text = page.read_text()
    assert text.index("### example") < text.index("### second")
    assert text.count("Some Python on some machine.") == 1
    assert "old" not in text
    assert "](page.svg)" in text
    assert (tmp_path / "page.svg").read_text().rstrip().endswith("</svg>")
    assert docs.from_json(json.loads((tmp_path / "page.json").read_text()), known) == [first, second]


# The link -----------------------------------------------------------------------------------------


def test_token_bucket_keeps_the_rate() -> None:
    bucket = proxy.TokenBucket(rate=1000, burst=100)
    # The burst passes at once; then every hundred bytes take a tenth of a second.
    assert [bucket.take(5.0, 100) for _ in range(4)] == pytest.approx([5.0, 5.1, 5.2, 5.3])


def test_token_bucket_saves_no_more_than_the_burst() -> None:
    bucket = proxy.TokenBucket(rate=1000, burst=100)
    bucket.take(0.0, 100)
    assert bucket.take(1000.0, 100) == 1000.0
    assert bucket.take(1000.0, 100) == pytest.approx(1000.1)


def test_token_bucket_makes_up_for_lateness_within_the_burst() -> None:
    bucket = proxy.TokenBucket(rate=1000, burst=100)
    passed = bucket.take(0.0, 300)
    assert passed == pytest.approx(0.2)
    assert bucket.take(passed + 0.05, 50) == pytest.approx(0.25)


def test_meter_counts_by_second() -> None:
    meter = proxy.Meter(start=10.0)
    assert meter.report() == []
    for now, size in ((10.1, 5), (10.9, 6), (12.0, 7)):
        meter.count(now, size)
    assert meter.report() == [11, 0, 7]


async def test_link_delays_and_limits(autojump_clock: trio.testing.MockClock) -> None:
    near, source = trio.testing.memory_stream_pair()
    sink, far = trio.testing.memory_stream_pair()
    link = proxy.Link(delay=2.0, rate=proxy.PIECE)
    arrived: list[tuple[float, int]] = []
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.carry, source, sink, proxy.Meter(start))
        await near.send_all(bytes(4 * proxy.PIECE))
        await near.send_eof()
        async for data in far:
            arrived.append((trio.current_time() - start, len(data)))
    assert sum(size for _, size in arrived) == 4 * proxy.PIECE
    # The burst is a hundredth of a second's worth, so the first piece takes all but that.
    assert [when for when, _ in arrived] == pytest.approx([2.99, 3.99, 4.99, 5.99])


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


# Profiles -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("/any/where/trio_h2/protocol/codec.py", "trio_h2/protocol/codec.py"),
        ("/any/site-packages/trio/_core/_run.py", "trio"),
        ("/any/site-packages/trio/_socket.py", "send and receive (system calls)"),
        ("/any/site-packages/trio/_core/_io_epoll.py", "epoll"),
        ("/any/where/tests/benchmarks/servers.py", "the handler or caller"),
        ("<attrs generated init trio_h2.events.Event>", "attrs"),
        ("/usr/lib/python3.11/contextlib.py", "the standard library"),
    ],
)
def test_parts_of_a_profile(file: str, name: str) -> None:
    assert profile.part(file) == name


def test_profile_text() -> None:
    counts = collections.Counter({("/x/trio_h2/a.py", "f"): 6, ("/x/trio_h2/a.py", "g"): 2, ("/x/y.py", "h"): 2})
    text = profile.as_text("a test", counts, seconds=0.5, requests=1000, unit="request")
    first, *lines = text.splitlines()
    assert first == "a test: 500.0 µs of processor time for one request, of 1,000; 10 samples"
    assert lines[0].split() == ["80.0%", "400.0", "µs", "trio_h2/a.py"]
    assert lines[-1].split()[:2] == ["20.0%", "100.0"]


# The command --------------------------------------------------------------------------------------


TWO_CORES = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core for the side and one for the load")


async def command(name: str, directory: Path, *sides: str) -> tuple[str, Any]:
    """Measure some sides of a workload once, with 100 requests; what was printed, and what was kept."""
    for program, package in (("h2load", "nghttp2-client"), ("nghttpd", "nghttp2-server"), ("curl", "curl")):
        require_program(program, package=package)
    pytest.importorskip("matplotlib")
    completed = await run_program(
        sys.executable,
        *("-m", "tests.benchmarks", name, "--rounds=1", "--requests=100", f"--output={directory}"),
        *(f"--side={side}" for side in sides),
        seconds=120,
    )
    (taken,) = json.loads((directory / "latest.json").read_text())["workloads"]
    assert {row["side"] for row in taken["figures"]} == set(sides)
    assert all(len(row["figures"]) == 1 and row["figures"][0] > 0 for row in taken["figures"])
    assert (directory / "latest.svg").exists()
    return completed.text, taken


@TWO_CORES
async def test_command_measures_hello(tmp_path: Path) -> None:
    pytest.importorskip("hypercorn")
    require_program("node", package="nodejs")
    text, _ = await command("hello", tmp_path, "trio_h2", "hypercorn-trio", "node", "h2 in memory")
    assert "10 x hypercorn-trio under h2load -c1 -m100" in text


@TWO_CORES
@pytest.mark.parametrize("name", ["asgi", "asgi_ws"])
async def test_command_measures_servers_of_apps(tmp_path: Path, name: str) -> None:
    sides = ("trio_h2", "granian", "h2corn")
    for package in ("starlette", *sides[1:]):
        pytest.importorskip(package)
    _, taken = await command(name, tmp_path, *sides)
    loads = {row["load"] for row in taken["figures"] if row["side"] == "trio_h2"}
    assert loads == {each.name for each in find_workloads()[name].loads}
