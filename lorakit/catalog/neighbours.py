"""The part of the catalog that is for scanning: folders, what was seen, and what other programs say.

What it calls is imported when it is called: reading the catalog needs none of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lorakit.catalog.curation import Curation

if TYPE_CHECKING:
    from lorakit.catalog.discovering import Discovery
    from lorakit.catalog.importing import CacheImport, Place
    from lorakit.formats.sidecars.said import SidecarFacts


class Neighbours(Curation):
    """What `lorakit.Catalog` knows of its neighbours: the folders, and the programs that share them."""

    def folders(self) -> list[str]:
        """The folders that are scanned when none is named."""
        from lorakit.catalog.remembered import remembered_folders

        return remembered_folders(self._store)

    def known_elsewhere(self) -> list[str]:
        """The known files outside those folders."""
        from lorakit.catalog.remembered import known_elsewhere

        return known_elsewhere(self._store)

    def missing_count(self) -> int:
        """How many adapters were without a file when their places were looked at last, as `add` does."""
        from lorakit.catalog.remembered import missing_count

        return missing_count(self._store)

    def remember_folders(self, folders: Iterable[Path]) -> None:
        """Scan these folders too when none is named."""
        from lorakit.catalog.remembered import remember_folders

        remember_folders(self._store, folders)

    def drop_folders(self, folders: Iterable[Path]) -> list[str]:
        """Scan these folders no longer when none is named; those that were remembered."""
        from lorakit.catalog.remembered import drop_folders

        return drop_folders(self._store, folders)

    def note_absent(self, folders: Iterable[Path]) -> None:
        """Note that what is known to lie below these folders is missing, where it is."""
        from lorakit.catalog.adding import note_absent

        note_absent(self._store, folders)

    def discover(self, roots: Sequence[Path]) -> Discovery:
        """The folders of adapters that other programs have below `roots`; nothing is added."""
        from lorakit.catalog.discovering import discover

        return discover(roots, self.folders())

    def seen_beside(self) -> dict[str, int]:
        """By adapter file, the signature of what lay beside it when that was read."""
        from lorakit.catalog.remembered import seen_beside

        return seen_beside(self._store)

    def keep_seen(self, files: Mapping[str, int]) -> None:
        """Note what was read beside files, in place of what was noted of any before."""
        from lorakit.catalog.remembered import keep_seen

        keep_seen(self._store, files)

    def places(self, adapter_ids: Iterable[int]) -> dict[str, list[Place]]:
        """Every place where the contents of these adapters lie or lay, by content."""
        from lorakit.catalog.importing import places_of

        return places_of(self._store, adapter_ids)

    def headers_say(
        self, contents: Iterable[str], made_from: dict[str, list[dict[str, str]]] | None = None
    ) -> dict[str, SidecarFacts]:
        """What the headers of contents say beside what is kept with the adapter itself.

        Those that say what their file was made from are put into `made_from` by content.
        """
        from lorakit.catalog.importing import headers_say

        return headers_say(self._store, contents, made_from)

    def keep_said(
        self, command: str, said: Mapping[str, Sequence[SidecarFacts]], *, only_new: bool = False
    ) -> int:
        """Keep what programs say of contents, in one step of the journal; of how many it was news.

        A program's word replaces its earlier one that stood in the same files; with `only_new`, what it
        said elsewhere before stands.
        """
        from lorakit.catalog.importing import apply_import, plan_import

        if not plan_import(self._store, said, only_new=only_new).contents:
            return 0
        with self.step(command) as recording:
            # The lock is taken with the first statement. Planned once more where nobody else writes:
            # another process may have been faster.
            recording.session.connection()
            change = plan_import(self._store, said, only_new=only_new)
            apply_import(recording, change)
        return len(change.contents)

    def keep_cache(self, command: str, path: Path) -> CacheImport:
        """Keep what LoRA Manager's cache at `path` says, where its own sidecar files say nothing.

        The cache is only read. Raises `BadFile` for what is none.
        """
        from lorakit.catalog.importing import CacheImport, said_in_cache
        from lorakit.formats.sidecars.lora_manager_cache import read_cache

        models = read_cache(path)
        said, known = said_in_cache(self._store, models)
        return CacheImport(len(models), known, self.keep_said(command, said, only_new=True))
