"""What a gallery shows of stacks kept by name: those whose adapters are all among what is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorakit.errors import LorakitError
from lorakit.preview.thumbnail import thumbnail
from lorakit.stack import read_kept, stack_of
from lorakit.suggesting.sources import kept_uses

if TYPE_CHECKING:
    from lorakit.catalog import AdapterRecord, Catalog

# The latest pictures of each, and how large.
_PICTURES, _SIDE = 4, 256


@dataclass(frozen=True)
class ShownStack:
    """A kept stack: its text and base, its adapters by name, and pictures made with it as WebP."""

    name: str
    text: str
    base: str
    notes: str
    adapters: tuple[str, ...]
    pictures: tuple[bytes, ...]


def gather_stacks(
    catalog: Catalog,
    records: Sequence[AdapterRecord],
    warn: Callable[[str], None] = lambda message: None,
) -> list[ShownStack]:
    """The kept stacks that hold nothing but `records`; one that cannot be read is passed over."""
    found = []
    for one in catalog.kept_stacks():
        try:
            made = read_kept(one.document, one.name)
            uses = kept_uses(one)
            text = str(stack_of(made))
        except LorakitError as error:
            warn(f"The stack {one.name} is left out: {error.message}")
            continue
        names = [next((r.name for r in records if use.is_of(r)), None) for use in uses]
        adapters = tuple(name for name in names if name is not None)
        if not adapters or len(adapters) < len(uses):
            continue
        try:
            paths = catalog.stack_pictures(one)[:_PICTURES]
            pictures = tuple(p for path in paths if (p := thumbnail(path, _SIDE)) is not None)
        except ImportError:
            pictures = ()
        found.append(ShownStack(one.name, text, made.base_name, one.notes, adapters, pictures))
    return found
