"""From a file to an `Adapter`: every key is used, or named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import torch
from safetensors import SafetensorError, safe_open

from lorakit.adapters.adapter import Adapter, AdapterModule
from lorakit.adapters.dora import DoraModule
from lorakit.adapters.full import DiffModule, SetModule, SumModule
from lorakit.adapters.glora import GloraModule
from lorakit.adapters.ia3 import Ia3Module
from lorakit.adapters.loha import LohaModule
from lorakit.adapters.lokr import LokrModule
from lorakit.adapters.lora import build_lora
from lorakit.adapters.oft import OftV2Module, build_oft
from lorakit.adapters.parts import Parts
from lorakit.adapters.support import check_fusable
from lorakit.adapters.tlora import TloraModule
from lorakit.errors import BadFile
from lorakit.formats.header import read_header
from lorakit.formats.inspection import grouped_report
from lorakit.formats.parts import algos_of
from lorakit.formats.shapes import module_rank

Builder = Callable[[Parts], AdapterModule]

# A new algorithm is a file in this room, a line here, and a line in support.py.
BUILDERS: Mapping[str, Builder] = MappingProxyType(
    {
        "lora": build_lora,
        "loha": LohaModule,
        "lokr": LokrModule,
        "glora": GloraModule,
        "tlora": TloraModule,
        "oft": build_oft,
        "oftv2": OftV2Module,
        "ia3": lambda parts: Ia3Module(parts["weight"], bool(parts["on_input"].item())),
        "full": lambda parts: DiffModule(parts["diff"]),
        "norm": lambda parts: DiffModule(parts["w_norm"]),
        "set": lambda parts: SetModule(parts["set_weight"]),
    }
)
# Families that may hold a bias and nothing for the weight.
_WEIGHT_PART = MappingProxyType({"full": "diff", "norm": "w_norm"})
_BIAS_PARTS = ("diff_b", "b_norm", "up_bias")


def load_adapter(path: str | Path) -> Adapter:
    """Read the adapter at `path`; its tensors are views of the mapped file, in the stored dtype.

    Raises `BadFile` for a file that is not valid, holds no Anima adapter or has halves without their
    other half, and `NotFusable` for an algorithm this version does not apply.
    """
    header = read_header(path)
    report, groups = grouped_report(header)
    check_fusable(report)
    facts = {module.name: module for module in report.modules}
    modules: dict[str, AdapterModule] = {}
    biases: dict[str, AdapterModule] = {}
    try:
        with safe_open(header.path, framework="pt") as file:
            for module in groups.modules:
                wanted = {part: info for part, info in module.parts.items() if part != "alpha"}
                tensors = {
                    part: share_of_rows(part, file.get_tensor(info.name), module.rows)
                    for part, info in wanted.items()
                }
                stated = facts[module.name]
                parts = Parts(tensors, stated.alpha, stated.scale)
                weight_patch, bias_patch = build_patches(header.path, module.name, parts)
                if weight_patch is not None:
                    modules[module.name] = weight_patch
                if bias_patch is not None:
                    biases[module.name] = bias_patch
    except (OSError, SafetensorError) as error:
        raise BadFile(f"{header.path} cannot be read: {error}.") from error
    return Adapter(header.path, modules, report, biases)


def build_patches(
    path: Path, name: str, parts: Parts
) -> tuple[AdapterModule | None, AdapterModule | None]:
    """The patches of a module's weight and bias."""
    try:
        return _weight_patch(name, parts), _bias_patch(parts)
    except (RuntimeError, IndexError, ValueError) as error:
        raise BadFile(
            f"{path} is damaged: the tensors of {name} do not belong together "
            f"({str(error).splitlines()[0]})."
        ) from error


def share_of_rows(part: str, tensor: torch.Tensor, rows: tuple[int, int]) -> torch.Tensor:
    """The rows that belong to one of several layers that the file joins; inputs are shared."""
    index, count = rows
    by_row = part in ("up", "up_bias") or (part == "dora_scale" and tensor.shape[0] != 1)
    return tensor.chunk(count)[index] if by_row and count > 1 else tensor


def _weight_patch(name: str, parts: Parts) -> AdapterModule | None:
    """The patch of the weight; the magnitude of DoRA belongs to the first family."""
    families = [
        algo.name for algo in algos_of(parts) if _WEIGHT_PART.get(algo.name, "") in (*parts, "")
    ]
    patches = [BUILDERS[family](_of_family(parts, family)) for family in families]
    if patches and "dora_scale" in parts:
        patches[0] = DoraModule(patches[0], parts["dora_scale"], name)
    if not patches:
        return None
    return patches[0] if len(patches) == 1 else SumModule(tuple(patches))


def _of_family(parts: Parts, family: str) -> Parts:
    """The parts with the scale of one of their families: all share the alpha, each has its rank.

    The scale that the report states is that of the family which names the module.
    """
    if family == algos_of(parts)[0].name:
        return parts
    shapes = {part: tuple(tensor.shape) for part, tensor in parts.items()}
    rank = module_rank(family, shapes)
    return replace(parts, scale=parts.alpha / rank if rank and parts.alpha is not None else 1.0)


def _bias_patch(parts: Parts) -> AdapterModule | None:
    """What is added to the bias. PEFT's bias of the up factor is scaled as the product is."""
    found: list[torch.Tensor] = []
    for part in _BIAS_PARTS:
        if part in parts:
            scale = _of_family(parts, "lora").scale if part == "up_bias" else 1.0
            found.append(parts[part].float() * scale)
    return DiffModule(torch.stack(found).sum(0)) if found else None
