"""What the verbs share that change what is said of adapters: options, the step's name, what is told."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lorakit.cli.complete import complete_subjects

if TYPE_CHECKING:
    from lorakit.catalog import AdapterRecord
    from lorakit.catalog.journal import Recording
    from lorakit.cli.output import Output

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME...",
        help="Adapters by name, sha256:PREFIX, path or query (`tag:ink`); - reads names from stdin.",
        show_default=False,
        autocompletion=complete_subjects,
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would change; change nothing.")]
_MOST_NAMED = 5
_MOST_LINES = 20


def step_text(verb: str, records: Sequence[AdapterRecord], *words: str) -> str:
    """The name of a step in the journal: the command, with many adapters counted."""
    names = [record.name for record in records]
    shown = names if len(names) <= _MOST_NAMED else [f"({len(names)} adapters)"]
    return " ".join([verb, *map(_quoted, shown), *map(_quoted, words)])


def tell(out: Output, done: str, recording: Recording, dry_run: bool) -> None:
    """Say what was done (a sentence without its end), and how to take it back."""
    lines = recording.rehearsed
    if dry_run and lines:
        out.say("\n".join(("Nothing was changed. This would be:", *lines[:_MOST_LINES])))
        if (rest := len(lines) - _MOST_LINES) > 0:
            out.say(f"... and {rest:,} more (--json lists all)")
    elif recording.number is None:
        out.say("There is nothing to change: it is so already.")
    else:
        out.say(f"{done}. To take it back: lorakit undo {recording.number}")


def step_fields(recording: Recording, dry_run: bool) -> dict[str, Any]:
    """What `--json` tells of a step: its number, and what a dry run would have changed."""
    return {"step": recording.number, "dry_run": dry_run, "would_change": recording.rehearsed}


def contents_of(records: Sequence[AdapterRecord]) -> list[str]:
    """The contents of adapters, each once."""
    return list(dict.fromkeys(record.tensor_sha256 for record in records))


def _quoted(word: str) -> str:
    return word if word.startswith("(") else shlex.quote(word)
