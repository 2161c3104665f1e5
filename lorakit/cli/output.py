"""The one place that prints. Results go to stdout, everything else to stderr, in three modes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from lorakit.errors import BadUsage, LorakitError

if TYPE_CHECKING:
    from rich.console import Console


class Mode(Enum):
    """How results are written: for people, as one JSON document, or as bare ids."""

    HUMAN = "human"
    JSON = "json"
    QUIET = "quiet"


# (done, total, what is being worked on)
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Output:
    """Prints one verb's result in one mode."""

    verb: str
    mode: Mode

    @classmethod
    def of(cls, verb: str, json_wanted: bool = False, quiet: bool = False) -> Output:
        """The output for the flags a verb was given. Raises `BadUsage` for both at once."""
        if json_wanted and quiet:
            raise BadUsage("--json and --quiet exclude each other.")
        mode = Mode.JSON if json_wanted else Mode.QUIET if quiet else Mode.HUMAN
        return cls(verb, mode)

    def result(
        self,
        document: Mapping[str, Any],
        human: Callable[[Console], None],
        ids: Iterable[str] = (),
    ) -> None:
        """Write the result: `document` as JSON, `human` on a console, or `ids` one a line."""
        if self.mode is Mode.JSON:
            schema = {"schema": f"lorakit/{self.verb.replace(' ', '-')}/1"}
            text = json.dumps(
                {**schema, **document}, ensure_ascii=False, allow_nan=False, default=_plain
            )
            write_line(text)
        elif self.mode is Mode.QUIET:
            for line in ids:
                write_line(line)
        else:
            human(console())

    def say(self, message: str) -> None:
        """A remark for people, on stderr; silent in the other modes."""
        if self.mode is Mode.HUMAN:
            print(message, file=sys.stderr)  # noqa: T201

    def warn(self, message: str) -> None:
        """Something to know, on stderr in every mode."""
        print(f"Warning: {message}", file=sys.stderr)  # noqa: T201

    @contextmanager
    def progress(self, title: str) -> Iterator[Progress]:
        """A bar on stderr, in human mode on a terminal only; gone when done.

        It appears only once the work has taken a second.
        """
        if self.mode is not Mode.HUMAN or not sys.stderr.isatty():
            yield lambda done, total, what: None
            return
        from lorakit.cli.progress import bar

        with bar(title) as update:
            yield update


def _plain(value: object) -> object:
    """Records become objects by their fields; paths and times become text."""
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    return str(value)


def write_line(text: str) -> None:
    """One line on stdout; a character the terminal cannot show is escaped, never an error."""
    encoding = sys.stdout.encoding or "utf-8"
    safe = text.encode(encoding, "backslashreplace").decode(encoding)
    print(safe)  # noqa: T201


def console() -> Console:
    """The console for results: 80 columns when piped, the terminal's width otherwise."""
    from rich.console import Console

    piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(width=80 if piped else None, highlight=False, soft_wrap=False)


def report_error(error: LorakitError) -> None:
    """The error and its hint on stderr, in red on a terminal that shows colours."""
    colour = (
        sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    )
    label = "\x1b[1;31mError:\x1b[0m" if colour else "Error:"
    print(f"{label} {error.message}", file=sys.stderr)  # noqa: T201
    if error.hint:
        print(error.hint, file=sys.stderr)  # noqa: T201
