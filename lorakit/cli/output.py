"""The one place that prints. Results go to stdout, everything else to stderr, in three modes."""

from __future__ import annotations

import codecs
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from functools import partial
from io import TextIOWrapper
from typing import IO, TYPE_CHECKING, Any, TextIO, cast

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

    def about(self, what: str) -> Output:
        """The same for what a verb also tells, in a document of another shape: `lorakit/VERB-WHAT/1`."""
        return Output(f"{self.verb} {what}", self.mode)

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
                {**schema, **document},
                # JSON knows one way to write what an encoding lacks; ours for people is another.
                ensure_ascii=(sys.stdout.encoding or "utf-8").lower() not in ("utf-8", "utf8"),
                allow_nan=False,
                default=_plain,
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
            print(visible(message), file=sys.stderr)  # noqa: T201

    def warn(self, message: str) -> None:
        """Something to know, on stderr in every mode."""
        warn(message)

    def advise(self, message: str) -> None:
        """Something a person may want to do otherwise, on stderr in every mode."""
        warn(message, "Advice")

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


def warn(message: str, label: str = "Warning") -> None:
    """A line on stderr that begins with the label."""
    print(_wrapped(f"{label}: {visible(message)}"), file=sys.stderr)  # noqa: T201


# Control characters, which could steer the terminal, marks that turn the direction of writing, and
# halves of characters. Files hold whatever their makers put in.
_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# What a terminal without Unicode shows for the signs lorakit itself uses.
_ASCII = {"█": "#", "▄": "+", "·": ".", "×": "x", "–": "-", "…": "."}


def visible(text: str) -> str:
    """`text` with every character that a terminal would obey, not show, written as an escape."""
    return _UNSAFE.sub(lambda found: _escaped(found[0]), text)


def prepare_streams() -> None:
    """Let no character fail: what an encoding lacks is escaped, and odd bytes in names survive."""
    codecs.register_error("lorakit", _replace)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="lorakit")
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    bad = error.object[error.start : error.end]
    return "".join(_ASCII.get(sign) or _escaped(sign) for sign in bad), error.end


def _escaped(text: str) -> str:
    return text.encode("unicode_escape").decode("ascii")


def write_line(text: str) -> None:
    """One line on stdout."""
    print(text)  # noqa: T201


def console() -> Console:
    """The console for results: 80 columns when piped, the terminal's width otherwise."""
    from rich.console import Console

    piped = not sys.stdout.isatty()
    # Names may look like Rich's markup or emoji codes, and are to be shown as they are.
    return Console(
        file=cast("IO[str]", _Trimmed(sys.stdout)) if piped else None,
        width=80 if piped and "COLUMNS" not in os.environ else None,
        highlight=False,
        soft_wrap=False,
        markup=False,
        emoji=False,
    )


# Spaces at the end of a line, also before what ends a colour.
_TRAILING = re.compile(r" +((?:\x1b\[[0-9;]*m)*)$", re.MULTILINE)


class _Trimmed:
    """A stream that writes no spaces at the ends of lines: rich fills lines up, and wraps after spaces."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write whole lines; a text may end within one, whose end is left as it is."""
        whole, end, rest = text.rpartition("\n")
        return self._stream.write(_TRAILING.sub(r"\1", whole) + end + rest)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a stream has
        return getattr(self._stream, name)


def trimmed_help(arguments: Sequence[str]) -> AbstractContextManager[object]:
    """While Typer writes help into a pipe, its lines end without spaces, too."""
    if sys.stdout.isatty() or not {"--help", "-h"} & set(arguments):
        return nullcontext()
    return redirect_stdout(cast("IO[str]", _Trimmed(sys.stdout)))


def report_error(error: LorakitError) -> None:
    """The error and its hint on stderr, in red on a terminal that shows colours."""
    colour = (
        sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    )
    label = "\x1b[1;31mError:\x1b[0m" if colour else "Error:"
    message = _wrapped(f"Error: {visible(error.message)}")
    print(message.replace("Error:", label, 1), file=sys.stderr)  # noqa: T201
    if error.hint:
        print("\n".join(map(_hint, visible(error.hint).split("\n"))), file=sys.stderr)  # noqa: T201


def _hint(line: str) -> str:
    """A line of a hint; a command to be copied stays in one."""
    return line if line.startswith("  ") or '"' in line else _wrapped(line)


def _wrapped(text: str) -> str:
    """The lines of `text`, each broken between words for a person; as they are where a program reads them."""
    if not sys.stderr.isatty() and "COLUMNS" not in os.environ:
        return text
    import shutil
    import textwrap

    width = max(shutil.get_terminal_size().columns, 40)
    fill = partial(textwrap.fill, width=width, break_long_words=False, break_on_hyphens=False)
    return "\n".join(
        fill(line, subsequent_indent="  " if line.startswith("- ") else "")
        for line in text.split("\n")
    )
