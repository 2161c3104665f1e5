"""What a collection holds: what was put into it, or what its query finds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lorakit.errors import BadUsage

if TYPE_CHECKING:
    from lorakit.catalog import AdapterRecord, Catalog
    from lorakit.catalog.collections import CollectionRecord
    from lorakit.cli.output import Output


def members_of(catalog: Catalog, collection: CollectionRecord) -> list[AdapterRecord]:
    """The adapters of a collection, in its order; of files with one content, all."""
    if collection.query is not None:
        return found_by(catalog, collection.query)
    place = {content: number for number, content in enumerate(collection.contents)}
    found = [record for record in catalog.adapters() if record.tensor_sha256 in place]
    return sorted(found, key=lambda record: place[record.tensor_sha256])


def size_of(out: Output, catalog: Catalog, one: CollectionRecord) -> int | None:
    """How many adapters a collection holds; None, with a warning, for one that cannot be asked."""
    try:
        return len(members_of(catalog, one))
    except BadUsage as error:
        out.warn(f"What {one.name} holds cannot be told. {error}")
        return None


def found_by(catalog: Catalog, query: str) -> list[AdapterRecord]:
    """What a query finds, in its order. Raises `BadUsage` for one that is not understood."""
    from lorakit.cli.queries import header_share

    return catalog.find(query, share=header_share)
