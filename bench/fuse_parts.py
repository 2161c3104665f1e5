"""What the benchmark of fusing on a CPU measures, each in a process of its own."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import torch

import lorakit
from bench.diffusers_model import empty_transformer
from bench.files import PREFIX, usual_modules
from bench.memory import watch
from lorakit.fusion.engine import stream_fused
from lorakit.fusion.pages import empty_result

if TYPE_CHECKING:
    from diffusers import CosmosTransformer3DModel

STACK = ((16, 0.8), (24, 0.5), (32, 0.3))


@dataclass(frozen=True)
class Result:
    """What a worker found: seconds of each run, peak bytes, and how far two results are apart."""

    seconds: list[float]
    added: int = 0
    resident: int = 0
    difference: float = 0.0


def base_file(folder: Path) -> Path:
    """Where the base of the benchmark lies."""
    return folder / "bench-base.safetensors"


def adapter_file(folder: Path, rank: int) -> Path:
    """Where the adapter of `rank` lies, in kohya's layout."""
    return folder / f"bench-rank{rank}.safetensors"


def diffusers_adapter_file(folder: Path, rank: int) -> Path:
    """The same adapter in the layout that diffusers loads."""
    return folder / f"bench-rank{rank}-diffusers.safetensors"


def _stack(folder: Path) -> list[tuple[Path, float]]:
    return [(adapter_file(folder, rank), strength) for rank, strength in STACK]


def _fuse(folder: Path, runs: int) -> Result:
    entries = _stack(folder)

    def work() -> None:
        fused = lorakit.fuse(base_file(folder), entries)
        assert len(fused.touched) == len(usual_modules())

    # The first run brings the files into the cache.
    with watch() as peak:
        work()
    return Result(_timed(work, runs), peak.added, peak.resident)


def _stream(folder: Path, runs: int) -> Result:
    entries = _stack(folder)

    def work() -> None:
        assert sum(1 for _ in stream_fused(base_file(folder), entries)) > len(usual_modules())

    with watch() as peak:
        work()
    return Result(_timed(work, runs), peak.added, peak.resident)


def _fill(folder: Path, runs: int, *, small: bool) -> Result:
    """Fresh memory for all results, filled with zeros by all cores."""
    sizes = [torch.Size(shape) for shape in usual_modules().values()]
    make: Callable[[torch.Size, torch.dtype], torch.Tensor] = empty_result
    if small:
        # One piece: the C library would keep smaller ones for the next run.
        sizes, make = [torch.Size((sum(map(prod, sizes)),))], _in_small_pages

    def work() -> None:
        held = [make(size, torch.bfloat16).zero_() for size in sizes]
        assert len(held) == len(sizes)

    work()
    return Result(_timed(work, runs))


def _in_small_pages(size: torch.Size, dtype: torch.dtype) -> torch.Tensor:
    return torch.empty(size, dtype=dtype)


def _copy(folder: Path, runs: int) -> Result:
    """Copy the touched weights into memory that is there."""
    from lorakit.fusion.base import open_base

    base = open_base(base_file(folder))
    weights = [base[f"{PREFIX}{name}.weight"] for name in usual_modules()]
    held = [torch.zeros_like(weight) for weight in weights]

    def work() -> None:
        for target, weight in zip(held, weights, strict=True):
            target.copy_(weight)

    work()
    return Result(_timed(work, runs))


def _timed(work: Callable[[], None], runs: int) -> list[float]:
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return seconds


def _fuse_with_diffusers(folder: Path, runs: int) -> Result:
    # PEFT warns about every adapter after the first.
    warnings.simplefilter("ignore")
    model = _diffusers_model(base_file(folder))
    with watch() as peak:
        started = time.perf_counter()
        for rank, _ in STACK:
            path = diffusers_adapter_file(folder, rank)
            model.load_lora_adapter(str(path), adapter_name=f"rank{rank}")
        names = [f"rank{rank}" for rank, _ in STACK]
        model.set_adapters(names, weights=[strength for _, strength in STACK])
        model.fuse_lora(adapter_names=names)
        seconds = time.perf_counter() - started
    return Result([seconds], peak.added, peak.resident, _difference(model, folder))


def _diffusers_model(base: Path) -> CosmosTransformer3DModel:
    """diffusers' transformer with the base's weights, copied into memory."""
    from safetensors.torch import load_file

    from lorakit.formats.anima import diffusers_tensor_name

    model = empty_transformer(28, mlp_ratio=4.0)
    tensors = {
        diffusers_tensor_name(key.removeprefix(PREFIX)): tensor.clone()
        for key, tensor in load_file(base).items()
        if not key.startswith(f"{PREFIX}llm_adapter.")
    }
    model.load_state_dict(tensors, strict=True, assign=True)
    return model.requires_grad_(False).eval()


def _difference(model: CosmosTransformer3DModel, folder: Path) -> float:
    """The largest ||theirs - ours|| / ||ours - base|| over the touched weights."""
    from safetensors import safe_open

    from lorakit.formats.anima import to_diffusers

    fused = lorakit.fuse(base_file(folder), _stack(folder))
    largest = 0.0
    with safe_open(base_file(folder), framework="pt") as base:
        for name in usual_modules():
            key = f"{PREFIX}{name}.weight"
            ours = fused[key].float()
            # A fused layer keeps its weight in the layer that PEFT has wrapped.
            theirs = model.get_submodule(to_diffusers(name)).base_layer.weight.float()
            delta = (ours - base.get_tensor(key).float()).norm()
            largest = max(largest, float((theirs - ours).norm() / delta))
    return largest


WORKERS: dict[str, Callable[[Path, int], Result]] = {
    "lorakit": _fuse,
    "stream": _stream,
    "copy": _copy,
    "fill": partial(_fill, small=False),
    "fill, small pages": partial(_fill, small=True),
    "diffusers": _fuse_with_diffusers,
}
