"""What models change, as whole matrices read from their files one module at a time."""

from __future__ import annotations

from pathlib import Path

import torch

from lorakit.adapters.loading import load_adapter
from lorakit.sketches.adapters import WeightOf
from lorakit.sketches.whole import weights_in as weights_in


def change_between(made: Path, before: Path) -> WeightOf:
    """What separates two checkpoints, module by module, in float32. Raises as `weights_in` does."""
    after, first = weights_in(made), weights_in(before)

    def change(name: str) -> torch.Tensor:
        return after(name) - first(name)

    return change


def change_of(adapter: Path, weight_of: WeightOf) -> WeightOf:
    """What an adapter changes at strength 1, in float32, of the weights that `weight_of` gives.

    What is returned raises `LookupError` for a module that it does not change. Raises `BadFile` and
    `NotFusable`.
    """
    modules = load_adapter(adapter).modules

    def change(name: str) -> torch.Tensor:
        module = modules[name]
        factors = module.low_rank()
        if factors is None:
            return module.delta(weight_of(name)).flatten(1)
        return factors.up.float() @ factors.down.float() * factors.scale

    return change
