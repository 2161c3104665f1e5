"""What becomes of files, while it is found out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lorakit.catalog.records import AddedFile, AddResult, RejectedFile
from lorakit.errors import BadFile

if TYPE_CHECKING:
    from lorakit.catalog.scanning import FoundFile
    from lorakit.catalog.storing import Outcome


@dataclass
class Tally:
    """The result of a scan, while it grows."""

    stored: dict[Outcome, list[AddedFile]] = field(default_factory=dict)
    pending: list[AddedFile] = field(default_factory=list)
    skipped: list[RejectedFile] = field(default_factory=list)
    failed: list[RejectedFile] = field(default_factory=list)

    def note(self, outcome: Outcome, file: AddedFile) -> None:
        """Take note of a file that is in the catalog."""
        self.stored.setdefault(outcome, []).append(file)

    def fail(self, file: FoundFile, error: BadFile) -> None:
        """Take note of a file that cannot be read."""
        self.failed.append(RejectedFile(Path(file.path), error.message, error.hint))

    def result(self) -> AddResult:
        """What became of every file."""
        return AddResult(
            **{outcome: tuple(files) for outcome, files in self.stored.items()},
            pending=tuple(self.pending),
            skipped_not_adapter=tuple(self.skipped),
            failed=tuple(self.failed),
        )
