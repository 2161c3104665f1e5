"""Gathering a dossier: what the files, the table and the catalog say of a subject."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lorakit.errors import BadFile
from lorakit.formats.checkpoint import parse_checkpoint
from lorakit.formats.header import Header, read_header
from lorakit.formats.metadata import read_training_info
from lorakit.formats.variants import SIZES
from lorakit.licenses.claims import Claim
from lorakit.licenses.dossier import Dossier
from lorakit.licenses.evidence import Evidence, header_evidence
from lorakit.licenses.keeping import everyone, keep, kept, merged
from lorakit.licenses.known import by_hash, known
from lorakit.licenses.lineage import model_claim, model_dossier, table_ancestors

if TYPE_CHECKING:
    from lorakit.catalog import Catalog
    from lorakit.formats.inspection import AdapterReport


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
    derived = report.model_blocks in SIZES
    return _gathered(catalog, Dossier(name, "adapter", content, sha256, ()), (), found, derived)


def base_dossier(
    catalog: Catalog | None,
    name: str,
    path: Path,
    models: Sequence[str],
    content: str | None,
    sha256: str | None,
) -> Dossier:
    """What is known of a base's terms; `models` are the known models it was registered as.

    A file that cannot be read adds nothing to what the catalog knows.
    """
    said = tuple(model_claim(key, f"registered as {key}") for key in models if key in known())
    found, derived = Evidence(), False
    try:
        header = read_header(path)
    except BadFile:
        pass  # an unplugged drive: what was read before is in the catalog
    else:
        metadata = header.metadata
        found = header_evidence(metadata, read_training_info(metadata), path, adapter=False)
        derived = _blocks(header) in SIZES
    return _gathered(catalog, Dossier(name, "base", content, sha256, ()), said, found, derived)


def _gathered(
    catalog: Catalog | None,
    subject: Dossier,
    said: tuple[Claim, ...],
    found: Evidence,
    derived: bool,
) -> Dossier:
    """The subject with all claims and ancestors; what files say is kept on the way.

    `said` are claims that are on record elsewhere; `derived` tells that it is laid out as Anima is.
    """
    key = by_hash(subject.sha256)
    by_table = (model_claim(key, "the SHA-256 of the published file"),) if key else ()
    claims, ancestors = (*by_table, *found.claims), found.ancestors
    if catalog is not None and subject.content is not None:
        stored, before = kept(catalog, subject.content)
        keep(catalog, subject.content, claims, ancestors)
        claims = merged(claims, stored)
        relations = {one.relation for one in everyone(ancestors)}
        ancestors = (*ancestors, *(one for one in before if one.relation not in relations))
    claims = (*said, *claims)
    models = dict.fromkeys(c.model for c in claims if c.origin == "table" and c.model)
    for model in models:
        ancestors += table_ancestors(model)
    return replace(
        subject,
        claims=claims,
        ancestors=_with_anima(tuple(dict.fromkeys(ancestors)), models, subject.role, derived),
        notes=found.notes,
    )


def _with_anima(
    ancestors: tuple[Dossier, ...],
    models: Sequence[str] | dict[str, None],
    role: str,
    derived: bool,
) -> tuple[Dossier, ...]:
    """Anima among the ancestors of whatever is laid out as Anima is: its licence covers them all."""
    there = {claim.model for one in everyone(ancestors) for claim in one.claims} | set(models)
    if not derived or "anima" in there:
        return ancestors
    if role == "adapter":
        relation = f"was made for Anima, and {known()['anima'].adapters_derive}"
    else:
        relation = "has the shape of Anima, and a modified Anima is a Derivative (section 1a(i))"
    return (*ancestors, model_dossier("anima", relation))


def _blocks(header: Header) -> int | None:
    try:
        return parse_checkpoint(header).blocks
    except BadFile:
        return None
