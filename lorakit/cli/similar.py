"""`lorakit similar`: the adapters of the catalog that are alike by weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lorakit.cli.options import AdapterName, Json, Quiet
from lorakit.cli.output import Output, visible
from lorakit.errors import BadUsage

if TYPE_CHECKING:
    from rich.console import Console

    from lorakit.catalog import AdapterRecord, Catalog
    from lorakit.sketches.sketch import Sketch
    from lorakit.tracing.neighbours import Neighbour, Shelf
    from lorakit.tracing.similar import Mixture

EXAMPLE = "lorakit similar ink"
CHANCE = (
    "Cosine: 1 is the same change at any size, 0 none in common; unrelated ones lie within ±0.01."
)


def similar_verb(
    name: AdapterName,
    limit: Annotated[int, typer.Option("--limit", "-n", help="How many to list at most.")] = 10,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List the adapters that are alike by weights: copies, resized, scaled, merged, parts.

    Names and headers play no part. What is compared is taken from each file once and kept.
    """
    from lorakit.cli.catalogs import open_catalog
    from lorakit.tracing.neighbours import explained, keep_neighbours, shelve, similar_to

    out = Output.of("similar", json, quiet)
    if limit < 1:
        raise BadUsage(f"--limit must be 1 or more, not {limit}.")
    with open_catalog() as catalog, out.progress("Reading weights") as update:
        record, content, sketch = find_subject(catalog, name)
        shelf = shelve(catalog, catalog.identified(catalog.adapters()), update)
        if not any(map(len, sketch.values.values())):
            out.warn(f"What {name} changes depends on the base, so only copies of it are found.")
        found = similar_to(
            shelf, sketch, content, limit=limit, but=None if record is None else record.id
        )
        whole = explained(shelf, sketch, found)
        if record is not None:
            keep_neighbours(shelf, {content: found})
    out.result(
        document(record.name if record else name, content, shelf, found, whole),
        human=lambda console: show(
            console, record.name if record else name, content, shelf, found, whole
        ),
        ids=[one.record.name for one in found],
    )


def find_subject(catalog: Catalog, name: str) -> tuple[AdapterRecord | None, str, Sketch]:
    """The adapter that NAME means, its content, and its sketch; a file need not be in the catalog.

    Raises `NotFound`, `Ambiguous`, `BadFile` and `NotFusable`.
    """
    from lorakit.formats.peft_folder import adapter_file
    from lorakit.paths import expanded, is_file
    from lorakit.tracing.neighbours import sketch_of

    path = adapter_file(expanded(name))
    if not is_file(path):
        record = catalog.resolve(name)
        return record, record.tensor_sha256, sketch_of(catalog, record)
    from lorakit.adapters.loading import load_adapter
    from lorakit.formats.hashing import hash_file
    from lorakit.formats.header import read_header
    from lorakit.sketches.adapters import sketch_adapter

    hashes = hash_file(path, read_header(path).data_offset)
    known = (one for one in catalog.adapters() if one.file_sha256 == hashes.file_sha256)
    record_here = next(known, None)
    if record_here is not None:
        return record_here, hashes.tensor_sha256, sketch_of(catalog, record_here)
    return None, hashes.tensor_sha256, sketch_adapter(load_adapter(path))


def document(
    name: str, content: str, shelf: Shelf, found: list[Neighbour], whole: Mixture | None
) -> dict[str, Any]:
    """The result as JSON takes it."""
    return {
        "adapter": name,
        "content": content,
        "compared": len(shelf.contents),
        "similar": [
            {
                "name": one.record.name,
                "content": one.record.tensor_sha256,
                "path": one.record.path,
                "missing": one.record.missing,
                "kind": one.likeness.kind,
                "words": one.likeness.words,
                "cosine": one.likeness.cosine,
                "within": one.likeness.within,
                "chance": one.likeness.chance,
                "size_ratio": one.likeness.ratio,
                "modules": {
                    "either": one.likeness.either,
                    "common": one.likeness.common,
                    "equal": one.likeness.equal,
                },
            }
            for one in found
        ],
        "mixture": None
        if whole is None
        else {
            "share": whole.share,
            "of": [
                {"name": found[at].record.name, "strength": strength}
                for at, strength in whole.weights
            ],
        },
        "passed_over": [
            {"name": other, "reason": reason} for other, reason in shelf.passed_over.items()
        ],
    }


def show(
    console: Console,
    name: str,
    content: str,
    shelf: Shelf,
    found: list[Neighbour],
    whole: Mixture | None,
) -> None:
    """The table for a person."""
    from lorakit.cli.render import notes, rows
    from lorakit.counting import counted_rows

    itself = content in shelf.contents
    compared = len(shelf.contents) - itself
    if not (compared or shelf.passed_over):
        console.print(f"There is no other adapter in the catalog to compare {visible(name)} with.")
    elif not found:
        console.print(
            f"No adapter of the catalog is like {visible(name)} by weights ({compared:,} compared)."
        )
    else:
        rows(
            console,
            ("name", "cosine", "size", "what it is", ""),
            [
                (
                    one.record.name,
                    f"{one.likeness.cosine:.4f}",
                    f"×{one.likeness.ratio:.2f}",
                    one.likeness.words,
                    "missing" if one.record.missing else "",
                )
                for one in found
            ],
            right=("cosine", "size"),
        )
    if whole is not None:
        parts = " + ".join(
            f"{weight:.2f} × {found[at].record.name}" for at, weight in whole.weights
        )
        console.print(f"{name} is {parts}: that is {whole.share:.1%} of it.")
    if found:
        console.print(CHANCE, style="dim")
    shown = list(shelf.passed_over.items())[:5]
    notes(console, [f"{other} is not compared: {reason}" for other, reason in shown])
    if more := len(shelf.passed_over) - len(shown):
        are = "is" if more == 1 else "are"
        notes(
            console,
            [f"{counted_rows(more, 'more adapter')} {are} not compared (--json lists all)."],
        )
