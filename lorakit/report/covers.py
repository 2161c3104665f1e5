"""The covers of many adapters as small pictures, each made once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from lorakit.catalog.covers import all_covers
from lorakit.catalog.derived import derived, keep_derived
from lorakit.catalog.fields import USER
from lorakit.formats.embedded_cover import embedded_cover
from lorakit.preview.thumbnail import thumbnail

if TYPE_CHECKING:
    from lorakit.catalog import Catalog
    from lorakit.catalog.facts import FactsByField

# Decoding leaves the interpreter free.
_THREADS = 4


def chosen_covers(facts: Mapping[str, FactsByField]) -> dict[str, tuple[Path, ...]]:
    """The pictures that may be the cover of each content, the person's choice first; perhaps none."""
    rendered = all_covers()
    found: dict[str, tuple[Path, ...]] = {}
    for content, by_field in facts.items():
        said = by_field.get("cover", [])
        paths = [Path(one.value) for one in said if one.source == USER]
        paths += [rendered[content]] if content in rendered else []
        paths += [Path(one.value) for one in said if one.source != USER]
        found[content] = tuple(paths)
    return found


def small_covers(
    catalog: Catalog,
    chosen: Mapping[str, tuple[Path, ...]],
    side: int,
    warn: Callable[[str], None],
) -> dict[str, bytes]:
    """A WebP of at most `side` pixels for each content that has a picture; those kept are made again
    when the picture has changed. The picture in a file's own header stands in where there is no other."""
    kind = f"cover {side}"
    known = derived(catalog, kind)
    found: dict[str, bytes] = {}
    wanted: dict[str, tuple[bytes, Path | bytes]] = {}
    for content, paths in chosen.items():
        there = ((mark, path) for path in paths if (mark := _mark(path)) is not None)
        picture = next(there, None) or _embedded(catalog, content)
        if picture is None:
            continue
        before, _, small = known.get(content, b"").partition(b"\n")
        if before == picture[0]:
            found[content] = small
        else:
            wanted[content] = picture
    if not wanted:
        return found
    try:
        with ThreadPoolExecutor(_THREADS) as pool:
            made = list(pool.map(lambda one: thumbnail(one[1], side), wanted.values()))
    except ImportError:
        warn("Covers are left out, because Pillow is not installed: pip install lorakit[preview]")
        return found
    fresh: dict[str, bytes] = {}
    for (content, (mark, source)), image in zip(wanted.items(), made, strict=True):
        if image is not None:
            found[content] = image
            fresh[content] = mark + b"\n" + image
        elif not isinstance(source, bytes):
            warn(f"The cover {source} is no picture that can be read.")
    keep_derived(catalog, kind, fresh)
    return found


def _embedded(catalog: Catalog, content: str) -> tuple[bytes, bytes] | None:
    """The picture in the header of a file with this content, and what tells whether it is the same."""
    for _, header in catalog.headers(content):
        cover = embedded_cover(header)
        if cover is not None:
            return sha256(cover.content).hexdigest().encode(), cover.content
    return None


def _mark(path: Path) -> bytes | None:
    """What tells whether a picture is still the same; None where it is not there."""
    try:
        stat = path.stat()
    except (OSError, ValueError):
        return None
    return json.dumps([str(path), stat.st_size, stat.st_mtime_ns]).encode()
