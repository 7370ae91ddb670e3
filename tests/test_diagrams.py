"""The state diagrams in docs/architecture.md are those of the tables in the code.

`python -m tests.test_diagrams` draws them afresh.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from pathlib import Path

from trio_h2.actors.phases import TRANSITIONS as PHASES
from trio_h2.actors.phases import ConnectionPhase, Step
from trio_h2.protocol.stream_machine import TRANSITIONS as STREAMS
from trio_h2.protocol.stream_machine import StreamState

DOCUMENT = Path(__file__).parent.parent / "docs" / "architecture.md"

Table = Mapping[enum.Enum, Mapping[enum.Enum, enum.Enum]]

TABLES: Mapping[str, Table] = {"the phases of a connection": PHASES, "the states of a stream": STREAMS}


def diagram(table: Table) -> str:
    """A table as mermaid draws it: every move to another state, with what moves."""
    lines = ["stateDiagram-v2", f"    [*] --> {next(iter(table)).name}"]
    for state, row in table.items():
        moves: dict[str, list[str]] = {}
        for step, target in row.items():
            if isinstance(target, type(state)) and target is not state:
                moves.setdefault(target.name, []).append(step.name)
        lines += [f"    {state.name} --> {target}: {', '.join(steps)}" for target, steps in moves.items()]
        if not moves:
            lines.append(f"    {state.name} --> [*]")
    return "```mermaid\n" + "\n".join(lines) + "\n```\n"


def drawn(text: str) -> str:
    """The document's text with the diagrams drawn from the tables."""
    for title, table in TABLES.items():
        begin, end = f"<!-- diagram of {title} -->\n", "<!-- end of the diagram -->\n"
        before, found, rest = text.partition(begin)
        assert found, f"no diagram of {title}"
        text = before + begin + diagram(table) + end + rest.partition(end)[2]
    return text


def test_the_diagrams_are_those_of_the_tables() -> None:
    text = DOCUMENT.read_text()
    assert text == drawn(text)


def test_every_phase_is_reached_and_left() -> None:
    reached = {target for row in PHASES.values() for target in row.values()}
    assert reached == set(ConnectionPhase) - {ConnectionPhase.LOOKING}
    assert {phase for phase, row in PHASES.items() if not row} == {ConnectionPhase.CLOSED}
    assert set(PHASES) == set(ConnectionPhase)
    assert {step for row in PHASES.values() for step in row} == set(Step)


def test_no_phase_is_come_back_to() -> None:
    order = list(ConnectionPhase)
    assert all(order.index(phase) < order.index(target) for phase, row in PHASES.items() for target in row.values())


def test_every_state_of_a_stream_is_reached() -> None:
    reached = {target for row in STREAMS.values() for target in row.values() if isinstance(target, StreamState)}
    assert reached == set(StreamState) - {StreamState.IDLE}
    assert set(STREAMS) == set(StreamState)


if __name__ == "__main__":
    DOCUMENT.write_text(drawn(DOCUMENT.read_text()))
