"""The page in Chromium says which stream waited for which window, and how long: as the program saw it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import trio

import trio_h2
from tests.engine.helpers import client_and_server, hello, link_pair
from tests.timeline.browser import Opened, opened
from tests.timeline.slow_reader import GOES_ON, SLOW, STOPS, STREAMS, Seen, mocked, recorded
from trio_h2.testing import in_memory

MANY = 10_000
MEGABYTE = 1_000_000
FIELDS = [(":method", "GET"), (":scheme", "https"), (":authority", "example.org")]


@pytest.fixture(scope="module")
def run() -> tuple[trio_h2.Timeline, trio_h2.Timeline, Seen]:
    return recorded()


def times(sentence: str) -> list[float]:
    """The seconds in a sentence: how long, from when, and until when."""
    return [float(found) for found in re.findall(r"([\d.]+) s\b", sentence)]


async def test_a_slow_reader_as_its_server_saw_it(
    run: tuple[trio_h2.Timeline, trio_h2.Timeline, Seen], tmp_path: Path
) -> None:
    _, server, seen = run
    server.save(tmp_path / "server.html")
    page = await opened(tmp_path / "server.html", tmp_path / "profile")
    first = page.sentences()[0]
    assert first.startswith(f"stream {seen.slow_id} GET {SLOW} waited ")
    assert " for its stream window" in first
    waited, began, ended = times(first)
    # The server's recording begins some hundredths after the program, and sentences have tenths.
    assert [began, ended] == pytest.approx([seen.window_closed, seen.window_opened], abs=0.1)
    assert waited > seen.window_opened - seen.window_closed - 0.1
    assert waited == pytest.approx(float(row_of(page, seen.slow_id)["stream window"]), abs=0.06)
    assert [row["request"] for row in page.table() if float(row["stream window"] or 0) > 1] == [f"GET {SLOW}"]


async def test_a_slow_reader_as_its_client_saw_it(
    run: tuple[trio_h2.Timeline, trio_h2.Timeline, Seen], tmp_path: Path
) -> None:
    client, _, seen = run
    client.save(tmp_path / "client.html")
    page = await opened(tmp_path / "client.html", tmp_path / "profile")
    first = page.sentences()[0]
    assert first.startswith(f"stream {seen.slow_id} GET {SLOW} had data that nobody had read for ")
    assert ": its reader took nothing between " in first
    unread, began, ended = times(first)
    # It had taken everything when it stopped, and the next octets came a little later.
    assert [began, ended] == pytest.approx([seen.stopped, seen.went_on], abs=0.11)
    assert [began, ended] == pytest.approx([STOPS, GOES_ON], abs=0.11)
    assert unread == pytest.approx(seen.went_on - seen.stopped, abs=0.11)
    table = page.table()
    assert len(table) == STREAMS
    assert [row["request"] for row in table if float(row["unread"] or 0) > 1] == [f"GET {SLOW}"]
    assert [row["how it ended"] for row in table if row["how it ended"] != "well"] == [
        "reset by the peer: INTERNAL_ERROR"
    ]


def row_of(page: Opened, stream_id: int) -> dict[str, str]:
    [row] = [row for row in page.table() if row["stream"] == str(stream_id)]
    return row


async def run_many(timeline: trio_h2.Timeline) -> None:
    """What a client is told of so many requests, a hundred at once, of which each waits for its slot and its response.

    It is told so by hand: to make the requests would take ten times as long.
    """
    async with in_memory(hello) as connection:
        timeline.connection_made(connection)
        for first in range(0, MANY, 100):
            numbers = range(first, first + 100)
            for number in numbers:
                fields = trio_h2.Headers([*FIELDS, (":path", f"/articles/of/some/length/{number}?page=1")])
                timeline.request_made(connection, -1 - number, fields)
                timeline.wait_began(connection, -1 - number, "slot")
            await trio.sleep(0.03)
            for number in numbers:
                stream_id = 2 * number + 1
                timeline.wait_ended(connection, -1 - number, "slot")
                timeline.frame_sent(connection, 1, 5, stream_id, 40)
                timeline.request_settled(connection, -1 - number, stream_id, None)
                timeline.stream_opened(connection, stream_id, fields)
                timeline.wait_began(connection, stream_id, "headers")
            for number in numbers:
                stream_id = 2 * number + 1
                await trio.sleep(0.000_3)
                timeline.frame_received(connection, 1, 4, stream_id, 20)
                timeline.frame_received(connection, 0, 1, stream_id, 1000)
                timeline.wait_ended(connection, stream_id, "headers")
                timeline.data_taken(connection, stream_id, 1000)
                timeline.stream_closed(connection, stream_id, None)
        timeline.connection_ended(connection, None)


async def test_ten_thousand_streams_open_in_three_seconds_and_take_five_megabytes(tmp_path: Path) -> None:
    timeline = trio_h2.Timeline()
    await trio.to_thread.run_sync(mocked, run_many, timeline)
    file = tmp_path / "many.html"
    timeline.save(file)
    assert file.stat().st_size < 5 * MEGABYTE
    page = await opened(file, tmp_path / "profile")
    assert page.seconds < 3
    assert f">1 to 100 of {MANY}<" in page.dom
    assert "for a slot" in page.sentences()[0]


HOSTILE = "/</script><script>document.title='taken'</script><img/src=x/onerror=document.title='taken'>{{DATA}}"


async def run_hostile(timeline: trio_h2.Timeline) -> None:
    async with client_and_server(hello, transports=link_pair(round_trip=0.05, rate=1e6), trace=timeline) as pair:
        await pair.client.request("GET", HOSTILE)


async def test_what_peers_say_is_text_and_nothing_else(tmp_path: Path) -> None:
    timeline = trio_h2.Timeline()
    await trio.to_thread.run_sync(mocked, run_hostile, timeline)
    timeline.save(tmp_path / "hostile.html")
    page = await opened(tmp_path / "hostile.html", tmp_path / "profile")
    assert "<title>HTTP/2 timeline</title>" in page.dom
    assert HOSTILE in page.sentences()[0]
    [row] = page.table()
    assert row["request"] == f"GET {HOSTILE}"


async def test_the_page_answers_keys_wheel_and_pointer(
    run: tuple[trio_h2.Timeline, trio_h2.Timeline, Seen], tmp_path: Path
) -> None:
    """Its policy would not let a test's program run; without it the page is the same."""
    client, _, seen = run
    page = tmp_path / "client.html"
    client.save(page)
    script = await trio.Path(__file__).parent.joinpath("press.js").read_text()
    text = re.sub(r"<meta http-equiv=[^>]*>", "", await trio.Path(page).read_text())
    await trio.Path(page).write_text(text.replace("</body>", f"<script>{{{script}}}</script></body>"))
    shown = await opened(page, tmp_path / "profile")
    [said] = re.findall(r'data-said="([^"]*)"', shown.dom)
    lines = said.splitlines()
    slow, every = f"stream {seen.slow_id}", "20 streams, 20 rows"
    assert lines[0] == f"opened: {slow}, {every}"
    assert re.fullmatch(rf"a sentence: stream \d+, {every}", lines[1])
    assert re.fullmatch(rf"down: (stream \d+|connection 1.*), {every}", lines[2])
    assert lines[3] == f"escape: Nothing chosen, {every}"
    assert lines[4] == "search: Nothing chosen, 10 of 20 streams, 10 rows"
    assert re.fullmatch(r"search and colour: Nothing chosen, (\d+) of 20 streams, \1 rows", lines[5])
    assert re.fullmatch(r"colour: Nothing chosen, (\d+ of )?20 streams, \d+ rows", lines[6])
    assert lines[7].startswith(f"{slow} GET {SLOW}  ·  ")
    assert re.fullmatch(r".*; has data that nobody reads: 4\.\d+ s from 1\.\d+ s", lines[7])
    assert lines[8] == f"click: stream 3, {every}"
    assert lines[9] == f"at last: stream 3, {every}"
    assert 'class="dark"' in shown.dom
