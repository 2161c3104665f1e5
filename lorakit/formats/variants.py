"""Anima's larger variants, and where their blocks come from.

Anima-2.9B (40 blocks) and Anima-3.8B (52) were made by inserting blocks between those of the next
smaller model (LLaMA Pro, arXiv:2401.02415), so an adapter for the smaller one fits the larger one
under renumbering. Positions: each model's own metadata (`insertion_positions`).
"""

from __future__ import annotations

from collections.abc import Sequence

from lorakit.formats import anima

SIZES = (28, 40, 52)
_INSERTED = {
    40: frozenset({2, 5, 8, 11, 14, 17, 21, 24, 27, 30, 33, 36}),
    52: frozenset({3, 7, 11, 15, 19, 23, 27, 31, 35, 39, 43, 47}),
}


def model_blocks(highest_block: int) -> int | None:
    """The published size that an adapter whose highest block is `highest_block` was made for.

    The index is snapped up, because adapters may leave blocks out at either end; None above 51.
    """
    return next((size for size in SIZES if highest_block < size), None)


def block_map(source: int, target: int) -> tuple[int, ...]:
    """For each block of a `source`-block model, its index in the `target`-block model.

    Raises `KeyError` for sizes that are no published variants and `ValueError` for larger to smaller.
    """
    if source == target:
        return tuple(range(source))
    if source > target:
        raise ValueError(f"no map from {source} to {target} blocks")
    step = {28: 40, 40: 52}[source]
    carried = [index for index in range(step) if index not in _INSERTED[step]]
    onward = block_map(step, target)
    return tuple(onward[index] for index in carried)


def renumber_module(module: str, renumber: Sequence[int]) -> str:
    """`module` with its block index mapped through `renumber`; unchanged outside the blocks."""
    block = anima.block_of(module)
    if block is None or not renumber:
        return module
    return f"blocks.{renumber[block]}.{module.split('.', 2)[2]}"
