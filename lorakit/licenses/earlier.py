"""What headers said of a content before they were edited."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lorakit.formats.metadata import read_training_info
from lorakit.licenses.evidence import Evidence, header_evidence

if TYPE_CHECKING:
    from lorakit.catalog import Catalog


def earlier_evidence(
    catalog: Catalog | None, content: str | None, metadata: Mapping[str, str]
) -> Evidence:
    """The evidence of the headers, other than `metadata`, that the catalog has read with this content."""
    found = Evidence()
    if catalog is None or content is None:
        return found
    for name, header in catalog.headers(content):
        if header != metadata:
            path = Path(f"{name}, as it was added")
            found += header_evidence(header, read_training_info(header), path, adapter=True)
    return found
