"""Strengths as a person gives them, brought to one number per tensor and entry."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from lorakit.counting import counted_rows
from lorakit.errors import BadUsage
from lorakit.formats import anima
from lorakit.fusion.live_groups import Group

# One number per entry; one per entry and block; or a function of the entry and the module's name.
Strengths = Sequence[float] | Sequence[Sequence[float]] | Callable[[int, str], float]


def touched_by(groups: Sequence[Group], entries: int) -> torch.Tensor:
    """(tensors, entries) bool: whether the entry changes the tensor, tensors in order of the groups."""
    table = torch.zeros(sum(len(group.tensors) for group in groups), entries, dtype=torch.bool)
    start = 0
    for group in groups:
        for row, entry in group.touches:
            table[start + row, entry] = True
        start += len(group.tensors)
    return table


def strength_table(
    strengths: Strengths, touches: torch.Tensor, tensors: Sequence[str], blocks: int
) -> torch.Tensor:
    """The strength of every tensor and entry, (tensors, entries) float64; 0 where it touches nothing.

    `tensors` are the canonical names of the rows of `touches`. Raises `BadUsage` for a wrong count, a
    strength that is not finite, or a table by block where a tensor lies outside the blocks.
    """
    modules = [name.rpartition(".")[0] for name in tensors]
    if callable(strengths):
        table = _ask(strengths, touches, modules)
    else:
        given = _as_numbers(strengths, touches.shape[1])
        table = given if given.ndim == 1 else _spread(given, modules, blocks)
    table = torch.where(touches, table, 0.0)
    if not bool(table.isfinite().all()):
        raise BadUsage("Every strength must be a finite number.")
    return table


def _ask(
    strength_of: Callable[[int, str], float], touches: torch.Tensor, modules: Sequence[str]
) -> torch.Tensor:
    table = torch.zeros(touches.shape, dtype=torch.float64)
    for row, entry in touches.nonzero().tolist():
        table[row, entry] = float(strength_of(entry, modules[row]))
    return table


def _as_numbers(
    strengths: Sequence[float] | Sequence[Sequence[float]], entries: int
) -> torch.Tensor:
    if len(strengths) != entries:
        raise BadUsage(
            f"The stack has {counted_rows(entries, 'adapter')}, and {counted_rows(len(strengths), 'strength')} "
            "came for it; give one for each."
        )
    try:
        return torch.tensor(strengths, dtype=torch.float64)
    except (TypeError, ValueError) as error:
        raise BadUsage(f"The strengths are no table of numbers: {error}.") from error


def _spread(per_block: torch.Tensor, modules: Sequence[str], blocks: int) -> torch.Tensor:
    """(entries, blocks) -> (tensors, entries)."""
    if per_block.ndim != 2 or per_block.shape[1] != blocks:
        raise BadUsage(f"A table of strengths needs {blocks} numbers per adapter, one per block.")
    found = [anima.block_of(name) for name in modules]
    if None in found:
        raise BadUsage(
            f"A table by block gives no strength for {modules[found.index(None)]}.",
            hint="Pass a function of the entry and the module's name.",
        )
    return per_block[:, [block for block in found if block is not None]].T
