"""Which changes are what they are whatever weight they are added to, and which depend on it."""

from __future__ import annotations

from lorakit.adapters.adapter import AdapterModule
from lorakit.adapters.full import DiffModule, SumModule
from lorakit.adapters.loha import LohaModule
from lorakit.adapters.lokr import LokrModule
from lorakit.adapters.lora import LoraModule

_FREE = (LoraModule, LohaModule, LokrModule, DiffModule)


def needs_weight(module: AdapterModule) -> bool:
    """Whether the change depends on the base's weight: DoRA, OFT, IA3, GLoRA, T-LoRA, replacements."""
    if isinstance(module, SumModule):
        return any(map(needs_weight, module.modules))
    return not isinstance(module, _FREE)
