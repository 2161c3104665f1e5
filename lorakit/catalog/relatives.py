"""Which adapters are alike by weights, as it was last found: kept, so that looking costs nothing."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorakit.catalog.derived import derived, derived_of, keep_derived
from lorakit.catalog.doctor import Finding

if TYPE_CHECKING:
    from lorakit.catalog.catalog import Catalog

_KIND = "relatives 2"
# The comparison's words for the same weights in another form; and from here on nearly so.
_SAME = ("same weights", "scaled", "nearly the same")
_NEARLY = 0.95


@dataclass(frozen=True)
class Relative:
    """Another content and how it stands to this one: `kind` and `words` as the comparison has them."""

    content: str
    kind: str
    words: str
    cosine: float

    @property
    def is_copy(self) -> bool:
        """Whether it holds the same weights in another form, or nearly."""
        return self.kind in _SAME or abs(self.cosine) >= _NEARLY


@dataclass(frozen=True)
class Relatives:
    """The adapters that were found alike to one among `compared`, the most alike first."""

    compared: int
    near: tuple[Relative, ...]


def kept_relatives(catalog: Catalog, content: str) -> Relatives | None:
    """What was last found of a content; None where it has not been compared."""
    return _read(derived_of(catalog, _KIND, content))


def contents_count(catalog: Catalog) -> int:
    """How many different contents the catalog has now."""
    ((count,),) = catalog._store.read("SELECT count(DISTINCT tensor_sha256) FROM adapter")
    return int(count)


def all_kept_relatives(catalog: Catalog) -> dict[str, Relatives]:
    """The same of every content that has been compared."""
    found = ((content, _read(data)) for content, data in derived(catalog, _KIND).items())
    return {content: relatives for content, relatives in found if relatives is not None}


def all_copies(catalog: Catalog) -> dict[str, frozenset[str]]:
    """By content, the others that hold the same weights in another form, or nearly, as far as is known."""
    found: dict[str, set[str]] = {}
    for content, relatives in all_kept_relatives(catalog).items():
        for one in relatives.near:
            if one.is_copy:
                found.setdefault(content, set()).add(one.content)
                found.setdefault(one.content, set()).add(content)
    return {content: frozenset(others) for content, others in found.items()}


def near_duplicates(catalog: Catalog, adapters: Collection[int] | None = None) -> list[Finding]:
    """Adapters of the catalog that hold the same weights in another form, or nearly, each pair once.

    Told by what was kept of earlier comparisons; `adapters` limits it to those rows.
    """
    rows = catalog._store.read("SELECT id, name, tensor_sha256 FROM adapter ORDER BY name DESC")
    names = {content: name for _, name, content in rows}
    wanted = {content for number, _, content in rows if adapters is None or number in adapters}
    found: dict[frozenset[str], Finding] = {}
    for content, relatives in sorted(
        all_kept_relatives(catalog).items(), key=lambda one: names.get(one[0], "")
    ):
        for one in relatives.near:
            if not one.is_copy or not {content, one.content} & wanted or content not in names:
                continue
            if one.content in names:
                name = names[content]
                text = f"{name} and {names[one.content]}: {one.words} (cosine {one.cosine:.4f})"
                found.setdefault(frozenset((content, one.content)), Finding("alike", text, name))
    return list(found.values())


def keep_relatives(
    catalog: Catalog,
    compared: int,
    found: Mapping[str, Sequence[Relative]],
    back: Mapping[str, Mapping[str, Relative]],
) -> None:
    """Keep what was found of contents among `compared`, in place of what was found before.

    `back` is how those that were compared stand to others that were found like them, by content: that goes
    beside what is kept of these others, which were not compared with all.
    """
    kept = {content: Relatives(compared, tuple(near)) for content, near in found.items()}
    for content, ones in back.items():
        # Itself, where nothing was compared with it yet.
        before = kept_relatives(catalog, content) or Relatives(1, ())
        known = {one.content: one for one in before.near}
        new = sum(other not in known for other in ones)
        near = sorted({**known, **ones}.values(), key=lambda one: -abs(one.cosine))
        kept[content] = Relatives(min(before.compared + new, compared), tuple(near))
    keep_derived(catalog, _KIND, {content: _written(one) for content, one in kept.items()})


def _written(relatives: Relatives) -> bytes:
    near = [[one.content, one.kind, one.words, one.cosine] for one in relatives.near]
    return json.dumps([relatives.compared, near]).encode()


def _read(data: bytes | None) -> Relatives | None:
    try:
        compared, near = json.loads(data) if data is not None else (0, None)
        return None if near is None else Relatives(int(compared), tuple(Relative(*n) for n in near))
    except (ValueError, TypeError):
        return None
