"""Fusing on a CPU: three kohya adapters into a full-size base, and diffusers on the same if asked."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch

import lorakit
from bench.files import PREFIX, usual_modules, write_adapter, write_base
from bench.memory import watch
from bench.tables import Section, command_line, say

if TYPE_CHECKING:
    from diffusers import CosmosTransformer3DModel

RUNS = 5
STACK = ((16, 0.8), (24, 0.5), (32, 0.3))
TARGET_RATIO = 25
DISK_BYTES = 5_500_000_000
MEMORY_BYTES = 10_000_000_000
DIFFUSERS_MEMORY_BYTES = 13_000_000_000
NOTE = (
    "Base: 2.09 billion parameters in bf16, real names, random values. Adapters: kohya, rank 16, 24 "
    "and 32 on 280 modules each, strengths 0.8, 0.5 and 0.3. Files are in the cache. `lorakit.fuse` "
    "starts from paths and ends with every result in memory. Memory beyond the mapped base is the "
    "peak of the process's own pages over what it held before."
)
DIFFUSERS_NOTE = (
    "diffusers starts with the model in memory, loads the same adapters in its own layout and fuses "
    "them. The two results differ by their rounding to bf16."
)


@dataclass(frozen=True)
class Result:
    """What a worker found: seconds of each run, peak bytes, and how far two results are apart."""

    seconds: list[float]
    added: int
    resident: int
    difference: float = 0.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the section, or do one worker's part in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m bench.fuse_cpu", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS, help="timed runs of lorakit.fuse")
    parser.add_argument("--dir", type=Path, help="keep the files here (5.5 GB) and use them again")
    parser.add_argument("--diffusers", action="store_true", help="time diffusers too (13 GB)")
    parser.add_argument("--worker", choices=sorted(WORKERS), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        print(json.dumps(asdict(WORKERS[options.worker](options.dir, options.runs))))
        return
    print(measure(options.runs, options.dir, diffusers=options.diffusers).markdown())


def measure(runs: int = RUNS, folder: Path | None = None, *, diffusers: bool = False) -> Section:
    """Write the files into `folder`, or a temporary one, and time what was asked for."""
    if folder is None:
        with TemporaryDirectory() as name:
            return measure(runs, Path(name), diffusers=diffusers)
    _write_files(folder)
    ours = _run("lorakit", folder, runs)
    theirs = _run("diffusers", folder, 1) if diffusers else None
    return Section(
        "Fusing on a CPU",
        command_line("fuse_cpu", runs=runs, diffusers=diffusers),
        [("figure", "value", "target"), *_our_rows(ours), *_their_rows(ours, theirs)],
        [NOTE, DIFFUSERS_NOTE] if diffusers else [NOTE],
    )


def _write_files(folder: Path) -> None:
    say("Writing a base of 4.2 GB and three adapters")
    folder.mkdir(parents=True, exist_ok=True)
    write_base(_base(folder))
    for rank, _ in STACK:
        write_adapter(_adapter(folder, rank), rank)
        write_adapter(_diffusers_adapter(folder, rank), rank, layout="diffusers")


def _run(worker: str, folder: Path, runs: int) -> Result:
    """A worker in a process of its own, so that neither's memory or cache is the other's."""
    say(f"Timing {worker}")
    words = [sys.executable, "-m", "bench.fuse_cpu", "--worker", worker]
    words += ["--dir", str(folder), "--runs", str(runs)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    return Result(**json.loads(done.stdout.splitlines()[-1]))


def _our_rows(ours: Result) -> list[tuple[str, str, str]]:
    return [
        ("`lorakit.fuse`, median", f"{median(ours.seconds):.2f} s", ""),
        ("`lorakit.fuse`, least", f"{min(ours.seconds):.2f} s", ""),
        ("peak memory beyond the mapped base", _gigabytes(ours.added), "under 4 GB"),
        ("peak resident memory, mapped files included", _gigabytes(ours.resident), ""),
    ]


def _their_rows(ours: Result, theirs: Result | None) -> list[tuple[str, str, str]]:
    if theirs is None:
        return []
    seconds = theirs.seconds[0]
    ratio = seconds / median(ours.seconds)
    return [
        ("diffusers `load_lora_adapter` + `fuse_lora`, once", f"{seconds:.1f} s", ""),
        ("times faster", f"{ratio:.1f}", f"{TARGET_RATIO}"),
        ("diffusers, peak memory beyond the model", _gigabytes(theirs.added), ""),
        (
            "largest difference of the two results, part of the delta",
            f"{theirs.difference:.3f}",
            "",
        ),
    ]


def _fuse_with_lorakit(folder: Path, runs: int) -> Result:
    seconds = []
    entries = [(_adapter(folder, rank), strength) for rank, strength in STACK]
    with watch() as peak:
        for _ in range(1 + runs):
            started = time.perf_counter()
            fused = lorakit.fuse(_base(folder), entries)
            seconds.append(time.perf_counter() - started)
            assert len(fused.touched) == len(usual_modules())
            del fused
    # The first run brings the files into the cache.
    return Result(seconds[1:], peak.added, peak.resident)


def _fuse_with_diffusers(folder: Path, runs: int) -> Result:
    # PEFT warns about every adapter after the first.
    warnings.simplefilter("ignore")
    model = _diffusers_model(_base(folder))
    with watch() as peak:
        started = time.perf_counter()
        for rank, _ in STACK:
            path = _diffusers_adapter(folder, rank)
            model.load_lora_adapter(str(path), adapter_name=f"rank{rank}")
        names = [f"rank{rank}" for rank, _ in STACK]
        model.set_adapters(names, weights=[strength for _, strength in STACK])
        model.fuse_lora(adapter_names=names)
        seconds = time.perf_counter() - started
    return Result([seconds], peak.added, peak.resident, _difference(model, folder))


def _diffusers_model(base: Path) -> CosmosTransformer3DModel:
    """diffusers' transformer with the base's weights, copied into memory."""
    from diffusers import CosmosTransformer3DModel
    from safetensors.torch import load_file

    from lorakit.formats.anima import diffusers_tensor_name

    with torch.device("meta"):
        model = CosmosTransformer3DModel(
            in_channels=16,
            out_channels=16,
            num_attention_heads=16,
            attention_head_dim=128,
            num_layers=28,
            mlp_ratio=4.0,
            text_embed_dim=1024,
            adaln_lora_dim=256,
            extra_pos_embed_type=None,
        )
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

    entries = [(_adapter(folder, rank), strength) for rank, strength in STACK]
    fused = lorakit.fuse(_base(folder), entries)
    largest = 0.0
    with safe_open(_base(folder), framework="pt") as base:
        for name in usual_modules():
            key = f"{PREFIX}{name}.weight"
            ours = fused[key].float()
            # A fused layer keeps its weight in the layer that PEFT has wrapped.
            theirs = model.get_submodule(to_diffusers(name)).base_layer.weight.float()
            delta = (ours - base.get_tensor(key).float()).norm()
            largest = max(largest, float((theirs - ours).norm() / delta))
    return largest


def _base(folder: Path) -> Path:
    return folder / "bench-base.safetensors"


def _adapter(folder: Path, rank: int) -> Path:
    return folder / f"bench-rank{rank}.safetensors"


def _diffusers_adapter(folder: Path, rank: int) -> Path:
    return folder / f"bench-rank{rank}-diffusers.safetensors"


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count > 0 else "not known here"


WORKERS: dict[str, Any] = {"lorakit": _fuse_with_lorakit, "diffusers": _fuse_with_diffusers}

if __name__ == "__main__":
    main()
