"""The family's models as files, in every form that such files have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import save_file

from lorakit.adapters.lora import LoraModule
from lorakit.adapters.saving import save_lora
from lorakit.formats import anima
from lorakit.formats.layouts import WritableLayout
from tests.tracing.family import Factors, Weights

FREE = {"modelspec.license": "CC0-1.0"}
PLAIN = {
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "fp32": torch.float32,
    "fp8": torch.float8_e4m3fn,
    "fp8 e5m2": torch.float8_e5m2,
}
# With a scale beside each weight: one number, or one for each row.
QUANTISED = ("scaled fp8", "fp8 by row", "int8", "int8 by row")
_LARGEST_FP8 = 448.0


@dataclass(frozen=True)
class Form:
    """How a checkpoint is stored: numbers, names, and what else is in the file.

    `numbers` is one of `PLAIN` or of `QUANTISED`.
    """

    numbers: str = "bf16"
    prefix: str = ""
    diffusers: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)
    beside: Mapping[str, torch.Tensor] = field(default_factory=dict)


def tensors_of(weights: Weights, form: Form) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint by the file's own names."""
    found = dict(form.beside)
    for name, matrix in weights.items():
        key = form.prefix + (_diffusers(name) if form.diffusers else name)
        for ending, tensor in _stored(matrix, form.numbers).items():
            found[f"{key}.{ending}"] = tensor
    return found


def write_checkpoint(path: Path, weights: Weights, form: Form | None = None) -> Path:
    """Write a checkpoint, bfloat16 and without a prefix where nothing is said."""
    form = form or Form()
    save_file(tensors_of(weights, form), path, dict(form.metadata) or None)
    return path


def write_adapter(
    path: Path,
    factors: Factors,
    layout: WritableLayout = "kohya",
    *,
    metadata: Mapping[str, str] = FREE,
) -> Path:
    """Write a LoRA in bfloat16, at scale 1, under a licence that allows everything."""
    modules = {
        name: LoraModule(up.bfloat16(), down.bfloat16().contiguous(), 1.0)
        for name, (up, down) in factors.items()
    }
    save_lora(path, modules, layout=layout, metadata=metadata)
    return path


def _diffusers(name: str) -> str:
    if name.startswith("llm_adapter."):
        return name.replace("llm_adapter.", "text_conditioner.", 1)
    return f"transformer.{anima.to_diffusers(name)}"


def _stored(matrix: torch.Tensor, numbers: str) -> dict[str, torch.Tensor]:
    if numbers in PLAIN:
        return {"weight": matrix.to(PLAIN[numbers])}
    by_row = numbers.endswith("by row")
    largest = matrix.abs().amax(dim=1, keepdim=True) if by_row else matrix.abs().max()
    whole = numbers.startswith("int8")
    scale = (largest / (127 if whole else _LARGEST_FP8)).clamp(min=1e-12)
    scaled = matrix / scale
    weight = scaled.round().to(torch.int8) if whole else scaled.to(torch.float8_e4m3fn)
    return {"weight": weight, "weight_scale": scale.float().contiguous()}
