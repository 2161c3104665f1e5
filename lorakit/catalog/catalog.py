"""The catalog: the only writer of the database."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from lorakit.catalog import queries, reports
from lorakit.catalog.home import default_catalog
from lorakit.catalog.keeping import Keeping
from lorakit.catalog.naming import (
    Named,
    listed,
    looks_like_path,
    matches,
    normal,
    pick,
)
from lorakit.catalog.paths import absolute, holds_file, is_there, is_unicode
from lorakit.catalog.records import (
    AdapterRecord,
    AddResult,
    HashProgress,
    Progress,
)
from lorakit.db.opening import parse_target
from lorakit.db.store import Store
from lorakit.errors import NotFound
from lorakit.formats.peft_folder import adapter_file

if TYPE_CHECKING:
    from lorakit.catalog.query.searching import Search, Share


class Catalog(Keeping):
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

    def resolve(self, name: str, *, whole: bool = False) -> AdapterRecord:
        """The adapter that `name` means.

        In this order: its exact name, `sha256:PREFIX` of the file or its tensors, a path where it lies
        or lay, the beginning of its name, and both without regard to case. With `whole`, as whatever
        changes something asks it, the beginning of a name is none. Raises `NotFound` with
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
            return self._whole(pick(name, adapters, whole=whole).id)
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

    def _whole(self, number: int) -> AdapterRecord:
        (record,) = self.identified([queries.adapter_by_id(self._store, number)])
        return record

    def _at_path(self, text: str) -> int | None:
        """The adapter at a known location; raises `NotFound` for a file that is not in the catalog."""
        path = absolute(adapter_file(Path(text)))
        if not text or not is_unicode(path):
            return None
        rows = self._store.read(
            "SELECT adapter_id FROM location WHERE path = :path", {"path": path}
        )
        if rows:
            return int(rows[0][0])
        if looks_like_path(text) and is_there(path) and not holds_file(path):
            raise NotFound(
                f"{text} is a folder, and no adapter as PEFT writes it.",
                hint=f"Name the file in it, or add all that are: lorakit add {shlex.quote(text)}",
            )
        if looks_like_path(text) and is_there(path):
            raise NotFound(
                f"{text} is not in the catalog.", hint=f"Add it: lorakit add {shlex.quote(text)}"
            )
        return None
