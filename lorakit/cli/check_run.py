"""From the words of `lorakit check` to a comparison: the stack, the base with its norms, what is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from lorakit.cli.output import Output, Progress
from lorakit.cli.queries import is_condition, query_text
from lorakit.cli.stack_argument import GivenStack, given_stack, quoted
from lorakit.errors import LorakitError
from lorakit.formats.peft_folder import is_adapter_file
from lorakit.paths import expanded

if TYPE_CHECKING:
    from lorakit.bases import ChosenBase
    from lorakit.catalog import AdapterRecord, Catalog
    from lorakit.merging.checking.comparing import Comparison
    from lorakit.merging.checking.usual import Usual
    from lorakit.stack import ResolvedEntry, Stack
    from lorakit.suggesting.suggestion import Suggestion


@dataclass(frozen=True)
class Checked:
    """A comparison, the stack as it was given, the base's name, and what the catalog says of strengths."""

    comparison: Comparison
    stack: str
    base: str | None
    usual: Mapping[str, Usual]


def run_check(words: Sequence[str], base: str | None, out: Output, device: str = "cpu") -> Checked:
    """Find everything in the person's catalog and compare. Raises what finding and comparing raise."""
    from lorakit.cli.catalogs import open_catalog
    from lorakit.merging.checking.comparing import compare
    from lorakit.stack import resolve_stack

    with open_catalog() as catalog, out.progress("Comparing") as update:
        given = read_stack(catalog, words, out, base)
        entries = resolve_stack(given.stack, catalog)
        chosen = find_base(catalog, given.base, out)
        norms = None if chosen is None else norms_of(catalog, chosen, update)
        comparison = compare(
            [(entry.path, entry.strength) for entry in entries],
            None if chosen is None else chosen.path,
            labels=[entry.name for entry in entries],
            names=[entry.name for entry in given.stack],
            norms=norms,
            device=device,
            on_progress=update,
        )
        usual = _usual(catalog, comparison, entries, chosen)
    return Checked(comparison, str(given.stack), chosen.name if chosen else None, usual)


def read_stack(catalog: Catalog, words: Sequence[str], out: Output, base: str | None) -> GivenStack:
    """The stack that the words are together: entries, a kept stack or a file; or a query."""
    from lorakit.stack import Stack

    if any(
        is_condition(word) and _is_field(word) and not _is_entry(catalog, word) for word in words
    ):
        return GivenStack(_queried(catalog, query_text(words)), base)
    found = [given_stack(word, out, base=base) for word in map(quoted, words)]
    entries = chain.from_iterable(one.stack for one in found)
    return GivenStack(Stack(tuple(entries)), next((one.base for one in found if one.base), None))


def _is_field(word: str) -> bool:
    """Whether what stands before the colon is a field of queries, and no adapter that is not found."""
    from lorakit.catalog.query.fields import BY_NAME

    return word.lstrip("-^").partition(":")[0] in BY_NAME


def _is_entry(catalog: Catalog, word: str) -> bool:
    """Whether a word that looks like a condition names an adapter and its strength."""
    from lorakit.stack import Stack

    try:
        entries = Stack.parse(word).entries
        return all(is_adapter_file(expanded(e.name)) or catalog.resolve(e.name) for e in entries)
    except LorakitError:
        return False


def _queried(catalog: Catalog, query: str) -> Stack:
    """The adapters that a query finds, at the strengths that are said of them, else 1.

    A strength that suggests itself by size alone is none that anybody uses.
    """
    from lorakit.cli.selecting import found_by
    from lorakit.stack import Entry, Stack

    records = found_by(catalog, query)
    said = zip(records, _suggested(catalog, records, None), strict=True)
    return Stack(
        tuple(
            Entry(record.name, 1.0 if one is None or one.by == "size" else one.value or 1.0)
            for record, one in said
        )
    )


def find_base(catalog: Catalog, name: str | None, out: Output) -> ChosenBase | None:
    """The base that is meant; None where none was named and it is not clear which.

    Raises `NotFound` and `BadFile` for one that was named.
    """
    from lorakit.bases import choose_base

    if name is not None:
        return choose_base(catalog, name)
    bases = catalog.bases()
    if len(bases) != 1:
        if bases:
            known = ", ".join(base.name for base in bases)
            out.say(f"No base was named; --base takes one of {known}.")
        return None
    try:
        return choose_base(catalog, None)
    except LorakitError as error:
        out.warn(f"{error.message} The stack is compared without a base.")
        return None


def norms_of(
    catalog: Catalog, chosen: ChosenBase, on_progress: Progress
) -> Mapping[str, float] | None:
    """The sizes of a registered base's weights, kept or measured now; None for a file that is none."""
    from lorakit.bases import same_content
    from lorakit.catalog.measured import base_norms_of

    records = same_content(catalog, chosen.path, chosen.sha256, chosen.content)
    record = next((one for one in records if not one.missing and not one.changed), None)
    return None if record is None else base_norms_of(catalog, record, on_progress)


def _usual(
    catalog: Catalog,
    comparison: Comparison,
    entries: Sequence[ResolvedEntry],
    chosen: ChosenBase | None,
) -> dict[str, Usual]:
    """What suggests itself for each entry, by label: what `lorakit strength` says, without measuring."""
    known = {entry.path: entry.name for entry in entries if entry.tensor_sha256}
    names = {
        part.label: known[part.adapter.path]
        for part in comparison.parts
        if part.adapter.path in known
    }
    found = _suggested(
        catalog, [catalog.resolve(name) for name in names.values()], chosen.name if chosen else None
    )
    return {label: usual for label, usual in zip(names, found, strict=True) if usual is not None}


def _suggested(
    catalog: Catalog, records: Sequence[AdapterRecord], base: str | None
) -> list[Usual | None]:
    """What suggests itself for each adapter by what is known already; None where nothing does."""
    if not records:
        return []
    from lorakit.suggesting.measuring import the_base
    from lorakit.suggesting.sources import read_sources
    from lorakit.suggesting.suggestion import suggest

    registered = next((one for one in catalog.bases() if one.name == base), None)
    sources = read_sources(catalog, registered or the_base(catalog, None))
    return [_usual_of(suggest(sources, record)) for record in records]


def _usual_of(found: Suggestion) -> Usual | None:
    from lorakit.merging.checking.usual import Usual

    if found.value is None:
        return None
    first = sorted(found.evidence, key=lambda one: one.kind != found.by)
    because = tuple(one.text for one in first)
    return Usual(found.value, found.low, found.high, str(found.by), because)
