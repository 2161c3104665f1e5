"""From subjects to a verdict: what the catalog and the files say of each, and what its weights say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from lorakit.bases import ChosenBase
from lorakit.gate.derived import Kind
from lorakit.gate.subjects import Subject, pinned
from lorakit.licenses.dossier import Dossier
from lorakit.licenses.policy import Verdict, judge
from lorakit.licenses.terms import ShareMerges
from lorakit.stack import ResolvedEntry

if TYPE_CHECKING:
    from lorakit.catalog import Catalog


def judge_derived(catalog: Catalog, kind: Kind, ingredients: Sequence[Subject]) -> Verdict:
    """The verdict for a file of `kind` made of all `ingredients`: nothing is decided and nothing recorded."""
    dossiers = dossiers_of(catalog, [pinned(subject) for subject in ingredients])
    return verdict_on(dossiers, same_work=kind == "re-encoded adapter")


def judge_stack(catalog: Catalog, chosen: ChosenBase, entries: Sequence[ResolvedEntry]) -> Verdict:
    """The verdict for a file that would hold the base `chosen` with `entries` merged into it."""
    return verdict_on(dossiers_of(catalog, (chosen, *entries)))


def verdict_on(dossiers: Sequence[Dossier], *, same_work: bool = False) -> Verdict:
    """The verdict for a file that would hold all of these, or one of them in another form."""
    return judge([dossier.ingredient() for dossier in dossiers], same_work=same_work)


def dossiers_of(catalog: Catalog, subjects: Sequence[Subject]) -> tuple[Dossier, ...]:
    """Everything known of each subject, with the models that are recognised in its weights.

    Weights are looked at only where words do not forbid it already. Raises `BadFile` for a file whose
    weights cannot be read.
    """
    found = tuple(subject.dossier(catalog) for subject in subjects)
    if verdict_on(found).share_merges is ShareMerges.DENY:
        return found
    # What takes and compares sketches is not free to import.
    from lorakit.gate.recognised import recognised_in, suspicions

    models = suspicions(catalog)
    bases = [subject.path for subject in subjects if isinstance(subject, ChosenBase)]
    base = next(iter(bases), None)
    return tuple(
        replace(
            dossier,
            ancestors=(*dossier.ancestors, *recognised_in(catalog, subject, dossier, models, base)),
        )
        for subject, dossier in zip(subjects, found, strict=True)
    )
