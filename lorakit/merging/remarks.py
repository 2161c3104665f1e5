"""What a person should know of a merge beside its figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lorakit.adapters.loha import LohaModule
from lorakit.adapters.lokr import LokrModule
from lorakit.merging.gathering import Gathered
from lorakit.merging.report import ModuleMerge
from lorakit.merging.request import MergeRequest


def remarks(
    gathered: Gathered, told: Sequence[ModuleMerge], request: MergeRequest
) -> Iterator[str]:
    """Sentences about losses and sizes that nobody asked for, and what a rank is counted of."""
    if request.levels and request.rule is not None:
        yield (
            "Directions were chosen by their sizes in the plain sum and levelled then; kept and error are "
            "of the sum before that."
        )
    if any(facts.of_inputs for facts in told):
        yield (
            f"What has no thin factors came into {request.method.name} as an approximation: kept and error say how much "
            "of the plain sum came in. Where a rank then cuts the result, that is added, and the error is at most this."
        )
    if request.rule is None:
        yield from _losses(told)
        yield from _grown(gathered, told)


def _losses(told: Sequence[ModuleMerge]) -> Iterator[str]:
    """That something was lost though nobody asked for a rank."""
    cut = [facts for facts in told if facts.lost]
    if cut:
        ranks = sorted({facts.rank_out for facts in cut if facts.rank_out})
        shown = f"{ranks[0]}" if len(ranks) == 1 else f"{ranks[0]} to {ranks[-1]}"
        more = f" and {len(cut) - 1} more" if len(cut) > 1 else ""
        yield (
            f"No product of thin factors, and brought to rank {shown}: {cut[0].name}{more}. A larger rank "
            "loses less, and a difference stored in full nothing."
        )


def _grown(gathered: Gathered, told: Sequence[ModuleMerge]) -> Iterator[str]:
    """That the exact form of LoHa and LoKr takes more room than their files do."""
    stated = {
        name: sum(term.rank or 0 for term in terms)
        for (name, leaf), terms in gathered.terms.items()
        if leaf == "weight" and any(isinstance(t.module, LohaModule | LokrModule) for t in terms)
    }
    exact = [facts for facts in told if facts.form == "lora" and not facts.lost]
    grown = [f for f in exact if (f.rank_out or 0) > 2 * stated.get(f.name, f.rank_out or 0)]
    if grown:
        rank = max(facts.rank_out or 0 for facts in grown)
        yield (
            f"LoHa and LoKr are exact as LoRA of a higher rank than they state, here up to {rank}; "
            "an energy of 0.99 makes a smaller file."
        )
