"""Adapters from Hugging Face: fetched, and after they were added, what their card says of them kept."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorakit.catalog.naming import free_name, normal
from lorakit.catalog.paths import absolute
from lorakit.errors import BadUsage, CatalogError
from lorakit.formats.sidecars import values
from lorakit.formats.sidecars.documents import read_text
from lorakit.formats.sidecars.said import SidecarFacts
from lorakit.licenses.beside import card_evidence
from lorakit.licenses.cards import Card, read_card
from lorakit.licenses.keeping import new_rows
from lorakit.network.hub import Progress, RemoteFile, Repository, choose, download, look_up
from lorakit.network.hub_address import HubAddress

if TYPE_CHECKING:
    from lorakit.catalog import AdapterRecord, AddedFile, AddResult, Catalog

SOURCE = "card"
# What trainers call every file, which tells nothing of the adapter.
_NAMELESS = {
    "adapter_model",
    "diffusion_pytorch_model",
    "lora",
    "lora_weights",
    "model",
    "pytorch_lora_weights",
}
_HEADING = re.compile(r"^# +(\S.*?)\s*#*$", re.MULTILINE)
_FRONT = re.compile(r"\A\ufeff?---\s*\n.*?\n---\s*\n", re.DOTALL)
# Hugging Face's own marks, which say nothing of a style.
_MARKS = {"diffusers", "lora", "safetensors", "text-to-image", "not-for-all-audiences"}


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that was fetched: where it lies now, where it came from, and the card beside it."""

    path: Path
    remote: RemoteFile
    repository: Repository
    card: Path | None
    alone: bool

    @property
    def place(self) -> str:
        """Where it came from, to the commit."""
        return str(HubAddress(self.repository.name, self.remote.name, self.repository.commit))


def fetch(
    catalog: Catalog, address: HubAddress, on_progress: Progress, *, everything: bool = False
) -> list[Fetched]:
    """Fetch what an address means; a file that the catalog has already is not downloaded again.

    Raises `NotFound`, `Ambiguous`, `Unreachable`, and `BadFile` for what is not the file that the server
    states, before anything is added.
    """
    repository = look_up(address)
    files = choose(repository, address, everything=everything)
    by_hash = {one.file_sha256: one for one in catalog.adapters() if not one.missing}
    known = {file: by_hash[file.sha256] for file in files if file.sha256 in by_hash}
    missing = [file for file in files if file not in known]
    paths, card = download(repository, missing, on_progress)
    where = {file: Path(absolute(path)) for file, path in zip(missing, paths, strict=True)}
    alone = len(files) == 1
    return [
        Fetched(where.get(file) or known[file].existing_path(), file, repository, card, alone)
        for file in files
    ]


def name_new(catalog: Catalog, fetched: Sequence[Fetched], result: AddResult) -> AddResult:
    """Call new adapters whose file is named as every other after their repository."""
    by_path = {one.path: one for one in fetched if one.path.stem.lower() in _NAMELESS}
    return replace(
        result,
        added=tuple(
            replace(file, name=_named(catalog, file, by_path[file.path]))
            if file.path in by_path
            else file
            for file in result.added
        ),
    )


def _named(catalog: Catalog, file: AddedFile, one: Fetched) -> str:
    taken = {record.name for record in catalog.adapters()}
    name = free_name(normal(one.repository.name.rpartition("/")[2]), taken)
    try:
        catalog.add([file.path], name=name)
    except (BadUsage, CatalogError):
        # The repository's name reads as something else, or another process was faster.
        return file.name
    return name


def keep_cards(catalog: Catalog, fetched: Sequence[Fetched], command: str) -> tuple[str, ...]:
    """After the files were added, keep where they came from and what their cards say.

    Facts and tags are one step of the journal, terms are claims. Returns what is wrong with files.
    """
    by_path = {path: one for one in catalog.adapters() for path in one.locations}
    problems: list[str] = []
    said: dict[str, list[SidecarFacts]] = {}
    for one in fetched:
        record = by_path.get(one.path)
        if record is not None:
            problems += _keep_terms(catalog, one, record)
            said.setdefault(record.tensor_sha256, []).append(_said(one))
    if said:
        catalog.keep_said(command, said)
    return tuple(dict.fromkeys(problems))


def _keep_terms(catalog: Catalog, one: Fetched, record: AdapterRecord) -> tuple[str, ...]:
    if one.card is None:
        return ()
    found = card_evidence(one.card, "adapter")
    rows = new_rows(catalog, record.tensor_sha256, found.claims, found.ancestors)
    if rows:
        catalog.record_claims(rows)
    return tuple(f"{one.repository.name}: {problem}" for problem in found.problems)


def _said(one: Fetched) -> SidecarFacts:
    """What the card and the repository's own name say of a file."""
    try:
        text = read_text(one.card) if one.card is not None else ""
        card = read_card(text)
    except (OSError, ValueError):
        text, card = "", Card()  # why it cannot be read is told with its terms
    heading = _HEADING.search(_FRONT.sub("", text))
    fields: dict[str, Any] = {
        "page": one.repository.page,
        "author": one.repository.name.partition("/")[0],
        "base_model": values.line(", ".join(card.bases)),
        "trigger_words": values.words(list(card.trigger_words)),
        # Where there are several adapters, the heading is none of theirs.
        "title": values.line(heading[1]) if heading and one.alone else None,
        "nsfw": True if "not-for-all-audiences" in card.tags else None,
    }
    tags = [tag for tag in card.tags if ":" not in tag and tag.lower() not in _MARKS]
    return SidecarFacts(SOURCE, one.place, values.given(fields), values.tags(tags))
