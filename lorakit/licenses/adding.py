"""Taking in, when adapters are added or scanned, what the files beside them say.

That is what other programs say of an adapter, kept as facts under their names, and of its terms, kept as
claims. Each file is read once for both, and only where something beside an adapter has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lorakit.catalog.claims import NewClaim
from lorakit.formats.metadata import read_training_info
from lorakit.formats.sidecars.beside import Beside, files_beside, signatures
from lorakit.formats.sidecars.documents import JsonReader, reading_once
from lorakit.formats.sidecars.reading import read_beside
from lorakit.licenses.beside import evidence_beside, has_files_beside
from lorakit.licenses.evidence import header_evidence
from lorakit.licenses.keeping import new_rows

if TYPE_CHECKING:
    from lorakit.catalog import AddedFile, AddResult, Catalog
    from lorakit.catalog.importing import Place
    from lorakit.formats.sidecars.said import SidecarFacts

# So many contents are one step: others can write in between, whoever is interrupted goes on from there,
# and memory stays the same however many there are.
BATCH = 500
# Called with the number of adapters done, how many there are, and the one at hand.
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class TakenIn:
    """What was read beside adapters: of how many, of how many it was news, and what could not be read."""

    read: int = 0
    changed: int = 0
    problems: tuple[str, ...] = ()


def take_in(
    catalog: Catalog,
    result: AddResult,
    command: str,
    *,
    again: bool = False,
    on_progress: Progress | None = None,
) -> TakenIn:
    """Keep what lies beside the files of a scan, in one step of the journal called `command`.

    More than `BATCH` adapters to read are several steps, "`command` (1 of 3)" and so on. Files that
    were known are passed over while nothing beside them has changed since the last time; `again` reads
    all. Raises `CatalogError` when the catalog cannot be written.
    """
    seen = catalog.seen_beside()
    stale, now = _stale(result, seen, again=again)
    if not stale:
        return TakenIn()
    places = catalog.places(file.adapter_id for file in stale.values())
    batches = list(_batches(list(places)))
    beside = files_beside(stale)
    read = changed = 0
    problems: list[str] = []
    for number, contents in enumerate(batches, start=1):
        reading = _Reading(catalog, stale, beside)
        for content in contents:
            read += 1
            if on_progress is not None:
                on_progress(read, len(places), places[content][0].name)
            reading.read(content, places[content])
        part = f" ({number} of {len(batches)})" if len(batches) > 1 else ""
        changed += reading.keep(f"{command}{part}", contents)
        problems += reading.problems
        done = {place.path for content in contents for place in places[content]}
        seen |= {path: now[path] for path in done & stale.keys()}
        catalog.keep_seen(seen)
    return TakenIn(read, changed, tuple(dict.fromkeys(problems)))


def _stale(
    result: AddResult, seen: Mapping[str, int], *, again: bool
) -> tuple[dict[str, AddedFile], dict[str, int]]:
    """The files beside which something has to be read, by path, and the signatures of all."""
    new = (*result.added, *result.changed, *result.moved)
    now = signatures(file.file for file in (*new, *result.known))
    stale = {file.file: file for file in new}
    for file in result.known:
        if again or seen.get(file.file) != now[file.file]:
            stale[file.file] = file
    return stale, now


def _batches(contents: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(contents), BATCH):
        yield contents[start : start + BATCH]


class _Reading:
    """What is gathered while the files beside adapters are read."""

    def __init__(
        self,
        catalog: Catalog,
        stale: Collection[str],
        beside: Mapping[str, tuple[Beside, ...]],
    ) -> None:
        self._catalog = catalog
        self._stale = stale
        self._beside = dict(beside)
        self.said: dict[str, list[SidecarFacts]] = {}
        self.claims: list[NewClaim] = []
        self.problems: list[str] = []
        self._paths: dict[str, Path] = {}

    def read(self, content: str, places: Sequence[Place]) -> None:
        """Read what lies beside every file of a content: copies speak of it too."""
        self._paths[content] = Path(places[0].path)
        hashes = {content, *(place.file_sha256 for place in places)}
        unknown = [place.path for place in places if place.path not in self._stale]
        self._beside.update(files_beside(unknown))
        for place in places:
            read = reading_once()
            found = read_beside(place.path, self._beside.get(place.path, ()), hashes, read)
            if found.facts:
                self.said.setdefault(content, []).extend(found.facts)
            if place.path in self._stale:
                self._note(place.path, found.problems)
                self._terms(place, read)

    def keep(self, command: str, contents: Sequence[str]) -> int:
        """Write down what was read of `contents`, and what their headers say; of how many it was news."""
        made_from: dict[str, list[dict[str, str]]] = {}
        for content, said in self._catalog.headers_say(contents, made_from).items():
            self.said.setdefault(content, []).append(said)
        for content, headers in made_from.items():
            for header in headers:
                self._ancestry(content, header)
        if self.claims:
            self._catalog.record_claims(self.claims)
        return self._catalog.keep_said(command, self.said)

    def _ancestry(self, content: str, header: Mapping[str, str]) -> None:
        """Keep what a header says its file was made from: an edit of the header takes nothing back."""
        info, path = read_training_info(header), self._paths[content]
        found = header_evidence(header, info, path, adapter=True)
        self.claims += new_rows(self._catalog, content, found.claims, found.ancestors)

    def _terms(self, place: Place, read: JsonReader) -> None:
        path = Path(place.path)
        if not has_files_beside(path):
            return
        found = evidence_beside(path, "adapter", place.file_sha256, place.content, read)
        self.claims += new_rows(self._catalog, place.content, found.claims, found.ancestors)
        self._note(place.path, found.problems)

    def _note(self, path: str, problems: Iterable[str]) -> None:
        self.problems += (f"{Path(path).parent}: {problem}" for problem in problems)
