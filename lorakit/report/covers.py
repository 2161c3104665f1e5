"""The covers of many adapters as small pictures, each made once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from lorakit.catalog.covers import all_covers
from lorakit.catalog.derived import derived, keep_derived
from lorakit.catalog.fields import USER
from lorakit.preview.thumbnail import thumbnail

if TYPE_CHECKING:
    from lorakit.catalog import Catalog
    from lorakit.catalog.facts import FactsByField

# Decoding leaves the interpreter free.
_THREADS = 4


def chosen_covers(facts: Mapping[str, FactsByField]) -> dict[str, tuple[Path, ...]]:
    """The pictures that may be the cover of each content, the person's choice first."""
    rendered = all_covers()
    found: dict[str, tuple[Path, ...]] = {}
    for content, by_field in facts.items():
        said = by_field.get("cover", [])
        paths = [Path(one.value) for one in said if one.source == USER]
        paths += [rendered[content]] if content in rendered else []
        paths += [Path(one.value) for one in said if one.source != USER]
        if paths:
            found[content] = tuple(paths)
    return found


def small_covers(
    catalog: Catalog,
    chosen: Mapping[str, tuple[Path, ...]],
    side: int,
    warn: Callable[[str], None],
) -> dict[str, bytes]:
    """A WebP of at most `side` pixels for each content that has a picture; those kept are made again
    when the picture has changed."""
    kind = f"cover {side}"
    known = derived(catalog, kind)
    found: dict[str, bytes] = {}
    wanted: dict[str, tuple[bytes, Path]] = {}
    for content, paths in chosen.items():
        for path in paths:
            mark = _mark(path)
            if mark is None:
                continue
            before, _, picture = known.get(content, b"").partition(b"\n")
            if before == mark:
                found[content] = picture
            else:
                wanted[content] = mark, path
            break
    if not wanted:
        return found
    try:
        with ThreadPoolExecutor(_THREADS) as pool:
            made = list(pool.map(lambda one: thumbnail(one[1], side), wanted.values()))
    except ImportError:
        warn("Covers are left out, because Pillow is not installed: pip install lorakit[preview]")
        return found
    fresh: dict[str, bytes] = {}
    for (content, (mark, path)), small in zip(wanted.items(), made, strict=True):
        if small is None:
            warn(f"The cover {path} is no picture that can be read.")
        else:
            found[content] = small
            fresh[content] = mark + b"\n" + small
    keep_derived(catalog, kind, fresh)
    return found


def _mark(path: Path) -> bytes | None:
    """What tells whether a picture is still the same; None where it is not there."""
    try:
        stat = path.stat()
    except (OSError, ValueError):
        return None
    return json.dumps([str(path), stat.st_size, stat.st_mtime_ns]).encode()
