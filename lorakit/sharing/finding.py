"""From what a picture or a recipe states to the base and the stack that it means, in a person's catalog."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorakit.catalog.finding import find_adapter, find_base
from lorakit.errors import NotFound
from lorakit.formats.generation import Generation
from lorakit.stack import Entry, Stack, stated_strength
from lorakit.strengths import Strength

if TYPE_CHECKING:
    from lorakit.catalog import Catalog


@dataclass(frozen=True)
class Found:
    """What was found, with sentences on what is not certain."""

    stack: Stack
    base: str | None
    remarks: tuple[str, ...]


def find_ingredients(
    catalog: Catalog, made: Generation, *, stack: bool = True, base: bool = True
) -> Found:
    """Find the adapters and the base that `made` names, in `catalog`.

    By hash first, by name with a remark, as `find_adapter` and `find_base` do. `stack` and `base` say
    which are wanted; a record that names no base leaves it open.

    Raises `NotFound` that lists everything that is missing, `Ambiguous` for what fits several, and
    `BadUsage` for a strength that lorakit does not know.
    """
    remarks: list[str] = []
    missing: list[str] = []
    entries = _entries(catalog, made, remarks, missing) if stack else []
    found_base = None
    if base and (made.base_name or made.base_hash or made.base_tensors):
        found_base = find_base(
            catalog.bases(), made.base_name, made.base_hash, made.base_tensors, remarks
        )
        if found_base is None:
            missing.append(
                _named("the base", made.base_name, [made.base_hash or made.base_tensors])
            )
    if missing:
        listed = " and ".join(filter(None, (", ".join(missing[:-1]), missing[-1])))
        raise NotFound(
            f"The catalog does not know {listed}, which it was made with.",
            hint="`lorakit add FILE` and `lorakit base add FILE` add them; a STACK or --base given here "
            "takes their place.",
        )
    name = None if found_base is None else found_base.name
    return Found(Stack(tuple(entries)), name, tuple(remarks))


def _entries(
    catalog: Catalog, made: Generation, remarks: list[str], missing: list[str]
) -> list[Entry]:
    records = catalog.adapters() if made.adapters else []
    entries = []
    for used in made.adapters:
        name = find_adapter(catalog, records, used, remarks)
        if name is None:
            missing.append(_named("the adapter", used.name, used.hashes))
            continue
        strength = stated_strength(used)
        if strength is None:
            remarks.append(f"The strength of {used.name} is not stated; 1 is assumed.")
        entries.append(Entry(name, Strength(1.0) if strength is None else strength))
    return entries


def _named(what: str, name: str, hashes: Sequence[str]) -> str:
    digest = f" (sha256 {hashes[0][:12]})" if hashes and hashes[0] else ""
    return f"{what} {name or 'without a name'}{digest}"
