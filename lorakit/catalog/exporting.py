"""Writing what is known of adapters into other programs' records beside them, when asked to.

A record that is there is merged into, with a backup beside it, and replaced whole or not at all; one that
cannot be read is left alone.
"""

from __future__ import annotations

import difflib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING

from lorakit.catalog.fields import USER
from lorakit.errors import BadFile, LorakitError
from lorakit.formats.sidecars.documents import MAX_BYTES, failure, replace_file
from lorakit.formats.sidecars.merging import (
    Merge,
    ModelFile,
    Word,
    merge_a1111,
    merge_civitai_helper,
    merge_lora_manager,
    merge_swarmui,
)
from lorakit.formats.sidecars.text import Style, compose, parse

if TYPE_CHECKING:
    from lorakit.catalog.catalog import Catalog
    from lorakit.catalog.facts import FactsByField
    from lorakit.catalog.records import AdapterRecord


class Program(StrEnum):
    """A program whose records can be written, by the name of its source."""

    LORA_MANAGER = "lora-manager"
    A1111 = "a1111"
    CIVITAI_HELPER = "civitai-helper"
    SWARMUI = "swarmui"


_ENDINGS: Mapping[Program, str] = {
    Program.LORA_MANAGER: ".metadata.json",
    Program.A1111: ".json",
    Program.CIVITAI_HELPER: ".civitai.info",
    Program.SWARMUI: ".swarm.json",
}
_MERGES: Mapping[Program, Merge] = {
    Program.LORA_MANAGER: merge_lora_manager,
    Program.A1111: merge_a1111,
    Program.CIVITAI_HELPER: merge_civitai_helper,
    Program.SWARMUI: merge_swarmui,
}
# Other words only fill what is empty: what a person typed into one program is not another's to change.
_OWN = (USER, "lorakit")
_NEW: Mapping[Program, Style] = {
    Program.A1111: Style(indent="    "),
    Program.CIVITAI_HELPER: Style(indent="    "),
}


@dataclass(frozen=True, slots=True)
class Export:
    """A record before and after, None where there is none."""

    adapter: str
    path: Path
    before: str | None
    after: str | None

    @property
    def changes(self) -> bool:
        """Whether anything would be written."""
        return self.before != self.after

    def diff(self) -> str:
        """The difference, as `diff -u` shows it; empty where there is none."""
        old, new = ((text or "").splitlines() for text in (self.before, self.after))
        name = str(self.path)
        before = name if self.before is not None else "nothing"
        return "\n".join(difflib.unified_diff(old, new, before, name, lineterm=""))


def plan_export(catalog: Catalog, record: AdapterRecord, program: Program) -> list[Export]:
    """What would be written for an adapter, beside each of its files that is there.

    Raises `NotFound` when none is, and `BadFile` for a record that cannot be merged into.
    """
    record.existing_path()
    return [_plan(catalog, record, path, program) for path in record.locations if path.is_file()]


def write_export(export: Export, now: datetime) -> Path | None:
    """Write a record that changes, and return the backup of what was there, None without one.

    Raises `LorakitError` when the folder cannot be written, or the record was changed meanwhile.
    """
    if export.after is None or not export.changes:
        return None
    # Behind a link lies the record itself; the link stays.
    path = export.path.resolve()
    try:
        if _text(path) != export.before:
            raise LorakitError(f"{export.path} was changed meanwhile.", hint="Export it again.")
        backup = _back_up(path, now) if export.before is not None else None
        replace_file(path, export.after.encode())
    except OSError as error:
        raise LorakitError(f"{export.path} cannot be written: {error.strerror}.") from error
    return backup


def _plan(catalog: Catalog, record: AdapterRecord, model: Path, program: Program) -> Export:
    path = model.with_name(model.stem + _ENDINGS[program])
    try:
        before = _text(path)
        document, style = parse(before) if before is not None else ({}, _NEW.get(program, Style()))
        stat = model.stat()
    except (OSError, ValueError, RecursionError) as error:
        raise BadFile(
            failure(path, error),
            hint=f"Mend or move {path}; it is left as it is.",
        ) from error
    words = _words(catalog.facts(record.tensor_sha256))
    tags = catalog.tags(record.tensor_sha256)
    file = ModelFile(model.stem, str(model), stat.st_size, stat.st_mtime, record.file_sha256)
    merged = _MERGES[program](document, words, tags, file)
    after = before if merged == document else compose(merged, style)
    return Export(record.name, path, before, after)


def _words(facts: FactsByField) -> dict[str, Word]:
    """The value shown of each field, and whether it is the person's or lorakit's own."""
    return {
        field: Word(records[0].value, records[0].source in _OWN) for field, records in facts.items()
    }


def _text(path: Path) -> str | None:
    """A record's text as it stands, with its ends of lines; None where there is none."""
    try:
        stat = path.stat()
        if not S_ISREG(stat.st_mode):
            # Opening a pipe would wait for ever.
            raise ValueError("it is not an ordinary file")
        if stat.st_size > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES:,} bytes")
        return path.read_bytes().decode()
    except FileNotFoundError:
        return None


def _back_up(path: Path, now: datetime) -> Path:
    name = f"{path.name}.bak-{now:%Y%m%d-%H%M%S}"
    backup, number = path.with_name(name), 1
    while backup.exists():
        backup, number = path.with_name(f"{name}-{number}"), number + 1
    shutil.copy2(path, backup)
    return backup
