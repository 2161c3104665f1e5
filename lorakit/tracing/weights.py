"""The weights of a checkpoint file, one module at a time."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open

from lorakit.adapters.loading import load_adapter
from lorakit.errors import BadFile
from lorakit.formats.checkpoint import read_checkpoint
from lorakit.sketches.adapters import WeightOf


def weights_in(path: Path) -> WeightOf:
    """The plain weights of a checkpoint by canonical module name, read when asked for.

    What is returned raises `LookupError` for a module that the file does not have, or has in integers.
    Raises `BadFile` for what is no checkpoint in one file.
    """
    keys = {name: info.name for name, info in read_checkpoint(path).modules().items()}

    def weight(name: str) -> torch.Tensor:
        try:
            with safe_open(path, framework="pt") as file:
                found: torch.Tensor = file.get_tensor(keys[name])
        except OSError as error:
            raise BadFile(f"{path} cannot be read: {error.strerror or error}.") from error
        if not found.is_floating_point():
            raise LookupError(name)
        return found

    return weight


def change_between(made: Path, before: Path) -> WeightOf:
    """What separates two checkpoints, module by module, in float32. Raises as `weights_in` does."""
    after, first = weights_in(made), weights_in(before)

    def change(name: str) -> torch.Tensor:
        return after(name).float() - first(name).float()

    return change


def change_of(adapter: Path) -> WeightOf:
    """What an adapter changes at strength 1, of its modules that are of low rank, in float32.

    What is returned raises `LookupError` for the others. Raises `BadFile` and `NotFusable`.
    """
    modules = load_adapter(adapter).modules

    def change(name: str) -> torch.Tensor:
        factors = modules[name].low_rank()
        if factors is None:
            raise LookupError(name)
        return factors.up.float() @ factors.down.float() * factors.scale

    return change
