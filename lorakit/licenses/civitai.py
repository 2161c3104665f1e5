"""Civitai's permissions: the four fields of a model's page, wherever they were saved.

`allowNoCredit`, `allowCommercialUse`, `allowDerivatives` ("Share merges using this model") and
`allowDifferentLicense` stand in the answer of `GET /api/v1/models/{id}` alone: answers about versions
and hashes lack them. Where some are there, a missing one permits nothing; where none is, nothing is said
at all. Meanings: Civitai's licence addendum, which defines a merge as combining the model or a derivative
of it with other models into a single model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from lorakit.licenses.terms import ShareMerges, Terms

FIELDS = ("allowNoCredit", "allowCommercialUse", "allowDerivatives", "allowDifferentLicense")
_CODED = "LicenseRef-Civitai-permissions-"
_USES = ("Image", "RentCivit", "Rent", "Sell")
# What LoRA Manager writes into its `.metadata.json` when Civitai's answer had no such fields.
_INVENTED: Mapping[str, Any] = {
    "allowNoCredit": True,
    "allowCommercialUse": ["Sell"],
    "allowDerivatives": True,
    "allowDifferentLicense": True,
}


@dataclass(frozen=True)
class Permissions:
    """The permissions of one model on Civitai; None for a field that is not there.

    `commercial` holds what is allowed of Image, RentCivit, Rent and Sell. `hashes` are the SHA-256 and
    AutoV3 hashes, in lower case, of the files that the document lists for the model.
    """

    no_credit: bool | None
    commercial: frozenset[str] | None
    derivatives: bool | None
    different_license: bool | None
    model_id: int | None = None
    name: str = ""
    creator: str = ""
    hashes: frozenset[str] = frozenset()
    invented: bool = False

    @property
    def says_anything(self) -> bool:
        """Whether any of the four fields is there."""
        said = (self.no_credit, self.commercial, self.derivatives, self.different_license)
        return any(field is not None for field in said)

    def fits(self, sha256: str | None, content: str | None) -> bool | None:
        """Whether the file with these hashes is one of the model's; None where it cannot be told."""
        mine = {h for h in (sha256, content and content[:12]) if h}
        return bool(mine & self.hashes) if mine and self.hashes else None


def read_permissions(document: object) -> Iterator[Permissions]:
    """The models that a saved document describes: an answer of the API, or a tool's record of one."""
    if not isinstance(document, Mapping):
        return
    items = document.get("items")
    if isinstance(items, list):
        for item in items:
            yield from read_permissions(item)
        return
    record = document.get("civitai")
    version = record if isinstance(record, Mapping) else document
    model = version.get("model")
    holder = model if isinstance(model, Mapping) and _has_fields(model) else version
    if not _has_fields(holder) and _has_fields(document):
        holder = document
    found = _permissions(holder, version)
    # Its own records alone carry the defaults: they have the answer under `civitai`.
    invented = record is not None and {field: holder.get(field) for field in FIELDS} == _INVENTED
    yield Permissions(**{**vars(found), "invented": invented})


def link_permissions(link: str) -> Permissions | None:
    """The permissions in the query of a model card's `license_link`, as Civitai's exporter writes it."""
    address = urlsplit(link)
    fields: dict[str, Any] = dict(parse_qsl(address.query))
    if "civitai-licenses" not in address.path or not _has_fields(fields):
        return None
    return _permissions(fields, {})


def coded_permissions(license: str) -> Permissions | None:
    """The permissions in an identifier that `permission_terms` gives as a licence; None for any other."""
    found = re.fullmatch(rf"{_CODED}([0-9]{{1,3}})", license, re.IGNORECASE)
    if found is None or int(found[1]) >= 1 << 7:
        return None
    bits = int(found[1])
    uses = frozenset(use for place, use in enumerate(_USES, start=1) if bits >> place & 1)
    return Permissions(bool(bits & 1), uses, bool(bits >> 5 & 1), bool(bits >> 6 & 1))


def _coded(said: Permissions) -> str | None:
    """An SPDX identifier that holds the permissions, in the order of LoRA Manager's licence bits."""
    if said.derivatives is None:
        return None
    uses = said.commercial or frozenset()
    flags = [bool(said.no_credit), *(use in uses for use in _USES), said.derivatives]
    bits = sum(flag << place for place, flag in enumerate([*flags, bool(said.different_license)]))
    return f"{_CODED}{bits}"


def permission_terms(said: Permissions, source: str, read_on: date | None) -> Terms:
    """The terms that a model's permissions come to; `source` is where they were read."""
    name = said.name or "the model"
    credit = f"Credit {said.creator or 'its creator'} for {name}{_address(said)}."
    credits = () if said.no_credit else (credit,)
    conditions = (*credits, *_conditions(said, name))
    share, statement = _merges(said, bool(conditions))
    limits = () if "Image" in (said.commercial or ()) else ("Pictures may not be sold.",)
    held = ShareMerges.ALLOW_WITH_OBLIGATIONS if (*credits, *limits) else ShareMerges.ALLOW
    return Terms(
        title=f"Civitai permissions of {name}" if said.name else "Civitai permissions",
        share_merges=share,
        statement=statement,
        source=source,
        read_on=read_on,
        credit=not said.no_credit,
        license=_coded(said),
        obligations=conditions,
        share_pictures=held,
        pictures_statement="Civitai's permissions limit the sale of pictures and ask for credit at most.",
        picture_obligations=(*credits, *limits),
    )


def _merges(said: Permissions, held: bool) -> tuple[ShareMerges, str]:
    if said.derivatives is None:
        return ShareMerges.UNKNOWN, "Whether merges may be shared is not stated (allowDerivatives)."
    if not said.derivatives:
        statement = "Its creator does not allow merges to be shared (allowDerivatives: false)."
        return ShareMerges.DENY, statement
    share = ShareMerges.ALLOW_WITH_OBLIGATIONS if held else ShareMerges.ALLOW
    return share, "Its creator allows merges to be shared (allowDerivatives: true)."


def _conditions(said: Permissions, name: str) -> Iterator[str]:
    allowed = said.commercial or frozenset()
    if not said.different_license:
        yield f"Give the merge the same permissions as {name} (no allowDifferentLicense)."
    if "Sell" not in allowed:
        yield "The merge is not to be sold."
    if "Rent" not in allowed:
        where = " other than Civitai's" if "RentCivit" in allowed else ""
        yield f"The merge is not to be run on generation services{where}."


def _address(said: Permissions) -> str:
    return f" (https://civitai.com/models/{said.model_id})" if said.model_id is not None else ""


def _has_fields(holder: Mapping[str, Any]) -> bool:
    return any(field in holder for field in FIELDS)


def _permissions(holder: Mapping[str, Any], around: Mapping[str, Any]) -> Permissions:
    model = around.get("model")
    named = model.get("name") if isinstance(model, Mapping) else around.get("name")
    number = around.get("modelId", around.get("id"))
    return Permissions(
        _flag(holder.get("allowNoCredit")),
        _commercial(holder.get("allowCommercialUse")),
        _flag(holder.get("allowDerivatives")),
        _flag(holder.get("allowDifferentLicense")),
        number if type(number) is int else None,
        _text(named),
        _creator(around) or _creator(holder),
        frozenset(_hashes(around)),
    )


def _flag(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    return (
        {"true": True, "false": False}.get(value.strip().lower())
        if isinstance(value, str)
        else None
    )


def _commercial(value: object) -> frozenset[str] | None:
    """What is allowed, from a list, `{A,B}`, or the single level that Civitai once had.

    Sell includes Rent, and Rent includes RentCivit; a level includes Image as well.
    """
    level = isinstance(value, str) and not re.search(r"[{},]", value)
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list):
        return None
    names = {use.lower(): use for use in (*_USES, "None")}
    words = (w for text in texts if isinstance(text, str) for w in re.findall(r"[A-Za-z]+", text))
    found = {names[word.lower()] for word in words if word.lower() in names}
    if texts and not found:
        return None
    if "Sell" in found:
        found.add("Rent")
    if "Rent" in found:
        found.add("RentCivit")
    if level and found - {"None"}:
        found.add("Image")
    return frozenset(found - {"None"})


def _creator(holder: Mapping[str, Any]) -> str:
    creator = holder.get("creator")
    return _text(creator.get("username") if isinstance(creator, Mapping) else creator)


def _hashes(around: Mapping[str, Any]) -> Iterator[str]:
    versions = around.get("modelVersions")
    for version in (around, *(versions if isinstance(versions, list) else ())):
        files = version.get("files") if isinstance(version, Mapping) else None
        for file in files if isinstance(files, list) else ():
            hashes = file.get("hashes") if isinstance(file, Mapping) else None
            for kind in ("SHA256", "AutoV3"):
                value = hashes.get(kind) if isinstance(hashes, Mapping) else None
                if isinstance(value, str) and value.strip():
                    yield value.strip().lower()


def _text(value: object) -> str:
    """A name of bearable length that any terminal and database takes."""
    text = value if isinstance(value, str) else ""
    return " ".join(text[:200].encode("utf-8", "replace").decode().split())
