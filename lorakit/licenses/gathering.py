"""Gathering a dossier: what the files, the table and the catalog say of a subject."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lorakit.errors import BadFile
from lorakit.formats.checkpoint import read_checkpoint
from lorakit.formats.metadata import read_training_info
from lorakit.formats.variants import SIZES
from lorakit.licenses.beside import evidence_beside
from lorakit.licenses.claims import Claim
from lorakit.licenses.dossier import Dossier
from lorakit.licenses.earlier import earlier_evidence
from lorakit.licenses.evidence import Evidence, header_evidence, named_claims
from lorakit.licenses.keeping import keep, kept, merged
from lorakit.licenses.known import by_hash, known
from lorakit.licenses.lineage import model_claim, model_dossier, table_ancestors
from lorakit.licenses.parts import base_evidence, base_names, known_parts
from lorakit.licenses.policy import SAME_WORK
from lorakit.licenses.terms import Terms

if TYPE_CHECKING:
    from lorakit.catalog import AdapterRecord, Catalog
    from lorakit.formats.inspection import AdapterReport

# The content under which claims about a model of the table are kept, whatever files it is in.
MODEL_CONTENT = "model:"


def adapter_dossier(
    catalog: Catalog | None,
    path: Path,
    report: AdapterReport,
    name: str,
    content: str | None,
    sha256: str | None,
) -> Dossier:
    """What is known of an adapter's terms: its header, the files beside it, the table, the catalog.

    What the files say is kept in `catalog` under `content`, where both are given.
    """
    found = header_evidence(report.metadata, report.info, path, adapter=True)
    found += evidence_beside(path, "adapter", sha256, content)
    found += earlier_evidence(catalog, content, report.metadata)
    said = named_claims(path, adapter=True)
    derived = report.model_blocks in SIZES
    return _gathered(catalog, Dossier(name, "adapter", content, sha256, ()), said, found, derived)


def base_dossier(
    catalog: Catalog | None,
    name: str,
    path: Path,
    models: Sequence[str],
    content: str | None,
    sha256: str | None,
) -> Dossier:
    """What is known of a base's terms; `models` are the known models it was registered as.

    Of a base of several files each is asked. One that cannot be read adds nothing to what the catalog
    knows.
    """
    said = tuple(model_claim(key, f"registered as {key}") for key in models if key in known())
    said += base_names(path)
    found, readable = base_evidence(path, sha256, content)
    derived = readable and _blocks(path) in SIZES
    subject = Dossier(name, "base", content, sha256, (), known_parts(catalog, content))
    return _gathered(catalog, subject, said, found, derived)


def recorded_dossier(catalog: Catalog, record: AdapterRecord) -> Dossier:
    """What is known of a catalogued adapter whose file is missing: its header as it was read."""
    metadata = catalog.report(record)["metadata"]
    path = record.path or Path(record.name)
    found = header_evidence(metadata, read_training_info(metadata), path, adapter=True)
    subject = Dossier(record.name, "adapter", record.tensor_sha256, record.file_sha256, ())
    return _gathered(catalog, subject, (), found, record.model_blocks in SIZES)


def model_subject(catalog: Catalog, key: str) -> Dossier:
    """What is known of a model of the table, and what has been said of it in the catalog."""
    return _completed(catalog, model_dossier(key, ""), ())


def stored_dossier(catalog: Catalog, subject: Dossier) -> Dossier:
    """What the table and the catalog know of a subject whose file is not at hand."""
    return _gathered(catalog, subject, subject.claims, Evidence(), False)


def _gathered(
    catalog: Catalog | None,
    subject: Dossier,
    said: tuple[Claim, ...],
    found: Evidence,
    derived: bool,
) -> Dossier:
    """The subject with all claims and ancestors; what files say is kept on the way.

    `said` are claims that are on record elsewhere, as the subject's own ancestors are; `derived` tells that
    it is laid out as Anima is.
    """
    key = by_hash(subject.sha256)
    by_table = (model_claim(key, "the SHA-256 of the published file"),) if key else ()
    claims, ancestors = (*by_table, *found.claims), found.ancestors
    if catalog is not None and subject.content is not None:
        stored, before = kept(catalog, subject.content)
        keep(catalog, subject.content, claims, ancestors)
        claims = merged(claims, stored)
        there = {_identity(one) for ancestor in ancestors for one in ancestor.everyone()}
        ancestors = (*ancestors, *(one for one in before if _identity(one) not in there))
    claims = (*said, *claims)
    models = _models(claims)
    if models:
        # What a known model was made from stands in the table; a card may go further back.
        ancestors = tuple(one for one in ancestors if not _is_named_by_a_card(one))
    ancestors += tuple(one for model in models for one in table_ancestors(model))
    ancestors += subject.ancestors
    ancestors = _with_anima(tuple(dict.fromkeys(ancestors)), models, subject.role, derived)
    whole = replace(
        subject, claims=claims, ancestors=ancestors, notes=found.notes, problems=found.problems
    )
    return _completed(catalog, whole, tuple(c for c in claims if c.origin == "user"))


def _completed(catalog: Catalog | None, dossier: Dossier, own: tuple[Claim, ...]) -> Dossier:
    """With what the catalog keeps of the models and the contents in it, at every depth.

    `own` are the person's claims about the whole: they settle what a name alone leaves unknown of its
    parts, and what is unknown of the same work in its earlier form, and no more than that.
    """
    claims = dossier.claims
    if catalog is not None:
        for model in _models(claims):
            claims += kept(catalog, f"{MODEL_CONTENT}{model}")[0]
    return replace(
        dossier,
        claims=claims,
        ancestors=tuple(_part(catalog, one, own) for one in dossier.ancestors),
    )


def _part(catalog: Catalog | None, ancestor: Dossier, own: tuple[Claim, ...]) -> Dossier:
    claims = ancestor.claims
    if catalog is not None and ancestor.content is not None:
        claims += kept(catalog, ancestor.content)[0]
    if _is_a_mere_name(ancestor) or ancestor.relation.startswith(SAME_WORK):
        claims += own
    return _completed(catalog, replace(ancestor, claims=claims), own)


def _models(claims: Iterable[Claim]) -> dict[str, None]:
    """The known models that a subject is said to be, by the table or by a person."""
    named = (c.model for c in claims if c.origin in ("table", "user") and c.model in known())
    return dict.fromkeys(model for model in named if model)


def _identity(ancestor: Dossier) -> tuple[str, str | None, Terms]:
    """What tells one ancestor from another, wherever it is named."""
    terms = replace(ancestor.own_terms, read_on=None, source="", pictures_source="")
    return ancestor.name, ancestor.content, terms


def _is_a_mere_name(ancestor: Dossier) -> bool:
    """Whether nothing is known of an ancestor but what some text calls it."""
    hashed = ancestor.content is not None or ancestor.sha256 is not None
    return not hashed and all(
        claim.origin == "ancestor" and claim.model is None for claim in ancestor.claims
    )


def _is_named_by_a_card(ancestor: Dossier) -> bool:
    return _is_a_mere_name(ancestor) and "base_model in " in ancestor.relation


def _with_anima(
    ancestors: tuple[Dossier, ...], models: Iterable[str], role: str, derived: bool
) -> tuple[Dossier, ...]:
    """Anima among the ancestors of whatever is laid out as Anima is: its licence covers them all."""
    there = {c.model for a in ancestors for one in a.everyone() for c in one.claims} | set(models)
    if not derived or "anima" in there:
        return ancestors
    if role == "adapter":
        relation = f"was made for Anima, and {known()['anima'].adapters_derive}"
    else:
        relation = "has the shape of Anima, and a modified Anima is a Derivative (section 1a(i))"
    return (*ancestors, model_dossier("anima", relation))


def _blocks(path: Path) -> int | None:
    try:
        return read_checkpoint(path).blocks
    except BadFile:
        return None
