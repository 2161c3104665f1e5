"""Which device renders, and in which dtype each part runs there.

Light: torch is imported inside the functions, since the command line imports this module early.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lorakit.fusion.devices import choose_device as choose_device
from lorakit.fusion.devices import kind_of

if TYPE_CHECKING:
    import torch


def transformer_dtype(device: str) -> torch.dtype:
    """bfloat16 on a GPU, float32 on a CPU, where bfloat16 is slower than it is worth.

    bfloat16 and not float16 on MPS too: activations of the transformer leave float16's range.
    """
    import torch

    return torch.float32 if kind_of(device) in ("cpu", "meta") else torch.bfloat16


def conditioning_dtype() -> torch.dtype:
    """float32 everywhere: in bfloat16 the text encoder's first token is off by a sixth."""
    import torch

    return torch.float32


def vae_dtype(device: str) -> torch.dtype:
    """float32 on CPU and MPS; bfloat16 on CUDA, the dtype of the published VAE file."""
    import torch

    return torch.bfloat16 if kind_of(device) == "cuda" else torch.float32
