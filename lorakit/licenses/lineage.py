"""What a subject was made from: models of the table, and the ingredients that its header records."""

from __future__ import annotations

from collections.abc import Mapping

from lorakit.formats.ancestry import INGREDIENTS_KEY, Ancestor, read_ancestry
from lorakit.licenses.claims import Claim
from lorakit.licenses.dossier import Dossier
from lorakit.licenses.known import by_hash, by_name, known, mentioned
from lorakit.licenses.policy import SAME_WORK, Role
from lorakit.licenses.terms import Terms

_MERGED_FROM = "was merged from"
# What a record may say of an ancestor that was not merged into the file: what it says beyond this is its own claim.
_NOT_MERGED = (
    "was made for",
    "has the shape of",
    "derives from",
    "was fine-tuned from",
    "was quantised from",
)


def model_claim(key: str, found: str) -> Claim:
    """The claim that something is the known model `key`, made at `found`."""
    return Claim("table", known()[key].terms, key, found=found)


def model_dossier(key: str, relation: str, role: Role | None = None) -> Dossier:
    """A known model as an ancestor, with its own ancestors."""
    model = known()[key]
    own: Role = "adapter" if model.is_adapter else "base"
    return Dossier(
        model.terms.title,
        role or own,
        None,
        None,
        (Claim("table", model.terms, key),),
        table_ancestors(key),
        relation,
    )


def table_ancestors(key: str) -> tuple[Dossier, ...]:
    """What the table says that a known model was made from."""
    direct = known()[key].ancestors if key in known() else ()
    return tuple(
        model_dossier(parent, f"derives from {known()[parent].terms.title}") for parent in direct
    )


def header_ancestors(metadata: Mapping[str, str], file_name: str) -> tuple[Dossier, ...]:
    """What a header says its file was made from; () where it says nothing."""
    key = INGREDIENTS_KEY if INGREDIENTS_KEY in metadata else "modelspec.merged_from"
    where = f"{key} in the header of {file_name}"
    return tuple(_recorded(ancestor, where) for ancestor in read_ancestry(metadata))


def _recorded(ancestor: Ancestor, where: str) -> Dossier:
    key = _known_key(ancestor)
    claims = [Claim("ancestor", _terms(ancestor, where), ancestor.model, found=where)]
    if key is not None:
        claims.append(model_claim(key, where))
    below = tuple(_recorded(one, where) for one in ancestor.ancestors)
    said = ancestor.relation or ""
    known_ways = (one for one in (SAME_WORK, *_NOT_MERGED) if said.startswith(one))
    how = next(known_ways, _MERGED_FROM)
    return Dossier(
        ancestor.name,
        ancestor.role,
        ancestor.content,
        ancestor.file_sha256,
        tuple(claims),
        below or (table_ancestors(key) if key else ()),
        f"{how} {ancestor.name} ({where})",
    )


def kept_as(ancestor: Dossier) -> str:
    """The key under which a catalog keeps an ancestor: its relation, as it was once said of every recorded one."""
    for how in _NOT_MERGED:
        for claim in ancestor.claims:
            if ancestor.relation == f"{how} {ancestor.name} ({claim.found})":
                return f"{_MERGED_FROM} {ancestor.name} ({claim.found})"
    return ancestor.relation


def _known_key(ancestor: Ancestor) -> str | None:
    """The model of the table that an ancestor is. A name can make terms stricter only: the recorded
    terms of an ancestor count beside the table's."""
    if ancestor.model in known():
        return ancestor.model
    adapter = ancestor.role == "adapter"
    return (
        by_hash(ancestor.file_sha256)
        or by_name(ancestor.name, adapter=adapter)
        or next(mentioned(ancestor.name), None)
    )


def _terms(ancestor: Ancestor, where: str) -> Terms:
    """The recorded terms; a date that is none is left out."""
    fields = vars(ancestor.terms)
    source = where if ancestor.terms.source == "none" else ancestor.terms.source
    try:
        return Terms.from_dict({**fields, "source": source})
    except ValueError:
        return Terms.from_dict({**fields, "source": source, "read_on": None})
