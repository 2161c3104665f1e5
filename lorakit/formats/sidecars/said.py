"""What one file beside a model's says, in the fields that the catalog keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, slots=True)
class SidecarFacts:
    """What a file says of the model beside it.

    `source` is the program by the name that the catalog has for it, `place` the file. `fields` holds
    values by field: title, notes, description, author, base_model, page and cover as text, rating as 1 to
    5, favourite and nsfw as bool, strength as `{"value", "min", "max"}`, trigger_words as a list, used as
    `{"count", "last"}`. `tags` is None where such a file names none ever. `hashes` are the SHA-256 hashes (lower-case hex, whole or
    shortened) that the file states of its model; `others` holds what has no field here, as it stands.
    """

    source: str
    place: str
    fields: Mapping[str, Any]
    tags: tuple[str, ...] | None = None
    hashes: tuple[str, ...] = ()
    others: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
