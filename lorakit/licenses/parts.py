"""The files of a base that has several, each as an ingredient of the whole.

A file whose terms are known stays what it is in whatever folder it lies. So the hashes of all files are
kept with the content of the base when it is registered, and looked up whenever its terms are asked for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lorakit.catalog.naming import storable
from lorakit.errors import BadFile
from lorakit.formats.hashing import ModelHashes
from lorakit.formats.header import read_header
from lorakit.formats.metadata import read_training_info
from lorakit.formats.model_files import is_folder, model_files
from lorakit.licenses.beside import card_evidence, evidence_beside
from lorakit.licenses.claims import Claim
from lorakit.licenses.dossier import Dossier
from lorakit.licenses.evidence import Evidence, header_evidence, named_claims
from lorakit.licenses.keeping import PART, kept
from lorakit.licenses.known import by_hash, known
from lorakit.licenses.lineage import model_claim, table_ancestors

if TYPE_CHECKING:
    from lorakit.catalog import Catalog


def keep_parts(catalog: Catalog, hashes: ModelHashes) -> None:
    """Keep which files a base consists of, where they are several."""
    from lorakit.catalog.claims import NewClaim

    if len(hashes.parts) < 2:
        return
    content = hashes.whole.tensor_sha256
    top = Path(os.path.commonpath([path.parent for path in hashes.parts]))
    rows = [
        NewClaim(
            content,
            PART,
            storable(path.relative_to(top).as_posix()),
            {"sha256": own.file_sha256, "content": own.tensor_sha256},
        )
        for path, own in hashes.parts.items()
    ]
    catalog.record_claims(rows)


def known_parts(catalog: Catalog | None, content: str | None) -> tuple[Dossier, ...]:
    """The files of the base with this content of which anything is known, as its ingredients.

    What the catalog keeps of their contents is not among the claims yet.
    """
    if catalog is None or content is None:
        return ()
    records = [record for record in catalog.claims(content) if record.origin == PART]
    found = (_part(catalog, record.source, record.terms) for record in records)
    return tuple(
        one for one in found if one.claims or (one.content and any(kept(catalog, one.content)))
    )


def _part(catalog: Catalog, name: str, hashes: Mapping[str, str]) -> Dossier:
    content, sha256 = hashes["content"], hashes["sha256"]
    registered = {
        base.model: model_claim(base.model, f"{name} is registered as {base.model}")
        for base in catalog.bases()
        if base.model in known() and content == base.tensor_sha256
    }
    published = by_hash(sha256)
    claims = [*registered.values()]
    if published is not None:
        claims.append(model_claim(published, f"the SHA-256 of the published file, which {name} is"))
    below = tuple(one for claim in claims for one in table_ancestors(claim.model or ""))
    _, ancestors = kept(catalog, content)
    whole = (*ancestors, *below)
    return Dossier(name, "base", content, sha256, tuple(claims), whole, f"holds the file {name}")


def base_evidence(path: Path, sha256: str | None, content: str | None) -> tuple[Evidence, bool]:
    """What the files of a base say, and those beside them; and whether their headers could be read.

    A base that is not there adds nothing: what it said before is in the catalog.
    """
    try:
        files = [file.path for file in model_files(path)]
    except BadFile:
        return Evidence(), False
    alone = len(files) == 1
    found, readable = Evidence(), True
    for file in files:
        found += evidence_beside(
            file, "base", sha256 if alone else None, content if alone else None
        )
        try:
            metadata = read_header(file).metadata
        except BadFile:
            readable = False
            continue
        found += header_evidence(metadata, read_training_info(metadata), file, adapter=False)
    card = path / "README.md"
    if is_folder(path) and card.is_file() and card.parent not in {file.parent for file in files}:
        found += card_evidence(card, "base")
    return found, readable


def base_names(path: Path) -> tuple[Claim, ...]:
    """The claims that the names of a base and of its files make, where those are a published model's."""
    try:
        files = [file.path for file in model_files(path)]
    except BadFile:
        files = []
    paths = dict.fromkeys([path, *files])
    return tuple(claim for one in paths for claim in named_claims(one, adapter=False))
