"""Checkpoints in 8-bit floats with a scale beside each weight, as ComfyUI writes them.

The weight is `stored * scale`. ComfyUI calls the scale `.scale_weight` (with a marker tensor
`scaled_fp8`), newer files `.weight_scale`. Integer and 4-bit forms are refused by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from lorakit.errors import NotFusable

_SCALES = (".scale_weight", ".weight_scale")
# Beside the scales of weights: scales of activations, which change nothing in a weight, and markers.
_BESIDE = (".scale_input", ".input_scale", ".comfy_quant", "scaled_fp8")


class ScaledTensors(Mapping[str, torch.Tensor]):
    """The tensors of such a file as plain weights; the scales themselves do not appear.

    A scaled weight is given in bfloat16, which holds more digits than are stored; `exact` gives it in
    float32, for sums that are rounded later.
    """

    def __init__(self, tensors: Mapping[str, torch.Tensor], scales: Mapping[str, str]) -> None:
        self._tensors = tensors
        self._scales = scales
        hidden = {*scales.values(), *(key for key in tensors if key.endswith(_BESIDE))}
        self._keys = dict.fromkeys(key for key in tensors if key not in hidden)

    def exact(self, key: str) -> torch.Tensor:
        """The weight in float32 where it is scaled, else as it is stored."""
        tensor = self._tensors[key]
        if key not in self._scales:
            return tensor
        scale = self._tensors[self._scales[key]].float()
        # One scale for the weight, or one a row.
        return tensor.float() * (scale.reshape(-1, 1) if scale.numel() > 1 else scale)

    def stored_dtype(self, key: str) -> torch.dtype:
        """What the file holds, scaled or not."""
        return self._tensors[key].dtype

    def given_dtype(self, key: str) -> torch.dtype:
        """The dtype of `self[key]`, which need not be built for it."""
        return torch.bfloat16 if key in self._scales else self._tensors[key].dtype

    def __getitem__(self, key: str) -> torch.Tensor:
        if key not in self._keys:
            raise KeyError(key)
        exact = self.exact(key)
        return exact.to(torch.bfloat16) if key in self._scales else exact

    def __contains__(self, key: object) -> bool:
        # Without this a mapping answers by building the tensor.
        return key in self._keys

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def read_scales(
    tensors: Mapping[str, torch.Tensor], label: str
) -> Mapping[str, torch.Tensor] | ScaledTensors:
    """`tensors` as they are, or as `ScaledTensors` where scales stand beside 8-bit floats.

    Raises `NotFusable` for a weight whose numbers are not the weight and cannot be turned into it.
    """
    scales: dict[str, str] = {}
    for key in tensors:
        mark = next((mark for mark in _SCALES if key.endswith(mark)), None)
        if mark is not None:
            scales[key.removesuffix(mark) + ".weight"] = key
    for weight, scale in scales.items():
        _check(tensors, weight, scale, label)
    marked = any(key.endswith(_BESIDE) for key in tensors)
    return ScaledTensors(tensors, scales) if scales or marked else tensors


def _check(tensors: Mapping[str, torch.Tensor], weight: str, scale: str, label: str) -> None:
    stored = tensors.get(weight)
    factors = tensors[scale]
    if stored is None:
        raise NotFusable(f"{label} has {scale} but no {weight}.")
    fits = factors.numel() in (1, stored.shape[0]) and factors.is_floating_point()
    if not (stored.is_floating_point() and stored.itemsize == 1 and fits):
        raise NotFusable(
            f"{label} is quantised in a way that cannot be patched: {weight} is {stored.dtype} with a "
            f"scale of {list(factors.shape)}.",
            hint="Use the bf16, fp16 or fp8 edition of the base.",
        )
