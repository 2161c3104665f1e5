"""The models that the gate recognises in weights, as ancestors with terms of their own.

Looked for are the registered bases, learnt fingerprints, and adapters whose terms deny: they are found again
under any name, in another dtype, and inside merges.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from lorakit.bases import ChosenBase
from lorakit.gate.subjects import Subject, file_hashes
from lorakit.licenses.claims import Claim
from lorakit.licenses.dossier import Dossier
from lorakit.licenses.gathering import stored_dossier
from lorakit.licenses.known import known, lineages, named_as_denying
from lorakit.licenses.lineage import model_claim
from lorakit.licenses.policy import Role
from lorakit.licenses.spdx import license_terms
from lorakit.licenses.terms import ShareMerges, Terms
from lorakit.sketches.reading import sketch_checkpoint
from lorakit.stack import Entry, resolve_stack
from lorakit.tracing.candidates import known_adapters, known_weights
from lorakit.tracing.kept import ensure_adapter_sketch, kept_fingerprint
from lorakit.tracing.known import Finding, Known
from lorakit.tracing.recognition import recognise_adapter, recognise_base

if TYPE_CHECKING:
    from pathlib import Path

    from lorakit.catalog import AdapterRecord, BaseRecord, Catalog
    from lorakit.sketches.sketch import Sketch

# A model that may be recognised, and what is known of its terms.
Suspicion = tuple[Known, Dossier]


def recognised_in(
    catalog: Catalog,
    subject: Subject,
    dossier: Dossier,
    suspicions: Sequence[Suspicion],
    base: Path | None = None,
) -> tuple[Dossier, ...]:
    """The models of `suspicions` that the weights of `subject` are or hold, as ancestors.

    A model that denies and cannot be ruled out is an ancestor of unknown terms. What an adapter such as
    DoRA changes depends on the weights that it is applied to, those of `base`. Raises `BadFile` or
    `NotFusable` for weights that cannot be read.
    """
    same = tuple(_as_the_same(one) for one in suspicions if _is_denied_copy(one, dossier))
    asked = [one for one in suspicions if _worth_asking(one, dossier)]
    if same or not asked:
        return same
    recognise = recognise_base if isinstance(subject, ChosenBase) else recognise_adapter
    findings = recognise(
        _sketch_of(catalog, subject, base),
        # The subject too: it may be what another model was made from.
        [one for one, _ in suspicions],
        ancestors=lineages(),
        about=[one for one, _ in asked],
    )
    terms = {id(one): found for one, found in asked}
    ancestors = (_ancestor(finding, terms[id(finding.known)]) for finding in findings)
    return tuple(one for one in ancestors if one is not None)


def _sketch_of(catalog: Catalog, subject: Subject, base: Path | None) -> Sketch:
    """What is kept of the subject's content, else taken of its file.

    A base's is kept where it is registered alone: its content is not read again here.
    """
    if isinstance(subject, ChosenBase):
        kept = catalog.sketch(subject.content, "base") if subject.content else None
        return kept_fingerprint(catalog, kept).sketch if kept else sketch_checkpoint(subject.path)
    content = subject.tensor_sha256
    if content is None or catalog.sketch(content, "adapter") is None:
        # The catalog may know an earlier content of this file.
        content = file_hashes(subject.path).tensor_sha256
    sketch = ensure_adapter_sketch(catalog, content, subject.path, subject.name)
    return _against(base, subject.path) if sketch.undecided and base else sketch


def _against(base: Path, adapter: Path) -> Sketch:
    """The sketch of an adapter whose change depends on the weights of `base`; it is not kept."""
    from lorakit.adapters.loading import load_adapter
    from lorakit.sketches.adapters import sketch_adapter
    from lorakit.tracing.weights import weights_in

    return sketch_adapter(load_adapter(adapter), weights_in(base))


def suspicions(catalog: Catalog) -> tuple[Suspicion, ...]:
    """Every model that the catalog could recognise, each content once."""
    registered: dict[str | None, list[BaseRecord]] = {}
    weights = known_weights(catalog)
    for record in catalog.bases():
        registered.setdefault(record.tensor_sha256, []).append(record)
    found = [_weights(catalog, one, registered.get(one.content, [])) for one in weights]
    return (*found, *_denying_adapters(catalog))


def _weights(catalog: Catalog, one: Known, records: Sequence[BaseRecord]) -> Suspicion:
    """A base or a fingerprint, with what it is registered as and what the catalog has of its content.

    Of several registrations the one that denies gives it its name.
    """
    denying = [r for r in records if _model_share(r.model) is ShareMerges.DENY]
    named = [(record.model, record.name) for record in (*denying, *records)]
    named = [(m, name) for m, name in (*named, (one.model or "", one.name)) if m in known()]
    if named:
        one = replace(one, model=named[0][0], name=named[0][1])
    said = tuple(model_claim(m, f"registered as {m}") for m in dict.fromkeys(m for m, _ in named))
    role: Role = "base" if one.holds == "weights" else "adapter"
    sha256 = next((record.file_sha256 for record in records), None)
    return (
        replace(one, model=one.model if named else None),
        stored_dossier(catalog, Dossier(one.name, role, one.content, sha256, said)),
    )


def _model_share(model: str) -> ShareMerges:
    return known()[model].terms.share_merges if model in known() else ShareMerges.UNKNOWN


def _denying_adapters(catalog: Catalog) -> Iterator[Suspicion]:
    denied = catalog.denied_contents()
    for record in catalog.adapters():
        if record.missing or (record.tensor_sha256 not in denied and not _seems_to_deny(record)):
            continue
        (record,) = catalog.identified([record])
        if record.pending:
            continue
        (entry,) = resolve_stack([Entry(f"sha256:{record.file_sha256}")], catalog)
        dossier = entry.dossier(catalog)
        if dossier.terms.share_merges is ShareMerges.DENY:
            model = next((c.model for c in dossier.claims if c.origin == "table"), None)
            for one in known_adapters(catalog, [record]):
                yield replace(one, model=model), dossier


def _seems_to_deny(record: AdapterRecord) -> bool:
    """Whether the catalog's row alone gives reason to read an adapter's terms."""
    if record.license and license_terms(record.license, "").share_merges is ShareMerges.DENY:
        return True
    return named_as_denying(record.name, record.title, record.path.stem if record.path else None)


def _is_denied_copy(suspicion: Suspicion, subject: Dossier) -> bool:
    """Whether the subject's very bytes are those of a model that denies, which nothing said of it tells."""
    one, terms = suspicion
    denies = terms.terms.share_merges is ShareMerges.DENY
    return denies and one.content is not None and one.content == subject.content


def _as_the_same(suspicion: Suspicion) -> Dossier:
    one, terms = suspicion
    how = f"{one.name} ({terms.terms.title}), recognised by its weights (their hash is the same)"
    return replace(terms, relation=f"is {how}")


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
