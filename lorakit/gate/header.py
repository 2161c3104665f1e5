"""The header of a file that the gate writes: what it is, what it was made from, and under which licence.

The `modelspec.` entries are ModelSpec 1.0.1 (https://github.com/Stability-AI/ModelSpec), with every field
that it says a model must have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from lorakit import __version__
from lorakit.formats.ancestry import (
    AUDIT_KEY,
    Ancestor,
    RecordedTerms,
    encode_ancestry,
    made_text,
    read_ancestry,
)
from lorakit.gate.derived import Derived
from lorakit.gate.subjects import Subject
from lorakit.licenses.evidence import A_MERGE
from lorakit.licenses.policy import SAME_WORK, Ingredient, Verdict
from lorakit.licenses.spdx import canonical, identifier
from lorakit.licenses.terms import ShareMerges
from lorakit.stack import ResolvedEntry

_SPEC = "1.0.1"
_IMPLEMENTATION = "https://huggingface.co/circlestone-labs/Anima"
_RESOLUTION = "1024x1024"


def metadata(
    derived: Derived, subjects: Sequence[Subject], verdict: Verdict, output: Path, audit: str
) -> dict[str, str]:
    """The header's entries; what `derived` brings of its own never replaces them."""
    adapter = derived.kind != "checkpoint"
    brought = derived.entries()
    # Another form of a work keeps what it is called.
    title = brought.get("modelspec.title") if verdict.same_work else None
    stated = {"modelspec.license": license_expression(verdict)} if is_licensed(verdict) else {}
    made_of = ancestors(subjects, verdict)
    return {
        "modelspec.implementation": _IMPLEMENTATION,
        "modelspec.resolution": _RESOLUTION,
        **brought,
        "format": "pt",
        "modelspec.sai_model_spec": _SPEC,
        "modelspec.architecture": "anima/lora" if adapter else "anima",
        "modelspec.title": title or output.stem,
        "modelspec.date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        **stated,
        **encode_ancestry(made_of, derived.kind, merged=not verdict.same_work),
        "lorakit.version": __version__,
        AUDIT_KEY: audit,
    }


def is_licensed(verdict: Verdict) -> bool:
    """Whether the terms of all parts are known; those of a work in another form need not be."""
    return all(part.terms.share_merges is not ShareMerges.UNKNOWN for part in verdict.parts)


def license_expression(verdict: Verdict) -> str:
    """The licences of all parts as one SPDX expression; a licence without an identifier is a LicenseRef."""
    found = dict.fromkeys(identifier(part.terms) for part in licensed(verdict))
    joined = " AND ".join(f"({one})" if " OR " in one and len(found) > 1 else one for one in found)
    return canonical(joined) or joined


def licensed(verdict: Verdict) -> list[Ingredient]:
    """The ingredients and ancestors that have terms of their own: a merge has those of its parts."""
    return [part for part in verdict.parts if part.terms.title != A_MERGE]


def ancestors(subjects: Sequence[Subject], verdict: Verdict) -> tuple[Ancestor, ...]:
    """The ingredients as the file records them, each with its strength, how it was made, and from what.

    What one thing was made from stands with the first of its entries alone, so that merges of merges do not grow
    with every entry.
    """
    pairs = zip(subjects, verdict.ingredients, strict=True)
    found = [
        _as_recorded(
            replace(_ancestor(ingredient, strength(subject)), made=_made_of(subject)),
            _record_of(subject),
        )
        for subject, ingredient in pairs
    ]
    if verdict.same_work:
        found = [replace(one, relation=f"{SAME_WORK} {one.name}") for one in found]
    return _told_once(found)


def strength(subject: Subject) -> str | None:
    """The strength of an entry as text; None for a base, which has none."""
    return str(subject.strength) if isinstance(subject, ResolvedEntry) else None


def _record_of(subject: Subject) -> tuple[Ancestor, ...]:
    """What the header of an entry says that it was made from."""
    return read_ancestry(subject.report.metadata) if isinstance(subject, ResolvedEntry) else ()


def _made_of(subject: Subject) -> str | None:
    """What the header of an entry says of how it was made."""
    return made_text(subject.report.metadata) if isinstance(subject, ResolvedEntry) else None


def _as_recorded(found: Ancestor, recorded: Sequence[Ancestor]) -> Ancestor:
    """An ancestor whose own are in it as its file says: at which strengths, and how.

    The policy knows terms alone, and has what the record has at several strengths once. Of several whose terms differ
    each is taken as the record has it, in order.
    """
    said: dict[tuple[str | None, ...], list[Ancestor]] = {}
    for one in recorded:
        said.setdefault(_identity(one), []).append(one)
    counts = Counter(map(_identity, found.ancestors))
    own: list[Ancestor] = []
    for one in found.ancestors:
        records, count = said.get(_identity(one), []), counts[_identity(one)]
        if count == 1 and records:
            own += [_with(one, record) for record in records]
        elif count == len(records):
            own.append(_with(one, records[0]))
            said[_identity(one)], counts[_identity(one)] = records[1:], count - 1
        else:
            own.append(one)
    return replace(found, ancestors=tuple(own))


def _with(found: Ancestor, said: Ancestor) -> Ancestor:
    stated = replace(
        found, strength=said.strength, relation=said.relation or found.relation, made=said.made
    )
    return _as_recorded(stated, said.ancestors)


def _told_once(found: Sequence[Ancestor]) -> tuple[Ancestor, ...]:
    """Of several of one content in one list and relation, the first alone with what it was made from."""
    seen: set[tuple[str | None, ...]] = set()
    told = []
    for one in found:
        key = (*_identity(one), one.relation)
        again = one.content is not None and key in seen
        seen.add(key)
        if again:
            told.append(replace(one, ancestors=(), made=None))
        else:
            told.append(replace(one, ancestors=_told_once(one.ancestors)))
    return tuple(told)


def _identity(one: Ancestor) -> tuple[str | None, ...]:
    return one.name, one.role, one.content, one.file_sha256


def _ancestor(part: Ingredient, at: str | None = None) -> Ancestor:
    return Ancestor(
        name=part.name,
        role=part.role,
        content=part.content,
        file_sha256=part.sha256,
        model=next((c.model for c in part.claims if c.origin == "table" and c.model), None),
        strength=at,
        relation=part.relation or None,
        terms=_recorded(part.terms.to_dict()),
        ancestors=tuple(_ancestor(one) for one in part.ancestors),
    )


def _recorded(terms: Mapping[str, object]) -> RecordedTerms:
    lists = ("obligations", "picture_obligations")
    known = {k: v for k, v in terms.items() if k in RecordedTerms.__dataclass_fields__}
    return RecordedTerms(**{k: tuple(v) if k in lists else v for k, v in known.items()})  # type: ignore[arg-type]
