"""The part of the catalog that looks after itself: is all as it was written down?

What it calls is imported when it is called: reading the catalog needs none of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lorakit.catalog.neighbours import Neighbours
from lorakit.catalog.records import AddResult, Progress

if TYPE_CHECKING:
    from lorakit.catalog.verifying import Verified


@dataclass(frozen=True, slots=True)
class Kind:
    """What findings of one kind have in common: a title, what to do next, and whether it is wrong."""

    title: str
    advice: str
    problem: bool = True


# In the order in which they are told: what is wrong first.
KINDS = {
    "database": Kind(
        "The catalog's database is damaged",
        "Copies made before updates lie beside it, named .bak-*; any of them opens in its place.",
    ),
    "audit": Kind(
        "The record of licence decisions is not whole",
        "`lorakit license audit --verify` says more. A backup of the catalog may have it whole.",
    ),
    "base": Kind(
        "Bases that are not as they were registered",
        "Attach the drive, or register the file as it is now: `lorakit base add FILE --name NAME`.",
    ),
    "damaged": Kind("Damaged files", "Restore or download them again, then run `lorakit scan`."),
    "silent": Kind(
        "Files that changed while size and time stayed as they were",
        "Restore them if it was not you: a drive may be failing. `lorakit doctor --verify --update` "
        "records them as they are now.",
    ),
    "altered": Kind(
        "Files that hold something else than when they were read",
        "`lorakit scan` records them as they are now.",
    ),
    "changed": Kind(
        "Files whose size or time changed since they were read",
        "`lorakit scan` reads them again; `lorakit doctor --verify` tells what changed.",
    ),
    "unreadable": Kind(
        "Files that cannot be read", "Check the permissions of the file and of its folder."
    ),
    "emptied": Kind(
        "Folders that hold none of their adapters",
        "Attach the drive, or mount the folder. What is known of the adapters stays; "
        "`lorakit scan --drop FOLDER` where it is gone for good.",
    ),
    "missing": Kind(
        "Missing files",
        "Attach the drive, or `lorakit add` the folder they moved to. What is known of them stays; "
        "`lorakit forget NAME` removes it.",
    ),
    "pending": Kind(
        "Files of which the header alone was read",
        "`lorakit scan` goes on: until a file was read whole, nothing can be said of it.",
        False,
    ),
    "recorded": Kind("Recorded now", "What was said of the earlier weights is kept.", False),
    "touched": Kind(
        "Files with another time and the same bytes", "`lorakit scan` takes note of it.", False
    ),
    "sidecar": Kind(
        "Files of other programs beside adapters",
        "Move those that describe another file to that one; lorakit leaves them as they are.",
        False,
    ),
    "inherited": Kind(
        "Derived files whose header still states the hash of another",
        "Nothing to do: lorakit goes by the bytes. It tells what they were made from.",
        False,
    ),
    "replaced": Kind(
        "Adapters whose file was overwritten by another",
        "They stay on record with all that was said of them; `lorakit forget NAME` removes them.",
        False,
    ),
    "header": Kind(
        "The same weights under several headers",
        "They share notes and tags. lorakit never deletes a file; you may.",
        False,
    ),
    "alike": Kind(
        "Alike by weights, among those that were compared",
        "`lorakit similar NAME` says more. lorakit never deletes a file; you may.",
        False,
    ),
    "copy": Kind(
        "The same file at several places", "lorakit never deletes a file; you may.", False
    ),
    "cover": Kind(
        "Covers of adapters that are not in the catalog",
        "They are used again when the adapter is; delete them if it never will be.",
        False,
    ),
    "place": Kind(
        "Where the catalog lies",
        "LORAKIT_HOME names another folder for it; a disk of this computer serves it best.",
        False,
    ),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found: `text` says it in a line, `name` is the adapter's or base's.

    `kind` is a key of `KINDS`.
    """

    kind: str
    text: str
    name: str | None = None
    path: str | None = None

    @property
    def problem(self) -> bool:
        """Whether something is wrong, and not only worth knowing."""
        return KINDS[self.kind].problem


class Doctor(Neighbours):
    """What `lorakit.Catalog` can tell of its own health. Nothing is written but by `read_again`."""

    def examine(self, adapters: Iterable[int] | None = None) -> list[Finding]:
        """What is wrong or worth knowing by a look at the database, and at files without reading them.

        `adapters` limits what is said of adapters to those rows.
        """
        from lorakit.catalog.examining import examine

        return examine(self._store, adapters)

    def lies_unmoved(self, path: Path, content: str) -> bool:
        """Whether the file at `path`, on record with this content, has the size and time it had then."""
        from lorakit.catalog.verifying import lies_unmoved

        return lies_unmoved(self._store, path, content)

    def verify(
        self, adapters: Iterable[int] | None = None, on_progress: Progress | None = None
    ) -> list[Verified]:
        """Hash every file that is there, or those of `adapters`, and compare with what is on record."""
        from lorakit.catalog.verifying import verify_files

        return verify_files(self._store, adapters, on_progress)

    def read_again(self, paths: Sequence[Path], on_progress: Progress | None = None) -> AddResult:
        """As `Catalog.add`, of files of which even those are read whose size and time are as before."""
        from lorakit.catalog.adding import read_again

        return read_again(self._store, paths, on_progress)
