"""The weights of a checkpoint file, one module at a time."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open

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
