"""The files of a recording: a page that is safe and alone, JSON lines that come back, written whole or not at all."""

from __future__ import annotations

import json
import os
import re
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

import trio_h2
from tests.timeline.slow_reader import mocked
from trio_h2.testing import in_memory
from trio_h2.timeline.columns import as_columns
from trio_h2.timeline.json_lines import as_json_lines, from_json_lines
from trio_h2.timeline.page_writer import as_page
from trio_h2.timeline.rows import Recording

HOSTILE = "/</script><script>alert(1)</script>&{{DATA}}\u2028"


async def run_hostile(timeline: trio_h2.Timeline) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        await stream.reset(trio_h2.ErrorCodes.CANCEL)

    async with in_memory(handler, trace=timeline) as connection:
        for path in (HOSTILE.encode("latin-1", "ignore"), "/plain"):
            with pytest.raises(trio_h2.StreamResetError):
                await connection.request("GET", path.decode() if isinstance(path, bytes) else path)
        await connection.ping()


@pytest.fixture(scope="module")
def recording() -> Recording:
    timeline = trio_h2.Timeline()
    mocked(run_hostile, timeline)
    return timeline.recording()


# The page


def test_the_page_needs_nothing_from_anywhere(recording: Recording) -> None:
    page = as_page(recording)
    own = re.sub(r"https://github\.com/leeoniya/uPlot", "", page)  # uPlot's banner
    assert re.findall(r"\b(?:src|href)=|url\(|@import|\bimport\(|fetch\(|XMLHttpRequest|https?://", own) == []
    assert "default-src 'none'" in page


def test_no_script_runs_but_the_pages_own(recording: Recording) -> None:
    page = as_page(recording)
    assert page.count("<script") == page.count("</script>") == 3
    assert "<script>alert" not in page
    assert "unsafe-inline" not in page
    [policy] = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert len(re.findall(r"'sha256-[\w+/=]{44}'", policy)) == 3


def test_the_data_in_the_page_is_what_it_was(recording: Recording) -> None:
    [data] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', as_page(recording), re.DOTALL)
    assert json.loads(data) == json.loads(json.dumps(as_columns(recording)))
    assert {"/plain", HOSTILE.encode("latin-1", "ignore").decode()} <= set(json.loads(data)["streams"]["texts"])


def test_the_library_is_as_its_makers_made_it() -> None:
    directory = Path(trio_h2.__file__).parent / "timeline" / "page"
    assert (
        (directory / "uPlot.iife.min.js").read_text().startswith("/*! https://github.com/leeoniya/uPlot (v1.6.32) */")
    )
    assert "The MIT License" in (directory / "uPlot.LICENSE").read_text()


def test_a_page_of_nothing() -> None:
    page = as_page(trio_h2.Timeline().recording())
    assert "0 connections" in page
    assert "No stream waited long for anything." in page


def test_what_is_not_kept_is_said(recording: Recording) -> None:
    dropped = {"streams": 1, "frames": 2000, "credits": 3}
    page = as_page(Recording(**{**vars_of(recording), "dropped": dropped}))
    assert "Not kept, to bound memory, the oldest: 1 stream, 2,000 frames, 3 notes of credit." in page


def vars_of(recording: Recording) -> dict[str, Any]:
    return {name: getattr(recording, name) for name in Recording.__slots__ if not name.startswith("_")}


# JSON lines


def test_json_lines_come_back_as_they_were(recording: Recording) -> None:
    lines = list(as_json_lines(recording))
    assert all(line.endswith("\n") and line.count("\n") == 1 for line in lines)
    assert from_json_lines(lines) == recording
    assert as_page(from_json_lines(lines)) == as_page(recording)


def head(**changes: object) -> str:
    values = {"format": "trio_h2 timeline", "version": 1, "began": "2026-01-01T00:00:00", "seconds": 1, "dropped": {}}
    return json.dumps({**values, **changes})


CONNECTION = {
    **{"kind": "connection", "number": 1, "side": "client", "peer": "a", "tls": "", "made": 0, "ended": None},
    **{"error": "", "data_sent": 0, "data_received": 0, "credit_given": 0, "credit_received": 0},
}
MARK = {"kind": "mark", "connection": 1, "at": 0, "what": "round trip", "value": 1, "code": ""}


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ([], "it is no recording of a timeline"),
        (["not JSON"], "it is no recording of a timeline"),
        (["{}"], "it is no recording of a timeline"),
        ([head(version=2)], "it is a recording of version 2, and this reads version 1"),
        ([head(seconds="long")], "line 1 has no beginning, or no length"),
        ([head(dropped={"frames": "many"})], "line 1 has a count that is no number"),
        ([head(), "[1]"], "line 2 is no JSON object"),
        ([head(), "{"], "line 2 is no JSON"),
        ([head(), '{"kind": NaN}'], "line 2 is no JSON"),
        ([head(), '{"kind": "stranger"}'], "line 2 is of an unknown kind: 'stranger'"),
        ([head(), '{"kind": ["stream"]}'], "line 2 is of an unknown kind: \"['stream']\""),
        ([head(), '{"kind": "stream"}'], "line 2 has not the fields of a stream"),
        ([head(), json.dumps({**CONNECTION, "side": "middle"})], "line 2 has a side that cannot be: 'middle'"),
        ([head(), json.dumps({**CONNECTION, "side": []})], "line 2 has a side that cannot be: '[]'"),
        ([head(), json.dumps({**CONNECTION, "made": -1})], "line 2 has a made that cannot be: '-1'"),
        ([head(), json.dumps({**CONNECTION, "made": 10**400})], "line 2 has a made that cannot be: '1000"),
        ([head(), json.dumps(CONNECTION).replace(": 0,", ": 1e999,", 1)], "line 2 has a made that cannot be: 'inf'"),
        ([head(), json.dumps({**CONNECTION, "made": True})], "line 2 has a made that cannot be: 'True'"),
        ([head(), json.dumps({**CONNECTION, "peer": "x" * 2000})], "line 2 has a peer that cannot be: '" + "x" * 50),
        ([head(), json.dumps(CONNECTION), json.dumps(CONNECTION)], "it has a connection or a stream twice"),
        ([head(), json.dumps(MARK)], "one of its marks is of connection 1, which it has not"),
    ],
)
def test_lines_that_are_of_no_recording_are_refused(lines: list[str], problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        from_json_lines(lines)


def test_empty_lines_are_passed_over() -> None:
    assert from_json_lines([head(), "\n", json.dumps(CONNECTION), "\n"]).connections[0].peer == "a"


# Writing


def test_the_end_of_the_name_says_what_is_written(tmp_path: Path) -> None:
    timeline = trio_h2.Timeline()
    timeline.save(tmp_path / "out.jsonl")
    timeline.save(str(tmp_path / "out.html"))
    assert from_json_lines((tmp_path / "out.jsonl").read_text().splitlines()).connections == []
    assert (tmp_path / "out.html").read_text().startswith("<!doctype html>")
    assert sorted(os.listdir(tmp_path)) == ["out.html", "out.jsonl"]


def test_a_file_that_is_there_is_replaced_and_keeps_its_permissions(tmp_path: Path) -> None:
    target, link = tmp_path / "out.html", tmp_path / "link.html"
    target.write_text("old")
    target.chmod(0o600)
    link.symlink_to(target)
    trio_h2.Timeline().save(link)
    assert link.is_symlink()
    assert target.read_text().startswith("<!doctype html>")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_a_file_that_cannot_be_written_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    missing = tmp_path / "missing" / "out.html"
    with pytest.raises(FileNotFoundError, match=re.escape(f"No such file or directory: '{missing}'")):
        trio_h2.Timeline().save(missing)
    with pytest.raises(IsADirectoryError):
        trio_h2.Timeline().save(tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="it has no /dev/full")
def test_what_is_no_regular_file_is_written_to() -> None:
    trio_h2.Timeline().save("/dev/null")
    with pytest.raises(OSError, match=r"No space left on device: '/dev/full'"):
        trio_h2.Timeline().save("/dev/full")
