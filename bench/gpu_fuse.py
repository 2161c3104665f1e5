"""How fast a live stack is re-weighted on a GPU, against what its memory can move.

    python3 bench/gpu_fuse.py                     # full size, on the first CUDA device
    python3 bench/gpu_fuse.py --tiny --device cpu # the same steps on a small model, in seconds

Needs torch and safetensors alone. Weights and adapters are random. Progress goes to stderr, one Markdown
table to stdout. With OUT set, the figures go to $OUT/gpu_fuse.json after each measurement and the table
to $OUT/gpu_fuse.md. Times of device work are from CUDA events, first fuses by the clock.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
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
SECONDS = 480.0
Options = dict[str, Report]


def run(bench: Bench, folder: Path) -> None:
    """Measure everything, the most wanted first and what could break the device last."""
    bench.note("machine", lambda: _machine(bench.device))
    bench.report["sizes"] = {
        "modules": len(bench.names),
        "adapters": bench.adapters,
        "rank": bench.rank,
        "weight_gb": bench.weight_bytes / 1e9,
        "floor_gb": bench.floor_bytes / 1e9,
    }
    base, paths = parts.make_base(bench), parts.write_adapters(bench, folder)
    stack = [load_adapter(path) for path in paths]
    bench.note("copy", lambda: parts.copy_speed(bench))
    bench.note("first fuse", lambda: parts.first_fuse(bench, base, paths, {}))
    few = max(bench.repeats // 5, 2)
    bench.note("re-weight", lambda: parts.reweight(bench, base, stack, {}))
    host = {"mode": "host"}
    bench.note("pristine on the host", lambda: parts.reweight(bench, base, stack, host, few))
    bench.note("one adapter", lambda: parts.reweight(bench, base, stack[:1], {}))
    bench.note("one block of one adapter", lambda: parts.one_block(bench, base, stack))
    bench.note("`lorakit.fuse` again", lambda: parts.plain_fuse(bench, base, stack))
    bench.note("addmm per module", lambda: parts.addmm_per_module(bench, base, stack))
    bench.note("loop per adapter", lambda: parts.peer_loop(bench, base, stack))
    variants: Options = {"no graph": {"graphs": False}}
    for megabytes in (8, 16, 32):
        variants[f"chunks of {megabytes} MB"] = {"chunk_bytes": megabytes << 20}
    variants["whole groups"] = {"chunk_bytes": None}
    _reweights(bench, base, stack, variants)
    bench.note("kernel", lambda: _kernel(bench))
    if bench.report.get("kernel", {}).get("problem", "") is None:
        fused: Report = {"method": "fused"}
        kernels = {"fused kernel": fused, "fused kernel, no graph": {**fused, "graphs": False}}
        _reweights(bench, base, stack, kernels)
        sweep_tiles(bench, base, stack)


def _machine(device: torch.device) -> Report:
    cuda = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if cuda else platform.processor(),
        "memory_gb": torch.cuda.get_device_properties(device).total_memory / 1e9 if cuda else 0,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "driver": _driver() if cuda else None,
    }


def _kernel(bench: Bench) -> Report:
    problem = kernel_problem(bench.device) if bench.device.type == "cuda" else "no GPU"
    return {"problem": problem}


def _reweights(bench: Bench, base: Base, stack: Sequence[Adapter], variants: Options) -> None:
    for name, options in variants.items():
        bench.note(f"re-weight, {name}", partial(parts.reweight, bench, base, stack, options))


def sweep_tiles(bench: Bench, base: Base, stack: Sequence[Adapter]) -> None:
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

    def timed(shape: tuple[int, int, int, int, bool]) -> Report:
        tile = live_kernel.Tile(*shape)
        with LiveFusion(base, stack, device=bench.device, method="fused") as live:
            live.set_strengths([0.7] * len(stack))

            def work() -> None:
                for part in live._residents:
                    assert part.factors is not None
                    refresh_coefficients(part)
                    rows = slice(0, len(part.group.tensors))
                    live_kernel.fuse_rows(
                        part.pristine, part.live, part.factors, part.coefficients, rows, tile
                    )

            return {**bench.time(work, 20), "bytes": bench.floor_bytes}

    for shape in shapes:
        bench.note(f"fused kernel, tile {shape}", partial(timed, shape))


def markdown(report: Report, *, judged: bool) -> str:
    """The whole report; targets of time only where `judged`, at full size on a GPU."""
    machine, sizes = report.get("machine", {}), report.get("sizes", {})
    lines = ["## Fusing on a GPU", ""]
    lines += [f"- {key}: {value}" for key, value in {**machine, **sizes}.items()]
    lines += [
        "",
        "| what | median ms | least | p90 | by the clock | GB/s | worst error | peak GB |",
    ]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    lines += [_row(name, found) for name, found in report.items() if _is_timed(found)]
    lines += ["", *_verdict(report, judged=judged)]
    lines.append("GB/s counts every weight read and written and every factor read, once.")
    lines += [f"Left out for want of time: {name}." for name in report["left_out"]]
    for name, trace in report["failures"].items():
        lines.append(f"FAILED: {name}: {trace.strip().splitlines()[-1]}")
    return "\n".join(lines)


def _is_timed(found: object) -> bool:
    return isinstance(found, dict) and "device" in found and "wall" in found


def _row(name: str, found: Report) -> str:
    times, moved = found["device"], found.get("bytes")
    rate = f"{moved / times['median'] / 1e6:.0f}" if moved else ""
    cells = [f"{times[key]:.3f}" for key in ("median", "min", "p90")]
    cells += [f"{found['wall']['median']:.3f}", rate]
    cells += [str(found.get("error", {}).get("worst", "")), str(found.get("peak_gb", ""))]
    return f"| {name} | {' | '.join(cells)} |"


def _verdict(report: Report, *, judged: bool) -> Iterator[str]:
    copy, again = report.get("copy", {}).get("gb_per_s"), report.get("re-weight")
    if again:
        median = again["device"]["median"]
        speed = report["sizes"]["floor_gb"] / median * 1e3
        if copy:
            yield f"Device copy {copy:.0f} GB/s; re-weighting {speed:.0f} GB/s, {speed / copy:.0%} of it."
        if judged:
            yield _target("re-weight, ms", median, REWEIGHT_TARGET_MS)
        yield _target("error over ideal rounding", again["error"]["worst"], ERROR_TARGET)
        yield again["mode_reason"]
    first = report.get("first fuse")
    if first:
        shown = ", ".join(f"{seconds:.3f} s" for seconds in first["seconds"])
        yield f"First fuse from files, twice: {shown}."
        if judged:
            yield _target("first fuse, s", first["seconds"][0], FIRST_FUSE_TARGET_S)
    if problem := report.get("kernel", {}).get("problem"):
        yield f"The fused kernel was not measured: {problem}."
    for name, found in report.items():
        error = found.get("error") if isinstance(found, dict) else None
        if error and not (error["same_bits_again"] and error["restored"] and found["in_place"]):
            yield f"WRONG: {name}: {error}, in place {found['in_place']}."


def _target(name: str, value: float, limit: float) -> str:
    return f"{name}: {value:.3f}, target {limit:g}: {'pass' if value <= limit else 'FAIL'}."


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
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help="begin no measurement after these"
    )
    options = parser.parse_args(arguments)
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        print("No CUDA device is in reach; nothing was measured.")
        return 0
    torch.manual_seed(0)
    out = Path(os.environ["OUT"]) if os.environ.get("OUT") else None
    device = torch.empty(0, device=options.device).device
    bench = Bench(device, options.tiny, seconds=options.seconds, out=out)
    try:
        with tempfile.TemporaryDirectory() as folder:
            run(bench, Path(folder))
    finally:
        text = markdown(bench.report, judged=device.type == "cuda" and not options.tiny)
        print(text, flush=True)
        bench.save()
        if out is not None:
            (out / "gpu_fuse.md").write_text(text + "\n", encoding="utf-8")
    return 1 if bench.report["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
