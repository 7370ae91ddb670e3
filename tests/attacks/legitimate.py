"""What honest peers do, a lot of it: no limit may be passed, and no request may fail.

`python -m tests.attacks legitimate [NAMES] [--messages N] [--requests N] [--seconds S]`. Programs that are not
installed are skipped, and it says which Debian package has them.
"""

from __future__ import annotations

import argparse
import fnmatch
import logging
import random
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import grpc
import trio

import trio_h2
from tests import peers
from tests.attacks.runner import Victim

AT_ONCE = 100
CANCELLED = 0.3

PASSED = re.compile(r"went over Config\.\w+.*")
"""What trio_h2 logs of a peer that passed a limit."""


class Unavailable(Exception):
    """A program is not installed."""


class Unfair(Exception):
    """An honest peer was refused something."""


@dataclass(frozen=True)
class Amounts:
    """How much of everything."""

    messages: int = 1_000_000
    requests: int = 100_000
    seconds: float = 600.0


@dataclass(frozen=True)
class Site:
    """A server with the default limits."""

    victim: Victim

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.victim.ports[0]}"

    @property
    def tls_url(self) -> str:
        return f"https://127.0.0.1:{self.victim.ports[1]}"


Check = Callable[[Site, Amounts], Awaitable[str]]
CHECKS: dict[str, Check] = {}


def check(function: Check) -> Check:
    CHECKS[function.__name__.replace("_", "-")] = function
    return function


def expect(truth: object, otherwise: str) -> None:
    if not truth:
        raise Unfair(otherwise)


def program(name: str, package: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise Unavailable(f"{name} is not installed (Debian package {package})")
    return path


# This library's own client ------------------------------------------------------------------------


@check
async def messages_of_one_octet(site: Site, amounts: Amounts) -> str:
    """As gRPC streams have them: each a DATA frame, and each answered with one."""
    async with trio_h2.connect(site.url) as connection:
        async with connection.stream("POST", "/echo") as stream, trio.open_nursery() as nursery:

            async def send() -> None:
                for _ in range(amounts.messages):
                    await stream.send_all(b"x")
                await stream.send_eof()

            nursery.start_soon(send)
            received = 0
            async for chunk in stream:
                received += len(chunk)
        kept_to(connection)
    expect(received == amounts.messages, f"{received} of {amounts.messages} came back")
    return f"{received} messages"


@check
async def requests_at_once(site: Site, amounts: Amounts) -> str:
    """Many requests on one connection, a hundred at once."""
    left = iter(range(amounts.requests))
    async with trio_h2.connect(site.url) as connection:

        async def work() -> None:
            for _ in left:
                response = await connection.request("GET", "/")
                expect(response.status == 200, f"status {response.status}")

        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(work)
        kept_to(connection)
    return f"{amounts.requests} requests"


@check
async def cancelled_requests(site: Site, amounts: Amounts) -> str:
    """A hundred at once, and every third or so is given up: at once, soon, or when it has been waited for."""
    done = cancelled = 0
    chance = random.Random(1)
    async with trio_h2.connect(site.url) as connection:

        async def work() -> None:
            nonlocal done, cancelled
            while True:
                gives_up = chance.random() < CANCELLED
                path = chance.choice(("/", "/hang", "/large", "/cleanup")) if gives_up else "/"
                with trio.move_on_after(chance.choice((0.001, 0.005, 0.02)) if gives_up else 60) as scope:
                    response = await connection.request("GET", path)
                    expect(response.status == 200, f"status {response.status}")
                    done += 1
                cancelled += scope.cancelled_caught
                expect(gives_up or not scope.cancelled_caught, "a request took more than a minute")

        with trio.move_on_after(amounts.seconds):
            async with trio.open_nursery() as nursery:
                for _ in range(AT_ONCE):
                    nursery.start_soon(work)
        kept_to(connection)
    return f"{done} requests and {cancelled} cancelled in {amounts.seconds:g} s"


CHROME = [
    ("sec-ch-ua", '"Chromium";v="130", "Google Chrome";v="130", "Not?A_Brand";v="99"'),
    ("sec-ch-ua-mobile", "?0"),
    ("sec-ch-ua-platform", '"Linux"'),
    ("upgrade-insecure-requests", "1"),
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
    ),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    ("sec-fetch-site", "none"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-user", "?1"),
    ("sec-fetch-dest", "document"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "en-GB,en;q=0.9"),
    ("priority", "u=0, i"),
]


@check
async def cookie_crumbs(site: Site, amounts: Amounts) -> str:
    """A browser's headers with 180 cookie crumbs, fifty at once."""
    crumbs = [("cookie", f"name{number}={'v' * (number % 40)}") for number in range(180)]
    count = max(100, amounts.requests // 50)
    left = iter(range(count))
    async with trio_h2.connect(site.url) as connection:

        async def work() -> None:
            for number in left:
                response = await connection.request("GET", f"/?{number}", headers=[*CHROME, *crumbs])
                expect(response.status == 200, f"status {response.status}")

        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE // 2):
                nursery.start_soon(work)
        kept_to(connection)
    return f"{count} requests"


def kept_to(connection: trio_h2.ClientConnection) -> None:
    """The server was no attacker in the eyes of the client either."""
    hit = getattr(connection.statistics(), "limits_hit", {})
    expect(not hit, f"the client says the server went over {dict(hit)}")


# Programs -----------------------------------------------------------------------------------------


@check
async def curl(site: Site, amounts: Amounts) -> str:
    """Downloads and uploads in parallel."""
    name = program("curl", "curl")
    how = (
        "--silent",
        "--show-error",
        "--http2",
        "--insecure",
        "--parallel",
        "--parallel-max",
        "50",
        "--output",
        "/dev/null",
    )
    done = await peers.run_program(name, *how, "--write-out", "%{http_code}\n", f"{site.tls_url}/?[1-300]")
    expect(done.text.split() == ["200"] * 300, done.text[-500:])
    with tempfile.NamedTemporaryFile() as file:
        file.write(bytes(4 * 1024 * 1024))
        file.flush()
        done = await peers.run_program(
            name, "-sSk", "--http2", "--data-binary", f"@{file.name}", f"{site.tls_url}/echo"
        )
    expect(len(done.stdout) == 4 * 1024 * 1024, f"{len(done.stdout)} octets came back")
    return "300 requests, 4 MiB to and fro"


@check
async def nghttp(site: Site, amounts: Amounts) -> str:
    """With the priorities and the small windows that it has."""
    name = program("nghttp", "nghttp2-client")
    count = 0
    for arguments in (("-m", "100", f"{site.url}/"), ("-w", "14", f"{site.url}/large", f"{site.url}/")):
        done = await peers.run_program(name, "-nv", *arguments)
        expect("ENHANCE_YOUR_CALM" not in done.text, done.text[-2000:])
        count += done.text.count(":status: 200")
    expect(count == 102, f"{count} of 102 responses")
    return "102 responses"


@check
async def h2load(site: Site, amounts: Amounts) -> str:
    """On one connection and on many."""
    name = program("h2load", "nghttp2-client")
    counts = {1: amounts.requests, 50: max(1_000, amounts.requests // 10)}
    for connections, count in counts.items():
        how = ("-n", str(count), "-c", str(connections), "-m", str(AT_ONCE))
        done = await peers.run_program(name, *how, f"{site.url}/", seconds=900)
        report = peers.parse_h2load(done.text)
        expect(report.all_succeeded and report.total == count, str(report))
    return " and ".join(f"{count} requests on {connections}" for connections, count in counts.items())


@check
async def grpcio(site: Site, amounts: Amounts) -> str:
    """Messages of one octet to and fro on a gRPC stream, and calls."""
    messages, calls = max(1_000, amounts.messages // 20), max(100, amounts.requests // 50)

    def run() -> int:
        with grpc.insecure_channel(site.url.removeprefix("http://")) as channel:
            stream = channel.stream_stream("/grpc.test/Echo")
            echoed = sum(1 for message in stream(b"x" for _ in range(messages)) if message == b"x")
            call = channel.unary_unary("/grpc.test/Echo")
            return echoed + sum(call(b"y") == b"y" for _ in range(calls))

    right = await trio.to_thread.run_sync(run)
    expect(right == messages + calls, f"{right} of {messages + calls} messages were right")
    return f"{messages} messages, {calls} calls"


async def run_script(argv: list[str], suffix: str, text: str, *arguments: str) -> peers.Completed:
    """Run a program in another language."""
    with tempfile.NamedTemporaryFile("w", suffix=suffix) as file:
        file.write(text)
        file.flush()
        return await peers.run_program(*argv, file.name, *arguments, seconds=900)


NODE = """
const http2 = require('http2');
const [url, count] = [process.argv[2], Number(process.argv[3])];
const client = http2.connect(url);
let begun = 0, right = 0, open = 0;
client.on('error', error => { console.error(error); process.exit(1); });
client.on('goaway', code => { if (code) { console.error('GOAWAY', code); process.exit(1); } });
function next() {
  while (open < 100 && begun < count) {
    begun++; open++;
    const request = client.request({':path': '/?' + begun});
    let status = 0;
    request.on('response', headers => { status = headers[':status']; });
    request.on('data', () => {});
    request.on('error', error => { console.error(error); process.exit(1); });
    request.on('end', () => { right += status === 200; open--; open || begun < count ? next() : end(); });
  }
}
function end() { console.log(right); client.close(); }
next();
"""


@check
async def node(site: Site, amounts: Amounts) -> str:
    """node's http2, a hundred at once."""
    count = max(1_000, amounts.requests // 5)
    done = await run_script([program("node", "nodejs")], ".js", NODE, site.url, str(count))
    expect(done.text.strip() == str(count), f"{done.text.strip()} of {count} were right")
    return f"{count} requests"


GO = """
package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
)

func main() {
	count, _ := strconv.Atoi(os.Args[2])
	client := &http.Client{Transport: &http.Transport{
		ForceAttemptHTTP2: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
	}}
	var wait sync.WaitGroup
	var lock sync.Mutex
	right := 0
	for worker := 0; worker < 100; worker++ {
		wait.Add(1)
		go func(first int) {
			defer wait.Done()
			for number := first; number < count; number += 100 {
				response, err := client.Get(os.Args[1] + "/?" + strconv.Itoa(number))
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					continue
				}
				io.Copy(io.Discard, response.Body)
				response.Body.Close()
				if response.StatusCode == 200 && response.ProtoMajor == 2 {
					lock.Lock()
					right++
					lock.Unlock()
				}
			}
		}(worker)
	}
	wait.Wait()
	fmt.Println(right)
}
"""


@check
async def go(site: Site, amounts: Amounts) -> str:
    """Go's net/http, a hundred at once."""
    count = max(1_000, amounts.requests // 5)
    done = await run_script([program("go", "golang-go"), "run"], ".go", GO, site.tls_url, str(count))
    expect(done.text.strip() == str(count), f"{done.text.strip()} of {count} were right: {done.errors[-500:]}")
    return f"{count} requests"


@check
async def chromium(site: Site, amounts: Amounts) -> str:
    """A page, as a browser asks for it."""
    name = program("chromium", "chromium")
    how = ("--headless", "--no-sandbox", "--disable-gpu", "--ignore-certificate-errors", "--dump-dom")
    done = await peers.run_program(name, *how, f"{site.tls_url}/")
    expect("hello" in done.text, done.text[-500:])
    return "1 page"


# Running them -------------------------------------------------------------------------------------


async def run_check(name: str, victim: Victim, amounts: Amounts) -> str:
    """Run one; what it did.

    Raises:
        Unfair: a limit was passed, or a request failed.
        Unavailable: it needs a program that is not installed.
    """
    before = len(PASSED.findall(victim.program.written()))
    try:
        said = await CHECKS[name](Site(victim), amounts)
    except BaseExceptionGroup as group:
        raise Unfair(repr(group.exceptions)) from group
    except trio_h2.H2Error as error:
        raise Unfair(repr(error)) from error
    passed = PASSED.findall(victim.program.written())[before:]
    expect(not passed, f"the server says: {passed[:5]}")
    expect(not victim.new_tracebacks(), victim.program.written()[-3000:])
    return said


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.attacks legitimate", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"patterns of {' '.join(CHECKS)}; by default all")
    parser.add_argument("--messages", type=int, default=Amounts.messages)
    parser.add_argument("--requests", type=int, default=Amounts.requests)
    parser.add_argument("--seconds", type=float, default=Amounts.seconds, help="of requests that are cancelled")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING)
    amounts = Amounts(options.messages, options.requests, options.seconds)
    failed = 0
    for name in CHECKS:
        if options.names and not any(fnmatch.fnmatch(name, pattern) for pattern in options.names):
            continue
        victim = Victim(client=False, config={})
        started = time.monotonic()
        try:
            outcome = f"PASS: {trio.run(run_check, name, victim, amounts)}"
        except Unavailable as missing:
            outcome = f"skipped: {missing}"
        except (Unfair, AssertionError, trio.TooSlowError, grpc.RpcError) as error:
            failed += 1
            outcome = f"FAIL: {error!r}"
        finally:
            victim.stop()
        print(f"{name}: {outcome} ({time.monotonic() - started:.1f} s)", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
