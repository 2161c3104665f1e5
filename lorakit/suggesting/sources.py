"""What the catalog knows that bears on the strength of adapters, read once for many of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorakit.catalog.fields import USER
from lorakit.catalog.measured import DeltaSize, kept_sizes
from lorakit.catalog.relatives import all_copies
from lorakit.errors import LorakitError
from lorakit.formats.generation import UsedAdapter

if TYPE_CHECKING:
    from lorakit.catalog import AdapterRecord, BaseRecord, Catalog
    from lorakit.catalog.facts import FactsByField
    from lorakit.catalog.kept_stacks import KeptStackRecord
    from lorakit.catalog.records import ComparisonRecord


@dataclass(frozen=True)
class KeptUse:
    """An adapter in a stack that is kept by name; `hashes` are of its file and its tensors."""

    stack: str
    adapter: str
    hashes: tuple[str, ...]
    strength: float

    def is_of(self, record: AdapterRecord) -> bool:
        """By its hashes; by name only where the stack states none."""
        if self.hashes:
            return not {record.tensor_sha256, record.file_sha256}.isdisjoint(self.hashes)
        return self.adapter == record.name


@dataclass(frozen=True)
class Duel:
    """Votes between two stacks that differ in the strength of one adapter alone, `adapter` by file hash.

    `strengths` are its strengths on either side, `votes` how often each side was chosen.
    """

    adapter: str
    strengths: tuple[float, float]
    votes: tuple[int, int]


@dataclass(frozen=True)
class Sources:
    """`facts` are strengths and ratings by content, `sizes` how much each content changes `base`.

    `copies` are by content the others with the same weights in another form, or nearly.
    """

    facts: Mapping[str, FactsByField]
    kept: Sequence[KeptUse]
    duels: Sequence[Duel]
    base: str | None
    sizes: Mapping[str, DeltaSize]
    copies: Mapping[str, frozenset[str]]

    def usual(self, content: str) -> float:
        """The strength that the person gives an adapter when no other is said; 1 where there is none."""
        for said in self.facts.get(content, {}).get("strength", ()):
            if said.source == USER:
                return float(said.value["value"])
        return 1.0

    def rating(self, content: str) -> int:
        """The person's rating of 1 to 5; 0 without one."""
        said = self.facts.get(content, {}).get("rating", ())
        return int(said[0].value) if said else 0


def read_sources(catalog: Catalog, base: BaseRecord | None) -> Sources:
    """Everything there is; sizes are those that were measured on `base`.

    What cannot be read of a kept stack or a comparison is passed over.
    """
    return Sources(
        catalog.all_facts(None, ("strength", "rating")),
        _kept(catalog),
        [duel for one in catalog.comparisons() if (duel := _duel(one)) is not None],
        None if base is None else base.name,
        {} if base is None else kept_sizes(catalog, base),
        # They bear on sizes alone.
        {} if base is None else all_copies(catalog),
    )


def kept_uses(kept: KeptStackRecord) -> list[KeptUse]:
    """The adapters of a kept stack. Raises `BadFile` and `BadUsage` for one that cannot be read."""
    # Most catalogs keep no stacks, and looking at an adapter should cost little.
    from lorakit.stack import read_kept

    used = read_kept(kept.document, kept.name).adapters
    return [_use(kept.name, adapter) for adapter in used]


def _kept(catalog: Catalog) -> list[KeptUse]:
    found: list[KeptUse] = []
    for one in catalog.kept_stacks():
        with suppress(LorakitError):
            found += kept_uses(one)
    return found


def _use(stack: str, used: UsedAdapter) -> KeptUse:
    from lorakit.stack import stated_strength

    strength = stated_strength(used)
    return KeptUse(stack, used.name, used.hashes, 1.0 if strength is None else strength.headline)


def _duel(comparison: ComparisonRecord) -> Duel | None:
    """What a comparison says of one strength; None where the sides differ in anything else."""
    first, second = comparison.sides
    given = list(comparison.votes.values())
    votes = given.count("first"), given.count("second")
    hashes = list(first.get("adapters") or ())
    alike = hashes == list(second.get("adapters") or ()) and first.get("base_sha256") == second.get(
        "base_sha256"
    )
    if not alike or not any(votes):
        return None
    from lorakit.stack import Stack

    try:
        sides = [
            [entry.strength for entry in Stack.parse(side["stack"])] for side in (first, second)
        ]
    except (LorakitError, KeyError):
        return None
    if len(sides[0]) != len(sides[1]) or len(sides[0]) != len(hashes):
        return None
    other = [at for at, (one, two) in enumerate(zip(*sides, strict=True)) if one != two]
    if len(other) != 1:
        return None
    strengths = sides[0][other[0]].headline, sides[1][other[0]].headline
    return Duel(hashes[other[0]], strengths, votes) if strengths[0] != strengths[1] else None
