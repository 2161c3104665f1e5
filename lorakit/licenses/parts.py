"""The files of a base that has several, each as an ingredient of the whole.

A file whose terms are known stays what it is in whatever folder it lies. So the hashes of all files are
kept with the content of the base when it is registered, and looked up whenever its terms are asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
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
from lorakit.licenses.terms import ShareMerges

_TEXT_ADAPTER = "text_conditioner/"

if TYPE_CHECKING:
    from lorakit.catalog import BaseRecord, Catalog


def keep_parts(catalog: Catalog, hashes: ModelHashes) -> None:
    """Keep which files a base consists of, where they are several."""
    from lorakit.catalog.claims import NewClaim

    if len(hashes.parts) < 2:
        return
    content = hashes.whole.tensor_sha256
    top = _top(hashes.parts)
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
    bases = catalog.bases() if records else []
    # A file that was renamed since is there under both names.
    newest = {record.terms["content"]: record for record in records}.values()
    denied = [base for base in bases if base.tensor_sha256 != content and _denies(base.model)]
    found = (_part(catalog, record.source, record.terms, bases, denied) for record in newest)
    return tuple(
        one for one in found if one.claims or (one.content and any(kept(catalog, one.content)))
    )


def _part(
    catalog: Catalog,
    name: str,
    hashes: Mapping[str, str],
    bases: Sequence[BaseRecord],
    denied: Sequence[BaseRecord],
) -> Dossier:
    """One file. `denied` are bases that forbid merges, of which it may be a file, too."""
    content, sha256 = hashes["content"], hashes["sha256"]
    claims = [
        model_claim(model, f"{name} is registered as {model}")
        for model in dict.fromkeys(b.model for b in bases if b.tensor_sha256 == content)
        if model in known()
    ]
    claims += [
        model_claim(base.model, f"{name} is a file of {base.name}, registered as {base.model}")
        for base in denied
        if _has_file(catalog, base, content)
    ]
    published = by_hash(sha256)
    if published is not None:
        claims.append(model_claim(published, f"the SHA-256 of the published file, which {name} is"))
    _, ancestors = kept(catalog, content)
    below = (one for claim in claims for one in table_ancestors(claim.model or ""))
    whole = (*ancestors, *dict.fromkeys(below))
    return Dossier(name, "base", content, sha256, tuple(claims), whole, f"holds the file {name}")


def _denies(model: str) -> bool:
    return model in known() and known()[model].terms.share_merges is ShareMerges.DENY


def _has_file(catalog: Catalog, base: BaseRecord, content: str) -> bool:
    """Whether a file of this content is one of several that `base` consists of.

    The text adapter, where it is a file of its own, is what training leaves as it was: the base's
    ancestors have it as well.
    """
    return base.tensor_sha256 is not None and any(
        record.origin == PART
        and record.terms["content"] == content
        and not record.source.startswith(_TEXT_ADAPTER)
        for record in catalog.claims(base.tensor_sha256)
    )


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
        hashes = (sha256, content) if alone else (None, None)
        found += evidence_beside(file, "base", *hashes)
        try:
            metadata = read_header(file).metadata
        except BadFile:
            readable = False
            continue
        found += header_evidence(metadata, read_training_info(metadata), file, adapter=False)
    # A card of a folder that is one model is that model's, however many files there are.
    tops = [path] if is_folder(path) else [] if alone else [_top(files)]
    for card in (top / "README.md" for top in tops):
        if card.is_file():
            found += card_evidence(card, "base")
    # Every shard of a repository has the same card.
    once = Evidence(
        tuple(dict.fromkeys(found.claims)),
        tuple(dict.fromkeys(found.ancestors)),
        tuple(dict.fromkeys(found.notes)),
        tuple(dict.fromkeys(found.problems)),
    )
    return once, readable


def _top(files: Iterable[Path]) -> Path:
    return Path(os.path.commonpath([file.parent for file in files]))


def base_names(path: Path) -> tuple[Claim, ...]:
    """The claims that the names of a base and of its files make, where those are a published model's."""
    try:
        files = [file.path for file in model_files(path)]
    except BadFile:
        files = []
    named = [claim for one in (path, *files) for claim in named_claims(one, adapter=False)]
    return tuple({claim.model: claim for claim in reversed(named)}.values())
