"""One adapter with other ranks: the best approximation of every change, never formed as a matrix."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lorakit.adapters.adapter import Adapter
from lorakit.errors import NotFusable
from lorakit.formats.layouts import WritableLayout
from lorakit.gate.derived import Progress
from lorakit.merging.converting import own_layout
from lorakit.merging.gathering import needing_base
from lorakit.merging.merge import merged
from lorakit.merging.provenance import made, resized, rule_options
from lorakit.merging.ranks import RankRule
from lorakit.merging.report import MergeReport
from lorakit.merging.writing import WrittenAdapter, own_dtype, write_adapter
from lorakit.stack import ResolvedEntry

if TYPE_CHECKING:
    from lorakit.catalog import Catalog


def resize(
    catalog: Catalog,
    entry: ResolvedEntry,
    rule: RankRule,
    output: str | Path,
    *,
    layout: WritableLayout | None = None,
    dtype: str | None = None,
    device: str = "cpu",
    overwrite: bool = False,
    on_progress: Progress = lambda done, total, what: None,
) -> tuple[WrittenAdapter, MergeReport]:
    """Write the adapter of `entry` with the ranks that `rule` asks for, if its terms allow another form.

    Every module becomes LoRA of scale 1, so that a strength means what it meant. LoRA and LoHa go through
    the core of their exact factors; LoKr and full differences are approximated as matrices; norms and
    biases stay. A rule that keeps everything gives the same change. The report tells ranks and retained
    energy. Raises `NotFusable` for changes that depend on the base (DoRA, OFT, IA3, GLoRA, T-LoRA).
    """
    require_resizable(entry)
    layout, dtype = layout or own_layout(entry.report), dtype or own_dtype([entry.report])
    told: list[MergeReport] = []

    def opened() -> Adapter:
        found = merged([(entry.path, 1.0)], rank=rule, device=device, on_progress=on_progress)
        told.append(found.report)
        return found.adapter

    def entries() -> dict[str, str]:
        ranks = [m.rank_out for m in told[0].modules if m.rank_out is not None]
        other = any(module.algo != "lora" for module in entry.report.modules)
        return resized(entry.report.metadata, ranks, other_algo=other)

    done = write_adapter(
        catalog,
        opened,
        kind="re-encoded adapter",
        what=f"{entry.name} with other ranks ({rule})",
        ingredients=[entry],
        output=output,
        layout=layout,
        dtype=dtype,
        made=made(
            "resize",
            layout=layout,
            dtype=dtype,
            options=rule_options(rule),
            seed=0,
            device=device,
        ),
        metadata=entries,
        overwrite=overwrite,
        on_progress=on_progress,
    )
    return done, told[0]


def require_resizable(entry: ResolvedEntry) -> None:
    """Raise `NotFusable` for an adapter with a module that has no rank of its own."""
    needing = frozenset(needing_base(entry.report))
    strange = next((m for m in entry.report.modules if m.name in needing), None)
    if strange is not None:
        raise NotFusable(
            f"{entry.path} cannot be resized: {strange.name} is {strange.algo}, whose change depends on "
            "the weights of a base.",
            hint="`lorakit convert NAME --dora-to-lora RANK --base BASE` makes it a LoRA of that base.",
        )
