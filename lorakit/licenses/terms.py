"""Terms: what a licence permits, who says so, and since when."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from lorakit.errors import BadUsage

if TYPE_CHECKING:
    from lorakit.formats.inspection import AdapterReport


class ShareMerges(StrEnum):
    """May a file with weights merged from this one be shared?"""

    ALLOW = "allow"
    ALLOW_WITH_OBLIGATIONS = "allow_with_obligations"
    UNKNOWN = "unknown"
    DENY = "deny"


_STRICTNESS: Mapping[ShareMerges, int] = MappingProxyType(
    {value: order for order, value in enumerate(ShareMerges)}
)


def strictest(values: Iterable[ShareMerges]) -> ShareMerges:
    """The strictest of several answers; of none at all, unknown."""
    return max(values, key=_STRICTNESS.__getitem__, default=ShareMerges.UNKNOWN)


@dataclass(frozen=True)
class Terms:
    """The terms of one model or licence.

    `statement` is the sentence that decides `share_merges`, `source` where it stands, `read_on` when
    it was read there. `obligations` is what must accompany a merge that may be shared.
    """

    title: str
    share_merges: ShareMerges
    statement: str
    source: str
    read_on: date | None
    credit: bool = False
    license: str | None = None
    obligations: tuple[str, ...] = ()

    @property
    def text_sha256(self) -> str:
        """SHA-256 of the statement, to notice later that it was changed at its source."""
        return hashlib.sha256(self.statement.encode()).hexdigest()


@cache
def known_models() -> Mapping[str, Terms]:
    """The table of known models by key (`rdbt`, `anima`, ...), from known_models.toml."""
    return MappingProxyType({key: _terms(entry) for key, entry in _table()["models"].items()})


@cache
def known_licenses() -> Mapping[str, Terms]:
    """Terms of licences by lower-case identifier, as headers name them."""
    return MappingProxyType({key: _terms(entry) for key, entry in _table()["licenses"].items()})


def model_terms(model: str) -> Terms:
    """The terms of a known model. Raises `BadUsage` for a key that is not in the table."""
    found = known_models().get(model)
    if found is None:
        raise BadUsage(
            f"{model!r} is not a known model.", hint=f"Known are: {', '.join(known_models())}."
        )
    return found


def claimed_terms(claim: str | None, source: str) -> Terms:
    """Terms from a licence that a file names for itself; anything unrecognised is unknown."""
    found = known_licenses().get(claim.strip().lower()) if claim else None
    if found is not None:
        return Terms(
            found.title,
            found.share_merges,
            found.statement,
            source,
            None,
            found.credit,
            found.license,
            found.obligations,
        )
    statement = f"The file names the licence {claim!r}." if claim else "The file names no licence."
    return Terms(claim or "no licence named", ShareMerges.UNKNOWN, statement, source, None)


def header_terms(report: AdapterReport) -> Terms:
    """The strictest of what an adapter's header says: its licence, and the known models it names.

    What was merged from other files has unknown terms at best: a licence of its own says nothing of
    theirs.
    """
    info, where = report.info, f"the header of {report.path.name}"
    found = [claimed_terms(info.license, f"modelspec.license in {where}")]
    found += _named_models(info.title, info.merged_from)
    if info.merged_from:
        found.append(claimed_terms(None, f"modelspec.merged_from in {where}"))
    least = strictest(terms.share_merges for terms in found)
    return next(terms for terms in found if terms.share_merges == least)


def _named_models(*texts: str | None) -> list[Terms]:
    """The models of the table whose name stands in one of `texts`, brackets and case aside."""
    words = " ".join(re.sub(r"[^a-z0-9]+", " ", text.lower()) for text in texts if text).split()
    models = known_models().items()
    return [terms for key, terms in models if key != "other" and key.split("-")[0] in words]


def _table() -> dict[str, Any]:
    return tomllib.loads(files(__package__).joinpath("known_models.toml").read_text("utf-8"))


def _terms(entry: Mapping[str, Any]) -> Terms:
    return Terms(
        title=entry["title"],
        share_merges=ShareMerges(entry["share_merges"]),
        statement=entry["statement"],
        source=entry["source"],
        read_on=entry.get("read_on"),
        credit=entry.get("credit", False),
        license=entry.get("license"),
        obligations=tuple(entry.get("obligations", ())),
    )
