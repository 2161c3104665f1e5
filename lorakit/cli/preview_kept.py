"""Pictures that were made with stacks kept by name are noted, so that the stacks can show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lorakit.errors import LorakitError

if TYPE_CHECKING:
    from lorakit.formats.generation import Generation
    from lorakit.strengths import Strength

    # Of each entry that was fused: the hashes of its file and its tensors, and its strength.
    Fused = Sequence[tuple[frozenset[str | None], Strength]]


def note_kept(made: Mapping[Path, Fused]) -> None:
    """Note each picture with the kept stacks that it was made with, by hashes and strengths.

    However the stack was typed: what counts is what was fused. A catalog that fails spoils no picture.
    """
    from lorakit.cli.catalogs import open_catalog
    from lorakit.stack import read_kept

    if not any(made.values()):
        return
    with suppress(LorakitError), open_catalog() as catalog:
        for one in catalog.kept_stacks():
            with suppress(LorakitError):
                kept = read_kept(one.document, one.name)
                paths = [path for path, fused in made.items() if fused and is_same(kept, fused)]
                catalog.note_stack_pictures(one, paths)


def is_same(kept: Generation, fused: Fused) -> bool:
    """Whether a kept stack is what was fused: the same contents at the same strengths, in any order."""
    from lorakit.stack import stated_strength
    from lorakit.strengths import Strength

    left = list(fused)
    for used in kept.adapters:
        strength = stated_strength(used) or Strength()
        fitting = next(
            (one for one in left if not one[0].isdisjoint(used.hashes) and one[1] == strength), None
        )
        if fitting is None:
            return False
        left.remove(fitting)
    return not left
