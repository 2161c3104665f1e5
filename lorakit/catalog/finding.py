"""Which adapter or base of a catalog a record means that was written elsewhere: by hash, then by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from lorakit.catalog.naming import listed, normal
from lorakit.errors import Ambiguous, NotFound
from lorakit.formats.generation import UsedAdapter
from lorakit.formats.hashing import hash_file
from lorakit.formats.header import read_header
from lorakit.paths import expanded, is_file

if TYPE_CHECKING:
    from lorakit.catalog.catalog import Catalog
    from lorakit.catalog.records import AdapterRecord, BaseRecord

T = TypeVar("T")
# Fewer digits fit several files by accident.
_FEWEST_DIGITS = 8


def find_adapter(
    catalog: Catalog, records: Sequence[AdapterRecord], used: UsedAdapter, remarks: list[str]
) -> str | None:
    """How a stack names the adapter that `used` means; None when it is not to be found.

    By hash first: the whole SHA-256 of the file or its tensors, then the beginning of one, then the
    hashes that headers state of themselves. Else at the path that is stated; else by name. `records`
    are all adapters of `catalog`; `remarks` gets a sentence on what is not certain. Raises `Ambiguous`
    when several fit.
    """
    hashes = [digest for digest in used.hashes if len(digest) >= _FEWEST_DIGITS]
    record = _by_hash(catalog, records, used, hashes)
    if record is not None:
        _remark_other(records, used, record, remarks)
        return _entry_name(record)
    if used.path:
        if hashes and not _holds(expanded(used.path), hashes):
            remarks.append(
                f"{used.path} is another file than the one that was meant: its hash differs."
            )
        return used.path
    record = _typed(catalog, used) if used.typed else _by_name(records, used)
    if record is None:
        return None
    if hashes or not used.typed:
        why = "has another hash than the one stated" if hashes else "may be another version of it"
        remarks.append(f"{record.name} was found by its name, and {why}.")
    return _entry_name(record)


def find_base(
    bases: Iterable[BaseRecord], name: str, sha256: str, tensors: str, remarks: list[str]
) -> BaseRecord | None:
    """The base that a record means, which states its name, and hashes or "", whole or their beginning.

    By the hash of the file, then of its tensors, then by name, with a sentence for `remarks`. Raises
    `Ambiguous` when several fit.
    """
    known = list(bases)
    digests = [digest for digest in (sha256, tensors) if len(digest) >= _FEWEST_DIGITS]
    for digest in digests:
        found = [
            base
            for base in known
            if (base.file_sha256 or "").startswith(digest)
            or (base.tensor_sha256 or "").startswith(digest)
        ]
        if found:
            return _one_of(found, name, digest, lambda b: b.name, lambda b: b.file_sha256)
    wanted = name.casefold()
    found = [base for base in known if wanted in (base.name.casefold(), base.path.stem.casefold())]
    if not wanted or not found:
        return None
    base = _one_of(found, name, name, lambda b: b.name, lambda b: b.file_sha256)
    why = "has another hash than the one stated" if digests else "may be another version of it"
    remarks.append(f"The base {base.name} was found by its name, and {why}.")
    return base


def _by_hash(
    catalog: Catalog, records: Sequence[AdapterRecord], used: UsedAdapter, hashes: Sequence[str]
) -> AdapterRecord | None:
    # Whole hashes are certain, and say which before the beginning of one does.
    for digest in sorted(hashes, key=len, reverse=True):
        found = [record for record in records if _has_hash(record, digest)]
        if found:
            return _one_adapter(found, used.name, digest)
    for digest in hashes:
        found = catalog.claiming(digest)
        if found:
            return _one_adapter(found, used.name, digest)
    return None


def _has_hash(record: AdapterRecord, digest: str) -> bool:
    return record.file_sha256.startswith(digest) or record.tensor_sha256.startswith(digest)


def _one_adapter(found: Sequence[AdapterRecord], name: str, wanted: str) -> AdapterRecord:
    # A file that is there now is of more use than one on a drive that is not attached.
    there = [record for record in found if not record.missing] or found
    return _one_of(there, name, wanted, lambda r: r.name, lambda r: r.tensor_sha256)


def _one_of(
    found: Sequence[T],
    name: str,
    wanted: str,
    name_of: Callable[[T], str],
    content_of: Callable[[T], str | None],
) -> T:
    """The one called `name`; else the first, if all have the same content. Raises `Ambiguous`."""
    called = [one for one in found if name_of(one).casefold() == name.casefold()]
    contents = {content_of(one) for one in found}
    if called or len(found) == 1 or (len(contents) == 1 and None not in contents):
        return (called or found)[0]
    raise Ambiguous(
        f"{wanted!r} fits {len(found)} of the catalog.",
        hint=f"Say which: {listed([name_of(one) for one in found])}",
    )


def _remark_other(
    records: Sequence[AdapterRecord], used: UsedAdapter, found: AdapterRecord, remarks: list[str]
) -> None:
    """Say where the name means another adapter here than the hash, which counts."""
    if _called(used.name, found):
        return
    other = next((r for r in records if r.name.casefold() == used.name.casefold()), None)
    if other is not None and other.tensor_sha256 != found.tensor_sha256:
        remarks.append(
            f"{used.name} is called {found.name} here, by its hash; what is called {other.name} here "
            "is another adapter."
        )


def _by_name(records: Sequence[AdapterRecord], used: UsedAdapter) -> AdapterRecord | None:
    found = [record for record in records if _called(used.name, record)]
    return _one_adapter(found, used.name, used.name) if found else None


def _typed(catalog: Catalog, used: UsedAdapter) -> AdapterRecord | None:
    try:
        return catalog.resolve(used.name)
    except NotFound:
        return None


def _called(name: str, record: AdapterRecord) -> bool:
    """Whether `name` is the adapter's, one of its files', or its title (A1111's alias)."""
    names = {record.name, record.title or "", *(path.stem for path in record.locations)}
    return bool(name) and normal(name).casefold() in {normal(n).casefold() for n in names}


def _entry_name(record: AdapterRecord) -> str:
    """The adapter's name; its hash where a file of that name would be taken in its place."""
    if not is_file(expanded(record.name)):
        return record.name
    return str(record.path) if record.pending else f"sha256:{record.file_sha256}"


def _holds(path: Path, hashes: Sequence[str]) -> bool:
    found = hash_file(path, read_header(path).data_offset)
    return any(
        digest.startswith(wanted)
        for digest in (found.file_sha256, found.tensor_sha256)
        for wanted in hashes
    )
