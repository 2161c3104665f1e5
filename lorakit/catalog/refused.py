"""Files that are no adapters of ours, remembered as they were: they are not read again at every scan.

They are kept with what else can be worked out again, so losing them costs one more reading. Where the rules
have changed by which a file is an adapter, all are asked anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from lorakit import __version__, formats
from lorakit.catalog.derived import derived_in, keep_in
from lorakit.catalog.paths import is_there
from lorakit.catalog.records import RejectedFile
from lorakit.catalog.scanning import Fingerprint, FoundFile

if TYPE_CHECKING:
    from lorakit.db.store import Store

KIND = "refused 2"
# All in one piece, so that those which are gone leave no trace.
_ALL = "all"

# By path: what told the file from others, why it is no adapter, and what to do.
Refused = Mapping[str, tuple[Fingerprint, str, str | None]]


@cache
def rules() -> str:
    """What tells one state of the rules from another, for as long as the program runs."""
    return rules_in(Path(formats.__path__[0]))


def rules_in(folder: Path) -> str:
    """The version of lorakit with a digest of the code and tables in `folder`, which say what an adapter is.

    A number beside them would be forgotten when they are changed. It takes two milliseconds.
    """
    found = sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".py", ".toml"):
            data = path.read_bytes()
            found.update(f"{path.name} {len(data)}\n".encode() + data)
    return f"{__version__} {found.hexdigest()[:16]}"


def refused_files(store: Store) -> Refused:
    """The files that were read and are no adapters, by path."""
    data = derived_in(store, KIND).get(_ALL)
    try:
        document = json.loads(data) if data else {}
        files = document["files"] if document and document.get("rules") == rules() else {}
        return {
            path: (Fingerprint(size, mtime_ns, inode), reason, hint)
            for path, (size, mtime_ns, inode, reason, hint) in files.items()
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


def refusal(file: FoundFile, refused: Refused) -> RejectedFile | None:
    """Why a file is no adapter, where it was read as it is now; None where it has to be read."""
    known = refused.get(file.path)
    if known is None or not known[0].fits(file.fingerprint):
        return None
    return RejectedFile(Path(file.path), known[1], known[2])


def keep_refused(
    store: Store, before: Refused, found: Iterable[FoundFile], skipped: Iterable[RejectedFile]
) -> None:
    """Remember which of the files that were `found` are no adapters.

    Files that were remembered `before` and not looked at now are kept as they were, while they are there.
    """
    reasons = {str(one.path): one for one in skipped}
    now = {
        file.path: (file.fingerprint, one.reason, one.hint)
        for file in found
        if (one := reasons.get(file.path)) is not None
    }
    looked_at = {file.path for file in found}
    elsewhere = {path: known for path, known in before.items() if path not in looked_at}
    now |= {path: known for path, known in elsewhere.items() if is_there(path)}
    if now == before:
        return
    files = {path: [*mark, reason, hint] for path, (mark, reason, hint) in now.items()}
    document = {"rules": rules(), "files": files}
    keep_in(store, KIND, {_ALL: json.dumps(document, separators=(",", ":")).encode()})
