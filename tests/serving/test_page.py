"""What docs/serving.md says of the command is true."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import click
import pytest

import trio_h2
from tests.serving.running import invoke_serve
from trio_h2.cli.serving import serve_command
from trio_h2.cli.serving.config_knobs import KNOBS
from trio_h2.cli.serving.serve_options import ServeOptions

TEXT = (Path(__file__).parents[2] / "docs" / "serving.md").read_text()
OPTIONS = [each for each in serve_command.serve.params if isinstance(each, click.Option) and each.name not in KNOBS]


def rows() -> dict[str, str]:
    """The default of each option, as it stands in the table."""
    section = TEXT.partition("\n## Options\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| `(--[\w-]+)` \| ?([^|]*?) \|", section, re.MULTILINE))


def test_the_table_has_every_option_and_no_other() -> None:
    assert sorted(rows()) == sorted(option.opts[0] for option in OPTIONS)


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.opts[0])
def test_options_have_their_true_defaults(option: click.Option) -> None:
    said = rows()[option.opts[0]]
    default = serve_command.serve.make_context("serve", ["nothing:app"]).params.get(str(option.name))
    if option.name in ("host", "port"):
        assert (said in str(option.help)) or said == "8443, or 8080 without TLS"
    elif isinstance(default, bool):
        assert said == ("on" if default else "off")
    elif isinstance(default, int | float):
        assert float(said.replace(",", "")) == default
    else:
        assert said == (default or "")


def test_the_file_is_one(module: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """As it stands on the page."""
    (text,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    Path("serve.toml").write_text(text)
    asked: list[ServeOptions] = []
    monkeypatch.setattr(serve_command, "run_plain", lambda options: asked.append(options) or 0)
    assert invoke_serve("hello:app", "--config", "serve.toml").output == ""
    config = trio_h2.Config(max_concurrent_streams=250, keepalive_interval=60, idle_timeout=float("inf"))
    assert asked == [
        ServeOptions(
            target="hello:app",
            host="0.0.0.0",
            port=8000,
            forwarded_allow_ips="10.0.0.0/8, 192.0.2.1",
            access_log=False,
            log_format="json",
            grace=30,
            config=config,
        )
    ]


@pytest.mark.parametrize("words", re.findall(r"`(--[a-z-]+(?: [\w./]+)?)`", TEXT))
def test_every_option_that_is_named_is_one(words: str) -> None:
    names = {name for each in serve_command.serve.params for name in (*each.opts, *each.secondary_opts)}
    assert words.split()[0] in names | {"--help"}


def test_every_variable_that_is_named_is_one() -> None:
    variables = {option.envvar for option in serve_command.serve.params if isinstance(option, click.Option)}
    assert set(re.findall(r"TRIO_H2_[A-Z]\w*", TEXT)) <= variables
