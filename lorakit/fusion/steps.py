"""What a stack is in one denoising step, and what its text parts are.

The prompt is turned into conditioning once, before the first step. So the text adapter and the text
encoder take part with the strengths of step 0, whatever comes later.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

from lorakit.adapters.adapter import Adapter
from lorakit.formats import anima
from lorakit.fusion.plan import FusionPlan, PlanEntry


def is_text(name: str) -> bool:
    """Whether a module or tensor, by its canonical name, takes part in reading the prompt."""
    return anima.component_of(name) in ("llm_adapter", "text_encoder")


def plan_at_step(plan: FusionPlan, step: int) -> FusionPlan:
    """`plan` with the strengths of denoising step `step`, counted from 0; 0 where one is inactive."""
    return replace(plan, entries=tuple(_entry_at(entry, step) for entry in plan.entries))


def _entry_at(entry: PlanEntry, step: int) -> PlanEntry:
    if not entry.strength.is_scheduled:
        return entry
    now, first = entry.strength.active(step), entry.strength.active(0)
    strengths = {
        module: value if (first if is_text(module) else now) else 0.0
        for module, value in entry.strengths.items()
    }
    return replace(entry, strengths=strengths)


def text_key(plan: FusionPlan, adapters: Sequence[Adapter]) -> str:
    """A word that is another one when the weights that read the prompt are others.

    `adapters` are those of the plan's entries. Embeddings of a prompt may be used again as long as it
    stays the same. Only words for one base and one text encoder may be compared.
    """
    digest = hashlib.sha256()
    for entry, adapter in zip(plan.entries, adapters, strict=True):
        for module, strength in _text_strengths(entry):
            digest.update(f"{adapter.path}\0{module}\0{strength!r}\n".encode())
    return digest.hexdigest()[:16]


def _text_strengths(entry: PlanEntry) -> Iterator[tuple[str, float]]:
    for module, target in entry.targets.items():
        strength = entry.strength_for(module) if entry.strength.active(0) else 0.0
        if strength and is_text(target):
            yield module, strength
