"""The tensors of a base, from a mapped file or from memory, under one read-only face."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from lorakit.errors import BadFile, NotFusable
from lorakit.formats import anima
from lorakit.formats.checkpoint import find_prefix, parse_checkpoint
from lorakit.formats.header import read_header
from lorakit.fusion.plan import BaseModules

# Community files that keep a scale beside a quantised weight: the weight alone is not the weight.
_SCALE_MARKS = (".scale_weight", ".weight_scale", ".comfy_quant", ".input_scale", "scaled_fp8")


class BaseTensors(Mapping[str, torch.Tensor]):
    """A base's tensors by the file's own keys; those of a file stay mapped, not read.

    `names` maps canonical tensor names (`blocks.0.mlp.layer1.weight`) to keys, for the tensors that
    belong to the transformer and its text adapter.
    """

    def __init__(
        self, tensors: Mapping[str, torch.Tensor], prefix: str, modules: BaseModules
    ) -> None:
        self._tensors = tensors
        self.prefix = prefix
        self.modules = modules
        self.names = canonical_names(tensors, prefix)

    def __getitem__(self, key: str) -> torch.Tensor:
        return self._tensors[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def open_base(base: str | Path | Mapping[str, torch.Tensor]) -> BaseTensors:
    """Open a checkpoint file, or take a mapping of its tensors as it is.

    Raises `BadFile` for a file that is no Anima checkpoint and `NotFusable` for a quantised one whose
    weights cannot be patched as they are stored.
    """
    if isinstance(base, Mapping):
        return _from_mapping(base)
    header = read_header(base)
    checkpoint = parse_checkpoint(header)
    try:
        with safe_open(header.path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in header.tensors}
    except (OSError, SafetensorError) as error:
        raise BadFile(f"{header.path} cannot be read: {error}.") from error
    modules = BaseModules.of(checkpoint)
    _refuse_quantised(tensors, checkpoint.prefix, modules)
    return BaseTensors(tensors, checkpoint.prefix, modules)


def canonical_names(keys: Iterable[str], prefix: str) -> dict[str, str]:
    """Canonical tensor name -> key, for the keys behind `prefix` that belong to a known module."""
    found = ((key.removeprefix(prefix), key) for key in keys if key.startswith(prefix))
    return {name: key for name, key in found if anima.is_module(name.rpartition(".")[0])}


def _from_mapping(tensors: Mapping[str, torch.Tensor]) -> BaseTensors:
    label = "the base"
    prefix = find_prefix(tensors, Path(label))
    shapes = {
        name.removesuffix(".weight"): tuple(tensors[key].shape)
        for name, key in canonical_names(tensors, prefix).items()
        if name.endswith(".weight")
    }
    blocks = {anima.block_of(name) for name in shapes} - {None}
    modules = BaseModules(label, len(blocks), shapes)
    _refuse_quantised(tensors, prefix, modules)
    return BaseTensors(tensors, prefix, modules)


def _refuse_quantised(
    tensors: Mapping[str, torch.Tensor], prefix: str, modules: BaseModules
) -> None:
    scaled = next((key for key in tensors if key.endswith(_SCALE_MARKS)), None)
    name = next(
        (n for n in modules.shapes if not tensors[f"{prefix}{n}.weight"].is_floating_point()), None
    )
    if scaled or name:
        raise NotFusable(
            f"{modules.label} is quantised with scales of its own ({scaled or name}), which this version "
            "of lorakit cannot patch.",
            hint="Use the bf16, fp16 or plain fp8 edition of the base.",
        )
