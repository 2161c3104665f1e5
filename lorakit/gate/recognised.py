"""The models that the gate recognises in weights, as ancestors with terms of their own.

Looked for are the registered bases, learnt fingerprints, and adapters whose terms deny: they are found again
under any name, in another dtype, and inside merges.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from lorakit.bases import UNNAMED_MODEL, ChosenBase
from lorakit.errors import LorakitError
from lorakit.gate.sketching import learnt_fingerprints, registered_sketches, sketch_of
from lorakit.gate.subjects import Subject
from lorakit.licenses.claims import Claim
from lorakit.licenses.dossier import Dossier
from lorakit.licenses.gathering import stored_dossier
from lorakit.licenses.known import by_name, known, lineages
from lorakit.licenses.lineage import model_claim
from lorakit.licenses.spdx import license_terms
from lorakit.licenses.terms import ShareMerges, Terms
from lorakit.stack import Entry, resolve_stack
from lorakit.tracing.known import Finding, Known
from lorakit.tracing.recognition import recognise_adapter, recognise_base

if TYPE_CHECKING:
    from lorakit.catalog import AdapterRecord, BaseRecord, Catalog
    from lorakit.sketches.fingerprint import Fingerprint

# A model that may be recognised, and what is known of its terms.
Suspicion = tuple[Known, Dossier]


def recognised_in(
    catalog: Catalog, subject: Subject, dossier: Dossier, suspicions: Sequence[Suspicion]
) -> tuple[Dossier, ...]:
    """The models of `suspicions` that the weights of `subject` are or hold, as ancestors.

    A model that denies and cannot be ruled out is an ancestor of unknown terms. Raises `BadFile` or
    `NotFusable` for weights that cannot be read.
    """
    asked = [one for one in suspicions if _worth_asking(one, dossier)]
    if not asked:
        return ()
    recognise = recognise_base if isinstance(subject, ChosenBase) else recognise_adapter
    findings = recognise(
        sketch_of(catalog, subject),
        # The subject too: it may be what another model was made from.
        [one for one, _ in suspicions],
        ancestors=lineages(),
        about=[one for one, _ in asked],
    )
    terms = {id(one): found for one, found in asked}
    ancestors = (_ancestor(finding, terms[id(finding.known)]) for finding in findings)
    return tuple(one for one in ancestors if one is not None)


def suspicions(catalog: Catalog) -> tuple[Suspicion, ...]:
    """Every model that the catalog could recognise, each content once."""
    found: dict[str, Suspicion] = {}
    for one in (*_bases(catalog), *_fingerprints(catalog), *_denying_adapters(catalog)):
        before = found.setdefault(one[0].content, one)
        if before is not one and before[0].model is None:
            found[one[0].content] = one
    return tuple(found.values())


def _bases(catalog: Catalog) -> Iterator[Suspicion]:
    for record, sketch in registered_sketches(catalog):
        content = record.tensor_sha256 or f"base {record.name}"
        model = None if record.model == UNNAMED_MODEL else record.model
        weights = Known(content, record.name, "weights", sketch, model, record.parent)
        yield weights, _registered(catalog, record)


def _registered(catalog: Catalog, record: BaseRecord) -> Dossier:
    said = (
        (model_claim(record.model, f"registered as {record.model}"),)
        if record.model in known()
        else ()
    )
    subject = Dossier(record.name, "base", record.tensor_sha256, record.file_sha256, said)
    return stored_dossier(catalog, subject)


def _fingerprints(catalog: Catalog) -> Iterator[Suspicion]:
    for record, fingerprint in learnt_fingerprints(catalog):
        weights = fingerprint.kind == "base"
        yield (
            Known(
                record.content,
                record.name,
                "weights" if weights else "change",
                fingerprint.sketch,
                record.model,
                record.parent,
            ),
            _published(catalog, record.name, record.model, fingerprint),
        )


def _published(catalog: Catalog, name: str, model: str | None, fingerprint: Fingerprint) -> Dossier:
    """What is known of a fingerprint's model: what it is said to be, and what its author states."""
    said = [model_claim(model, f"learnt as {model}")] if model in known() and model else []
    if fingerprint.terms is not None:
        stated = fingerprint.terms
        share = next((s for s in ShareMerges if s == stated.share_merges), ShareMerges.UNKNOWN)
        source = stated.source or f"the fingerprint of {name}"
        said.append(Claim("card", Terms(name, share, stated.statement, source, None)))
    subject = Dossier(name, fingerprint.kind, fingerprint.content, None, tuple(said))
    return stored_dossier(catalog, subject)


def _denying_adapters(catalog: Catalog) -> Iterator[Suspicion]:
    denied = catalog.denied_contents()
    for record in catalog.adapters():
        if record.tensor_sha256 not in denied and not _seems_to_deny(record):
            continue
        # One that is missing, or that cannot be worked out, cannot be looked for.
        with suppress(LorakitError):
            (entry,) = resolve_stack([Entry(f"sha256:{record.file_sha256}")], catalog)
            dossier = entry.dossier(catalog)
            if dossier.terms.share_merges is ShareMerges.DENY:
                model = next((c.model for c in dossier.claims if c.origin == "table"), None)
                sketch = sketch_of(catalog, entry)
                yield Known(record.tensor_sha256, record.name, "change", sketch, model), dossier


def _seems_to_deny(record: AdapterRecord) -> bool:
    """Whether the catalog's row alone gives reason to read an adapter's terms."""
    if record.license and license_terms(record.license, "").share_merges is ShareMerges.DENY:
        return True
    names = (record.name, record.title, record.path.stem if record.path else None)
    return any(by_name(name, adapter=True) for name in names)


def _worth_asking(suspicion: Suspicion, dossier: Dossier) -> bool:
    """Whether it would change anything to find this model in a subject.

    A base that nobody has named claims nothing, so nothing follows from being it.
    """
    one, terms = suspicion
    share = terms.terms.share_merges
    if one.content == dossier.content or (one.model is None and share is ShareMerges.UNKNOWN):
        return False
    there = {claim.model for part in dossier.everyone() for claim in part.claims}
    return one.model not in there or share is ShareMerges.DENY


def _ancestor(finding: Finding, dossier: Dossier) -> Dossier | None:
    """What a finding makes of the model that was looked for; None where it was not found."""
    name = f"{finding.known.name} ({dossier.terms.title})"
    how = finding.how.rstrip(".")
    if finding.outcome in ("same", "contains"):
        verb = "is" if finding.outcome == "same" else "contains"
        return replace(dossier, relation=f"{verb} {name}, recognised by its weights ({how})")
    if finding.outcome != "undecided" or dossier.terms.share_merges is not ShareMerges.DENY:
        return None
    settle = f" To settle it, register {finding.settle} with `lorakit base add FILE --as MODEL`."
    open_question = Terms(
        f"perhaps {dossier.terms.title}",
        ShareMerges.UNKNOWN,
        f"{how}.{settle if finding.settle else ''}",
        f"its weights, next to those of {finding.known.name}",
        None,
    )
    claims = (Claim("recognised", open_question),)
    return Dossier(name, dossier.role, None, None, claims, (), f"may be or contain {name}")
