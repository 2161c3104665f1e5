"""What scanning remembers from run to run, in two files beside the catalog.

`catalog.folders.json` lists the folders that were added; without it they are told from where adapters
lie. `catalog.seen.json` has, by adapter file, what lay beside it when that was read last: losing it costs
one more reading and nothing else. It is no part of the journal, so that an import which was undone is not
made again until a file beside an adapter changes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from lorakit.catalog.home import home_folder
from lorakit.catalog.paths import absolute
from lorakit.db.opening import Target
from lorakit.db.store import Store
from lorakit.formats.sidecars.documents import replace_file

# Raised when what is read of the same files grows: everything is then read once more.
_READING = 1


def remembered_folders(store: Store) -> list[str]:
    """The folders to scan when none is named, sorted, none below another."""
    known = load_beside(beside_catalog(store.target, "folders")).get("folders")
    if not isinstance(known, list):
        rows = store.read("SELECT DISTINCT path FROM location")
        known = [os.path.dirname(path) for (path,) in rows]  # noqa: PTH120
    return outermost(folder for folder in known if isinstance(folder, str) and folder)


def remember_folders(store: Store, folders: Iterable[Path]) -> None:
    """Add to the folders that are scanned when none is named; a catalog that is not writable stays so."""
    new = [absolute(folder) for folder in folders]
    before = remembered_folders(store)
    after = outermost([*before, *new])
    path = beside_catalog(store.target, "folders")
    if after != before or not path.exists():
        save_beside(path, {"folders": after})


def drop_folders(store: Store, folders: Iterable[Path]) -> list[str]:
    """Scan these folders no longer when none is named; those that were remembered."""
    gone = {absolute(folder) for folder in folders}
    before = remembered_folders(store)
    save_beside(
        beside_catalog(store.target, "folders"),
        {"folders": [one for one in before if one not in gone]},
    )
    return [one for one in before if one in gone]


def known_elsewhere(store: Store) -> list[str]:
    """The known files outside the folders that are scanned when none is named, sorted."""
    below = tuple(folder.rstrip(os.sep) + os.sep for folder in remembered_folders(store))
    rows = store.read("SELECT path FROM location ORDER BY path")
    return [path for (path,) in rows if not path.startswith(below)]


def missing_count(store: Store) -> int:
    """How many adapters have no file any more, as it was when their places were looked at last."""
    ((count,),) = store.read(
        "SELECT (SELECT count(*) FROM adapter) - "
        "(SELECT count(DISTINCT adapter_id) FROM location WHERE state = 'present')"
    )
    return int(count)


def outermost(folders: Iterable[str]) -> list[str]:
    """`folders` without those below another of them, sorted."""
    kept: list[str] = []
    for folder in sorted(set(folders), key=lambda one: one.rstrip(os.sep) + os.sep):
        if not (kept and folder.startswith(kept[-1].rstrip(os.sep) + os.sep)):
            kept.append(folder)
    return kept


def seen_beside(store: Store) -> dict[str, int]:
    """By adapter file, the signature of what lay beside it when that was read."""
    found = load_beside(beside_catalog(store.target, "seen"))
    files = found.get("files") if found.get("reading") == _READING else None
    # A journal without the step that was the last then is that of a copy which was put back.
    known = found.get("step") in (None, _step(store, found.get("step")))
    return files if known and isinstance(files, dict) else {}


def keep_seen(store: Store, files: Mapping[str, int]) -> None:
    """Note what was read, in place of what was noted before; of files that the catalog knows."""
    known = {path for (path,) in store.read("SELECT path FROM location")}
    noted = {path: said for path, said in files.items() if path in known}
    save_beside(
        beside_catalog(store.target, "seen"),
        {"reading": _READING, "step": _step(store), "files": noted},
    )


def _step(store: Store, noted: object = None) -> list[Any] | None:
    """Number and time of the last step of the journal, or of that which was `noted`; None without one."""
    sql = "SELECT id, at FROM step ORDER BY id DESC LIMIT 1"
    number = noted[0] if isinstance(noted, list) and noted else None
    if isinstance(number, int):
        sql = f"SELECT id, at FROM step WHERE id = {number}"
    return next(([number, str(at)] for number, at in store.read(sql)), None)


def beside_catalog(target: Target, kind: str) -> Path:
    """The file of one kind of note beside a catalog."""
    if target.path is not None:
        return target.path.with_name(f"{target.path.stem}.{kind}.json")
    return home_folder() / f"{sha256(target.url.encode()).hexdigest()[:12]}.{kind}.json"


def load_beside(path: Path) -> dict[str, Any]:
    """What is noted there; nothing where it is not there, or cannot be read."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def save_beside(path: Path, document: Mapping[str, Any]) -> None:
    """Note it, in place of what was noted; a folder that cannot be written is no error."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Names of files may be any bytes; as escapes they come back as they were.
        replace_file(path, json.dumps(document, separators=(",", ":")).encode())
