"""One adapter in another layout, dtype or numbering of blocks: the same tensors, spelled anew."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lorakit.adapters.adapter import Adapter
from lorakit.adapters.pieces import Pieces, pieces_in
from lorakit.bases import ChosenBase
from lorakit.errors import BadUsage, NotFusable
from lorakit.formats.inspection import AdapterReport
from lorakit.formats.layouts import WRITTEN_AS, WritableLayout
from lorakit.formats.metadata import BASE_BLOCKS_KEY
from lorakit.gate.derived import Progress
from lorakit.merging.gathering import needing_base
from lorakit.merging.merge import merged
from lorakit.merging.provenance import made, resized, still_true
from lorakit.merging.renumbering import renumbered
from lorakit.merging.report import MergeReport
from lorakit.merging.writing import WrittenAdapter, write_adapter, write_pieces
from lorakit.stack import ResolvedEntry

if TYPE_CHECKING:
    from lorakit.catalog import Catalog


@dataclass(frozen=True)
class Conversion:
    """What is wanted of a file: None leaves something as it is."""

    layout: WritableLayout | None = None
    dtype: str | None = None
    blocks: int | None = None

    @property
    def keep_names(self) -> bool:
        """Whether tensors keep the names that they have."""
        return self.layout is None and self.blocks is None

    def options(self) -> dict[str, object]:
        """What the record of the making keeps."""
        if self.blocks is not None:
            return {"blocks": self.blocks}
        return {"keep_names": True} if self.keep_names else {}


def convert(
    catalog: Catalog,
    entry: ResolvedEntry,
    wanted: Conversion,
    output: str | Path,
    *,
    overwrite: bool = False,
    on_progress: Progress = lambda done, total, what: None,
) -> WrittenAdapter:
    """Write the adapter of `entry` to `output` as `wanted`, if its terms allow it in another form.

    Tensors keep their bytes unless a dtype is asked for. Raises what `write_pieces` raises, and `BadUsage`
    where nothing is asked for.
    """
    if wanted == Conversion():
        raise BadUsage(
            "Nothing to convert to was named.", hint="Give --layout, --dtype, --blocks or several."
        )
    layout = wanted.layout or own_layout(entry.report)

    def opened() -> Pieces:
        pieces = replace(pieces_in(entry.path), keep_names=wanted.keep_names)
        # The names of before are those of other blocks afterwards: nothing leads back.
        return pieces if wanted.blocks is None else renumbered(pieces, wanted.blocks)

    notes = {BASE_BLOCKS_KEY: str(wanted.blocks)} if wanted.blocks else {}
    return write_pieces(
        catalog,
        opened,
        kind="re-encoded adapter",
        what=f"{entry.name} in another form",
        ingredients=[entry],
        output=output,
        layout=layout,
        dtype=wanted.dtype,
        made=made("convert", layout=layout, dtype=wanted.dtype, options=wanted.options()),
        metadata={**still_true(entry.report.metadata), **notes},
        lead_back=wanted.blocks is None,
        overwrite=overwrite,
        on_progress=on_progress,
    )


def dora_to_lora(
    catalog: Catalog,
    entry: ResolvedEntry,
    base: ChosenBase,
    rank: int,
    wanted: Conversion,
    output: str | Path,
    *,
    overwrite: bool = False,
    on_progress: Progress = lambda done, total, what: None,
) -> tuple[WrittenAdapter, MergeReport]:
    """Write what the adapter of `entry` changes of `base` as LoRA of `rank`, its best approximation.

    For DoRA and all else whose change depends on the base's weights; the report tells how much is kept.
    The base's weights go into the result, so its licence has to allow it, too.
    """
    if wanted.blocks is not None:
        raise BadUsage(
            "--blocks and --dora-to-lora are two steps.",
            hint="The result fits a larger model as it is; convert it again to renumber it.",
        )
    if not needing_base(entry.report):
        raise NotFusable(
            f"Nothing in {entry.path} depends on the base, so there is nothing to convert.",
            hint="`lorakit resize` makes LoHa and LoKr a LoRA of a rank.",
        )
    layout, dtype = wanted.layout or own_layout(entry.report), wanted.dtype or "bf16"
    told: list[MergeReport] = []

    def opened() -> Adapter:
        found = merged([(entry.path, 1.0)], rank=rank, base=base.path, on_progress=on_progress)
        told.append(found.report)
        return found.adapter

    done = write_adapter(
        catalog,
        opened,
        kind="dora conversion",
        what=f"{entry.name} as LoRA of rank {rank} on {base.name}",
        ingredients=[base, entry],
        output=output,
        layout=layout,
        dtype=dtype,
        made=made("convert", layout=layout, dtype=dtype, options={"dora_to_lora": rank}),
        metadata=lambda: resized(entry.report.metadata, [], other_algo=True),
        overwrite=overwrite,
        on_progress=on_progress,
    )
    return done, told[0]


def own_layout(report: AdapterReport) -> WritableLayout:
    """The layout that an adapter is in; ComfyUI's for one that nobody writes any more."""
    found = (w for read, w in WRITTEN_AS.items() if report.layouts[:1] == (read,))
    return next(found, "comfy")
