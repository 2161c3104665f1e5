"""The files that a header says its own was made from, found in the catalog by their content."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from lorakit.bases import ChosenBase, choose_base
from lorakit.errors import BadFile, LorakitError, NotFound
from lorakit.formats.ancestry import Ancestor
from lorakit.gate.subjects import file_hashes
from lorakit.stack import Entry, ResolvedEntry, resolve_stack
from lorakit.strengths import Strength

if TYPE_CHECKING:
    from lorakit.catalog import AdapterRecord, BaseRecord, Catalog

Record = TypeVar("Record", "AdapterRecord", "BaseRecord")


@dataclass(frozen=True)
class Ingredients:
    """What a file was made from: checkpoints and adapters, each in the order of its record."""

    bases: tuple[ChosenBase, ...]
    entries: tuple[ResolvedEntry, ...]


def find_recorded(
    catalog: Catalog, ancestors: Sequence[Ancestor], *, base: ChosenBase | None = None
) -> Ingredients:
    """The files of `ancestors`, as they are now; `base` takes the place of the last checkpoint among them.

    Raises `NotFound` that lists everything the catalog does not have or cannot reach, and `BadFile` for
    a file whose content is another now.
    """
    given = [a for a in ancestors if a.role == "base"][-1:] if base is not None else []
    missing: list[str] = []
    bases: list[ChosenBase] = []
    entries: list[ResolvedEntry] = []
    for ancestor in ancestors:
        try:
            if ancestor.role == "adapter":
                entries.append(_adapter(catalog, ancestor))
            else:
                bases.append(base if base and ancestor in given else _base(catalog, ancestor))
        except NotFound as error:
            missing.append(f"{ancestor.name} ({error.message.removesuffix('.')})")
    if missing:
        raise NotFound(
            f"Not all it was made from is here: {'; '.join(missing)}",
            hint="`lorakit add FILE` and `lorakit base add FILE` make them known; --recipe and --base take "
            "their place.",
        )
    return Ingredients(tuple(bases), tuple(entries))


def entries_text(entries: Sequence[ResolvedEntry]) -> str:
    """The entries as a person writes them, with the names that they were found by."""
    return " ".join(str(Entry(entry.name, entry.strength)) for entry in entries)


def _adapter(catalog: Catalog, ancestor: Ancestor) -> ResolvedEntry:
    record = next(_fitting(catalog.adapters(), ancestor), None)
    if record is None:
        raise NotFound(f"the catalog has no adapter with {_hash(ancestor)}.")
    path = record.existing_path()
    if ancestor.content and file_hashes(path).tensor_sha256 != ancestor.content:
        raise BadFile(
            f"{path} has changed since it was added, and is not what {ancestor.name} was.",
            hint="`lorakit scan` looks at it again.",
        )
    strength = Strength.parse(ancestor.strength) if ancestor.strength else Strength()
    (entry,) = resolve_stack([Entry(str(path), strength)], None)
    return replace(entry, name=record.name)


def _base(catalog: Catalog, ancestor: Ancestor) -> ChosenBase:
    record = next(_fitting(catalog.bases(), ancestor), None)
    if record is None:
        raise NotFound(f"no base with {_hash(ancestor)} is registered.")
    return choose_base(catalog, record.name)


def _fitting(records: Sequence[Record], ancestor: Ancestor) -> Iterator[Record]:
    """Those of the ancestor's content, where it is recorded; a file that is there comes first."""
    for record in sorted(records, key=lambda one: (one.missing, one.name != ancestor.name)):
        if ancestor.content is not None:
            if record.tensor_sha256 == ancestor.content:
                yield record
        elif ancestor.file_sha256 is not None and record.file_sha256 == ancestor.file_sha256:
            yield record


def _hash(ancestor: Ancestor) -> str:
    digest = ancestor.content or ancestor.file_sha256
    if digest is None:
        raise LorakitError(
            f"The header does not say which {ancestor.name} was used: it has no hash.",
            hint="--recipe STACK says what it should hold.",
        )
    return f"the hash {digest[:12]}"
