"""Terms: what a licence permits, who says so, and since when."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from lorakit.errors import BadUsage


class ShareMerges(StrEnum):
    """May a file with weights merged from this one be shared? (Also asked of pictures.)"""

    ALLOW = "allow"
    ALLOW_WITH_OBLIGATIONS = "allow_with_obligations"
    UNKNOWN = "unknown"
    DENY = "deny"


ALLOWING = (ShareMerges.ALLOW, ShareMerges.ALLOW_WITH_OBLIGATIONS)
_STRICTNESS: Mapping[ShareMerges, int] = MappingProxyType(
    {value: order for order, value in enumerate(ShareMerges)}
)


def strictest(values: Iterable[ShareMerges]) -> ShareMerges:
    """The strictest of several answers; of none at all, unknown."""
    return max(values, key=_STRICTNESS.__getitem__, default=ShareMerges.UNKNOWN)


def loosest(values: Iterable[ShareMerges]) -> ShareMerges:
    """The least strict of several answers; of none at all, unknown."""
    return min(values, key=_STRICTNESS.__getitem__, default=ShareMerges.UNKNOWN)


@dataclass(frozen=True)
class Terms:
    """The terms of one model or licence.

    `statement` is the sentence that decides `share_merges`, `source` where it stands, `read_on` when
    it was read there. `obligations` is what must accompany a merge that may be shared. `license` is an
    SPDX expression. `share_pictures` is None where nothing is said of pictures, else decided by
    `pictures_statement` under `picture_obligations`, which stands in `pictures_source`, or else in `source`.
    `use` limits what it may be used for, if not empty.
    """

    title: str
    share_merges: ShareMerges
    statement: str
    source: str
    read_on: date | None
    credit: bool = False
    license: str | None = None
    obligations: tuple[str, ...] = ()
    share_pictures: ShareMerges | None = None
    pictures_statement: str = ""
    picture_obligations: tuple[str, ...] = ()
    use: str = ""
    pictures_source: str = ""

    @property
    def text_sha256(self) -> str:
        """SHA-256 of the statement, to notice later that it was changed at its source."""
        return hashlib.sha256(self.statement.encode()).hexdigest()

    @property
    def cited(self) -> str:
        """The source with the day it was read, as it is shown."""
        return f"{self.source}, read {self.read_on}" if self.read_on else self.source

    def to_dict(self) -> dict[str, Any]:
        """The terms as JSON takes them; `from_dict` reads them back."""
        return {
            "title": self.title,
            "share_merges": str(self.share_merges),
            "statement": self.statement,
            "source": self.source,
            "read_on": self.read_on.isoformat() if self.read_on else None,
            "credit": self.credit,
            "license": self.license,
            "obligations": list(self.obligations),
            "share_pictures": str(self.share_pictures) if self.share_pictures else None,
            "pictures_statement": self.pictures_statement,
            "picture_obligations": list(self.picture_obligations),
            "use": self.use,
            "pictures_source": self.pictures_source,
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Terms:
        """Terms as `to_dict` or the table of known models writes them. Raises `ValueError`."""
        try:
            return _terms(fields)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"these are no terms: {error}") from error


@cache
def known_models() -> Mapping[str, Terms]:
    """The table of known models by key (`rdbt`, `anima`, ...), from known_models.toml."""
    return MappingProxyType({key: entry_terms(entry) for key, entry in table()["models"].items()})


@cache
def known_licenses() -> Mapping[str, Terms]:
    """Terms of licences by lower-case identifier, as headers name them."""
    return MappingProxyType({key: _terms(entry) for key, entry in license_entries().items()})


@cache
def license_entries() -> Mapping[str, Mapping[str, Any]]:
    """The licences as the table has them, those with versions once for each."""
    found: dict[str, Mapping[str, Any]] = {}
    for key, entry in table()["licenses"].items():
        for version in entry.get("versions", ()):
            found[f"{key}-{version.lower()}"] = {
                **entry,
                "title": f"{entry['title']} {version}",
                "license": f"{entry['license']}-{version}",
            }
        if "versions" not in entry:
            found[key] = entry
    return MappingProxyType(found)


def entry_terms(entry: Mapping[str, Any]) -> Terms:
    """The terms of a model in the table; what it leaves out is its licence's (`under`)."""
    under = license_entries()[entry["under"]] if "under" in entry else {}
    return _terms({**under, **entry})


def model_terms(model: str) -> Terms:
    """The terms of a known model. Raises `BadUsage` for a key that is not in the table."""
    found = known_models().get(model)
    if found is None:
        raise BadUsage(
            f"{model!r} is not a known model.", hint=f"Known are: {', '.join(known_models())}."
        )
    return found


@cache
def table() -> Mapping[str, Any]:
    """known_models.toml as it stands."""
    text = files(__package__).joinpath("known_models.toml").read_text("utf-8")
    return MappingProxyType(tomllib.loads(text))


def _terms(entry: Mapping[str, Any]) -> Terms:
    read_on, pictures = entry.get("read_on"), entry.get("share_pictures")
    return Terms(
        title=entry["title"],
        share_merges=ShareMerges(entry["share_merges"]),
        statement=entry["statement"],
        source=entry["source"],
        read_on=date.fromisoformat(read_on) if isinstance(read_on, str) else read_on,
        credit=entry.get("credit", False),
        license=entry.get("license"),
        obligations=tuple(entry.get("obligations", ())),
        share_pictures=ShareMerges(pictures) if pictures else None,
        pictures_statement=entry.get("pictures_statement", ""),
        picture_obligations=tuple(entry.get("picture_obligations", ())),
        use=entry.get("use", ""),
        pictures_source=entry.get("pictures_source", ""),
    )
