"""What apps of four frameworks answer on trio_h2, and on hypercorn for comparison, to five clients."""

from __future__ import annotations

import gzip
import hashlib
import json

from tests.peers import TLSFiles

from .drivers import Answer, Driver, by_each_driver, by_httpx2
from .journal import PIECE
from .pages import FILE
from .sites import Site


def shown(answer: Answer) -> object:
    return json.loads(answer.body)


def multipart(file: bytes) -> tuple[list[tuple[str, str]], bytes]:
    """The header and the body of a form with a name and a file."""
    parts = b'--b\r\ncontent-disposition: form-data; name="name"\r\n\r\none\r\n--b\r\n'
    parts += b'content-disposition: form-data; name="file"; filename="f"\r\ncontent-type: image/png\r\n\r\n'
    return [("content-type", "multipart/form-data; boundary=b")], parts + file + b"\r\n--b--\r\n"


@by_each_driver
async def test_json_both_ways(site: Site, driver: Driver, name: str) -> None:
    answer = await driver(site, "GET", "/json?a=b%20c&d=%C3%A4")
    assert (answer.status, answer.headers["content-type"].partition(";")[0]) == (200, "application/json")
    assert shown(answer) == {"path": "/json", "query": {"a": "b c", "d": "ä"}}
    assert answer.version == driver.version
    answer = await driver(site, "POST", "/json", [("content-type", "application/json")], b"[1, 2, 3]")
    assert (answer.status, shown(answer)) == (200, {"sum": 6})


@by_each_driver
async def test_forms(site: Site, driver: Driver, name: str) -> None:
    fields = [("content-type", "application/x-www-form-urlencoded")]
    answer = await driver(site, "POST", "/form", fields, b"name=%C3%A4&file=content")
    assert (answer.status, shown(answer)) == (200, {"name": "ä", "file": "content"})
    answer = await driver(site, "POST", "/form", *multipart(b"content"))
    assert (answer.status, shown(answer)) == (200, {"name": "one", "file": hashlib.sha256(b"content").hexdigest()})


async def test_a_file_in_a_form(site: Site, tls_files: TLSFiles) -> None:
    file = PIECE * 80
    answer = await by_httpx2(tls_files)(site, "POST", "/form", *multipart(file))
    assert (answer.status, shown(answer)) == (200, {"name": "one", "file": hashlib.sha256(file).hexdigest()})


@by_each_driver
async def test_an_upload_that_the_app_does_not_read(site: Site, driver: Driver, name: str) -> None:
    """The answer comes, then RST_STREAM: httpx2 and curl 7.88 may lose the one for the other (RFC 9113 section 8.1).

    The reference ends of the DATA that comes then.
    """
    if site.server != "ours" or driver.name == "httpx2" or driver.name.startswith("curl --http2"):
        return
    answer = await driver(site, "POST", "/nowhere", body=PIECE * 80)
    assert answer.status == 404


@by_each_driver
async def test_the_state_of_the_lifespan(site: Site, driver: Driver, name: str) -> None:
    assert shown(await driver(site, "GET", "/state")) == [1, 2]
    assert shown(await driver(site, "GET", "/raw/state")) == ["kept"]


@by_each_driver
async def test_errors_that_have_a_status(site: Site, driver: Driver, name: str) -> None:
    answer = await driver(site, "GET", "/teapot")
    assert (answer.status, b"a teapot" in answer.body) == (418, True)
    assert (await driver(site, "GET", "/nowhere")).status == 404
    assert (await driver(site, "GET", "/upload")).status == 405


@by_each_driver
async def test_an_exception_before_the_response_begins(site: Site, driver: Driver, name: str) -> None:
    assert (await driver(site, "GET", "/error")).status == 500
    await site.logged("ValueError: before")


@by_each_driver
async def test_ranges_of_files(site: Site, driver: Driver, name: str) -> None:
    octets = FILE.read_bytes()
    whole = await driver(site, "GET", "/file", [("accept-encoding", "identity")])
    assert (whole.status, whole.body, whole.headers["content-length"]) == (200, octets, str(len(octets)))
    head = await driver(site, "HEAD", "/file", [("accept-encoding", "identity")])
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(octets)))
    if site.framework == "litestar":  # its File knows no ranges, and RFC 9110 section 14.2 lets it be
        return
    part = await driver(site, "GET", "/file", [("range", "bytes=5-9"), ("accept-encoding", "identity")])
    assert (part.status, part.body, part.headers["content-range"]) == (206, octets[5:10], f"bytes 5-9/{len(octets)}")
    beyond = await driver(site, "GET", "/file", [("range", f"bytes={len(octets)}-")])
    assert beyond.status == 416


@by_each_driver
async def test_options(site: Site, driver: Driver, name: str) -> None:
    answer = await driver(site, "OPTIONS", "/json")
    assert answer.status in (200, 204, 405)
    assert "GET" in answer.headers["allow"]


@by_each_driver
async def test_cookies_both_ways(site: Site, driver: Driver, name: str) -> None:
    answer = await driver(site, "GET", "/cookies", [("cookie", "a=1; b=2")])
    assert shown(answer) == {"a": "1", "b": "2"}
    assert sorted(each.partition(";")[0] for each in answer.headers.get_all("set-cookie")) == ["one=1", "two=2"]


@by_each_driver
async def test_large_fields_both_ways(site: Site, driver: Driver, name: str) -> None:
    large = "x" * 14_000
    answer = await driver(site, "GET", "/large", [("x-large", large)])
    assert (answer.status, answer.headers["x-large"]) == (200, large)


@by_each_driver
async def test_a_function_in_a_thread(site: Site, driver: Driver, name: str) -> None:
    assert (await driver(site, "GET", "/threaded")).body == b"from a thread"


@by_each_driver
async def test_compression(site: Site, driver: Driver, name: str) -> None:
    answer = await driver(site, "GET", "/text", [("accept-encoding", "gzip")])
    octets = answer.body if answer.body.startswith(b"compress") else gzip.decompress(answer.body)
    assert (answer.headers["content-encoding"], octets) == ("gzip", b"compress me " * 1000)


@by_each_driver
async def test_a_dependency_with_an_end(site: Site, driver: Driver, name: str) -> None:
    answer = await driver(site, "GET", f"/resource?as={name}")
    assert answer.status == 200
    await site.noted(name, "closed")


@by_each_driver
async def test_a_mount(site: Site, driver: Driver, name: str) -> None:
    assert shown(await driver(site, "GET", "/mounted/json")) == {"path": "/mounted/json", "query": {}}
