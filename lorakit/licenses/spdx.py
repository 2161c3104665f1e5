"""Licences that files name: SPDX expressions, and the names people write instead, evaluated to terms.

`packaging` checks and normalises an expression (SPDX specification 2.2.2, annex IV); names that it
refuses, such as `CreativeML-OpenRAIL-M`, stand in the table as LicenseRef-s with their spellings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from functools import cache
from types import MappingProxyType

from lorakit.licenses.civitai import coded_permissions, permission_terms
from lorakit.licenses.terms import (
    ShareMerges,
    Terms,
    known_licenses,
    license_entries,
    loosest,
    strictest,
)

_TOKENS = re.compile(r"[()]|[^\s()]+")
_OPERATORS = ("and", "or", "with")


def license_terms(named: str, source: str, read_on: date | None = None) -> Terms:
    """The terms of a licence or SPDX expression that is named at `source`.

    AND is the strictest of its sides with the obligations of all; OR is the side that allows most, and
    the statement says which was chosen; WITH adds exceptions, which never take a permission away. A
    licence that is not in the table, and text that is no expression, have unknown terms.
    """
    text = " ".join(named.split())
    whole = _spelled(text)
    if whole is not None:
        return replace(known_licenses()[whole], source=source, read_on=read_on)
    found = _evaluated(text)
    if found is None:
        return unknown_license(text, source, read_on)
    return replace(found, source=source, read_on=read_on)


def unknown_license(named: str, source: str, read_on: date | None = None) -> Terms:
    """The terms of a licence that is not in the table."""
    shown = named if len(named) <= 200 else f"{named[:197]}..."
    return Terms(
        shown, ShareMerges.UNKNOWN, f"The licence {shown!r} is not known here.", source, read_on
    )


def canonical(named: str) -> str | None:
    """The SPDX expression that `named` is; None where it is none."""
    # Imported when a licence is read: most commands read none.
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    words = []
    for token in _TOKENS.findall(named):
        key = None if token.lower() in _OPERATORS else _spelled(token)
        words.append((known_licenses()[key].license or token) if key else token)
    try:
        return str(canonicalize_license_expression(" ".join(words)))
    except (InvalidLicenseExpression, RecursionError):
        return None


def identifier(terms: Terms) -> str:
    """The SPDX expression of `terms`, or a LicenseRef made of their title."""
    expression = canonical(terms.license) if terms.license else None
    if expression is not None:
        return expression
    # The characters that an identifier may have (SPDX 2.2.2, annex IV).
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", terms.license or terms.title).strip("-.")
    return name if name.startswith("LicenseRef-") else f"LicenseRef-{name or 'unnamed'}"


def identifiers(expression: str) -> frozenset[str]:
    """The licences that an expression names, in lower case."""
    words = (token.lower() for token in _TOKENS.findall(expression))
    return frozenset(word for word in words if word not in (*_OPERATORS, "(", ")"))


def _spelled(name: str) -> str | None:
    """The key of the licence that is called so."""
    return _spellings().get(_plain(name))


def _plain(name: str) -> str:
    return re.sub(r"[\s_]+", "-", name.strip().lower())


@cache
def _spellings() -> Mapping[str, str]:
    found = {}
    for key, entry in license_entries().items():
        names = [key, entry.get("license", key), entry["title"], *entry.get("names", ())]
        found.update({_plain(name): key for name in names})
    return MappingProxyType(found)


def _evaluated(text: str) -> Terms | None:
    expression = canonical(text)
    if expression is None:
        return None
    tokens = _TOKENS.findall(expression)
    return _either(tokens)


def _either(tokens: list[str]) -> Terms:
    """A chain of ORs; takes what it reads from the front of `tokens`."""
    sides = [_both(tokens)]
    while tokens and tokens[0] == "OR":
        tokens.pop(0)
        sides.append(_both(tokens))
    if len(sides) == 1:
        return sides[0]
    least = loosest(side.share_merges for side in sides)
    chosen = min(
        (side for side in sides if side.share_merges == least), key=lambda t: len(t.obligations)
    )
    among = " or ".join(side.title for side in sides)
    return replace(chosen, statement=f"Of {among}, {chosen.title} is chosen: {chosen.statement}")


def _both(tokens: list[str]) -> Terms:
    sides = [_one(tokens)]
    while tokens and tokens[0] == "AND":
        tokens.pop(0)
        sides.append(_one(tokens))
    return all_of(sides)


def _one(tokens: list[str]) -> Terms:
    token = tokens.pop(0)
    if token == "(":
        inner = _either(tokens)
        tokens.pop(0)
        return inner
    terms = _named(token)
    if tokens and tokens[0] == "WITH":
        terms = replace(terms, license=f"{token} WITH {tokens[1]}")
        del tokens[:2]
    return terms


def _named(token: str) -> Terms:
    coded = coded_permissions(token)
    if coded is not None:
        return permission_terms(coded, "", None)
    key = _spelled(token.removesuffix("+")) or _spelled(token)
    return known_licenses()[key] if key else unknown_license(token, "")


def all_of(sides: list[Terms]) -> Terms:
    """Terms that hold together: the strictest, with every obligation and limit."""
    if len(sides) == 1:
        return sides[0]
    share = strictest(side.share_merges for side in sides)
    decisive = next(side for side in sides if side.share_merges == share)
    pictures = [side.share_pictures for side in sides if side.share_pictures]
    share_pictures = strictest(pictures) if pictures else None
    of_pictures = next((s for s in sides if s.share_pictures == share_pictures), decisive)
    return replace(
        decisive,
        title=" and ".join(side.title for side in sides),
        credit=any(side.credit for side in sides),
        license=" AND ".join(side.license or side.title for side in sides),
        obligations=tuple(dict.fromkeys(o for side in sides for o in side.obligations)),
        share_pictures=share_pictures,
        pictures_statement=of_pictures.pictures_statement,
        picture_obligations=tuple(
            dict.fromkeys(o for side in sides for o in side.picture_obligations)
        ),
        use=" ".join(dict.fromkeys(side.use for side in sides if side.use)),
    )
