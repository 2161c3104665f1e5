"""A case's weights as linear layers under their own dotted names, for tools that walk through models."""

from __future__ import annotations

import torch
from torch import nn

from bench.fidelity_cases import Deltas


def nest(weights: Deltas) -> nn.Module:
    """Linear layers without bias, copies of `weights`, as deep as their names go."""
    root = nn.Module()
    for module, weight in weights.items():
        *path, leaf = module.split(".")
        owner = root
        for part in path:
            if part not in owner._modules:
                owner.add_module(part, nn.Module())
            owner = owner.get_submodule(part)
        linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
        linear.weight = nn.Parameter(weight.clone(), requires_grad=False)
        owner.add_module(leaf, linear)
    return root


def weight_of(model: nn.Module, module: str) -> torch.Tensor:
    """The weight of one of those layers."""
    found = model.get_submodule(module).weight
    assert isinstance(found, torch.Tensor)
    return found
