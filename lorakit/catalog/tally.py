"""What becomes of files, while it is found out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lorakit.catalog.emptied import folder_away
from lorakit.catalog.paths import is_below
from lorakit.catalog.records import AddedFile, AddResult, EmptiedFolder, RejectedFile
from lorakit.errors import BadFile

if TYPE_CHECKING:
    from lorakit.catalog.scanning import FoundFile
    from lorakit.catalog.storing import Outcome


@dataclass
class Tally:
    """The result of a scan of `folders`, while it grows.

    `lost` are folders that went away meanwhile, each with how many of its files could not be read.
    """

    folders: Sequence[str] = ()
    stored: dict[Outcome, list[AddedFile]] = field(default_factory=dict)
    pending: list[AddedFile] = field(default_factory=list)
    skipped: list[RejectedFile] = field(default_factory=list)
    failed: list[RejectedFile] = field(default_factory=list)
    lost: dict[str, int] = field(default_factory=dict)

    def note(self, outcome: Outcome, file: AddedFile) -> None:
        """Take note of a file that is in the catalog."""
        self.stored.setdefault(outcome, []).append(file)

    def fail(self, file: FoundFile, error: BadFile) -> None:
        """Take note of a file that cannot be read, or of the folder that went away with it."""
        folder = folder_away(os.path.dirname(file.path), self.folders)  # noqa: PTH120
        if folder is not None:
            self.lost[folder] = self.lost.get(folder, 0) + 1
            return
        self.failed.append(RejectedFile(Path(file.path), error.message, error.hint))

    def fail_found(self, found: RejectedFile) -> None:
        """Take note of what could not be looked at when files were found, as `fail` does."""
        folder = folder_away(str(found.path.parent), self.folders)
        if folder is None:
            self.failed.append(found)
        else:
            self.lost.setdefault(folder, 0)

    def is_lost(self, file: FoundFile) -> bool:
        """Whether a file need not be tried, as its folder has gone: each would wait for the server."""
        folder = next((one for one in self.lost if is_below(file.path, one)), None)
        if folder is not None:
            self.lost[folder] += 1
        return folder is not None

    def _tells(self, folder: str) -> bool:
        """Whether it is said already that a folder, or one in it, went away."""
        return any(lost == folder or is_below(lost, folder) for lost in self.lost)

    def result(
        self, emptied: tuple[EmptiedFolder, ...] = (), pickles: Iterable[str] = ()
    ) -> AddResult:
        """What became of every file."""
        lost = (_lost(folder, count) for folder, count in sorted(self.lost.items()))
        return AddResult(
            **{outcome: tuple(files) for outcome, files in self.stored.items()},
            pending=tuple(self.pending),
            skipped_not_adapter=tuple(self.skipped),
            failed=(*self.failed, *lost),
            emptied=tuple(one for one in emptied if not self._tells(str(one.path))),
            pickles=tuple(sorted(pickles)),
        )


def _lost(folder: str, count: int) -> RejectedFile:
    files = "1 file of it was" if count == 1 else f"{count} files of it were"
    left = f", and {files} not read" if count else ""
    return RejectedFile(
        Path(folder),
        f"went away while it was read{left}",
        "Attach it again; `lorakit scan` goes on from there.",
    )
