"""How fast a live stack is re-weighted on a GPU, against what its memory can move.

    python3 bench/gpu_fuse.py                     # full size, on the first CUDA device
    python3 bench/gpu_fuse.py --tiny --device cpu # the same steps on a small model, in seconds

Needs torch and safetensors alone. Weights and adapters are random. Prints Markdown; with OUT set, the
figures go to $OUT/gpu_fuse.json too. Times of device work are from CUDA events, first fuses by the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import gpu_parts as parts
from bench.gpu_parts import Base, Bench, Report
from lorakit.adapters.adapter import Adapter
from lorakit.adapters.loading import load_adapter
from lorakit.fusion.live import LiveFusion
from lorakit.fusion.live_method import kernel_problem

REWEIGHT_TARGET_MS, FIRST_FUSE_TARGET_S, ERROR_TARGET = 5.0, 1.0, 1.02


def run(bench: Bench, folder: Path) -> Report:
    """Measure everything, printing as it goes."""
    cuda = bench.device.type == "cuda"
    report = bench.report
    report["machine"] = {
        "device": torch.cuda.get_device_name(bench.device) if cuda else platform.processor(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "driver": _driver() if cuda else None,
    }
    report["sizes"] = {
        "modules": len(bench.names),
        "adapters": bench.adapters,
        "rank": bench.rank,
        "weight_gb": bench.weight_bytes / 1e9,
        "floor_gb": bench.floor_bytes / 1e9,
    }
    print(
        "# Live re-weighting\n",
        json.dumps(report["machine"]),
        json.dumps(report["sizes"]),
        sep="\n",
    )
    start = time.perf_counter()
    problem = kernel_problem(bench.device) if cuda else "no GPU"
    report["kernel"] = {"problem": problem, "compile_s": time.perf_counter() - start}
    print(
        f"\nFused kernel: {problem or 'works'}; first check {report['kernel']['compile_s']:.2f} s"
    )
    base, paths = parts.make_base(bench), parts.write_adapters(bench, folder)
    choices: dict[str, Report] = {"first fuse": {}, "first fuse, baddbmm": {"method": "baddbmm"}}
    for name, options in choices.items():
        if bench.note(name, partial(parts.first_fuse, bench, base, paths, options)):
            print(f"{name}: {report[name]}", flush=True)
    stack = [load_adapter(path) for path in paths]
    print("\n| what | median ms | min | p90 | wall ms | GB/s | worst error | peak GB |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    bench.note("copy", lambda: parts.copy_speed(bench))
    _reweights(bench, base, stack)
    bench.note("one block of 8 adapters", lambda: parts.one_block(bench, base, stack))
    bench.note("addmm per module", lambda: parts.addmm_per_module(bench, base, stack))
    bench.note("loop per adapter", lambda: parts.peer_loop(bench, base, stack))
    if cuda and problem is None:
        bench.note("tiles", lambda: sweep_tiles(bench, base, stack))
    return report


def _reweights(bench: Bench, base: Base, stack: Sequence[Adapter]) -> None:
    variants: dict[str, Report] = {"re-weight": {}, "re-weight, no graph": {"graphs": False}}
    for megabytes in (8, 16, 32, None):
        label = f"chunks of {megabytes} MB" if megabytes else "whole groups"
        size = megabytes << 20 if megabytes else None
        variants[f"baddbmm, {label}"] = {"method": "baddbmm", "chunk_bytes": size}
    variants["baddbmm, no graph"] = {"method": "baddbmm", "graphs": False}
    for name, options in variants.items():
        bench.note(name, partial(parts.reweight, bench, base, stack, options))
    few = max(bench.repeats // 5, 2)
    host: Report = {"mode": "host"}
    bench.note("pristine on the host", partial(parts.reweight, bench, base, stack, host, few))
    bench.note("one adapter", partial(parts.reweight, bench, base, stack[:1], {}))


def sweep_tiles(bench: Bench, base: Base, stack: Sequence[Adapter]) -> Report:
    """The fused kernel cut in other ways, launched directly."""
    from lorakit.fusion import live_kernel
    from lorakit.fusion.live_resident import refresh_coefficients

    wide = [
        (128, 128, 8, 3),
        (128, 128, 8, 2),
        (128, 128, 8, 4),
        (128, 256, 8, 3),
        (256, 128, 8, 3),
    ]
    narrow = [(64, 256, 8, 3), (64, 128, 8, 3), (64, 128, 4, 3)]
    shapes = [(*shape, False) for shape in wide + narrow]
    shapes += [(128, 128, 8, 3, True), (64, 128, 8, 3, True)]
    with LiveFusion(base, stack, device=bench.device, method="fused") as live:
        live.set_strengths([0.7] * len(stack))

        def work(tile: live_kernel.Tile) -> None:
            for part in live._residents:
                assert part.factors is not None
                refresh_coefficients(part)
                rows = slice(0, len(part.group.tensors))
                live_kernel.fuse_rows(
                    part.pristine, part.live, part.factors, part.coefficients, rows, tile
                )

        for shape in shapes:
            tile = live_kernel.Tile(*shape)
            timed = partial(bench.time, partial(work, tile), 20)
            bench.note(f"fused, tile {shape}", lambda t=timed: {**t(), "bytes": bench.floor_bytes})  # type: ignore[misc]
    return {}


def verdict(report: Report, *, judged: bool) -> None:
    """The targets, plainly; those of time only where `judged`, at full size on a GPU."""
    print("\nThe column GB/s counts every weight read and written and every factor read, once.")
    copy = report.get("copy", {}).get("gb_per_s")
    again = report.get("re-weight")
    if again:
        median = again["device"]["median"]
        speed = report["sizes"]["floor_gb"] / median * 1e3
        if copy:
            print(
                f"Device copy {copy:.0f} GB/s; re-weighting {speed:.0f} GB/s, {speed / copy:.0%} of it."
            )
        if judged:
            _target("re-weight, ms", median, REWEIGHT_TARGET_MS)
        _target("error over ideal rounding", again["error"]["worst"], ERROR_TARGET)
    first = report.get("first fuse")
    if first and judged:
        _target("first fuse, s", first["seconds"][0], FIRST_FUSE_TARGET_S)
    for name, result in report.items():
        if isinstance(result, dict) and "error" in result:
            checks = {k: result["error"][k] for k in ("same_bits_again", "restored")}
            print(f"{name}: {checks}, in place {result['in_place']}")
    for failure in report["failures"]:
        print(f"FAILED: {failure}")


def _target(name: str, value: float, limit: float) -> None:
    print(f"{name}: {value:.3f}, target {limit:g}: {'pass' if value <= limit else 'FAIL'}")


def _driver() -> str:

    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def main(arguments: Sequence[str] | None = None) -> int:
    """The script; 1 where a measurement failed."""
    parser = argparse.ArgumentParser(description="Time live re-weighting on a GPU.")
    parser.add_argument(
        "--tiny", action="store_true", help="a small model, for a test of the script"
    )
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args(arguments)
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        print("No CUDA device is in reach; nothing was measured.")
        return 0
    torch.manual_seed(0)
    bench = Bench(torch.empty(0, device=options.device).device, options.tiny)
    with tempfile.TemporaryDirectory() as folder:
        report = run(bench, Path(folder))
    verdict(report, judged=bench.device.type == "cuda" and not options.tiny)
    if os.environ.get("OUT"):
        text = json.dumps(report, indent=1, default=str)
        (Path(os.environ["OUT"]) / "gpu_fuse.json").write_text(text, encoding="utf-8")
    return 1 if report["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
