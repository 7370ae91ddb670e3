"""`trio-h2 get` beside curl: the same command lines against the same servers, the same exit codes and octets."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
import trustme
from click.testing import CliRunner

import tests.peers as peers
from tests.cli.get_site import Ports, get_site
from trio_h2.cli.commands import cli

SAME = {
    "a body": (0, "{clear}/hello"),
    "a body over TLS": (0, "{ca} {tls}/hello"),
    "without a scheme": (0, "{bare}/hello"),
    "a large body": (0, "{ca} {tls}/big"),
    "no body": (0, "{clear}/empty"),
    "a body that is encoded": (0, "{clear}/gzip"),
    "a path with dots": (0, "{clear}/a/../hello"),
    "headers and body": (0, "-i {ca} {tls}/hello"),
    "headers alone": (0, "-I {ca} {tls}/hello"),
    "headers into a file": (0, "-I -o head {clear}/hello"),
    "interim headers": (0, "-i {clear}/early"),
    "trailers": (0, "-i {clear}/trailers"),
    "a status of failure": (0, "{clear}/nothing"),
    "fail": (22, "-f {clear}/nothing"),
    "fail, with headers": (22, "-fi {clear}/nothing"),
    "fail, into a file": (22, "-f -o file {clear}/nothing"),
    "fail with body": (22, "--fail-with-body {clear}/nothing"),
    "data": (0, "-d a=1 -d b=2 {clear}/echo"),
    "no data": (0, "-d '' {clear}/echo"),
    "data from a file": (0, "-d @lines {clear}/echo"),
    "data as it is": (0, "--data-binary @lines -d x {clear}/echo"),
    "data with an at": (0, "--data-raw @lines {clear}/echo"),
    "data from standard input": (0, "-d @- {clear}/echo"),
    "data in the query": (0, "-G -d a=1 -d b {clear}/echo?x"),
    "data in the query, headers alone": (0, "-G -I -d a=1 {clear}/echo"),
    "another method": (0, "-X DELETE {clear}/echo"),
    "another method with data": (0, "-X PUT -d a {clear}/echo"),
    "fields": (0, "-H X-A:1 -H x-empty; -H accept: -H host:example.test -d a -H Content-Type:text/plain {clear}/echo"),
    "fields of HTTP/1.1": (
        0,
        "-H 'Connection: keep-alive' -H keep-alive:1 -H proxy-connection:x -H transfer-encoding:chunked -H upgrade:h2c "
        "-H te:trailers {clear}/echo",
    ),
    "fields from a file": (0, "-H @fields {clear}/echo"),
    "into a file": (0, "-o file {clear}/hello"),
    "no body into a file": (0, "-o file {clear}/empty"),
    "into two files": (0, "{ca} -o one -o two {tls}/hello {tls}/big"),
    "into a file of the URL's name": (0, "-O {clear}/hello?x"),
    "into files of both kinds": (0, "{ca} -O {tls}/hello -o two {tls}/big"),
    "one into a file": (0, "{ca} -o one {tls}/hello {tls}/big"),
    "two origins": (0, "{ca} {tls}/big {other}/hello"),
    "a file that cannot be written": (23, "-o nowhere/file {clear}/hello"),
    "a device that is full": (23, "-o /dev/full {clear}/hello"),
    "a URL without a file's name": (23, "-O {clear}/"),
    "a redirect": (0, "{ca} {tls}/to/302"),
    "a redirect that is followed": (0, "-L {ca} {tls}/to/302"),
    "a redirect, headers and all": (0, "-Li {ca} {tls}/to/301"),
    "a POST and 302": (0, "-L -d a=b {ca} {tls}/to/302"),
    "a POST and 303": (0, "-L -d a=b {ca} {tls}/to/303"),
    "a length of its own and 307": (0, "-L -H content-length:3 -d a=b {ca} {tls}/to/307"),
    "a type of its own and 303": (0, "-L -H content-type:text/plain -H content-encoding:x -d a=b {ca} {tls}/to/303"),
    "a POST and 307": (0, "-L -d a=b {ca} {tls}/to/307"),
    "a POST that stays one": (0, "-L -X POST -d a=b {ca} {tls}/to/301"),
    "a redirect to another origin": (0, "-L -H authorization:x -H cookie:y -H x-a:z {ca} {tls}/away"),
    "too many redirects": (47, "-L --max-redirs 3 {ca} {tls}/loop"),
    "no redirect is one too many": (47, "-L --max-redirs 0 {ca} {tls}/to/302"),
    "a redirect to another scheme": (1, "-L --proto-redir =https {ca} {tls}/ftp"),
    "too slow": (28, "-m 0.2 {clear}/slow"),
    "no connection": (7, "http://127.0.0.1:1/"),
    "no such host": (6, "http://host.invalid/"),
    "no such proxy": (5, "-x http://proxy.invalid:1 {ca} {tls}/hello"),
    "no connection to the proxy": (7, "-x 127.0.0.1:1 {ca} {tls}/hello"),
    "through a proxy": (0, "-x {proxy} {ca} {tls}/hello"),
    "a proxy that is none": (0, "-x '' {clear}/hello"),
    "a proxy that opens no tunnel": (56, "-x {clear} {ca} {tls}/hello"),
    "another scheme": (1, "foo://localhost/"),
    "no URL": (3, "http://[::1/"),
    "no port": (3, "http://localhost:99999/"),
    "no TLS there": (35, "https://{bare}/hello"),
    "who signed it is not known": (60, "{tls}/hello"),
    "who signed it does not matter": (0, "-k {tls}/hello"),
    "a missing file of authorities": (77, "--cacert nowhere {tls}/hello"),
    "no file of authorities": (77, "--cacert lines {tls}/hello"),
    "a certificate of our own": (0, "{ca} --cert client.pem --key client.key {client}/hello"),
    "a missing certificate": (58, "{ca} --cert nowhere {client}/hello"),
    "a certificate without its key": (58, "{ca} --cert client.pem {client}/hello"),
    "a stream that is reset": (92, "{clear}/reset"),
    "a stream that is reset later": (92, "{clear}/cancel"),
    "a body that is cut short": (18, "{clear}/cut"),
    "a connection that is lost": (18, "{clear}/lost"),
    "a GOAWAY with an error": (16, "{goaway}/"),
    "a retry": (0, "--retry 1 -f {ca} {tls}/flaky"),
    "no retry": (0, "--retry 1 -f {clear}/hello"),
    "write-out": (
        0,
        "-d abc -o file {ca} {tls}/echo -w '"
        "%{{http_code}}|%{{size_download}}|%{{size_upload}}|%{{size_header}}|%{{num_redirects}}|%{{num_connects}}|"
        "%{{content_type}}|%{{method}}|%{{http_version}}|%{{url}}|%{{url_effective}}|%{{scheme}}|%{{exitcode}}|"
        "%{{filename_effective}}|%{{remote_ip}}|%{{remote_port}}|%{{local_ip}}|%{{urlnum}}|%{{num_headers}}|"
        "%header{{x-a}}|%{{nosuch}}|%{{onerror}}|%%|%x|\\n\\t\\r\\\\q|'",
    ),
    "write-out of a redirect": (0, "{ca} {tls}/to/302 -w '%{{redirect_url}}|%{{num_redirects}}'"),
    "write-out after redirects": (
        0,
        "-L {ca} {tls}/to/302 -w '%{{redirect_url}}|%{{num_redirects}}|%{{url_effective}}'",
    ),
    "write-out of a failure": (
        7,
        "http://127.0.0.1:1/ -w '%{{http_code}}|%{{exitcode}}|%{{onerror}}%{{size_download}}'",
    ),
    "write-out of a redirect that is one too many": (
        47,
        "-L --max-redirs 3 {ca} {tls}/loop -w '%{{num_redirects}}|%{{num_connects}}|%{{redirect_url}}'",
    ),
    "write-out of a field that comes twice": (0, "{clear}/cookies -w '%header{{set-cookie}}|%header{{nosuch}}'"),
    "write-out for two": (0, "{ca} -o one -o two {tls}/hello {tls}/big -w '%{{urlnum}},%{{filename_effective}},'"),
    "write-out from a file": (0, "-w @format {clear}/hello"),
    "write-out to standard error": (0, "{clear}/hello -w '%{{stderr}}[%{{http_code}}]\\n%{{stdout}}[%{{method}}]'"),
    "a redirect of another kind": (0, "-L {ca} {tls}/to/300"),
    "a stream that is refused": (56, "{clear}/refused"),
    "a redirect to a scheme without slashes": (1, "-L {ca} {tls}/mail"),
    "a redirect to nowhere": (0, "-L {ca} {tls}/nowhere"),
    "a file called as standard output is": (0, "-O {clear}/hello/-"),
    "no name for a file": (2, "-o '' {clear}/hello"),
    "one file for two": (0, "-o one -o ./one {ca} {tls}/big {tls}/hello"),
    "a line end in a URL": (3, "'{clear}/hel\nlo'"),
    "a field of other octets": (0, "-H 'x-a: \u00fc' -H 'x-b: \udcff' -A \u00fc {clear}/echo"),
    "write-out of other octets": (0, "{clear}/octets -w '%header{{x-octets}}'"),
    "headers alone, and data": (2, "-I -d a {clear}/echo"),
    "an unknown option": (2, "--nosuch {clear}/echo"),
    "a time that is none": (2, "-m soon {clear}/echo"),
    "no URL at all": (2, "-i"),
}


@pytest.fixture(scope="module")
def ports(certificate_authority: trustme.CA) -> Iterator[Ports]:
    with get_site(certificate_authority) as ports:
        yield ports


def arguments_of(line: str, ports: Ports, ca: Path) -> list[str]:
    """A command line, with addresses where it names them."""
    urls = {name: f"http://127.0.0.1:{port}" for name, port in attrs.asdict(ports).items()}
    for name in ("tls", "other", "client"):
        urls[name] = urls[name].replace("http:", "https:")
    return shlex.split(line.format(**urls, bare=f"127.0.0.1:{ports.clear}", ca=f"--cacert {ca}"))


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def prepare(directory: Path, authority: trustme.CA) -> None:
    """What the command lines read."""
    directory.mkdir()
    (directory / "lines").write_bytes(b"one\ntwo\r\nthree\0")
    (directory / "fields").write_text("X-One: 1\nx-two: 2\n")
    (directory / "format").write_text("code %{http_code}\\n\n%{method}\r\n")
    client = authority.issue_cert("client")
    client.cert_chain_pems[0].write_to_path(directory / "client.pem")
    client.private_key_pem.write_to_path(directory / "client.key")


@pytest.mark.parametrize(("exit_code", "line"), SAME.values(), ids=SAME)
def test_the_same_exit_code_and_the_same_octets(
    ports: Ports,
    tls_files: peers.TLSFiles,
    certificate_authority: trustme.CA,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    exit_code: int,
    line: str,
) -> None:
    curl = peers.require_program("curl", package="curl")
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for directory in (ours, theirs):
        prepare(directory, certificate_authority)
    arguments = arguments_of(line, ports, tls_files.ca)
    in_the_clear = [] if any(each.startswith("https:") for each in arguments) else ["--http2-prior-knowledge"]
    done = subprocess.run(
        [curl, "-q", "-s", *in_the_clear, *arguments],
        cwd=theirs,
        input=b"from\nstandard input\n",
        capture_output=True,
        env={name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
    )
    monkeypatch.chdir(ours)
    if "--proto-redir" in arguments:  # curl would go on with ftp
        del arguments[1:3]
    result = CliRunner().invoke(cli, ["get", "-s", *arguments], input=b"from\nstandard input\n")
    assert (result.exit_code, done.returncode) == (exit_code, exit_code), (result.output, done.stderr)
    assert result.stdout_bytes == done.stdout
    if "stderr" in line:
        assert result.stderr_bytes == done.stderr == b"[200]\n"
    changed = {"client.pem", "client.key"}  # which are made for each
    assert {name: data for name, data in contents(ours).items() if name not in changed} == {
        name: data for name, data in contents(theirs).items() if name not in changed
    }
