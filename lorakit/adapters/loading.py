"""From a file to an `Adapter`: every key is used, or named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import torch
from safetensors import SafetensorError, safe_open

from lorakit.adapters.adapter import Adapter, AdapterModule
from lorakit.adapters.lora import build_lora
from lorakit.adapters.support import check_fusable
from lorakit.errors import BadFile
from lorakit.formats.grouping import group_keys
from lorakit.formats.header import read_header
from lorakit.formats.inspection import report_header

Builder = Callable[[Mapping[str, torch.Tensor], float], AdapterModule]

# A new algorithm is a file in this room, a line here, and a line in support.py.
BUILDERS: Mapping[str, Builder] = MappingProxyType({"lora": build_lora})


def load_adapter(path: str | Path) -> Adapter:
    """Read the adapter at `path`; its tensors are views of the mapped file, in the stored dtype.

    Raises `BadFile` for a file that is not valid, holds no Anima adapter or has halves without their
    other half, and `NotFusable` for an algorithm this version does not apply.
    """
    header = read_header(path)
    report = report_header(header)
    check_fusable(report)
    reports = {module.name: module for module in report.modules}
    modules: dict[str, AdapterModule] = {}
    try:
        with safe_open(header.path, framework="pt") as file:
            for module in group_keys(header).modules:
                wanted = {part: info for part, info in module.parts.items() if part != "alpha"}
                tensors = {part: file.get_tensor(info.name) for part, info in wanted.items()}
                facts = reports[module.name]
                modules[module.name] = BUILDERS[facts.algo](tensors, facts.scale)
    except (OSError, SafetensorError) as error:
        raise BadFile(f"{header.path} cannot be read: {error}.") from error
    return Adapter(header.path, modules, report)
