"""PEFT's `add_weighted_adapter` in all its modes."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from bench.fidelity_cases import Case, Deltas, Source, change
from bench.fidelity_figures import Tool, refusals
from bench.fidelity_modules import nest

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel

DENSITY = 0.5
SUMS = ("cat", "svd", "linear")
METHODS = (
    "ties",
    "ties_svd",
    "dare_linear",
    "dare_linear_svd",
    "dare_ties",
    "dare_ties_svd",
    "magnitude_prune",
    "magnitude_prune_svd",
)


def tools(modes: tuple[str, ...]) -> list[Tool]:
    """A tool for each mode."""
    return [Tool(f"peft `{mode}`", partial(_merged, mode)) for mode in modes]


def _merged(mode: str, case: Case, folder: Path) -> Deltas:
    model = _model(case)
    with warnings.catch_warnings(), refusals():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        model.add_weighted_adapter(
            adapters=[_name(number) for number in range(len(case.sources))],
            weights=[source.strength for source in case.sources],
            adapter_name="merged",
            combination_type=mode,
            # What the sum needs; PEFT's own choice is the largest of the ranks.
            svd_rank=sum(source.rank for source in case.sources) if "svd" in mode else None,
            svd_full_matrices=False,
            density=None if mode in SUMS else DENSITY,
        )
        return _effect(model, case)


def _model(case: Case) -> PeftModel:
    """The case's modules under their own names, with every adapter loaded."""
    from peft import get_peft_model
    from peft.utils import set_peft_model_state_dict

    with warnings.catch_warnings(), refusals():
        warnings.simplefilter("ignore")
        model: PeftModel | None = None
        for number, source in enumerate(case.sources):
            config, name = _config(source), _name(number)
            if model is None:
                model = get_peft_model(
                    nest(case.base), config, adapter_name=name, autocast_adapter_dtype=False
                )
            else:
                model.add_adapter(name, config)
            # New adapters start in the default dtype.
            model.to(case.dtype)
            set_peft_model_state_dict(model, _tensors(source), adapter_name=name)
    return model


def _config(source: Source) -> PeftConfig:
    import peft

    targets = list(source.parts or {})
    if source.algo == "lokr":
        return peft.LoKrConfig(r=source.rank, alpha=source.alpha, target_modules=targets)
    if source.algo == "loha":
        return peft.LoHaConfig(r=source.rank, alpha=source.alpha, target_modules=targets)
    return peft.LoraConfig(
        r=source.rank,
        lora_alpha=int(source.alpha),
        target_modules=targets,
        use_rslora=source.rslora,
        use_dora=source.algo == "dora",
    )


def _tensors(source: Source) -> dict[str, torch.Tensor]:
    """By PEFT's names; nothing for LoKr and LoHa, which are never asked for their numbers."""
    endings = {
        "up": "lora_B.weight",
        "down": "lora_A.weight",
        "magnitude": "lora_magnitude_vector",
    }
    return {
        f"base_model.model.{module}.{endings[part]}": (
            tensor.flatten() if part == "magnitude" else tensor
        )
        for module, parts in (source.parts or {}).items()
        for part, tensor in parts.items()
        if part in endings
    }


def _name(number: int) -> str:
    return f"adapter_{number}"


def _effect(model: PeftModel, case: Case) -> Deltas:
    """What the merged adapter changes, PEFT merging it into the weights in float64."""
    torch.set_default_dtype(torch.float64)
    try:
        whole = model.double().merge_and_unload(adapter_names=["merged"])
    finally:
        torch.set_default_dtype(torch.float32)
    weights = whole.state_dict()
    return {
        module: weights[f"{module}.weight"] - weight.double()
        for module, weight in case.base.items()
    }


def on_changes(mode: str, case: Case) -> Deltas:
    """What PEFT's own function of a mode makes of the changes themselves, in float64."""
    from peft.utils import merge_utils

    function = getattr(merge_utils, mode.removesuffix("_svd"))
    strengths = torch.tensor([source.strength for source in case.sources], dtype=torch.float64)
    return {
        module: function(
            [change(source, module, weight.double()) for source in case.sources],
            strengths,
            DENSITY,
        )
        for module, weight in case.base.items()
    }
