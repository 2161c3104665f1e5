"""Which adapters of the catalog the words on a command line mean."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lorakit.cli.options import read_names

if TYPE_CHECKING:
    from lorakit.catalog import AdapterRecord, Catalog


def select_adapters(catalog: Catalog, words: Iterable[str]) -> list[AdapterRecord]:
    """The adapters that `words` name, each once, in the order of the words.

    A word is a name, the beginning of one, `sha256:PREFIX` or the path of a file in the catalog; `-`
    stands for the lines of standard input. Raises `NotFound` and `Ambiguous`.
    """
    found = [catalog.resolve(word) for word in read_names(list(words))]
    return list({record.id: record for record in found}.values())
