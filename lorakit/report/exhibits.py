"""What a gallery shows of each adapter, gathered from the catalog and the files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from sys import intern
from typing import TYPE_CHECKING, Any

from lorakit.catalog.claims import NewClaim
from lorakit.catalog.derived import derived, keep_derived
from lorakit.catalog.facts import FactsByField, with_header
from lorakit.catalog.fields import USER, called
from lorakit.errors import BadFile, CatalogError, NotFound
from lorakit.formats.inspection import AdapterReport, ModuleReport
from lorakit.formats.metadata import read_training_info
from lorakit.licenses.answers import Answer, answers
from lorakit.licenses.evidence import header_evidence
from lorakit.licenses.gathering import adapter_dossier
from lorakit.licenses.keeping import new_rows
from lorakit.report import portrait as portraits
from lorakit.report.covers import chosen_covers, small_covers
from lorakit.report.portrait import Portrait
from lorakit.report.relatives import relatives_of
from lorakit.suggesting.measuring import measure, the_base
from lorakit.suggesting.sources import Sources, read_sources
from lorakit.suggesting.suggestion import Suggestion, suggest

if TYPE_CHECKING:
    from lorakit.catalog import AdapterRecord, Catalog
    from lorakit.tracing.neighbours import Neighbour

Progress = Callable[[int, int, str], None]
Warn = Callable[[str], None]

_KEEP_EVERY = 25
_BATCH = 100
# With few adapters, covers may be large enough for a whole page.
_FEW, _LARGE, _SMALL = 60, 512, 256


@dataclass(frozen=True, eq=False)
class Exhibit:
    """One adapter: `document` as `AdapterReport.to_dict` without modules and metadata, `modules` their names,
    `facts` and `tags` as people and programs say, `share_merges` and `answers` as the licences come to,
    `cover` as WebP, `near` its relatives, `suggestion` how strong it is and what suggests itself."""

    record: AdapterRecord
    document: Mapping[str, Any]
    modules: tuple[str, ...]
    facts: FactsByField
    tags: tuple[str, ...]
    share_merges: str
    answers: tuple[Answer, ...]
    portrait: Portrait
    cover: bytes | None
    near: Sequence[Neighbour]
    suggestion: Suggestion

    def said(self, field: str) -> Any:  # noqa: ANN401 - any JSON value
        """What is shown of a field: the word that counts first; None where nobody says anything."""
        records = self.facts.get(field)
        return records[0].value if records else None

    def source(self, field: str) -> str:
        """Who says so, "" where it is the person."""
        records = self.facts.get(field)
        return called(records[0].source) if records and records[0].source != USER else ""


def gather(
    catalog: Catalog,
    records: Sequence[AdapterRecord],
    *,
    like: int = 6,
    on_progress: Progress = lambda done, total, what: None,
    warn: Warn = lambda message: None,
) -> list[Exhibit]:
    """What there is to show of `records`, with up to `like` relatives each.

    What has to be taken from files is kept, so that only the first report reads them.
    """
    contents = list(dict.fromkeys(record.tensor_sha256 for record in records))
    said = catalog.all_facts(contents)
    tags = catalog.all_tags(contents)
    facts = {
        record.id: with_header(record, said.get(record.tensor_sha256, {})) for record in records
    }
    drawn = _portraits(catalog, records, on_progress)
    side = _LARGE if len(records) <= _FEW else _SMALL
    chosen = chosen_covers({content: said.get(content, {}) for content in contents})
    covers = small_covers(catalog, chosen, side, warn)
    near = relatives_of(catalog, records, like, on_progress, warn)
    sources = _measured(catalog, records, on_progress, warn)
    found = []
    for number, (record, report, document) in enumerate(_reports(catalog, records)):
        on_progress(number, len(records), record.name)
        content = record.tensor_sha256
        share_merges, answered = _licence(catalog, record, report)
        found.append(
            Exhibit(
                record,
                document,
                tuple(intern(module.name) for module in report.modules),
                facts[record.id],
                tags.get(content, ()),
                share_merges,
                answered,
                drawn[content],
                covers.get(content),
                (*_copies(record, records, like), *near.get(content, ()))[:like],
                suggest(sources, record),
            )
        )
    return found


def _reports(
    catalog: Catalog, records: Sequence[AdapterRecord]
) -> Iterator[tuple[AdapterRecord, AdapterReport, dict[str, Any]]]:
    """What was found in each file when it was added; what its header claims is kept, for many at once."""
    for start in range(0, len(records), _BATCH):
        batch = []
        rows: list[NewClaim] = []
        for record in records[start : start + _BATCH]:
            document = catalog.report(record)
            report = _report(_path(record), document)
            said = header_evidence(report.metadata, report.info, report.path, adapter=True)
            rows += new_rows(catalog, record.tensor_sha256, said.claims, said.ancestors)
            small = {k: v for k, v in document.items() if k not in ("modules", "metadata")}
            batch.append((record, report, small))
        if rows:
            # What stands in headers can be kept another time.
            with suppress(CatalogError):
                catalog.record_claims(rows)
        yield from batch


def _portraits(
    catalog: Catalog, records: Sequence[AdapterRecord], on_progress: Progress
) -> dict[str, Portrait]:
    known = derived(catalog, portraits.KIND)
    found: dict[str, Portrait] = {}
    fresh: dict[str, bytes] = {}
    for number, record in enumerate(records):
        content = record.tensor_sha256
        if content in found:
            continue
        kept = portraits.from_bytes(known[content]) if content in known else None
        if kept is not None:
            found[content] = kept
            continue
        on_progress(number, len(records), record.name)
        found[content], whole = portraits.draw(catalog, record)
        if whole:
            fresh[content] = portraits.to_bytes(found[content])
        if len(fresh) >= _KEEP_EVERY:
            keep_derived(catalog, portraits.KIND, fresh)
            fresh = {}
    keep_derived(catalog, portraits.KIND, fresh)
    return found


def _measured(
    catalog: Catalog, records: Sequence[AdapterRecord], on_progress: Progress, warn: Warn
) -> Sources:
    """What is known of strengths, once the sizes of all that is shown are measured on a base."""
    base = the_base(catalog, None)
    if base is not None:
        try:
            measure(catalog, records, base, on_progress=on_progress)
        except (BadFile, NotFound) as error:
            warn(f"Sizes are not measured: {error.message}")
    return read_sources(catalog, base)


def _copies(
    record: AdapterRecord, records: Sequence[AdapterRecord], like: int
) -> Iterator[Neighbour]:
    """The others with the very same tensors, under another header."""
    if not like:
        return
    from lorakit.tracing.neighbours import Neighbour
    from lorakit.tracing.similar import SAME_TENSORS

    for other in records:
        if other.tensor_sha256 == record.tensor_sha256 and other.id != record.id:
            yield Neighbour(other, SAME_TENSORS)


def _licence(
    catalog: Catalog, record: AdapterRecord, report: AdapterReport
) -> tuple[str, tuple[Answer, ...]]:
    content, sha256 = record.tensor_sha256, record.file_sha256
    dossier = adapter_dossier(catalog, report.path, report, record.name, content, sha256)
    verdict = dossier.verdict
    return str(verdict.share_merges), answers(verdict)


def _path(record: AdapterRecord) -> Path:
    return record.path or Path(f"{record.name}.safetensors")


def _report(path: Path, document: Mapping[str, Any]) -> AdapterReport:
    """The report that was kept when the file was added, without its parts by module."""
    modules = tuple(
        ModuleReport(parts=(), **{**module, "shape": tuple(module["shape"] or ())})
        for module in document["modules"]
    )
    return AdapterReport(
        path,
        document["file_size"],
        tuple(document["layouts"]),
        modules,
        document["dtypes"],
        read_training_info(document["metadata"]),
        document["metadata"],
        tuple(document["unused_keys"]),
        tuple(document["problems"]),
        tuple(document["notes"]),
        None,
    )
