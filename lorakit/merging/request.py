"""What is asked of a merge, the same for every weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from lorakit.errors import BadUsage
from lorakit.fusion.devices import choose_device
from lorakit.merging.methods.settings import Settings
from lorakit.merging.methods.table import Method, Value, method_named, settled
from lorakit.merging.ranks import Rank, RankRule, rank_rule


@dataclass(frozen=True)
class MergeRequest:
    """The method with all of its options, the rank of the result, and where it is computed.

    Without `rule` the sum is exact, and what cannot be has a rank of its own. `alone` says that there
    is one adapter only.
    """

    method: Method
    options: Mapping[str, Value]
    rule: RankRule | None
    seed: int
    full_diffs: bool
    device: torch.device
    alone: bool

    @property
    def levels(self) -> bool:
        """Whether the result is the sum with all directions of one size. ctm has chosen its own before."""
        if self.method.name in ("knots", "core"):
            return self.options["in_core"] == "iso"
        return self.method.name == "iso"

    def settings(self, place: str) -> Settings:
        """What the method is given for the weight `place`."""
        rank = self.rule.count if isinstance(self.rule, Rank) else None
        return Settings(self.options, self.seed, place, rank)


def make_request(
    method: str,
    options: Mapping[str, Value] | None,
    *,
    rank: int | RankRule | None,
    energy: float | None,
    seed: int,
    full_diffs: bool,
    device: str | torch.device,
    alone: bool,
) -> MergeRequest:
    """Check what a person asks for. Raises `BadUsage`, and `LorakitError` for a device that is not here."""
    found = method_named(method)
    rule = rank_rule(rank, energy)
    if method == "ctm" and not isinstance(rule, Rank | None):
        raise BadUsage(
            "The method ctm finds bases of a rank, which has to be a number.",
            hint="Give a rank, or none for the largest that comes in.",
        )
    if full_diffs and rule is not None:
        raise BadUsage("Changes in full have no rank.", hint="Leave out the rank, or full_diffs.")
    return MergeRequest(
        found,
        settled(found, options or {}),
        rule,
        seed,
        full_diffs,
        torch.device(choose_device(str(device), in_float64=True)),
        alone,
    )
