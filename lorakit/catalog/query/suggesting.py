"""What the beginning of a word may become: for completion in a shell, which cannot wait."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Literal

from lorakit.catalog.home import default_catalog
from lorakit.catalog.query.fields import BY_NAME, SORT, SORTABLE
from lorakit.catalog.query.folding import fold
from lorakit.db.opening import parse_target
from lorakit.db.store import Store
from lorakit.errors import LorakitError

Suggested = Literal["name", "base", "tag", "collection", "stack", "algo", "layout", "dtype"]
_SELECT = {
    "name": "SELECT name FROM adapter WHERE name LIKE :begins ESCAPE '!' ORDER BY name LIMIT :most",
    "base": "SELECT name FROM base",
    "tag": "SELECT DISTINCT tag FROM tag",
    "collection": "SELECT name FROM collection",
    "stack": "SELECT name FROM kept_stack",
    "algo": "SELECT DISTINCT algo FROM adapter",
    "layout": "SELECT DISTINCT layout FROM adapter",
    "dtype": "SELECT DISTINCT dtype FROM adapter",
}


def asked(question: Callable[[Store], list[str]]) -> list[str]:
    """What the person's catalog answers; nothing where there is none, or it cannot be read."""
    path = default_catalog()
    try:
        if not path.exists():
            return []
        # Not through `Catalog`, which brings more than there is time for.
        with closing(Store(parse_target(path))) as store:
            return question(store)
    except (LorakitError, OSError):
        return []


def suggest(store: Store, what: Suggested, beginning: str, most: int = 200) -> list[str]:
    """The names, tags and so on of the catalog that begin so, without regard to case; `most` at most."""
    escaped = "".join(f"!{sign}" if sign in "!%_" else sign for sign in beginning)
    # Only names are so many that the database has to choose.
    limits = {"begins": f"{escaped}%", "most": most} if what == "name" else {}
    rows = store.read(_SELECT[what], limits)
    wanted = fold(beginning)
    found = {str(text) for (text,) in rows if fold(text).startswith(wanted)}
    return sorted(found, key=fold)[:most]


def suggest_values(store: Store, field: str, beginning: str) -> Sequence[str]:
    """The values of a field of queries that begin so; none for a field that takes any text or number."""
    if field == SORT:
        return _beginning([name + sign for name in SORTABLE for sign in ("", "-")], beginning)
    found = BY_NAME.get(field)
    if found is None:
        return []
    if found.choices:
        return _beginning(found.choices, beginning)
    match found.name:
        case "name" | "tag" | "collection" | "algo" | "layout" | "dtype" as what:
            return suggest(store, what, beginning)
        case _:
            return []


def suggest_fields(beginning: str) -> list[str]:
    """The fields of queries that begin so, each with its colon."""
    names = (field.name for field in dict.fromkeys(BY_NAME.values()))
    return _beginning([f"{name}:" for name in (*names, SORT)], beginning)


def _beginning(texts: Sequence[str], beginning: str) -> list[str]:
    return [text for text in texts if text.startswith(beginning.casefold())]
