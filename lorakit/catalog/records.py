"""What the catalog hands out: frozen records, never database objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from lorakit.catalog.base_files import find_stamp
from lorakit.catalog.pending import is_pending
from lorakit.errors import BadFile, NotFound

# What a sketch is of: a registered base, an adapter, or a model whose weights are not here.
SketchKind = Literal["base", "adapter", "fingerprint"]

# Called with the file about to be read, its number, and how many there are.
Progress = Callable[[Path, int, int], None]
# Called with a file that was read whole, the bytes of all that are done, and how many there are.
HashProgress = Callable[[Path, int, int], None]


@dataclass(frozen=True, slots=True)
class AdapterRecord:
    """One adapter in the catalog.

    `path` is a location that exists now, else where the file was last seen, else None (its file was
    overwritten by another adapter); `missing` says that none exists now, `changed` that the one that does
    has another size or time than when it was read. `base_model`, `title`,
    `trigger_words` and `license` are claims of the file. Until that is read whole (`pending`), the
    hashes are a text that is no hash, other than that of any adapter.
    """

    id: int
    name: str
    file_sha256: str
    tensor_sha256: str
    file_size: int
    layout: str
    algo: str
    rank_min: int | None
    rank_max: int | None
    module_count: int
    model_blocks: int | None
    components: tuple[str, ...]
    base_model: str | None
    dtype: str
    title: str | None
    trigger_words: tuple[str, ...]
    license: str | None
    added_at: datetime
    path: Path | None
    missing: bool
    changed: bool
    locations: tuple[Path, ...]

    @property
    def pending(self) -> bool:
        """Whether the header alone was read, so that the content is not known."""
        return is_pending(self.file_sha256)

    def existing_path(self) -> Path:
        """Where the file is now. Raises `NotFound` when it is missing."""
        if self.path is None or self.missing:
            raise NotFound(
                f"The file of {self.name} is missing; it was last seen at {self.path}.",
                hint="Attach its drive, or `lorakit add` the folder it has moved to.",
            )
        return self.path


@dataclass(frozen=True, slots=True)
class BaseRecord:
    """A base checkpoint that adapters are stacked on; `missing` says that a file of it is gone now.

    `path` is a file, an index of shards, or a folder; hashes, size and time are those of all its files
    (`formats/hashing.py`, `catalog/base_files.py`).
    `model` is a key of the table of known models, `prefix` what the file puts before its key names,
    `components` where the other parts of the pipeline come from. `changed` says that the file's size
    or time differ from those at registration. `tensor_sha256` is the base's content, None for one that
    was registered before it was taken; `parent` is the content of the model that it was made from.
    """

    id: int
    name: str
    model: str
    path: Path
    file_size: int
    mtime_ns: int
    file_sha256: str | None
    prefix: str
    blocks: int
    dtype: str
    components: str | None
    added_at: datetime
    missing: bool
    changed: bool
    tensor_sha256: str | None = None
    parent: str | None = None

    def unchanged_path(self) -> Path:
        """Where the file is. Raises `NotFound` when it is missing, `BadFile` when it was replaced.

        Terms and hash were recorded for the file as it was; another one may stand under other terms.
        """
        if self.missing:
            raise NotFound(
                f"The file of the base {self.name} is missing: {self.what_is_missing()}",
                hint="Attach its drive, or register it where it is now with `lorakit base add`.",
            )
        if self.changed:
            raise BadFile(
                f"The file of the base {self.name} has changed since it was registered: {self.path}.",
                hint="Register it again with `lorakit base add`, naming the model it is now.",
            )
        return self.path

    def what_is_missing(self) -> str:
        """Its path, or a sentence that names those of its files that are not there."""
        try:
            find_stamp(self.path)
        except BadFile as error:
            return error.message
        except NotFound:
            pass
        return f"{self.path}."


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """A licence decision as it was written down; `hash` is its link in the chain."""

    id: int
    at: datetime
    action: str
    verdict: str
    subject: Mapping[str, Any]
    hash: str


@dataclass(frozen=True, slots=True)
class AuditCheck:
    """Whether the chain of decisions is whole.

    `head` is the hash of the last decision that is as written, "" where there is none; `broken` is the
    number of the first that is not, and `reason` what is wrong with it.
    """

    count: int
    head: str
    broken: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class SketchRecord:
    """A weight sketch in the catalog, without its values (`Catalog.sketch_data` has those).

    `content` is the `tensor_sha256` of what it was taken of, `model` a key of the table of known
    models, `parent` the content that the model was made from.
    """

    id: int
    content: str
    kind: SketchKind
    name: str
    model: str | None
    parent: str | None
    made_at: datetime


@dataclass(frozen=True, slots=True)
class ComparisonRecord:
    """Two ways to render on the same prompts and seeds, and the votes so far.

    `sides` are the two, as `name`, `base`, `base_sha256`, `stack` and the hashes of its adapters;
    `pairs` the prompt and seed of each pair; `votes` "first", "second" or "same" by number of the pair,
    from 1. `order_seed` tells which side was shown as A.
    """

    id: int
    name: str
    folder: str
    sides: tuple[Mapping[str, Any], ...]
    pairs: tuple[tuple[str, int], ...]
    blind: bool
    order_seed: int
    made_at: datetime
    votes: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class AddedFile:
    """A file and the adapter it holds; `previous` is where a moved file was before.

    `file` is its path as text: a scan has tens of thousands of them, and looks at few.
    """

    file: str
    name: str
    adapter_id: int
    previous: Path | None = None

    @property
    def path(self) -> Path:
        """Where it lies."""
        return Path(self.file)

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it, but for the paths."""
        return {
            "path": self.file,
            "name": self.name,
            "adapter_id": self.adapter_id,
            "previous": self.previous,
        }


@dataclass(frozen=True, slots=True)
class RejectedFile:
    """A file or folder that was passed over, and why."""

    path: Path
    reason: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class EmptiedFolder:
    """A folder that holds none of the adapters which lay in it; `adapters` of them are nowhere else.

    `state` says how it is, such as "is empty": a drive may be unplugged.
    """

    path: Path
    adapters: int
    state: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it, but for the path."""
        return {"path": self.path, "adapters": self.adapters, "state": self.state}


@dataclass(frozen=True, slots=True)
class AddResult:
    """What became of every file that was looked at.

    `added` are new adapters, `known` were there already (or are copies of such), `moved` lie
    elsewhere than before, `changed` hold other bytes than before under the same path. `pending` are
    known by their headers only, where no more was asked for. `emptied` are folders in which nothing is
    left of what was known there. `pickles` are files in folders that were not read, since loading such
    can run code.
    """

    added: tuple[AddedFile, ...] = ()
    known: tuple[AddedFile, ...] = ()
    moved: tuple[AddedFile, ...] = ()
    changed: tuple[AddedFile, ...] = ()
    pending: tuple[AddedFile, ...] = ()
    skipped_not_adapter: tuple[RejectedFile, ...] = ()
    failed: tuple[RejectedFile, ...] = ()
    emptied: tuple[EmptiedFolder, ...] = ()
    pickles: tuple[str, ...] = ()
