"""An adapter for the published model made into one for a larger one: the same changes, other block numbers."""

from __future__ import annotations

from dataclasses import replace

from lorakit.adapters.pieces import Piece, Pieces
from lorakit.counting import counted_rows
from lorakit.errors import BadUsage, NotFusable
from lorakit.formats.metadata import BASE_BLOCKS_KEY
from lorakit.formats.variants import SIZES, block_map, renumber_module


def renumbered(pieces: Pieces, blocks: int) -> Pieces:
    """`pieces` for a model of `blocks` blocks, whose number stands in the metadata from now on.

    Raises `BadUsage` for a size that is not published, `NotFusable` for a smaller one, and for adapters
    of models that have no place in the family.
    """
    report = pieces.report
    made_for = report.model_blocks
    if blocks not in SIZES:
        known = ", ".join(map(str, SIZES))
        raise BadUsage(
            f"No published Anima has {counted_rows(blocks, 'block')}.", hint=f"Give one of {known}."
        )
    if made_for is None or made_for not in SIZES:
        what = (
            "changes no block"
            if made_for is None
            else f"is for a model of {counted_rows(made_for, 'block')}"
        )
        raise NotFusable(f"{report.path} cannot be renumbered: it {what}.")
    if made_for > blocks:
        raise NotFusable(
            f"{report.path} is made for {made_for} blocks, and {blocks} have no place for all of them.",
            hint="Adapters for a smaller model fit a larger one, never the other way round.",
        )
    order = block_map(made_for, blocks)
    modules = {
        renumber_module(name, order): Piece(piece.parts, piece.alpha, piece.scale)
        for name, piece in pieces.modules.items()
    }
    facts = tuple(replace(one, name=renumber_module(one.name, order)) for one in report.modules)
    metadata = {**report.metadata, BASE_BLOCKS_KEY: str(blocks)}
    info = replace(report.info, base_blocks=blocks)
    return Pieces(modules, replace(report, modules=facts, metadata=metadata, info=info))
