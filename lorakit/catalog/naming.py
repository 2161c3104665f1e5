"""Names: what a new adapter is called, and which adapter somebody means."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import count
from pathlib import PurePath

from lorakit.catalog.paths import SUFFIXES
from lorakit.catalog.pending import is_pending
from lorakit.catalog.records import BaseRecord
from lorakit.errors import Ambiguous, BadUsage, NotFound
from lorakit.formats.characters import is_one_line
from lorakit.formats.peft_folder import called

HASH_PREFIX = "sha256:"
_MOST_LISTED = 12
# As at the end of `ink:0.8`.
_STRENGTH = re.compile(r":[+-]?\.?[0-9][0-9.]*$")


@dataclass(frozen=True, slots=True)
class Named:
    """What a name is looked up in: one adapter's row, name and hashes."""

    id: int
    name: str
    file_sha256: str
    tensor_sha256: str


def name_of_file(path: str) -> str:
    """The name for the adapter in file `path`: its stem, in one line and one Unicode form.

    PEFT calls every file the same; of these it is the folder's.
    """
    stem = called(PurePath(path))
    # Some systems store é as two characters; a person types one.
    return normal("".join("_" if unicodedata.category(c) == "Cc" else c for c in stem))


def check_name(name: str) -> None:
    """Raise `BadUsage` for a text that cannot be a name."""
    if not name.strip() or not is_one_line(name):
        raise BadUsage(f"{name!r} cannot be a name: it must be one line of visible characters.")


def check_adapter_name(name: str) -> None:
    """Raise `BadUsage` for a text that cannot be given to an adapter as its name.

    Besides what `check_name` refuses, that is whatever reads as something else where adapters are named.
    """
    check_name(name)
    reading = _reading(name.strip())
    if reading:
        raise BadUsage(
            f"{name!r} cannot be the name of an adapter: it reads as {reading}.",
            hint="Choose one that begins with a letter or a digit, without / * ? and colons.",
        )


def _reading(name: str) -> str | None:
    """What a name would be taken for; None for a name."""
    from lorakit.catalog.query.fields import BY_NAME, SORT

    prefix = name.casefold().partition(":")[0] if ":" in name else ""
    if name.casefold().startswith(HASH_PREFIX):
        return "a hash"
    if looks_like_path(name):
        return "a file"
    if name.startswith("<"):
        return "a prompt's tag"
    if name.startswith("-"):
        return "an option, or as names to be read from stdin"
    if name.startswith('"'):
        return "a quoted text"
    if any(sign in name for sign in "*?"):
        return "a pattern"
    if prefix == "stack":
        return "a stack kept by name"
    if prefix.lstrip("^") in (*BY_NAME, SORT):
        return "a condition of a query"
    return "a name and its strength" if _STRENGTH.search(name) else None


def normal(name: str) -> str:
    """`name` in the composed Unicode form (NFC)."""
    return unicodedata.normalize("NFC", name)


def storable(text: str) -> str:
    """`text` as a database can hold it: what is no character, as bytes in arguments may be, is escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def free_name(wanted: str, taken: Container[str]) -> str:
    """`wanted`, or the first of `wanted-2`, `wanted-3`, ... that is not taken."""
    if wanted not in taken:
        return wanted
    return next(name for n in count(2) if (name := f"{wanted}-{n}") not in taken)


def matches(name: str, pattern: str) -> bool:
    """Whether `pattern` is part of `name` or, with `*`, `?` or `[...]`, describes all of it.

    Case does not matter.
    """
    name, pattern = name.casefold(), normal(pattern).casefold()
    return pattern in name or fnmatchcase(name, pattern)


def pick(wanted: str, adapters: Sequence[Named], *, whole: bool = False) -> Named:
    """The one adapter that `wanted` names: exactly, by `sha256:PREFIX`, or by how its name begins.

    With `whole`, the beginning of a name is none. Case counts first, and is passed over only where
    nothing fits with it. Raises `Ambiguous` when several fit, `NotFound` when none does.
    """
    wanted = normal(wanted)
    exact = [adapter for adapter in adapters if adapter.name == wanted]
    if exact or not wanted:
        return _only(wanted, exact, adapters)
    if wanted.startswith(HASH_PREFIX):
        return _only(wanted, _by_hash(wanted.removeprefix(HASH_PREFIX), adapters), adapters)
    folded = wanted.casefold()
    ways: tuple[Callable[[str], bool], ...] = (
        lambda name: not whole and name.startswith(wanted),
        lambda name: name.casefold() == folded,
        lambda name: not whole and name.casefold().startswith(folded),
    )
    for fits in ways:
        if found := [adapter for adapter in adapters if fits(adapter.name)]:
            return _only(wanted, found, adapters)
    if whole:
        refuse_beginning(wanted, [adapter.name for adapter in adapters], "adapter in the catalog")
    return _only(wanted, [], adapters)


def pick_base(wanted: str, bases: Sequence[BaseRecord]) -> BaseRecord:
    """The base called `wanted`, or the only one whose name begins so; case as in `pick`.

    Raises `Ambiguous` when several fit, `NotFound` when none does.
    """
    wanted = normal(wanted)
    folded = wanted.casefold()
    ways: tuple[Callable[[str], bool], ...] = (
        lambda name: name == wanted,
        lambda name: name.startswith(wanted),
        lambda name: name.casefold().startswith(folded),
    )
    for fits in ways:
        found = [base for base in bases if wanted and fits(base.name)]
        if len(found) == 1:
            return found[0]
        if found:
            names = listed([base.name for base in found])
            raise Ambiguous(f"{wanted!r} fits {len(found)} bases.", hint=f"Say which: {names}")
    there_are = f"There are: {listed([b.name for b in bases])}. " if bases else ""
    raise NotFound(
        f"No base is called {wanted!r}.",
        hint=f"{there_are}Register one: lorakit base add FILE --name NAME",
    )


def refuse_beginning(wanted: str, names: Iterable[str], noun: str) -> None:
    """Raise `NotFound` where `wanted` only begins `names`: what changes something takes whole names.

    Whoever types a name that has gone meanwhile must not hit its neighbour.
    """
    folded = normal(wanted).casefold()
    found = [name for name in names if folded and name.casefold().startswith(folded)]
    if found:
        raise NotFound(
            f"No {noun} is called {wanted!r}.",
            hint=f"Did you mean {listed(found)}? What changes something takes whole names only.",
        )


def looks_like_path(text: str) -> bool:
    """Whether somebody who wrote `text` seems to mean a file."""
    separators = {"/", os.sep}
    return any(s in text for s in separators) or text.lower().endswith(SUFFIXES)


def close_names(wanted: str, names: Iterable[str]) -> list[str]:
    """The names most like `wanted`, for a hint."""
    # Needed for mistakes only.
    import difflib

    by_fold = {name.casefold(): name for name in names}
    found = difflib.get_close_matches(wanted.casefold(), by_fold, n=5)
    return [by_fold[name] for name in found]


def listed(names: Sequence[str]) -> str:
    """A few names in one line."""
    rest = len(names) - _MOST_LISTED
    return ", ".join(names[:_MOST_LISTED]) + (f" and {rest} more" if rest > 0 else "")


def _by_hash(prefix: str, adapters: Sequence[Named]) -> list[Named]:
    prefix = prefix.lower()
    if not re.fullmatch(r"[0-9a-f]{1,64}", prefix):
        return []
    whole = [adapter for adapter in adapters if adapter.file_sha256 == prefix]
    return whole or [
        adapter
        for adapter in adapters
        if adapter.file_sha256.startswith(prefix) or adapter.tensor_sha256.startswith(prefix)
    ]


def _only(wanted: str, found: Sequence[Named], adapters: Sequence[Named]) -> Named:
    if len(found) == 1:
        return found[0]
    if found:
        choices = [
            a.name if is_pending(a.file_sha256) else f"{a.name} ({HASH_PREFIX}{a.file_sha256[:12]})"
            for a in found
        ]
        raise Ambiguous(
            f"{wanted!r} fits {len(found)} adapters.", hint=f"Say which: {listed(choices)}"
        )
    unread = sum(is_pending(adapter.file_sha256) for adapter in adapters)
    if wanted.startswith(HASH_PREFIX) and unread:
        raise NotFound(
            f"No adapter in the catalog has the hash {wanted.removeprefix(HASH_PREFIX)}.",
            hint=f"Not read whole yet: {unread}; `lorakit scan` does that.",
        )
    close = close_names(wanted, [adapter.name for adapter in adapters])
    raise NotFound(
        f"There is no file {wanted}, and no adapter in the catalog is called so."
        if looks_like_path(wanted)
        else f"No adapter in the catalog is called {wanted!r}.",
        hint=f"Did you mean {listed(close)}?" if close else "lorakit ls shows what there is.",
    )
