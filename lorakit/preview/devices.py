"""Which device renders, and in which dtype each part runs there.

Light: torch is imported inside the functions, since the command line imports this module early.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lorakit.errors import BadUsage, LorakitError

if TYPE_CHECKING:
    import torch


def choose_device(wanted: str | None) -> str:
    """The torch device to render on: CUDA, then MPS, then CPU for None or "auto".

    Args:
        wanted: None, "auto", "cpu", "mps", "cuda" or "cuda:N".

    Raises:
        BadUsage: the word names no kind of device that lorakit knows.
        LorakitError: the device named is not available here.
    """
    import torch

    if wanted is None or wanted == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    kind, _, index = wanted.partition(":")
    if kind not in ("cpu", "mps", "cuda") or (index and not (kind == "cuda" and index.isdecimal())):
        raise BadUsage(
            f"'{wanted}' is not a device.",
            hint="Give auto, cuda, cuda:N, mps or cpu as the device.",
        )
    if not _available(kind, int(index or 0)):
        raise LorakitError(
            f"The device '{wanted}' is not available: this PyTorch ({torch.__version__}) sees "
            f"{_seen()}.",
            hint="Choose another device (auto takes the best there is), or install a PyTorch "
            "build for this one: https://pytorch.org/get-started/locally/",
        )
    return wanted


def transformer_dtype(device: str) -> torch.dtype:
    """bfloat16 on a GPU, float32 on a CPU, where bfloat16 is slower than it is worth.

    bfloat16 and not float16 on MPS too: activations of the transformer leave float16's range.
    """
    import torch

    return torch.float32 if _kind(device) in ("cpu", "meta") else torch.bfloat16


def conditioning_dtype() -> torch.dtype:
    """float32 everywhere: in bfloat16 the text encoder's first token is off by a sixth."""
    import torch

    return torch.float32


def vae_dtype(device: str) -> torch.dtype:
    """float32 on CPU and MPS; bfloat16 on CUDA, the dtype of the published VAE file."""
    import torch

    return torch.bfloat16 if _kind(device) == "cuda" else torch.float32


def _kind(device: str) -> str:
    return device.partition(":")[0]


def _available(kind: str, index: int) -> bool:
    import torch

    if kind == "cuda":
        return torch.cuda.is_available() and index < torch.cuda.device_count()
    return kind == "cpu" or torch.backends.mps.is_available()


def _seen() -> str:
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    names = [f"cuda:{i}" for i in range(count)]
    if torch.backends.mps.is_available():
        names.append("mps")
    return ", ".join([*names, "cpu"])
