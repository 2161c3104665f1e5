"""What is asked of a base: which modules it has, how large its weights are, how they are stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from lorakit.formats.checkpoint import read_checkpoint
from lorakit.fusion.base import open_base
from lorakit.fusion.plan import BaseModules
from lorakit.sketches.norms import base_norms, frobenius
from lorakit.sketches.whole import weights_in

_SCALED = (".scale_weight", ".weight_scale")
_CODES = {torch.bfloat16: "BF16", torch.float16: "F16", torch.float32: "F32"}

Progress = Callable[[int, int, str], None]
Base = str | Path | Mapping[str, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Ground:
    """`norms` are ‖W‖ by module. `kept` is the dtype in which changed weights are kept, None for one
    whose rounding is not predicted; `on_grid` says that the weights are numbers of that dtype.
    `stored` is the dtype of the file. `weight_of` raises `LookupError` for what is not there.
    """

    modules: BaseModules
    norms: Mapping[str, float]
    stored: str
    kept: str | None
    on_grid: bool
    weight_of: Callable[[str], torch.Tensor]


def ground_of(
    base: Base,
    norms: Mapping[str, float] | None = None,
    on_progress: Progress = lambda done, total, what: None,
) -> Ground:
    """Open a checkpoint file, or take a mapping of its tensors; `norms`, where they are known already.

    Raises `BadFile` for a file that is no Anima checkpoint.
    """
    if isinstance(base, Mapping):
        return _of_mapping(base)
    path = Path(base)
    checkpoint = read_checkpoint(path)
    stored = checkpoint.dtype
    eight_bit = stored.startswith("F8_")
    return Ground(
        BaseModules.of(checkpoint),
        base_norms(path, on_progress) if norms is None else norms,
        stored,
        # 8-bit weights that are changed are held in bfloat16.
        "BF16" if eight_bit else stored if stored in _CODES.values() else None,
        not any(key.endswith(_SCALED) for key in checkpoint.tensors),
        _lazily(path),
    )


def _lazily(path: Path) -> Callable[[str], torch.Tensor]:
    """The weights of the file, which is opened for the first one: most adapters need none."""
    opened: list[Callable[[str], torch.Tensor]] = []

    def weight_of(name: str) -> torch.Tensor:
        if not opened:
            opened.append(weights_in(path))
        return opened[0](name)

    return weight_of


def _of_mapping(base: Mapping[str, torch.Tensor]) -> Ground:
    tensors = open_base(base)

    def weight_of(name: str) -> torch.Tensor:
        return tensors.exact(tensors.names[f"{name}.weight"])

    matrices = [name for name, shape in tensors.modules.shapes.items() if len(shape) == 2]
    kept = {tensors.kept_dtype(tensors.names[f"{name}.weight"]) for name in matrices}
    code = _CODES.get(next(iter(kept))) if len(kept) == 1 else None
    norms = {name: frobenius(weight_of(name).float()) for name in matrices}
    return Ground(tensors.modules, norms, code or "mixed", code, not tensors.scaled, weight_of)
