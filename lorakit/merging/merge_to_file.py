"""Several adapters into one file, if every licence allows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorakit.adapters.adapter import Adapter
from lorakit.bases import ChosenBase
from lorakit.formats.layouts import WritableLayout
from lorakit.fusion.plan import FusionPlan, plan_fusion
from lorakit.gate.derived import Progress
from lorakit.gate.subjects import Subject
from lorakit.merging.common_model import common_model
from lorakit.merging.converting import own_layout
from lorakit.merging.gathering import needing_base, require_strength
from lorakit.merging.merge import merged
from lorakit.merging.methods.table import Value
from lorakit.merging.provenance import made, of_merge, rule_options
from lorakit.merging.ranks import RankRule
from lorakit.merging.report import MergeReport
from lorakit.merging.request import make_request
from lorakit.merging.writing import WrittenAdapter, own_dtype, write_adapter
from lorakit.stack import ResolvedEntry
from lorakit.strengths import as_strength, refuse_scheduled

if TYPE_CHECKING:
    from lorakit.catalog import Catalog


@dataclass(frozen=True)
class MergePlan:
    """What is to be merged, and how; None for a layout or dtype takes that of the ingredients.

    `stack` are the entries as text, as they were named.
    `base` is used only where a change depends on a base's weights, and is an ingredient then.
    """

    entries: tuple[ResolvedEntry, ...]
    stack: str
    method: str = "sum"
    rule: RankRule | None = None
    base: ChosenBase | None = None
    seed: int = 0
    full_diffs: bool = False
    options: Mapping[str, Value] = field(default_factory=dict)
    layout: WritableLayout | None = None
    dtype: str | None = None
    device: str = "cpu"

    @property
    def needs_base(self) -> bool:
        """Whether the change of one of the entries depends on a base's weights, and is worked out."""
        return not self._stays and any(needing_base(entry.report) for entry in self.entries)

    @property
    def _stays(self) -> bool:
        """Whether one adapter at full strength is all there is, which stays as it is."""
        full = [entry.strength for entry in self.entries] == [as_strength(1.0)]
        return full and self.method == "sum" and self.rule is None

    @property
    def ingredients(self) -> tuple[Subject, ...]:
        """Everything whose weights go into the result."""
        based = self.base is not None and self.needs_base
        return (self.base, *self.entries) if based and self.base else self.entries

    @property
    def written_layout(self) -> WritableLayout:
        """The layout of all entries, or ComfyUI's where they differ."""
        found = {own_layout(entry.report) for entry in self.entries}
        return self.layout or (found.pop() if len(found) == 1 else "comfy")

    @property
    def written_dtype(self) -> str:
        """The widest dtype of the entries, unless one was asked for."""
        return self.dtype or own_dtype([entry.report for entry in self.entries])

    def check(self) -> FusionPlan:
        """What each entry does, from headers alone. Raises what `merged` would, but for damaged tensors."""
        refuse_scheduled(entry.strength for entry in self.entries)
        make_request(
            self.method,
            self.options,
            rank=self.rule,
            energy=None,
            seed=self.seed,
            full_diffs=self.full_diffs,
            device=self.device,
            alone=len(self.entries) == 1,
        )
        model = common_model([entry.report for entry in self.entries], None)
        found = plan_fusion(model, [(e.name, e.strength, e.report) for e in self.entries])
        require_strength(found)
        return found


def merge_to_file(
    catalog: Catalog,
    plan: MergePlan,
    output: str | Path,
    *,
    overwrite: bool = False,
    on_progress: Progress = lambda done, total, what: None,
) -> tuple[WrittenAdapter, MergeReport]:
    """Merge the entries of `plan` and write the result to `output`, if all licences allow it.

    Nothing is computed before they do. Raises what `merged` and `write_adapter` raise.
    """
    plan.check()
    told: list[MergeReport] = []

    def opened() -> Adapter:
        found = merged(
            [(entry.path, entry.strength) for entry in plan.entries],
            method=plan.method,
            rank=plan.rule,
            base=plan.base.path if plan.base and plan.needs_base else None,
            seed=plan.seed,
            full_diffs=plan.full_diffs,
            options=plan.options,
            device=plan.device,
            on_progress=on_progress,
        )
        told.append(found.report)
        return found.adapter

    def entries() -> dict[str, str]:
        return of_merge([entry.report for entry in plan.entries])

    done = write_adapter(
        catalog,
        opened,
        kind="merged adapter",
        what=f"{plan.stack} merged into one adapter",
        ingredients=plan.ingredients,
        output=output,
        layout=plan.written_layout,
        dtype=plan.written_dtype,
        made=record(plan),
        metadata=entries,
        stack=plan.stack,
        overwrite=overwrite,
        on_progress=on_progress,
    )
    return done, told[0]


def record(plan: MergePlan) -> dict[str, Any]:
    """How the file of `plan` is made; its ingredients and their strengths stand beside it in the header."""
    options: dict[str, Any] = {**rule_options(plan.rule), "full_diffs": plan.full_diffs}
    if plan.options:
        options["method_options"] = dict(plan.options)
    return made(
        "merge",
        method=plan.method,
        options=options,
        seed=plan.seed,
        device=plan.device,
        layout=plan.written_layout,
        dtype=plan.written_dtype,
    )


def ranks_in(plan: FusionPlan) -> dict[int, int]:
    """How many modules of the result have each sum of ranks."""
    return dict(sorted(Counter(plan.total_ranks.values()).items()))
