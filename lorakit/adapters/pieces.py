"""What is stored of each module of an adapter, part by part: from its file as it is, or from memory.

Loading turns tensors into deltas; writing in another layout needs the tensors themselves, down to the
dtype and shape in which an alpha is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from lorakit.adapters.adapter import Adapter, AdapterModule
from lorakit.adapters.dora import DoraModule
from lorakit.adapters.full import DiffModule, SetModule, SumModule
from lorakit.adapters.ia3 import Ia3Module
from lorakit.adapters.loading import share_of_rows
from lorakit.adapters.lora import LoraModule
from lorakit.adapters.support import check_fusable
from lorakit.errors import BadFile, NotFusable
from lorakit.formats.header import read_header
from lorakit.formats.inspection import AdapterReport, grouped_report
from lorakit.formats.parts import algo_of
from lorakit.formats.shapes import module_rank

# The parts of a module with its alpha and its scale.
Held = tuple[dict[str, torch.Tensor], float | None, float]
_NOTHING: Held = ({}, None, 1.0)


@dataclass(frozen=True)
class Piece:
    """The tensors of one module by part (formats/parts.py), on the CPU, in the dtypes they are kept in.

    `alpha` is what the file states, wherever it does; `scale` is what the product of the factors is
    multiplied by. `keys` are the names of the tensors in the file, where each is one module's alone.
    """

    parts: Mapping[str, torch.Tensor]
    alpha: float | None
    scale: float
    keys: Mapping[str, str] = field(default_factory=dict)

    @property
    def algo(self) -> str:
        """The algorithm that names the module; DoRA is that of its inner form."""
        found = algo_of(self.parts)
        return found.name if found else ""

    @property
    def rank(self) -> int | None:
        """The rank of its factors, from their shapes; None where there is none."""
        return module_rank(self.algo, {part: tuple(t.shape) for part, t in self.parts.items()})


@dataclass(frozen=True)
class Pieces:
    """All modules of an adapter by canonical name, with the report of what they were read from.

    With `keep_names` they are written under the names that they had, in the layout that they came in.
    """

    modules: Mapping[str, Piece]
    report: AdapterReport
    keep_names: bool = False


def pieces_in(path: str | Path) -> Pieces:
    """What the adapter file at `path` stores; its tensors are views of the mapped file.

    Layers that the file joins (qkv) are split. Raises as `load_adapter` does.
    """
    header = read_header(path)
    report, groups = grouped_report(header)
    check_fusable(report)
    facts = {module.name: module for module in report.modules}
    found: dict[str, Piece] = {}
    try:
        with safe_open(header.path, framework="pt") as file:
            for module in groups.modules:
                tensors = {
                    part: share_of_rows(part, file.get_tensor(info.name), module.rows)
                    for part, info in module.parts.items()
                }
                keys = {part: info.name for part, info in module.parts.items()}
                stated = facts[module.name]
                own = keys if module.rows == (0, 1) else {}
                found[module.name] = Piece(tensors, stated.alpha, stated.scale, own)
    except (OSError, SafetensorError) as error:
        raise BadFile(f"{header.path} cannot be read: {error}.") from error
    return Pieces(found, report)


def pieces_of(adapter: Adapter) -> Pieces:
    """What an adapter in memory comes to; LoRA keeps its scale as an alpha.

    Raises `NotFusable` for a module that one set of parts cannot hold.
    """
    found: dict[str, Piece] = {}
    for name in [*adapter.modules, *(adapter.biases.keys() - adapter.modules.keys())]:
        module, bias = adapter.modules.get(name), adapter.biases.get(name)
        held = _NOTHING if module is None else _parts(name, module)
        parts = held[0]
        if bias is not None:
            parts = {**parts, "b_norm" if "w_norm" in parts else "diff_b": _bias(name, bias)}
        found[name] = Piece(parts, *held[1:])
    return Pieces(found, adapter.report)


def _parts(name: str, module: AdapterModule) -> Held:
    if isinstance(module, LoraModule):
        alpha = module.scale * module.down.shape[0]
        return {"down": module.down, "up": module.up}, alpha, module.scale
    if isinstance(module, DiffModule):
        return {"w_norm" if module.diff.ndim == 1 else "diff": module.diff}, None, 1.0
    if isinstance(module, SetModule):
        return {"set_weight": module.value}, None, 1.0
    if isinstance(module, Ia3Module):
        on_input = torch.tensor(float(module.on_input))
        return {"weight": module.factors, "on_input": on_input}, None, 1.0
    if isinstance(module, DoraModule):
        inner = _parts(name, module.inner)
        return {**inner[0], "dora_scale": module.magnitude}, *inner[1:]
    if isinstance(module, SumModule):
        return _joined(name, [_parts(name, one) for one in module.modules])
    held = getattr(module, "parts", None)
    if held is None:
        raise NotFusable(f"{name} cannot be written: {type(module).__name__} has no parts.")
    return {**held.tensors}, held.alpha, held.scale


def _joined(name: str, several: list[Held]) -> Held:
    parts: dict[str, torch.Tensor] = {}
    for found, _, _ in several:
        if twice := parts.keys() & found.keys():
            raise NotFusable(f"{name} cannot be written: it has {sorted(twice)[0]} twice.")
        parts |= found
    # Of several families, the one with a scale of its own names the module.
    alphas = [(alpha, scale) for _, alpha, scale in several if alpha is not None or scale != 1]
    return (parts, *(alphas[0] if alphas else (None, 1.0)))


def _bias(name: str, bias: AdapterModule) -> torch.Tensor:
    if not isinstance(bias, DiffModule):
        raise NotFusable(f"The bias of {name} cannot be written: it is no plain difference.")
    return bias.diff
