"""How a benchmark's result is printed: one Markdown section that can be pasted as it is."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from bench.machine import describe


@dataclass(frozen=True)
class Section:
    """One benchmark's result: the first row of `table` is its head."""

    title: str
    command: str
    table: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def markdown(self) -> str:
        """The section with machine, command and date above the table."""
        facts = [
            f"- Machine: {describe()}",
            f"- Command: `{self.command}`",
            f"- Date: {datetime.now(UTC):%Y-%m-%d}",
        ]
        head, *body = self.table
        rows = [_row(head), _row(["---", *["---:"] * (len(head) - 1)]), *map(_row, body)]
        return "\n\n".join([f"## {self.title}", "\n".join(facts), "\n".join(rows), *self.notes])


def command_line(module: str, **options: object) -> str:
    """`python -m bench.MODULE` with the options that were given; false ones are left out."""
    words = [f"python -m bench.{module}"]
    for name, value in options.items():
        if value is True:
            words.append(f"--{name}")
        elif value:
            words.append(f"--{name} {value}")
    return " ".join(words)


def say(message: str) -> None:
    """What is being done, on stderr, so that stdout holds the Markdown alone."""
    print(message, file=sys.stderr, flush=True)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
