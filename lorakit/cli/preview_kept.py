"""Pictures that were made with stacks kept by name are noted, so that the stacks can show them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lorakit.errors import LorakitError

if TYPE_CHECKING:
    from lorakit.formats.generation import Generation
    from lorakit.preview.made_from import MadeFrom, UsedEntry


def note_kept(origin: MadeFrom, paths: Sequence[Path]) -> list[str]:
    """Note `paths` with each kept stack that `origin` is, by hashes and strengths; the stacks' names.

    However the stack was typed: what counts is what was fused. A catalog that fails spoils no picture.
    """
    from lorakit.cli.catalogs import open_catalog
    from lorakit.stack import read_kept

    noted: list[str] = []
    if not paths or not origin.entries:
        return noted
    with suppress(LorakitError), open_catalog() as catalog:
        for one in catalog.kept_stacks():
            with suppress(LorakitError):
                if is_same(read_kept(one.document, one.name), origin.entries):
                    catalog.note_stack_pictures(one, paths)
                    noted.append(one.name)
    return noted


def is_same(kept: Generation, entries: Sequence[UsedEntry]) -> bool:
    """Whether a kept stack is what was fused: the same contents at the same strengths, in any order."""
    from lorakit.stack import stated_strength
    from lorakit.strengths import Strength

    left = [({e.sha256, e.tensor_sha256}, e.strength) for e in entries]
    for used in kept.adapters:
        strength = stated_strength(used) or Strength()
        fitting = next(
            (one for one in left if not one[0].isdisjoint(used.hashes) and one[1] == strength), None
        )
        if fitting is None:
            return False
        left.remove(fitting)
    return not left
