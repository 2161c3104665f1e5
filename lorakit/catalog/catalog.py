"""The catalog: the only writer of the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from lorakit.catalog import queries, reports, sketches, votes
from lorakit.catalog.claims import (
    ClaimRecord,
    NewClaim,
    claims_of,
    denied_contents,
    drop_claims,
    store_claims,
)
from lorakit.catalog.doctor import Doctor
from lorakit.catalog.home import default_catalog
from lorakit.catalog.naming import (
    Named,
    check_name,
    listed,
    looks_like_path,
    matches,
    normal,
    pick,
    pick_base,
)
from lorakit.catalog.paths import absolute, is_there, is_unicode
from lorakit.catalog.pending import is_pending, require_known
from lorakit.catalog.records import (
    AdapterRecord,
    AddResult,
    AuditCheck,
    BaseRecord,
    ComparisonRecord,
    DecisionRecord,
    HashProgress,
    Progress,
    SketchKind,
    SketchRecord,
)
from lorakit.db.opening import parse_target
from lorakit.db.store import Store
from lorakit.errors import BadUsage, NotFound

if TYPE_CHECKING:
    from lorakit.catalog.query.searching import Search, Share


class Catalog(Doctor):
    """An open catalog. Close it, or use it in a `with` statement.

    Every method raises `CatalogError` when the database fails or stays busy; what else a method
    raises, it says.
    """

    def __init__(self, store: Store) -> None:
        """Use an open store; `Catalog.open` is the way in."""
        self._store = store

    @classmethod
    def open(cls, url: str | Path | None = None) -> Self:
        """Open the catalog at a path or database URL, creating or updating it where needed.

        Without one it is `catalog.db` in `LORAKIT_HOME`, else in the platform's data folder. Raises
        `CatalogError` for a file that is no catalog, or is a newer lorakit's.
        """
        return cls(Store(parse_target(default_catalog() if url is None else url)))

    def close(self) -> None:
        """Let go of the database."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def add(
        self,
        paths: Sequence[str | Path],
        *,
        name: str | None = None,
        on_progress: Progress | None = None,
        on_hash: HashProgress | None = None,
        headers_only: bool = False,
    ) -> AddResult:
        """Add files, and the adapter files in folders; what is known and unchanged is passed over.

        Where many are new, all headers are read first, and then the files; with `headers_only` those wait
        for the next time. A bad file is in the result and stops nothing. `on_progress(path, number,
        total)` is called before each file of which something has to be read, and then
        `on_hash(path, done, total)`, in bytes, after each that was read whole. Raises `NotFound`, before
        anything is done, for a path that does not exist, and `BadUsage` for a `name` that does not belong
        to one file.
        """
        # Reading files needs much that reading the catalog does not.
        from lorakit.catalog.adding import add_files

        found = [Path(path) for path in paths]
        return add_files(self._store, found, name, on_progress, on_hash, headers_only=headers_only)

    def adapters(self, pattern: str | None = None) -> list[AdapterRecord]:
        """The adapters by name, those whose name contains `pattern` or fits its `*` and `?`.

        Whether files are there is asked of the disk now; nothing is written.
        """
        found = queries.all_adapters(self._store)
        if pattern is None:
            return found
        return [record for record in found if matches(record.name, pattern)]

    def searching(self, share: Share | None = None) -> AbstractContextManager[Search]:
        """A search of the catalog, for several queries on end; use it in a `with` statement.

        `share` says of a licence that a header names whether it lets merges be shared ("allow", "deny" or
        "unknown"), for queries such as `license:allow`; without it those are unknown.
        """
        from lorakit.catalog.query.searching import searching

        return searching(self._store, share)

    def find(
        self, query: str, *, limit: int | None = None, share: Share | None = None
    ) -> list[AdapterRecord]:
        """The adapters that a query fits, such as `ink tag:sumi rank:8..32 sort:added-`, in order.

        Raises `BadUsage` for a text that is no query. `lorakit.catalog.query.fields` has its fields.
        """
        with self.searching(share) as search:
            return search.records(query, limit)

    def resolve(self, name: str) -> AdapterRecord:
        """The adapter that `name` means.

        In this order: its exact name, `sha256:PREFIX` of the file or its tensors, a path where it lies
        or lay, the beginning of its name, and both without regard to case. Raises `NotFound` with
        close names, or those of adapters in files that are called so, and `Ambiguous` with the
        candidates. One of which the header alone was read is read whole now.
        """
        adapters = [
            Named(*row)
            for row in self._store.read(
                "SELECT id, name, file_sha256, tensor_sha256 FROM adapter ORDER BY name"
            )
        ]
        if not any(adapter.name == normal(name) for adapter in adapters):
            at_path = self._at_path(name)
            if at_path is not None:
                return self._whole(at_path)
        try:
            return self._whole(pick(name, adapters).id)
        except NotFound as missed:
            called = queries.called_in_file(self._store, name)
            if not called:
                raise
            hint = f"A file of that name is known as {listed(called)}."
            raise NotFound(missed.message, hint=hint) from None

    def identified(
        self, records: Sequence[AdapterRecord], on_hash: HashProgress | None = None
    ) -> list[AdapterRecord]:
        """`records` with their contents: the files of pending ones are read whole, and that is kept.

        What turns out to be an adapter that is known by another place is that one, each once. A file that
        is missing or cannot be read stays pending.
        """
        if not any(record.pending for record in records):
            return list(records)
        from lorakit.catalog.identifying import identified

        return identified(self._store, records, on_hash)

    def headers(self, content: str) -> list[tuple[str, dict[str, str]]]:
        """Name and header of every adapter that has this content (its `tensor_sha256`).

        There are several where a header was edited, and the earlier one is still known.
        """
        return queries.headers_of(self._store, content)

    def claiming(self, prefix: str) -> list[AdapterRecord]:
        """The adapters whose own header states a hash that begins with `prefix` (lower-case hex).

        Such a hash may be that of another file, from which this one was made.
        """
        return queries.adapters_claiming(self._store, prefix)

    def report(self, record: AdapterRecord) -> dict[str, Any]:
        """What inspection found when the adapter was added, as `AdapterReport.to_dict` gives it.

        Raises `NotFound` when the record has gone meanwhile.
        """
        rows = self._store.read(
            "SELECT document, header, modules FROM report WHERE adapter_id = :id", {"id": record.id}
        )
        if not rows:
            raise NotFound(f"{record.name!r} is no longer in the catalog.")
        return reports.whole_report(*rows[0])

    def add_base(
        self,
        path: str | Path,
        *,
        name: str,
        model: str,
        prefix: str,
        blocks: int,
        dtype: str,
        components: str | None,
        file_sha256: str | None = None,
        tensor_sha256: str | None = None,
        parent: str | None = None,
    ) -> BaseRecord:
        """Register a base checkpoint, or update the one of that name when it is the same file.

        `parent` is the content of the model that it was made from. Raises `NotFound` when there is no such
        file, `CatalogError` when the name belongs to another, and `BadUsage` for a name that cannot be one.
        """
        check_name(name)
        if not is_unicode(str(path)):
            raise BadUsage(f"The name of {str(path)!a} is not Unicode.", hint="Rename the file.")
        from lorakit.catalog.bases import store_base

        fields = {
            "model": model,
            "prefix": prefix,
            "blocks": blocks,
            "dtype": dtype,
            "components": components,
            "file_sha256": file_sha256,
            "tensor_sha256": tensor_sha256,
            "parent": parent,
        }
        with self._store.writing() as session:
            store_base(session, normal(name), absolute(path), fields)
        return self.base(name)

    def bases(self) -> list[BaseRecord]:
        """The registered bases by name."""
        return queries.all_bases(self._store)

    def base(self, name: str) -> BaseRecord:
        """The base called `name`, or the only one whose name begins so.

        Raises `NotFound` with what there is, and `Ambiguous` with the candidates.
        """
        return pick_base(name, self.bases())

    def keep_sketch(
        self,
        content: str,
        kind: SketchKind,
        *,
        name: str,
        model: str | None,
        parent: str | None,
        data: bytes,
    ) -> None:
        """Keep the sketch of a content, a fingerprint's bytes, in place of the one of that kind.

        What can be taken again of a file, all but a fingerprint that was learnt, is not kept in a catalog
        that cannot be written, nor of an adapter that is pending.
        """
        if is_pending(content) or (kind != "fingerprint" and not self._store.writable):
            return
        with self._store.writing() as session:
            sketches.store_sketch(
                session, content, kind, name=name, model=model, parent=parent, data=data
            )

    def sketches(self, kind: SketchKind | None = None) -> list[SketchRecord]:
        """The sketches that this version can read, by name."""
        return sketches.sketches_of(self._store, kind=kind)

    def sketch(self, content: str, kind: SketchKind) -> SketchRecord | None:
        """The sketch of a content, where there is one."""
        return next(iter(sketches.sketches_of(self._store, content, kind)), None)

    def sketch_data(self, record: SketchRecord) -> bytes:
        """The bytes of a sketch, a fingerprint's. Raises `NotFound` when it has gone meanwhile."""
        data = sketches.sketch_data(self._store, record.id)
        if data is None:
            raise NotFound(f"The sketch of {record.name!r} is no longer in the catalog.")
        return data

    def drop_sketch(self, record: SketchRecord) -> None:
        """Forget a sketch; one that is not there is no error."""
        with self._store.writing() as session:
            sketches.drop_sketch(session, record.id)

    def claims(self, content: str) -> list[ClaimRecord]:
        """What sources say of the terms of a content (its `tensor_sha256`), the oldest first."""
        return claims_of(self._store, content)

    def denied_contents(self) -> frozenset[str]:
        """The contents of which some source says that their merges may not be shared."""
        return denied_contents(self._store)

    def record_claim(
        self,
        content: str,
        *,
        origin: str,
        source: str,
        terms: Mapping[str, Any],
        model: str | None = None,
    ) -> int:
        """Keep what a source says of a content, in place of what it said before; its row.

        Raises `CatalogError` for an adapter that is pending.
        """
        require_known([content])
        return self.record_claims([NewClaim(content, origin, source, terms, model)])[0]

    def record_claims(self, claims: Sequence[NewClaim]) -> list[int]:
        """As `record_claim`, of several at once; their rows.

        What is not the person's own word is passed over for an adapter that is pending: it stands where it
        stood when that is known. Raises `CatalogError` for what is.
        """
        claims = [one for one in claims if one.origin == "user" or not is_pending(one.content)]
        require_known(claim.content for claim in claims)
        if self._recording is None and all(claim.origin != "user" for claim in claims):
            with self._store.writing() as session:
                return store_claims(session, claims)
        with self.step("license set") as recording:
            return store_claims(recording.session, claims)

    def withdraw_claim(self, *numbers: int) -> None:
        """Remove claims by their rows; a row that is not there is no error."""
        with self.step("license withdraw") as recording:
            drop_claims(recording.session, numbers)

    def record_decision(self, action: str, verdict: str, subject: Mapping[str, object]) -> str:
        """Add a licence decision to the audit, and return its hash in the chain.

        `subject` holds ingredients and reasons.
        """
        from lorakit.catalog.audit import add_decision

        with self._store.writing() as session:
            return add_decision(session, action, verdict, subject)

    def decisions(self) -> list[DecisionRecord]:
        """The licence decisions, the oldest first."""
        from lorakit.catalog.audit import all_decisions

        return all_decisions(self._store)

    def check_audit(self) -> AuditCheck:
        """Whether the chain of decisions is whole, and which is the first that is not as written."""
        from lorakit.catalog.audit import check_chain

        return check_chain(self._store)

    def record_comparison(
        self,
        name: str,
        *,
        folder: str,
        sides: Sequence[Mapping[str, Any]],
        pairs: Sequence[tuple[str, int]],
        blind: bool,
        order_seed: int,
    ) -> None:
        """Keep a comparison, as `ComparisonRecord` says; a known one moves to `folder`."""
        votes.store_comparison(
            self._store,
            name,
            folder=folder,
            sides=sides,
            pairs=pairs,
            blind=blind,
            order_seed=order_seed,
        )

    def comparisons(self) -> list[ComparisonRecord]:
        """The comparisons with their votes, the oldest first."""
        return votes.all_comparisons(self._store)

    def comparison(self, name: str) -> ComparisonRecord:
        """The comparison by its name, the beginning of it, or its folder.

        Raises `NotFound` and `Ambiguous`.
        """
        return votes.find_comparison(self._store, name)

    def vote(self, name: str, choices: Mapping[int, votes.Choice]) -> None:
        """Keep votes on pairs of the comparison `name`; a later vote on a pair replaces the earlier.

        Raises `NotFound` for a comparison that is not known.
        """
        votes.store_votes(self._store, name, choices)

    def _whole(self, number: int) -> AdapterRecord:
        (record,) = self.identified([queries.adapter_by_id(self._store, number)])
        return record

    def _at_path(self, text: str) -> int | None:
        """The adapter at a known location; raises `NotFound` for a file that is not in the catalog."""
        path = absolute(text)
        if not text or not is_unicode(path):
            return None
        rows = self._store.read(
            "SELECT adapter_id FROM location WHERE path = :path", {"path": path}
        )
        if rows:
            return int(rows[0][0])
        if looks_like_path(text) and is_there(path):
            raise NotFound(f"{text} is not in the catalog.", hint=f"Add it: lorakit add {text}")
        return None
