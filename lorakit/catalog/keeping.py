"""The part of the catalog that keeps bases, sketches, claims of terms, decisions and votes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lorakit.catalog import queries, sketches, votes
from lorakit.catalog.claims import (
    ClaimRecord,
    NewClaim,
    claims_of,
    denied_contents,
    drop_claims,
    store_claims,
)
from lorakit.catalog.doctor import Doctor
from lorakit.catalog.naming import check_name, normal, pick_base
from lorakit.catalog.paths import absolute, is_unicode
from lorakit.catalog.pending import is_pending, require_known
from lorakit.catalog.records import (
    AuditCheck,
    BaseRecord,
    ComparisonRecord,
    DecisionRecord,
    SketchKind,
    SketchRecord,
)
from lorakit.errors import BadUsage, NotFound


class Keeping(Doctor):
    """Bases, sketches of weights, claims of terms, decisions of the gate, and comparisons with their votes."""

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
