"""A folder of pictures that are made one by one: what is there is kept, whatever stops the work.

The manifest says what was asked for and which picture holds what. It is written before the first picture
and replaced as a whole after each; a picture comes by renaming as well. So at every moment, also when
the process is killed, the folder holds complete pictures and a manifest that is true of them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lorakit.errors import BadFile, BadUsage, LorakitError
from lorakit.preview.grid.jobs import hash_whole

PICTURES = "pictures"
PART = ".part"


@dataclass(frozen=True)
class Made:
    """What the manifest knows of one picture: the key of its job, its bytes' hash, and how long it took."""

    key: str
    sha256: str
    seconds: float


class WorkFolder:
    """An open folder; `made` are the pictures that are there as the manifest says, by file name."""

    def __init__(
        self,
        path: Path,
        manifest: Path,
        document: dict[str, Any],
        made: dict[str, Made],
        *,
        is_new: bool,
    ) -> None:
        """`open_folder` is the way in."""
        self._is_new = is_new
        self.path = path
        self.made = made
        self._manifest = manifest
        self._document = document

    @property
    def pictures(self) -> Path:
        """Where the pictures are."""
        return self.path / PICTURES

    def holds(self, file: str, key: str) -> bool:
        """Whether the picture called `file` is there and was made by the job of `key`."""
        return file in self.made and self.made[file].key == key

    def save(self, file: str, key: str, seconds: float, write: Callable[[Path], None]) -> None:
        """Have `write` make the picture at a path that is free, give it its name, and note it."""
        target = self.pictures / file
        fresh = target.with_name(f"{target.stem}{PART}.png")
        fresh.unlink(missing_ok=True)
        write(fresh)
        made = Made(key, hash_whole(fresh), round(seconds, 4))
        fresh.replace(target)
        self.made[file] = made
        self.write()

    def discard(self) -> None:
        """Take a new folder away again that nothing has been put into."""
        if self._is_new and not self.made:
            with suppress(OSError):
                self._manifest.unlink()
                self.pictures.rmdir()
                self.path.rmdir()

    def write(self) -> None:
        """Bring the manifest on the disk up to date."""
        made = {name: asdict(self.made[name]) for name in sorted(self.made)}
        text = json.dumps({**self._document, "pictures": made}, ensure_ascii=False, indent=1)
        replace_file(self._manifest, text.encode())


def open_folder(path: Path, name: str, schema: str, request: Mapping[str, Any]) -> WorkFolder:
    """Open the folder for `request`, or go on in it.

    Args:
        path: is made where it is not there.
        name: of the manifest.
        schema: of the manifest, such as lorakit/grid-folder/1.
        request: what is asked for, as JSON takes it; the folder is for this and nothing else.

    Raises:
        BadUsage: the folder holds other files, or what another request made.
        BadFile: its manifest cannot be read.
        LorakitError: it cannot be made or written to.
    """
    document = {"schema": schema, "request": json.loads(json.dumps(request))}
    manifest = path / name
    try:
        is_new = _is_free(path, name)
        made = peek_folder(path, name, schema, request)
        (path / PICTURES).mkdir(parents=True, exist_ok=True)
        _clear(path)
        folder = WorkFolder(path, manifest, document, made, is_new=is_new)
        folder.write()
    except OSError as error:
        raise LorakitError(f"{path} cannot be written to: {error.strerror or error}.") from error
    return folder


def peek_folder(path: Path, name: str, schema: str, request: Mapping[str, Any]) -> dict[str, Made]:
    """What `open_folder` would find made; nothing is written. Raises as it does."""
    if _is_free(path, name):
        return {}
    known = read_manifest(path / name, schema)
    _require_same(path, known["request"], json.loads(json.dumps(request)))
    return _there(path, known["pictures"])


def _is_free(path: Path, name: str) -> bool:
    """Whether nothing is there yet; False where there is a manifest. Raises `BadUsage` otherwise."""
    if not path.exists():
        return True
    if not path.is_dir():
        raise BadUsage(f"{path} is a file, not a folder.", hint="Choose another with -o.")
    if (path / name).is_file():
        return False
    there = {child.name for child in path.iterdir()}
    # A process killed at its very start leaves these.
    if there <= {PICTURES, name + PART} and not any((path / PICTURES).glob("*")):
        return True
    raise BadUsage(
        f"{path} holds other files ({sorted(there)[0]}), and nothing is put among them.",
        hint="Choose a new folder with -o.",
    )


def read_manifest(path: Path, schema: str) -> dict[str, Any]:
    """The manifest at `path`. Raises `BadFile` for one that is broken or of another kind."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["schema"] != schema:
            raise BadFile(
                f"{path} is of the kind {document['schema']!r}, not {schema}.",
                hint="Another version of lorakit made it, or another verb.",
            )
        for made in document["pictures"].values():
            Made(**made)
        dict(document["request"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadFile(
            f"{path} cannot be read as a manifest: {error}.",
            hint="Choose a new folder with -o; the pictures in this one are not touched.",
        ) from error
    return dict(document)


def _require_same(path: Path, known: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    differ = [name for name in (*known, *asked) if known.get(name) != asked.get(name)]
    if not differ:
        return
    name = differ[0]
    raise BadUsage(
        f"{path} holds another request: its {name} is {_shown(known.get(name))}, and "
        f"{_shown(asked.get(name))} was asked for.",
        hint="Choose a new folder with -o.",
    )


def _shown(value: object) -> str:
    if isinstance(value, list):
        text = " and ".join(map(str, value)) or "nothing"
    else:
        text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 160 else f"{text[:157]}..."


def _there(path: Path, noted: Mapping[str, Mapping[str, Any]]) -> dict[str, Made]:
    """The noted pictures that are there with the bytes they had."""
    found = {}
    for name, fields in noted.items():
        made, file = Made(**fields), path / PICTURES / name
        # Names are ours; one that leads elsewhere was put there by somebody.
        if Path(name).name == name and file.is_file() and hash_whole(file) == made.sha256:
            found[name] = made
    return found


def _clear(path: Path) -> None:
    """Remove what a killed process left unfinished."""
    for part in (*path.glob(f"*{PART}"), *(path / PICTURES).glob(f"*{PART}*")):
        part.unlink(missing_ok=True)


def replace_file(path: Path, content: bytes) -> None:
    """Write `path` whole or not at all, and have it on the disk. Raises `OSError`."""
    fresh = path.with_name(path.name + PART)
    try:
        with fresh.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
