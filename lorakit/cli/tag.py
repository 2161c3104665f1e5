"""`lorakit tag`: show tags, give them to adapters and take them away."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lorakit.cli.complete import complete_tags
from lorakit.cli.curating import DryRun, Names, contents_of, step_fields, step_text, tell
from lorakit.cli.options import Json, Quiet
from lorakit.cli.output import Output
from lorakit.cli.queries import QueryCommand
from lorakit.counting import counted_rows
from lorakit.errors import BadUsage

if TYPE_CHECKING:
    from rich.console import Console

    from lorakit.catalog import AdapterRecord, Catalog

EXAMPLE = "lorakit tag ink wash --add watercolour,1930s --remove wip"
COMMAND = QueryCommand
_GIVEN = typer.Option(
    "--add",
    "-a",
    metavar="TAG",
    help="Give a tag; may be repeated, or hold several with commas.",
    autocompletion=complete_tags,
)
_TAKEN = typer.Option(
    "--remove",
    "-r",
    metavar="TAG",
    help="Take a tag away; as --add.",
    autocompletion=complete_tags,
)


def tag_verb(
    names: Names = None,
    add: Annotated[list[str] | None, _GIVEN] = None,
    remove: Annotated[list[str] | None, _TAKEN] = None,
    dry_run: DryRun = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Give tags to adapters and take them away, or show them.

    Without NAME, all tags of the catalog are listed. Upper and lower case make no difference.
    """
    from lorakit.cli.catalogs import open_catalog
    from lorakit.cli.selecting import select_adapters

    out = Output.of("tag", json, quiet)
    given, taken = _split(add), _split(remove)
    with open_catalog() as catalog:
        if not names:
            if given or taken:
                raise BadUsage("There is no NAME.", hint=f"For example: {EXAMPLE}")
            _list_all(catalog, out.about("list"))
            return
        records = select_adapters(catalog, names, out, whole=bool(given or taken))
        step = {}
        if given or taken:
            step = _change(catalog, records, given, taken, dry_run, out)
        tags = catalog.all_tags(contents_of(records))
    found = [(record, tags.get(record.tensor_sha256, ())) for record in records]
    out.result(
        {
            "adapters": [
                {"name": record.name, "content": record.tensor_sha256, "tags": shown}
                for record, shown in found
            ],
            **step,
        },
        human=lambda console: _show(console, found),
        ids=[record.name for record in records],
    )


def _change(
    catalog: Catalog,
    records: list[AdapterRecord],
    given: list[str],
    taken: list[str],
    dry_run: bool,
    out: Output,
) -> dict[str, Any]:
    """Change the tags in one step; what is told of it."""
    words = [*(f"--add={tag}" for tag in given), *(f"--remove={tag}" for tag in taken)]
    with catalog.step(step_text("tag", records, *words), dry_run=dry_run) as recording:
        changed = catalog.tag(contents_of(records), given, taken)
    tell(out, f"{counted_rows(changed, 'tag')} changed", recording, dry_run)
    return step_fields(recording, dry_run)


def _split(texts: list[str] | None) -> list[str]:
    parts = [part.strip() for text in texts or () for part in text.split(",")]
    if texts and not any(parts):
        raise BadUsage("There is no TAG.", hint=f"For example: {EXAMPLE}")
    return [part for part in parts if part]


def _list_all(catalog: Catalog, out: Output) -> None:
    """Every tag, with the number of adapters that have it."""
    # Of files with one content, such as before and after an edit of the header, each counts.
    contents = Counter(record.tensor_sha256 for record in catalog.adapters())
    counts: Counter[str] = Counter()
    spelt: dict[str, str] = {}
    for content, tags in catalog.all_tags().items():
        for tag in tags:
            counts[tag.casefold()] += contents[content]
            spelt.setdefault(tag.casefold(), tag)
    found = [(spelt[folded], counts[folded]) for folded in sorted(spelt)]

    def human(console: Console) -> None:
        from lorakit.cli.render import rows

        if not found:
            console.print(f"There are no tags yet. For example: {EXAMPLE}", style="dim")
            return
        rows(console, ("tag", "adapters"), [(t, str(n)) for t, n in found], right=("adapters",))

    out.result(
        {"tags": [{"tag": tag, "adapters": count} for tag, count in found]},
        human,
        ids=[tag for tag, _ in found],
    )


def _show(console: Console, found: list[tuple[AdapterRecord, tuple[str, ...]]]) -> None:
    from lorakit.cli.render import rows

    rows(console, ("name", "tags"), [(r.name, ", ".join(tags) or "none") for r, tags in found])
