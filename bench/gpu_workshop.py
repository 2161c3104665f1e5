"""The workshop on a GPU against the same on the CPU: seconds, and how far the results are apart.

    python3 bench/gpu_workshop.py                     # weights of full size, on the first CUDA device
    python3 bench/gpu_workshop.py --tiny --device cpu # the same steps on small weights, in seconds

Needs torch, numpy and safetensors alone. Weights and adapters are random. Progress goes to stderr, one Markdown
table to stdout, with OUT set also to $OUT/gpu_workshop.md. A part is run once before it is timed on the device;
files are in the page cache. Ends with 1 where a result is further apart than its limit.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.gpu_parts import KINDS, WEIGHT_STD
from lorakit.adapters.adapter import Adapter
from lorakit.adapters.lora import LoraModule
from lorakit.adapters.saving import save_lora
from lorakit.merging.checking.comparing import Comparison, compare
from lorakit.merging.extracting.extract import extract
from lorakit.merging.merge import merge
from lorakit.merging.methods.table import METHODS

# In float64 from the same factors; or of inner products in float32, over both norms.
EXACT, PRODUCTS = 1e-5, 3e-6
# Methods that cut entries off at a size: a few on the edge fall on either side of it, by float32's rounding.
# Factors that are wrong in the last bit alone make 4e-3 of it.
CUT = 2e-2
# Directions found in float32 among noise.
SOUGHT = 5e-3
SECONDS = 480.0


@dataclass(frozen=True)
class Sizes:
    """Weights of `kinds` in so many blocks, each side divided; adapters and their rank."""

    blocks: int
    kinds: tuple[str, ...]
    divisor: int
    adapters: int
    rank: int

    @property
    def shapes(self) -> dict[str, tuple[int, int]]:
        """Every weight that adapters touch."""
        return {
            f"blocks.{block}.{kind}": (out // self.divisor, inner // self.divisor)
            for block in range(self.blocks)
            for kind, (out, inner) in ((kind, KINDS[kind]) for kind in self.kinds)
        }


FULL = Sizes(4, tuple(KINDS), 1, 4, 64)
TINY = Sizes(1, ("self_attn.q_proj", "cross_attn.k_proj", "mlp.layer1"), 32, 2, 8)


@dataclass(frozen=True)
class Row:
    """One part: seconds on both devices, how far the results are apart, and how far they may be."""

    name: str
    seconds: float
    on_cpu: float
    apart: float
    limit: float

    @property
    def holds(self) -> bool:
        """Whether the results agree; NaN does not."""
        return self.apart <= self.limit


Part = tuple[str, float, Callable[[str], Any], Callable[[Any, Any], float]]


def parts(sizes: Sizes, folder: Path) -> Iterator[Part]:
    """Name, limit, the work on a device, and how far two results are apart."""
    paths, pair = write_adapters(sizes, folder), write_checkpoints(sizes, folder)
    entries = [(path, 0.5 + 0.1 * number) for number, path in enumerate(paths)]
    yield "check", PRODUCTS, lambda device: compare(entries, device=device), grams_apart
    yield "merge, exact", EXACT, lambda device: merge(entries, device=device), changes_apart
    small = sizes.rank // 4
    for name, method in METHODS.items():
        inside = "in_core" in method.options
        yield (
            f"merge, {name}, rank {small}",
            CUT if method.entrywise or inside else EXACT,
            partial(_merged, entries, name, small),
            changes_apart,
        )
    one = [(paths[0], 1.0)]
    yield (
        f"resize, rank {sizes.rank} to {small}",
        EXACT,
        lambda device: merge(one, rank=small, device=device),
        changes_apart,
    )
    yield "resize, energy 0.9", EXACT, lambda d: merge(one, energy=0.9, device=d), changes_apart
    yield "extract", SOUGHT, lambda device: extract(*pair, device=device).adapter, changes_apart


def _merged(entries: Sequence[tuple[Path, float]], method: str, rank: int, device: str) -> Adapter:
    return merge(entries, method=method, rank=rank, seed=1, device=device)


def write_adapters(sizes: Sizes, folder: Path) -> list[Path]:
    """Random factors in bfloat16, in kohya's layout."""
    generator = torch.Generator().manual_seed(0)
    paths = [folder / f"adapter-{number}.safetensors" for number in range(sizes.adapters)]
    for path in paths:
        modules = {
            name: LoraModule(
                torch.randn(out, sizes.rank, generator=generator).mul_(1e-3).bfloat16(),
                torch.randn(sizes.rank, inner, generator=generator).bfloat16(),
                1.0,
            )
            for name, (out, inner) in sizes.shapes.items()
        }
        save_lora(path, modules, layout="kohya")
    return paths


def write_checkpoints(sizes: Sizes, folder: Path) -> tuple[Path, Path]:
    """A checkpoint with a change of low rank, and its base, both in bfloat16."""
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(1)
    base: dict[str, torch.Tensor] = {}
    tuned: dict[str, torch.Tensor] = {}
    for name, (out, inner) in sizes.shapes.items():
        weight = torch.randn(out, inner, generator=generator).mul_(WEIGHT_STD).bfloat16()
        up = torch.randn(out, sizes.rank // 2, generator=generator).mul_(WEIGHT_STD / 4)
        down = torch.randn(sizes.rank // 2, inner, generator=generator)
        base[f"net.{name}.weight"] = weight
        tuned[f"net.{name}.weight"] = (weight.float() + up @ down).bfloat16()
    found = folder / "tuned.safetensors", folder / "base.safetensors"
    for path, tensors in zip(found, (tuned, base), strict=True):
        save_file(tensors, path)
    return found


def changes_apart(one: Adapter, other: Adapter) -> float:
    """The largest ‖Δ - Δ'‖ / ‖Δ'‖ of a module; infinite where one of them lacks it."""
    if one.modules.keys() != other.modules.keys():
        return float("inf")
    like = torch.zeros(())
    worst = 0.0
    for name, module in other.modules.items():
        wanted = module.delta(like)
        apart = (one.modules[name].delta(like) - wanted).norm() / wanted.norm()
        worst = max(worst, float(apart.nan_to_num(torch.inf)))
    return worst


def grams_apart(one: Comparison, other: Comparison) -> float:
    """The largest difference of inner products, over both norms."""
    norms = other.measured.grams.diagonal(dim1=1, dim2=2).sqrt()
    apart = (one.measured.grams - other.measured.grams).abs()
    return float((apart / (norms[:, :, None] * norms[:, None, :])).nan_to_num(torch.inf).max())


def run(device: torch.device, sizes: Sizes, seconds: float) -> tuple[list[Row], list[str]]:
    """Every part on both devices, and the names of those that were left out for want of time."""
    rows: list[Row] = []
    left_out: list[str] = []
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for name, limit, work, apart in parts(sizes, Path(folder)):
            spent = time.perf_counter() - started
            if spent > seconds:
                left_out.append(name)
                continue
            print(f"{spent:6.1f} s  {name}", file=sys.stderr, flush=True)
            if sizes is not TINY:
                _timed(work, device)
            found, there = _timed(work, device)
            wanted, here = _timed(work, torch.device("cpu"))
            rows.append(Row(name, there, here, apart(found, wanted), limit))
    return rows, left_out


def _timed(work: Callable[[str], Any], device: torch.device) -> tuple[Any, float]:
    started = time.perf_counter()
    found = work(str(device))
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return found, time.perf_counter() - started


def markdown(
    device: torch.device, sizes: Sizes, rows: Sequence[Row], left_out: Sequence[str]
) -> str:
    """The report as a page's section."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    facts: Mapping[str, object] = {
        "device": name,
        "CPU threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "weights": f"{len(sizes.shapes)}, as large as Anima's / {sizes.divisor}",
        "adapters": f"{sizes.adapters} of rank {sizes.rank}",
    }
    lines = ["## The workshop on a GPU", "", *(f"- {key}: {value}" for key, value in facts.items())]
    lines += [
        "",
        "| what | device s | CPU s | apart | limit | |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    lines += [
        f"| {row.name} | {row.seconds:.3f} | {row.on_cpu:.3f} | {row.apart:.1e} | {row.limit:.0e} | "
        f"{'' if row.holds else 'WRONG'} |"
        for row in rows
    ]
    lines += [
        "",
        "Apart is the largest relative difference of a module's change, or of an inner product.",
    ]
    return "\n".join([*lines, *(f"Left out for want of time: {one}." for one in left_out)])


def main(arguments: Sequence[str] | None = None) -> int:
    """The script; 1 where results disagree."""
    parser = argparse.ArgumentParser(description="The workshop on a GPU against the CPU.")
    parser.add_argument(
        "--tiny", action="store_true", help="small weights, for a test of the script"
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="begin no part after these")
    options = parser.parse_args(arguments)
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        print("No CUDA device is in reach; nothing was measured.")
        return 0
    device = torch.empty(0, device=options.device).device
    sizes = TINY if options.tiny else FULL
    rows, left_out = run(device, sizes, options.seconds)
    text = markdown(device, sizes, rows, left_out)
    print(text, flush=True)
    if folder := os.environ.get("OUT"):
        (Path(folder) / "gpu_workshop.md").write_text(text + "\n", encoding="utf-8")
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
