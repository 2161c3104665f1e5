"""Asking Civitai what it knows of the adapters in the catalog, and keeping that.

What is sent: SHA-256 hashes of files and numbers of models. What comes back becomes facts and tags of the
source "civitai" in one step of the journal, and terms in claims of the origin "civitai". Terms are not
part of the step: whoever undoes it because of a tag must not lose a refusal by that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lorakit.catalog.claims import NewClaim
from lorakit.catalog.facts import NewFact
from lorakit.catalog.fields import ASKED, ASKED_TERMS
from lorakit.db.times import to_text
from lorakit.errors import LorakitError
from lorakit.licenses.keeping import new_rows
from lorakit.network.answers import SOURCE, claims_about, said_of
from lorakit.network.asking import Answers, Progress, due, gather, subjects
from lorakit.network.civitai import batches
from lorakit.network.http import Server
from lorakit.network.matching import Match, Subject, match
from lorakit.network.offline import check_online

if TYPE_CHECKING:
    from lorakit.catalog import AdapterRecord, Catalog

_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Plan:
    """Whom a run is about: `wanted` is asked about, `recent` was asked about of late."""

    wanted: tuple[Subject, ...]
    recent: tuple[Subject, ...]


@dataclass(frozen=True, slots=True)
class Synced:
    """What came of a run.

    `matches` are the subjects that Civitai lists, `unknown` those it does not, `unanswered` those that
    were not reached. `changed` is of how many something new was kept, `claims` how many terms are new,
    `step` the number in the journal. `trouble` is why it stopped early, `interrupted` that a person
    stopped it.
    """

    matches: tuple[Match, ...]
    unknown: tuple[Subject, ...]
    unanswered: tuple[Subject, ...]
    changed: int = 0
    claims: int = 0
    step: int | None = None
    trouble: LorakitError | None = None
    interrupted: bool = False

    @property
    def remarks(self) -> tuple[str, ...]:
        """What to know of single adapters."""
        return tuple(remark for one in self.matches for remark in one.remarks)


def plan_sync(
    catalog: Catalog,
    records: Sequence[AdapterRecord],
    server: Server,
    *,
    licenses_only: bool = False,
    everything: bool = False,
) -> Plan:
    """Whom a run would ask about; with `everything` also what was asked of late. Sends nothing."""
    known = subjects(records)
    wanted = known if everything else due(catalog, known, server, licenses_only=licenses_only)
    contents = {one.content for one in wanted}
    return Plan(tuple(wanted), tuple(one for one in known if one.content not in contents))


def run_sync(
    catalog: Catalog,
    plan: Plan,
    server: Server,
    on_progress: Progress,
    *,
    licenses_only: bool = False,
    command: str = "sync",
) -> Synced:
    """Ask the server about the subjects of a plan, and keep what it answers.

    What was answered before the server failed or a person pressed Ctrl-C is kept. Raises `Unreachable`
    where the network is switched off, and `CatalogError` where the catalog cannot be written.
    """
    check_online("Asking Civitai")
    answers = gather(server, plan.wanted, on_progress) if plan.wanted else Answers()
    found = _sorted_out(plan, answers, server)
    claims = _keep_terms(catalog, found.matches, server)
    changed, step = _keep_facts(catalog, found, server, licenses_only, command)
    return replace(found, changed=changed, claims=claims, step=step)


def _sorted_out(plan: Plan, answers: Answers, server: Server) -> Synced:
    matches, unknown, unanswered = [], [], []
    for subject in plan.wanted:
        found = answers.about(subject)
        if found is None:
            unanswered.append(subject)
        elif found:
            matches.append(match(subject, found, answers.models, server.host))
        else:
            unknown.append(subject)
    return Synced(
        tuple(matches),
        tuple(unknown),
        tuple(unanswered),
        trouble=answers.trouble,
        interrupted=answers.interrupted,
    )


def _keep_terms(catalog: Catalog, matches: Sequence[Match], server: Server) -> int:
    rows: list[NewClaim] = []
    for one in matches:
        claims = claims_about(one.candidates, server.host)
        rows += new_rows(catalog, one.subject.content, claims, ())
    # Others want to write meanwhile, too.
    for batch in batches(rows, _BATCH):
        catalog.record_claims(batch)
    return len(rows)


def _keep_facts(
    catalog: Catalog, found: Synced, server: Server, licenses_only: bool, command: str
) -> tuple[int, int | None]:
    """Of how many contents something new is kept, and the step's number."""
    answered = [*(one.subject for one in found.matches), *found.unknown]
    if not answered:
        return 0, None
    said = {
        one.subject.content: [said_of(one.taken, server.host)]
        for one in found.matches
        if one.taken is not None and not licenses_only
    }
    at: Any = to_text(datetime.now(UTC))
    field = ASKED_TERMS if licenses_only else ASKED
    with catalog.step(command) as recording:
        changed = catalog.keep_said(command, said) if said else 0
        # Its place is another than what is said has, or the next answer would take it for outdated.
        catalog.set_facts(
            [NewFact(one.content, field, at, SOURCE, server.address) for one in answered]
        )
    return changed, recording.number
