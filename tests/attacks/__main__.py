"""`python -m tests.attacks [NAMES] [--attackers 1,20] [--json FILE]`: attacks a real process, and prints what it took.

One line for each attack and number of attackers: what was sent and what the victim worked off of it; the CPU of the
victim's tasks a frame, as a multiple of the like without the trick, and of the whole process; memory at its peak and at
the end; the longest steps; how long a bystander waited; what was left; and whether that stays under the bars.
"""

from __future__ import annotations

import argparse
import dataclasses
import fnmatch
import json
import sys
from collections.abc import Iterable

from tests.attacks import legitimate
from tests.attacks.bars import COLUMNS, judge, line, row
from tests.attacks.catalogue import ATTACKS
from tests.attacks.model import Attack
from tests.attacks.runner import Figures, Victim, machine, many_files, run


class Measured:
    """Runs attacks, each with a victim of its own; the likes of them once for each number of attackers."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._likes: dict[tuple[str, int], Figures] = {}

    def figures(self, attack: Attack, attackers: int) -> Figures:
        client = attack.way is not None
        victim = Victim(client=client, config={} if client else attack.config, files=attack.files)
        try:
            return run(attack, attackers, victim, share=self._share)
        finally:
            victim.stop()

    def judged(self, attack: Attack, attackers: int) -> Figures:
        like = None
        if attack.like is not None:
            key = attack.like.name, attackers
            if key not in self._likes:
                self._likes[key] = self.figures(attack.like, attackers)
            like = self._likes[key]
        figures = self.figures(attack, attackers)
        figures.failures = judge(attack, figures, like)
        return figures


def chosen(names: Iterable[str]) -> list[Attack]:
    names = list(names)
    if not names:
        return list(ATTACKS.values())
    found = [attack for name, attack in ATTACKS.items() if any(fnmatch.fnmatch(name, pattern) for pattern in names)]
    if not found:
        sys.exit(f"no attack is called {' or '.join(names)}; there are: {' '.join(ATTACKS)}")
    return found


def main() -> int:
    if sys.argv[1:2] == ["legitimate"]:
        return legitimate.main(sys.argv[2:])
    parser = argparse.ArgumentParser(prog="python -m tests.attacks", description=__doc__)
    parser.add_argument("names", nargs="*", help="patterns of names, by default all; or `legitimate`")
    parser.add_argument("--attackers", default="1,20", help="how many at once, by default 1,20")
    parser.add_argument("--share", type=float, default=1.0, help="how much of each attack to send, by default all")
    parser.add_argument("--json", help="also write the figures to this file")
    parser.add_argument("--list", action="store_true", help="say what there is")
    options = parser.parse_args()
    if options.list:
        for attack in chosen(options.names):
            print(f"{attack.name}: {attack.text}")
        return 0
    many_files()
    measured = Measured(options.share)
    done = []
    print(f"{machine()}\n\n{line(COLUMNS)}\n{line(('---',) * len(COLUMNS))}", flush=True)
    for attack in chosen(options.names):
        for attackers in map(int, options.attackers.split(",")):
            figures = measured.judged(attack, attackers)
            done.append(figures)
            print(line(row(figures)), flush=True)
    failed = [figures for figures in done if figures.failures]
    print(f"\n{len(done)} attacks, {len(failed)} over a bar")
    if options.json:
        with open(options.json, "w") as file:
            json.dump([dataclasses.asdict(figures) for figures in done], file, indent=1)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
