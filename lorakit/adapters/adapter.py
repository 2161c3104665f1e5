"""An adapter in memory: its modules, each able to give its delta against a weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import torch

from lorakit.formats.inspection import AdapterReport
from lorakit.formats.layouts import WritableLayout

# Which formula a magnitude follows; see dora.py.
DoraFormula = Literal["trainer", "comfyui"]


@dataclass(frozen=True)
class LowRank:
    """A delta as a product: `scale * up @ down`, up (out, rank), down (rank, in), stored dtypes."""

    up: torch.Tensor
    down: torch.Tensor
    scale: float


class AdapterModule(Protocol):
    """What every algorithm offers for one patched module."""

    def low_rank(self) -> LowRank | None:
        """The delta as a product of two thin factors, where it is one whatever the weight."""
        ...

    def delta(self, weight: torch.Tensor, dora: DoraFormula = "trainer") -> torch.Tensor:
        """The change at strength 1 of `weight`, in its shape and dtype and on its device.

        `weight` is the pristine weight in float32 or float64, (out, in) or, for a norm, (dim,).
        """
        ...


@dataclass(frozen=True)
class Adapter:
    """One adapter file in memory.

    `modules` maps canonical module names to their patches, `biases` maps those whose bias
    changes to the patches of the bias, (out,). `made_of` names the files of an adapter that was merged
    in memory; it is empty for one that was read from a file.
    """

    path: Path
    modules: Mapping[str, AdapterModule]
    report: AdapterReport
    biases: Mapping[str, AdapterModule] = field(default_factory=dict)
    made_of: tuple[Path, ...] = ()

    @property
    def unused_keys(self) -> tuple[str, ...]:
        """The keys of the file that patch nothing lorakit knows, by name."""
        return self.report.unused_keys

    def save(self, path: str | Path, *, layout: WritableLayout) -> None:
        """Write the adapter's file to the new file `path` in another layout: kohya, comfy, diffusers,
        peft (with adapter_config.json beside it), onetrainer or lycoris.

        The tensors keep their bytes and the metadata stays; `unused_keys` are left out. An alpha moves
        into the header where the layout has no tensor for it, and what is needed to come back to the same
        file stands there, too. Raises `NotFusable` for what the layout has no spelling for, `BadUsage` for
        an unknown layout or a file that exists, and `Refused` for an adapter that was made in memory,
        which only the gate writes, once every licence allows it.
        """
        from lorakit.adapters.saving import save_adapter

        save_adapter(self, Path(path), layout)
