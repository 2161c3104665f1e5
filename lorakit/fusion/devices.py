"""Which device computes: the word that a person gives, and what a file's record says of it.

Light: torch is imported inside the functions, since the command line imports this module early.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lorakit.errors import BadUsage, LorakitError

if TYPE_CHECKING:
    import torch


def choose_device(wanted: str | None, *, in_float64: bool = False) -> str:
    """The torch device to compute on: CUDA, then MPS, then CPU for None or "auto".

    `wanted` is None, "auto", "cpu", "mps", "cuda" or "cuda:N". With `in_float64` MPS, which has no such
    numbers, is passed over. Raises `BadUsage` for a word that names no device that lorakit knows, and
    `LorakitError` for one that is not here or does not suit.
    """
    word = wanted or ("auto" if wanted is None else "")
    kind, _, index = word.partition(":")
    if kind not in ("auto", "cpu", "mps", "cuda") or (
        ":" in word and not (kind == "cuda" and index.isdecimal())
    ):
        raise BadUsage(
            f"'{wanted}' is not a device.",
            hint="Give auto, cuda, cuda:N, mps or cpu as the device.",
        )
    if kind == "auto":
        suiting = ("cuda", "cpu") if in_float64 else ("cuda", "mps", "cpu")
        return next(found for found in suiting if _is_here(found))
    if kind == "mps" and in_float64:
        raise LorakitError(
            "Singular values need float64, which Apple's GPU (mps) does not have.",
            hint="Leave --device out: cpu is taken where there is no CUDA device.",
        )
    if not _is_here(kind, int(index or 0)):
        raise _absent(word)
    return word


def kind_of(device: str) -> str:
    """What a file's record says of a device: cuda of cuda:1, since another card of the kind may do."""
    return device.partition(":")[0]


def same_kind(recorded: str) -> str:
    """A device of the kind that a file was made on, or the CPU where there is none, which rounds otherwise."""
    kind = kind_of(recorded)
    return kind if kind == "cuda" and _is_here(kind) else "cpu"


@contextmanager
def full_float32() -> Iterator[None]:
    """Keep float32 products in float32: TF32 would cost thirteen of their bits."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def computing(device: torch.device) -> Iterator[None]:
    """As `full_float32`. Raises `LorakitError` where a GPU has too little memory."""
    import torch

    try:
        with full_float32():
            yield
    except torch.OutOfMemoryError as error:
        raise LorakitError(
            f"{device} has too little free memory for this.",
            hint="--device cpu computes in main memory.",
        ) from error


def _is_here(kind: str, index: int = 0) -> bool:
    import torch

    if kind == "cuda":
        return torch.cuda.is_available() and (not index or index < torch.cuda.device_count())
    return kind == "cpu" or torch.backends.mps.is_available()


def _absent(word: str) -> LorakitError:
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    names = [f"cuda:{i}" for i in range(count)] + ["mps"] * _is_here("mps") + ["cpu"]
    return LorakitError(
        f"There is no device '{word}' here: this PyTorch ({torch.__version__}) sees "
        f"{', '.join(names)}.",
        hint="Leave --device out, which takes the best there is, or install a PyTorch build for this "
        "one: https://pytorch.org/get-started/locally/",
    )
