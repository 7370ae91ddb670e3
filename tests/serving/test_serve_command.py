"""The command line of `serve`: options, the environment, the file, and what is said about them."""

from __future__ import annotations

import math
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from cryptography.hazmat.primitives import serialization

import tests.peers as peers
import trio_h2
from tests.fresh_imports import forget
from tests.serving.running import invoke_serve
from trio_h2.cli.serving import serve_command
from trio_h2.cli.serving.config_knobs import KNOBS
from trio_h2.cli.serving.serve_options import ServeOptions

Write = Callable[..., Path]


@pytest.fixture
def told(module: Write, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ServeOptions]:
    """What a command line makes of its options; nothing is served."""
    asked: list[ServeOptions] = []

    def run(options: ServeOptions) -> int:
        asked.append(options)
        return 0

    monkeypatch.setattr(serve_command, "run_plain", run)
    monkeypatch.setattr(serve_command, "run_supervised", run)

    def tell(*arguments: str | Path, **arguments_of_invoke: Any) -> ServeOptions:
        result = invoke_serve(*arguments, **arguments_of_invoke)
        assert (result.exit_code, result.output) == (0, "")
        return asked.pop()

    return tell


Told = Callable[..., ServeOptions]


def changed(name: str) -> int | float | bool:
    """Another value of a knob than its default, that it takes."""
    default: int | float | bool = getattr(trio_h2.Config(), name)
    if isinstance(default, bool):
        return not default
    return 99.5 if default == math.inf else default + 1


def as_option(name: str, value: float) -> list[str]:
    option = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{option}" if value else f"--no-{option}"]
    return [f"--{option}", str(value)]


def test_every_knob_of_config_is_an_option(told: Told) -> None:
    values = {name: changed(name) for name in KNOBS}
    assert set(values) == {field.name for field in attrs.fields(trio_h2.Config)}
    arguments = [word for name, value in values.items() for word in as_option(name, value)]
    assert told("hello:app", *arguments).config == trio_h2.Config(**values)


def test_every_knob_of_config_is_an_environment_variable(told: Told) -> None:
    values = {name: changed(name) for name in KNOBS}
    environment = {f"TRIO_H2_{name.upper()}": str(value) for name, value in values.items()}
    assert told("hello:app", env=environment).config == trio_h2.Config(**values)


@pytest.mark.parametrize("hyphens", [True, False])
def test_every_knob_of_config_is_a_key_of_the_file(told: Told, tmp_path: Path, hyphens: bool) -> None:
    values = {name: changed(name) for name in KNOBS}
    file = tmp_path / "serve.toml"
    file.write_text(
        "".join(
            f"{name.replace('_', '-') if hyphens else name} = {str(value).lower()}\n" for name, value in values.items()
        )
    )
    assert told("hello:app", "--config", file).config == trio_h2.Config(**values)


def test_by_default_the_config_is_the_default(told: Told) -> None:
    assert told("hello:app") == ServeOptions(target="hello:app")


def test_help_names_every_option_in_its_group() -> None:
    text = invoke_serve("--help").output
    for group in ("Where to listen:", "TLS:", "Processes:", "HTTP/2: what a peer may cost:", "HTTP/2: timeouts"):
        assert group in text
    for name in KNOBS:
        assert f"--{name.replace('_', '-')}" in text
    assert "\n  TARGET" not in text.replace("\n  TARGET is a", "")


def test_help_needs_no_docstrings(monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -OO` has none."""
    from trio_h2.cli.serving.config_knobs import knob_options

    monkeypatch.setattr(trio_h2.Config, "__doc__", None)
    assert [option.name for option in knob_options()] == list(KNOBS)


def test_the_command_line_counts_before_the_environment_before_the_file(told: Told, tmp_path: Path) -> None:
    file = tmp_path / "serve.toml"
    file.write_text('port = 1\nworkers = 1\nmax-resets = 1\naccess-log = false\nlog-format = "json"\n')
    environment = {"TRIO_H2_CONFIG": str(file), "TRIO_H2_PORT": "2", "TRIO_H2_MAX_RESETS": "2", "TRIO_H2_WORKERS": "2"}
    options = told("hello:app", "--port", "3", "--access-log", env=environment)
    assert (options.port, options.workers, options.config.max_resets) == (3, 2, 2)
    assert (options.access_log, options.log_format) == (True, "json")


def test_what_excludes_something_from_a_source_behind_it_counts(
    told: Told, tmp_path: Path, tls_files: peers.TLSFiles
) -> None:
    file = tmp_path / "serve.toml"
    certificate = f'certfile = "{tls_files.certificate}"\nkeyfile = "{tls_files.key}"\n'
    file.write_text(f'host = "::1"\nport = 1\nworkers = 4\n{certificate}')
    options = told("hello:app", "--config", file, "--fd", "3", "--reload", env={"TRIO_H2_SELF_SIGNED": "yes"})
    assert (options.host, options.port, options.fd) == (None, None, 3)
    assert (options.workers, options.reload) == (None, True)
    assert (options.certfile, options.keyfile, options.self_signed) == (None, None, True)
    options = told("hello:app", "--config", file, "--port", "2", env={"TRIO_H2_UNIX": "x", "TRIO_H2_UNIX_MODE": "600"})
    assert (options.host, options.port, options.unix, options.unix_mode) == ("::1", 2, None, None)


def test_one_source_that_says_two_ways_is_wrong(module: Write, tmp_path: Path) -> None:
    file = tmp_path / "serve.toml"
    file.write_text("port = 1\nfd = 3\n")
    result = invoke_serve("hello:app", "--config", file)
    assert "--port and --fd do not go together" in result.stderr
    assert result.exit_code == 2


def test_the_level_may_be_written_as_logging_does(told: Told) -> None:
    assert told("hello:app", env={"TRIO_H2_LOG_LEVEL": "WARNING"}).log_level == "warning"


def test_an_empty_variable_says_nothing(told: Told) -> None:
    assert told("hello:app", env={"TRIO_H2_PORT": "", "TRIO_H2_ACCESS_LOG": ""}) == ServeOptions(target="hello:app")


def test_a_file_may_hold_any_letters(told: Told, tmp_path: Path) -> None:
    file = tmp_path / "sérve.toml"
    file.write_text('root-path = "/ü"  # über\n', encoding="utf-8")
    assert told("hello:app", "--config", file).root_path == "/ü"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prot = 1", "FILE: there is no option 'prot'; did you mean 'port'?"),
        ("max_frame-siz = 1", "FILE: there is no option 'max_frame-siz'; did you mean 'max-frame-size'?"),
        ("zzzzzz = 1", "FILE: there is no option 'zzzzzz'"),
        ("config = 'x'", "FILE: there is no option 'config'"),
        ("target = 'x'", "FILE: there is no option 'target'"),
        ("[serve]\nport = 1", "FILE: there is no option 'serve'"),
        ("'' = 1", "FILE: there is no option ''"),
        ("port = '8080'", "FILE: 'port' must be a whole number, not '8080'"),
        ("port = 1.5", "FILE: 'port' must be a whole number, not 1.5"),
        ("port = true", "FILE: 'port' must be a whole number, not true"),
        ("grace = true", "FILE: 'grace' must be a number, not true"),
        ("host = ['x']", "FILE: 'host' must be a string, not an array"),
        ("host = {x = 1}", "FILE: 'host' must be a string, not a table"),
        ("log_level = 1", "FILE: 'log_level' must be a string, not 1"),
        ("access-log = 1", "FILE: 'access-log' must be true or false, not 1"),
        ("idle-timeout = '5'", "FILE: 'idle-timeout' must be a number, not '5'"),
        ("max-resets = 1\nmax_resets = 1", "FILE: 'max-resets' and 'max_resets' are one option"),
        ("port = 70000", "Invalid value for 'port' in FILE: 70000 is not in the range 0<=x<=65535."),
        ("max_frame_size = 5", "Invalid value for 'max_frame_size' in FILE: it must be from 16384 to 16777215, not 5"),
        ("idle-timeout = nan", "Invalid value for 'idle-timeout' in FILE: it must be more than 0 seconds, not nan"),
        ("grace = -1", "Invalid value for 'grace' in FILE: it must be 0 seconds or more, not -1"),
        ("root-path = 'x'", "Invalid value for 'root-path' in FILE: it must begin with a slash: 'x'"),
        ("unix-mode = '999'", "Invalid value for 'unix-mode' in FILE: it must be permissions as chmod takes them, 660"),
        ("log-level = 'loud'", "Invalid value for 'log-level' in FILE: 'loud' is not one of 'debug', 'info'"),
        ("certfile = 'nothing.pem'", "Invalid value for 'certfile' in FILE: File 'nothing.pem' does not exist."),
        ("forwarded-allow-ips = 'x'", "Invalid value for 'forwarded-allow-ips' in FILE: 'x' does not appear to be an"),
        ("port = ", "FILE is no TOML: "),
        ("\udcff", "FILE is no TOML: 'utf-8' codec can't decode"),
    ],
)
def test_what_is_wrong_in_a_file_is_one_line(module: Write, tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "serve.toml"
    file.write_text(text, errors="surrogateescape")
    result = invoke_serve("hello:app", "--config", file)
    assert result.stderr.startswith(f"Error: {message.replace('FILE', str(file))}")
    assert (result.stderr.count("\n"), result.exit_code) == (1, 2)


def test_a_file_that_is_not_there(module: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    result = invoke_serve("hello:app", env={"TRIO_H2_CONFIG": "nothing.toml"})
    assert result.stderr == "Error: Invalid value for TRIO_H2_CONFIG: File 'nothing.toml' does not exist.\n"
    assert result.exit_code == 2

    def fail(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", fail)
    result = invoke_serve("hello:app", "--config", "hello.py")
    assert (result.stderr, result.exit_code) == ("Error: cannot read hello.py: Permission denied\n", 2)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("PORT", "abc", "'abc' is not a valid integer"),
        ("ACCESS_LOG", "perhaps", "'perhaps' is not a valid boolean"),
        ("FACTORY", "perhaps", "'perhaps' is not a valid boolean"),
        ("MAX_FRAME_SIZE", "1", "it must be from 16384 to 16777215, not 1"),
        ("GRACE", "nan", "it must be 0 seconds or more, not nan"),
        ("PROXY_PROTOCOL", "10.0.0.1/8", "10.0.0.1/8 has host bits set"),
    ],
)
def test_what_is_wrong_in_the_environment_is_one_line(module: Write, name: str, value: str, message: str) -> None:
    result = invoke_serve("hello:app", env={f"TRIO_H2_{name}": value})
    assert result.stderr.startswith(f"Error: Invalid value for TRIO_H2_{name}: {message}")
    assert (result.stderr.count("\n"), result.exit_code) == (1, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("hello:app", "--unix-mode", "666666"), "it must be permissions as chmod takes them"),
        (("hello:app", "--unix-mode", "abc"), "it must be permissions as chmod takes them"),
        (("hello:app", "--max-frame-size", "1"), "'--max-frame-size': it must be from 16384 to 16777215, not 1"),
        (("hello:app", "--root-path", "x"), "'--root-path': it must begin with a slash"),
        (("hello:app", "--fd", "3", "--port", "1"), "--port and --fd do not go together"),
        (("hello:app", "--forwarded-allow-ips", "nobody"), "'--forwarded-allow-ips': 'nobody' does not appear"),
        (("hello:app", "--proxy-protocol", "nobody"), "'--proxy-protocol': 'nobody' does not appear"),
        (("hello:app", "--unix", ""), "'--unix': it must not be empty"),
        (("hello:app", "--host", ""), "'--host': it must not be empty"),
        (("hello.py",), "hello.py is a file: neither a directory, nor an app as module:app"),
        ((".", "--factory"), "--factory makes no sense for a directory"),
        ((), "Missing argument 'TARGET'"),
    ],
)
def test_wrong_command_lines(module: Write, arguments: tuple[str, ...], message: str) -> None:
    result = invoke_serve(*arguments)
    assert message in result.stderr
    assert result.exit_code == 2


def test_a_path_that_exists_is_a_directory_whatever_it_is_called(told: Told, tmp_path: Path) -> None:
    for name in ("hello:app", "package"):
        (tmp_path / name).mkdir()
        assert told(name) == ServeOptions(target=name, is_directory=True)
    (tmp_path / "file:app").touch()
    assert invoke_serve("file:app").exit_code == 2


def test_a_directory_that_is_gone_is_one_line(module: Write, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    os.chdir(here)
    here.rmdir()
    result = invoke_serve(".", "--port", "0")
    assert (result.stderr, result.exit_code) == ("Error: cannot serve .: No such file or directory\n", 1)


@pytest.mark.parametrize(("name", "extra"), [("watchfiles", "reload"), ("wsproto", "asgi"), ("h11", "asgi")])
def test_a_missing_extra_is_one_line(module: Write, monkeypatch: pytest.MonkeyPatch, name: str, extra: str) -> None:
    forget(monkeypatch, lambda each: each.partition(".")[0] == name or each.startswith("trio_h2.adapters"))
    monkeypatch.setitem(sys.modules, name, None)
    result = invoke_serve("hello:app", *(["--reload"] if extra == "reload" else []))
    assert result.stderr == f"Error: {name} is missing; install it with: pip install 'trio-h2[{extra}]'\n"
    assert result.exit_code == 1


def test_a_port_in_use(module: Write) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = invoke_serve("hello:app", "--port", str(port))
    assert result.stderr == f"Error: cannot listen on 127.0.0.1 port {port}: Address already in use\n"
    assert result.exit_code == 1


def test_certificates_that_do_not_match(module: Write, tls_files: peers.TLSFiles, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    peers_key = tls_files.key.read_text()
    other.write_text(peers_key.replace(peers_key.splitlines()[1], peers_key.splitlines()[1][::-1]))
    for key, workers in ((other, ()), (tls_files.ca, ()), (other, ("--workers", "2"))):
        result = invoke_serve("hello:app", "--certfile", tls_files.certificate, "--keyfile", key, *workers)
        assert result.stderr.startswith(f"Error: cannot use certificate {tls_files.certificate} with key {key}: ")
        assert (result.stderr.count("\n"), result.exit_code) == (1, 1)
    encrypted = tmp_path / "encrypted.pem"
    key = serialization.load_pem_private_key(tls_files.key.read_bytes(), None)
    encryption = serialization.BestAvailableEncryption(b"secret")
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    encrypted.write_bytes(key.private_bytes(*form))
    result = invoke_serve("hello:app", "--certfile", tls_files.certificate, "--keyfile", encrypted)
    assert result.stderr.endswith(": the key is encrypted, and a server has nobody to ask for its password\n")
    result = invoke_serve("hello:app", "--self-signed", "--ca-certs", tls_files.key)
    assert result.stderr.startswith(f"Error: cannot use --ca-certs {tls_files.key}: ")
    assert (result.stderr.count("\n"), result.exit_code) == (1, 1)
