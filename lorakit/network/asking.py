"""Asking Civitai about many adapters: whom it concerns, and all answers that could be had.

Everything is asked before anything is written, so that no lock on the catalog waits for a server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lorakit.catalog.fields import ASKED, ASKED_TERMS
from lorakit.errors import LorakitError
from lorakit.network.answers import SOURCE
from lorakit.network.civitai import (
    MOST_HASHES,
    MOST_MODELS,
    Found,
    batches,
    fetch_models,
    find_versions,
    is_hash,
)
from lorakit.network.http import Server
from lorakit.network.matching import Subject

if TYPE_CHECKING:
    from lorakit.catalog import AdapterRecord, Catalog

# How long an answer is taken for new.
DAYS = 7

# Called with the number of questions answered, how many there are, and what is asked.
Progress = Callable[[int, int, str], None]


@dataclass
class Answers:
    """What was answered; `trouble` is why not everything was, `interrupted` that a person stopped it."""

    versions: dict[str, list[Found]] = field(default_factory=dict)
    models: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    asked_models: set[int] = field(default_factory=set)
    trouble: LorakitError | None = None
    interrupted: bool = False

    def about(self, subject: Subject) -> list[Found] | None:
        """The versions listed under a subject's hashes; None where not all was answered."""
        if not self.versions.keys() >= subject.hashes:
            return None
        found = [one for sha256 in sorted(subject.hashes) for one in self.versions[sha256]]
        return found if all(one.model in self.asked_models for one in found) else None


def subjects(records: Iterable[AdapterRecord]) -> list[Subject]:
    """The contents of adapters, with all their files; one without a usable hash is left out."""
    by_content: dict[str, list[AdapterRecord]] = {}
    for record in records:
        if is_hash(record.file_sha256):
            by_content.setdefault(record.tensor_sha256, []).append(record)
    return [
        Subject(
            content,
            same[0].name,
            frozenset(record.file_sha256 for record in same),
            frozenset(path.name for record in same for path in record.locations),
            frozenset(record.file_size for record in same),
        )
        for content, same in by_content.items()
    ]


def due(
    catalog: Catalog, wanted: Sequence[Subject], server: Server, *, licenses_only: bool
) -> list[Subject]:
    """Those subjects that this server was not asked about within the last `DAYS` days."""
    fields = (ASKED, ASKED_TERMS) if licenses_only else (ASKED,)
    known = catalog.all_facts([one.content for one in wanted], fields)
    since = datetime.now(UTC) - timedelta(days=DAYS)

    def is_recent(subject: Subject) -> bool:
        records = [r for rows in known.get(subject.content, {}).values() for r in rows]
        return any(
            record.source == SOURCE
            and record.place == server.address
            and datetime.fromisoformat(record.value) > since
            for record in records
        )

    return [one for one in wanted if not is_recent(one)]


def gather(server: Server, wanted: Sequence[Subject], on_progress: Progress) -> Answers:
    """Ask about all of `wanted`; raises nothing but says in the answers why it had to stop."""
    answers = Answers()
    try:
        _ask(server, wanted, answers, on_progress)
    except LorakitError as error:
        answers.trouble = error
    except KeyboardInterrupt:
        answers.interrupted = True
    return answers


def _ask(
    server: Server, wanted: Sequence[Subject], answers: Answers, on_progress: Progress
) -> None:
    hashes = sorted({sha256 for subject in wanted for sha256 in subject.hashes})
    # Models are asked for after each round, so that a long run that ends early has whole answers.
    for number, batch in enumerate(batches(hashes, MOST_HASHES)):
        on_progress(number * MOST_HASHES, len(hashes), f"{len(batch)} hashes")
        found = find_versions(server, batch)
        answers.versions.update({sha256: [] for sha256 in batch})
        for one in found:
            answers.versions[one.hash].append(one)
        models = sorted({one.model for one in found} - answers.asked_models)
        for some in batches(models, MOST_MODELS):
            on_progress(number * MOST_HASHES, len(hashes), f"{len(some)} models")
            answers.models.update(fetch_models(server, some))
            answers.asked_models.update(some)
