"""What docs/deploying.md says of the command is true, also where it is not run."""

from __future__ import annotations

import json
import re
import shlex

import click
import pytest

from trio_h2.cli.serving.metrics import Snapshot, page
from trio_h2.cli.serving.serve_command import serve

from .page import PAGE

TEXT = PAGE.read_text()


def command_lines() -> list[list[str]]:
    """The arguments of every `trio-h2 serve` on the page: of shells, of the unit, the container and the pod."""
    lines = [shlex.split(line) for line in re.findall(r"^(?:ExecStart=\S*/)?trio-h2 serve (.*)$", TEXT, re.MULTILINE)]
    lines += [json.loads(line) for line in re.findall(r"^CMD (.*)$", TEXT, re.MULTILINE)]
    (pod,) = re.findall(r"^ *args: \[(.*)\]$", TEXT, re.MULTILINE)
    return [*lines, [word.strip(' "') for word in pod.split(",")]]


@pytest.mark.parametrize("arguments", command_lines(), ids=" ".join)
def test_every_command_line_is_one(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    files = [word for word in arguments if word.startswith("/")]  # they need not be there
    arguments = [__file__ if word in files else word for word in arguments]
    with monkeypatch.context() as patch:
        patch.setattr(serve, "callback", lambda **values: made.append(values))
        assert serve.main(arguments, standalone_mode=False) is None
    assert made[0]["target"] == "app:app"


def test_there_are_as_many_as_the_page_shows() -> None:
    assert len(command_lines()) == TEXT.count("trio-h2 serve app:app") + TEXT.count('"app:app"') + TEXT.count(
        "[app:app"
    )


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(--[a-z-]+)", TEXT))))
def test_every_option_is_one(name: str) -> None:
    options = [each for parameter in serve.params if isinstance(parameter, click.Option) for each in parameter.opts]
    assert name in options


def test_every_metric_is_one() -> None:
    shown = set(re.findall(r"`(trio_h2_[a-z_]+)", TEXT))
    _, text = page(Snapshot({}), "")
    assert shown <= set(re.findall(r"^# TYPE (\S+)", text.decode(), re.MULTILINE))
    assert len(shown) > 5
