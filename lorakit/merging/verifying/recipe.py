"""In what a recipe is not the one that a file's header records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from lorakit.formats.ancestry import Ancestor
from lorakit.gate.subjects import file_hashes
from lorakit.stack import Entry, ResolvedEntry
from lorakit.strengths import Strength

# What an entry is, its strength, and what it is called with it.
_Named = tuple[str, Strength, str]


def recipe_differs(
    recorded: Sequence[Ancestor], entries: Sequence[ResolvedEntry]
) -> tuple[str, ...]:
    """Sentences on how `entries` differ from the adapters of `recorded`; none where they are the same, in order.

    Entries are the same where their tensors and strengths are. Raises `BadFile` for a file that cannot be read.
    """
    before = [_recorded(one) for one in recorded if one.role == "adapter"]
    now = [_entry(one) for one in entries]
    if [one[:2] for one in before] == [one[:2] for one in now]:
        return ()
    more = _beyond(now, before)
    fewer = _beyond(before, now)
    found = []
    if not more and not fewer:
        found.append("The recipe has the entries of its header in another order.")
    if more:
        found.append(f"The recipe has what its header does not: {' '.join(more)}.")
    if fewer:
        found.append(f"The recipe lacks what its header has: {' '.join(fewer)}.")
    return tuple(found)


def beside_root(entries: Iterable[ResolvedEntry]) -> tuple[str, ...]:
    """What `kinds=root` leaves as it is in each entry, as sentences."""
    return tuple(
        f"{entry.name}: {remark}"
        for entry in entries
        for remark in entry.strength.beside_root(module.name for module in entry.report.modules)
    )


def _beyond(some: Sequence[_Named], others: Sequence[_Named]) -> list[str]:
    """What those of `some` are called that `others` have not, or not as often."""
    there = Counter(one[:2] for one in others)
    found = []
    for one in some:
        if there[one[:2]]:
            there[one[:2]] -= 1
        else:
            found.append(one[2])
    return found


def _recorded(one: Ancestor) -> _Named:
    strength = Strength.parse(one.strength) if one.strength else Strength()
    return one.content or one.name, strength, str(Entry(one.name, strength))


def _entry(one: ResolvedEntry) -> _Named:
    content = one.tensor_sha256 or file_hashes(one.path).tensor_sha256
    return content, one.strength, str(Entry(one.name, one.strength))
