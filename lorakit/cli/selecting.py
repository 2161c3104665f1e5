"""Which adapters of the catalog the words on a command line mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from lorakit.cli.options import read_names
from lorakit.cli.queries import as_typed, header_share, is_condition, query_text
from lorakit.cli.waiting import SOME_FOLDER, patiently
from lorakit.errors import NotFound

if TYPE_CHECKING:
    from lorakit.catalog import AdapterRecord, Catalog
    from lorakit.cli.output import Output


def select_adapters(
    catalog: Catalog, words: Iterable[str], out: Output | None = None, *, whole: bool = False
) -> list[AdapterRecord]:
    """The adapters that `words` mean, each once; with `out`, those that are pending are read whole.

    A word is a name, the beginning of one, `sha256:PREFIX` or the path of a file in the catalog; `-`
    stands for the lines of standard input. Where one of them is a condition such as `rank:8..`, all of
    them are one query, as `lorakit ls` takes it. Names keep the order of the words. With `whole`, as
    whatever changes something asks it, the beginning of a name is none. Raises `NotFound` when nothing
    fits, `Ambiguous`, and `BadUsage` for what is no query.
    """
    given = list(words)
    if _is_query(catalog, given):
        found = found_by(catalog, query_text(given))
        return found if out is None else read_whole(out, catalog, found)
    names = read_names(given)
    with patiently(SOME_FOLDER):
        found = [catalog.resolve(name, whole=whole) for name in names]
    return list({record.id: record for record in found}.values())


def read_whole(
    out: Output, catalog: Catalog, records: Sequence[AdapterRecord]
) -> list[AdapterRecord]:
    """`records` with their contents, as `Catalog.identified` tells them."""
    with out.progress("Reading files") as update:
        return catalog.identified(records, lambda path, done, total: update(done, total, path.name))


def found_by(catalog: Catalog, query: str) -> list[AdapterRecord]:
    """The adapters that a query finds. Raises `NotFound` when it finds none, `BadUsage` for no query."""
    with patiently(SOME_FOLDER):
        found = catalog.find(query, share=header_share)
    if not found:
        raise NotFound(
            f"No adapter fits {as_typed(query)!r}.",
            hint="`lorakit ls QUERY` shows what a query finds.",
        )
    return found


def _is_query(catalog: Catalog, words: Sequence[str]) -> bool:
    """Whether a word can only be a condition: it looks like one, and no adapter is called so."""
    return any(is_condition(word) and not _is_name(catalog, word) for word in words)


def _is_name(catalog: Catalog, word: str) -> bool:
    try:
        catalog.resolve(word)
    except NotFound:
        return False
    return True
