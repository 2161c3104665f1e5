"""`lorakit note`: what a person says of adapters, field by field."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lorakit.cli.curating import DryRun, Names, contents_of, step_fields, step_text, tell
from lorakit.cli.options import Json, Quiet
from lorakit.cli.output import Output
from lorakit.cli.queries import QueryCommand
from lorakit.counting import counted_rows
from lorakit.errors import BadUsage

if TYPE_CHECKING:
    from rich.console import Console

    from lorakit.catalog import AdapterRecord, Catalog

EXAMPLE = 'lorakit note ink --rating 4 --strength 0.8,0.6..1 --text "Best under 0.9."'
COMMAND = QueryCommand
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)"
_STRENGTH = re.compile(
    rf"(?P<value>{_NUMBER})|(?:(?P<middle>{_NUMBER})\s*,\s*)?(?P<low>{_NUMBER})\.\.(?P<high>{_NUMBER})"
)
# What --clear takes, as a person calls it, and the field it means.
_CLEARED = {
    "notes": "notes",
    "rating": "rating",
    "favourite": "favourite",
    "strength": "strength",
    "triggers": "trigger_words",
    "title": "title",
}
_OPTIONS = {"notes": "text", "trigger_words": "trigger"}
_CLEAR_HELP = f"Take back what you said: {', '.join(_CLEARED)}, or all. May be repeated."


def note_verb(
    names: Names = None,
    text: Annotated[
        str | None, typer.Option("--text", "-t", help="Your notes; - reads them from stdin.")
    ] = None,
    edit: Annotated[bool, typer.Option("--edit", help="Write the notes in your EDITOR.")] = False,
    rating: Annotated[int | None, typer.Option(help="From 1 to 5.")] = None,
    favourite: Annotated[
        bool | None, typer.Option("--favourite/--no-favourite", help="Mark as a favourite.")
    ] = None,
    strength: Annotated[
        str | None,
        typer.Option(help="Where it works best: 0.8, a range 0.6..1, or both as 0.8,0.6..1."),
    ] = None,
    trigger: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WORDS", help="Your trigger words, in place of the file's; repeatable."
        ),
    ] = None,
    title: Annotated[str | None, typer.Option(help="Its title, as you would print it.")] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Its name in the catalog from now on; the file keeps its own."),
    ] = None,
    clear: Annotated[list[str] | None, typer.Option(metavar="FIELD", help=_CLEAR_HELP)] = None,
    dry_run: DryRun = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Keep notes, a rating, a strength and more of adapters, or show them.

    They belong to what is in the file: renaming, moving and editing its header keeps them.
    """
    from lorakit.cli.catalogs import open_catalog
    from lorakit.cli.selecting import select_adapters
    from lorakit.cli.yours import yours_of

    out = Output.of("note", json, quiet)
    if not names:
        raise BadUsage("There is no NAME.", hint=f"For example: {EXAMPLE}")
    if text == "-" and "-" in names:
        raise BadUsage("Names and notes cannot both come from stdin.")
    changes = _cleared(clear or [])
    given = {
        "rating": rating,
        "favourite": favourite,
        "strength": None if strength is None else read_strength(strength),
        "trigger_words": trigger or None,
        "title": title,
    }
    changes |= {field: value for field, value in given.items() if value is not None}
    if text is not None:
        changes["notes"] = (sys.stdin.read() if text == "-" else text).strip() or None
    with open_catalog() as catalog:
        changing = bool(changes) or edit or name is not None
        records = select_adapters(catalog, names, out, whole=changing)
        if edit:
            changes["notes"] = _edited(catalog, records)
        if name is not None and len(records) != 1:
            raise BadUsage("--name takes one NAME: no two adapters have the same.")
        step: dict[str, Any] = {}
        if changes or name is not None:
            step = _change(catalog, records, changes, name, dry_run, out)
            records = [catalog.resolve(f"sha256:{record.file_sha256}") for record in records]
        found = [(record, yours_of(catalog, record)) for record in records]
    out.result(
        {
            "adapters": [
                {"name": record.name, "content": record.tensor_sha256, **yours}
                for record, yours in found
            ],
            **step,
        },
        human=lambda console: _show(console, found),
        ids=[record.name for record in records],
    )


def read_strength(text: str) -> dict[str, float | None]:
    """A strength as it is typed: `0.8`, `0.6..1` (its middle is meant), or `0.8,0.6..1`.

    Raises `BadUsage` for anything else.
    """
    match = _STRENGTH.fullmatch(text.strip())
    if match is None:
        raise BadUsage(
            f"{text!r} is no strength.", hint="Write 0.8, a range 0.6..1, or both: 0.8,0.6..1"
        )
    if match["value"] is not None:
        return {"value": float(match["value"]), "min": None, "max": None}
    low, high = float(match["low"]), float(match["high"])
    middle = float(match["middle"]) if match["middle"] else round((low + high) / 2, 6)
    return {"value": middle, "min": low, "max": high}


def _cleared(names: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in names:
        if name == "all":
            found |= dict.fromkeys(_CLEARED.values())
        elif name in _CLEARED:
            found[_CLEARED[name]] = None
        else:
            raise BadUsage(f"There is no field {name!r}.", hint=_CLEAR_HELP)
    return found


def _edited(catalog: Catalog, records: list[AdapterRecord]) -> str | None:
    from lorakit.cli.editing import edited

    if len(records) != 1:
        raise BadUsage("--edit takes one NAME.", hint="--text gives several the same notes.")
    own = [
        f for f in catalog.facts(records[0].tensor_sha256).get("notes", ()) if f.source == "user"
    ]
    return edited(own[0].value if own else "", "notes.md") or None


def _change(
    catalog: Catalog,
    records: list[AdapterRecord],
    changes: Mapping[str, Any],
    name: str | None,
    dry_run: bool,
    out: Output,
) -> dict[str, Any]:
    """Keep the changes in one step; what is told of it."""
    from lorakit.catalog.facts import NewFact

    facts = [
        NewFact(content, field, value)
        for content in contents_of(records)
        for field, value in changes.items()
    ]
    words = [_word(field, value) for field, value in changes.items()]
    words += [f"--name={name}"] if name is not None else []
    with catalog.step(step_text("note", records, *words), dry_run=dry_run) as recording:
        changed = catalog.set_facts(facts)
        if name is not None and name != records[0].name:
            catalog.rename(records[0].id, name)
            changed += 1
    tell(out, f"{counted_rows(changed, 'field')} changed", recording, dry_run)
    return step_fields(recording, dry_run)


def _word(field: str, value: object) -> str:
    """A change as the journal names it; what may be long stands in the row."""
    if value is None:
        return f"--clear={field}"
    if isinstance(value, bool):
        return f"--{field}" if value else f"--no-{field}"
    return f"--{field}={value}" if isinstance(value, int) else f"--{_OPTIONS.get(field, field)}"


def _show(console: Console, found: list[tuple[AdapterRecord, dict[str, Any]]]) -> None:
    from lorakit.cli.render import facts, heading
    from lorakit.cli.yours import OTHERS, others_rows, yours_rows

    for number, (record, yours) in enumerate(found):
        if number:
            console.print()
        heading(console, record.name)
        own = [row for row in yours_rows(yours) if row[1]]
        facts(console, own or [("", "nothing said by you yet")])
        if others := [row for row in others_rows(yours) if row[1]]:
            heading(console, OTHERS)
            facts(console, others)
