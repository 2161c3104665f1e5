"""The measurements of gpu_fuse.py: the model, the adapters, the clock and what is timed."""

from __future__ import annotations

import json
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from lorakit.adapters.adapter import Adapter
from lorakit.adapters.lora import LoraModule
from lorakit.adapters.saving import save_lora
from lorakit.fusion.live import LiveFusion

WEIGHT_STD, DELTA_SHARE = 0.02, 0.02
KINDS = {
    **{f"self_attn.{x}_proj": (2048, 2048) for x in ("q", "k", "v", "output")},
    **{f"cross_attn.{x}_proj": (2048, 2048) for x in ("q", "output")},
    **{f"cross_attn.{x}_proj": (2048, 1024) for x in ("k", "v")},
    "mlp.layer1": (8192, 2048),
    "mlp.layer2": (2048, 8192),
}
Base = dict[str, torch.Tensor]
Report = dict[str, Any]


class Bench:
    """What one run measures, and the clock it uses."""

    def __init__(
        self, device: torch.device, tiny: bool, *, seconds: float, out: Path | None
    ) -> None:
        """After `seconds` nothing new is begun; the figures go to a file in `out`."""
        self.device = device
        self.seconds, self.out = seconds, out
        self.started = time.perf_counter()
        self.blocks, self.divisor, self.rank = (2, 32, 4) if tiny else (28, 1, 32)
        self.adapters, self.repeats = (3, 4) if tiny else (8, 50)
        self.shapes = {k: (o // self.divisor, i // self.divisor) for k, (o, i) in KINDS.items()}
        self.names = [f"blocks.{b}.{kind}" for b in range(self.blocks) for kind in self.shapes]
        weights = self.blocks * sum(o * i for o, i in self.shapes.values())
        sides = self.blocks * sum(o + i for o, i in self.shapes.values())
        self.weight_bytes = 2 * weights
        # Read every weight, write every weight, read every factor once; all of 2 bytes.
        self.floor_bytes = 2 * self.weight_bytes + 2 * sides * self.rank * self.adapters
        self.report: Report = {"failures": {}, "left_out": []}

    def sync(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def time(self, work: Callable[[], object], repeats: int | None = None, warm: int = 4) -> Report:
        """Milliseconds of device work, and of the clock around it, over `repeats` runs."""
        for _ in range(warm):
            work()
        device_ms, wall_ms = [], []
        for _ in range(repeats or self.repeats):
            self.sync()
            start = time.perf_counter()
            if self.device.type == "cuda":
                before, after = _events()
                before.record()
                work()
                after.record()
                self.sync()
                device_ms.append(before.elapsed_time(after))
            else:
                work()
            wall_ms.append((time.perf_counter() - start) * 1e3)
        return {"device": _spread(device_ms or wall_ms), "wall": _spread(wall_ms)}

    def note(self, name: str, work: Callable[[], Report]) -> None:
        """Run one measurement; a failure is written down and does not end the run."""
        spent = time.perf_counter() - self.started
        if spent > self.seconds:
            self.report["left_out"].append(name)
            return
        print(f"{spent:6.1f} s  {name}", file=sys.stderr, flush=True)
        try:
            self.report[name] = work()
        # Whatever breaks one measurement, the others may still be had.
        except Exception as error:
            self.report["failures"][name] = "".join(traceback.format_exception(error))
            first = (str(error).splitlines() or [""])[0]
            print(f"FAILED  {name}: {type(error).__name__}: {first}", file=sys.stderr, flush=True)
        if self.device.type == "cuda":
            with suppress(RuntimeError):
                torch.cuda.empty_cache()
        self.save()

    def save(self) -> None:
        """Write the figures so far, so that a run that is cut off leaves them."""
        if self.out is not None:
            text = json.dumps(self.report, indent=1, default=str)
            (self.out / "gpu_fuse.json").write_text(text, encoding="utf-8")


def _events() -> tuple[torch.cuda.Event, torch.cuda.Event]:
    make: Callable[..., torch.cuda.Event] = torch.cuda.Event
    return make(enable_timing=True), make(enable_timing=True)


def _spread(times: Sequence[float]) -> dict[str, float]:
    ordered = sorted(times)
    p90 = ordered[min(int(len(ordered) * 0.9), len(ordered) - 1)]
    return {"median": statistics.median(ordered), "min": ordered[0], "p90": p90}


def make_base(bench: Bench) -> Base:
    """The touched weights of the published model, random, in bfloat16 on the device."""
    return {
        f"net.{name}.weight": torch.randn(bench.shapes[name.split(".", 2)[2]], device=bench.device)
        .mul_(WEIGHT_STD)
        .bfloat16()
        for name in bench.names
    }


def write_adapters(bench: Bench, folder: Path) -> list[Path]:
    """Kohya files of random factors; each delta has DELTA_SHARE of the norm of the weight."""
    up_std = WEIGHT_STD * DELTA_SHARE / bench.rank**0.5
    paths = [folder / f"adapter{index}.safetensors" for index in range(bench.adapters)]
    for path in paths:
        modules = {}
        for name in bench.names:
            out, inner = bench.shapes[name.split(".", 2)[2]]
            up = torch.randn(out, bench.rank, device=bench.device).mul_(up_std)
            down = torch.randn(bench.rank, inner, device=bench.device)
            modules[name] = LoraModule(up.bfloat16().cpu(), down.bfloat16().cpu(), 1.0)
        save_lora(path, modules, layout="kohya")
    return paths


def copy_speed(bench: Bench) -> Report:
    """What the device's memory moves: as many bytes as the weights, read and written."""
    source = torch.randn(bench.weight_bytes // 2, device=bench.device, dtype=torch.bfloat16)
    target = torch.empty_like(source)
    times = bench.time(lambda: target.copy_(source), repeats=20)
    moved = 2 * bench.weight_bytes
    return {**times, "bytes": moved, "gb_per_s": moved / times["device"]["median"] / 1e6}


def changing(bench: Bench) -> Iterator[list[float]]:
    """Strengths that all differ from the ones before."""
    step = 0
    while True:
        step += 1
        yield [0.3 + 0.1 * index + 0.013 * (step % 17) for index in range(bench.adapters)]


def first_fuse(bench: Bench, base: Base, paths: Sequence[Path], options: Report) -> Report:
    """From files to fused weights, by the clock, twice; files are in the page cache."""
    seconds = []
    for _ in range(2):
        bench.sync()
        start = time.perf_counter()
        with LiveFusion(base, paths, device=bench.device, **options) as live:
            live.set_strengths([0.8] * len(paths))
            bench.sync()
            seconds.append(time.perf_counter() - start)
            methods, reason = sorted(live.methods), live.mode_reason
    return {"seconds": seconds, "methods": methods, "mode_reason": reason}


def plain_fuse(bench: Bench, base: Base, stack: Sequence[Adapter]) -> Report:
    """`lorakit.fuse`, as for a single picture: adapters in memory, nothing kept on the device."""
    import lorakit

    entries = [(adapter, 0.8) for adapter in stack]
    return bench.time(
        lambda: lorakit.fuse(base, entries, device=bench.device),
        repeats=max(bench.repeats // 10, 2),
        warm=1,
    )


def reweight(
    bench: Bench,
    base: Base,
    stack: Sequence[Adapter],
    options: Report,
    repeats: int | None = None,
) -> Report:
    """Change all strengths, again and again, and check the result."""
    if bench.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    held = torch.cuda.memory_allocated() if bench.device.type == "cuda" else 0
    with LiveFusion(base, stack, device=bench.device, **options) as live:
        series = changing(bench)
        before = {key: live.weights[key].data_ptr() for key in base}
        times = bench.time(lambda: live.set_strengths(next(series)[: len(stack)]), repeats)
        peak = torch.cuda.max_memory_allocated() - held if bench.device.type == "cuda" else 0
        error = check(live, base, stack)
        result: Report = {
            **times,
            "bytes": bench.floor_bytes if len(stack) == bench.adapters else 0,
            "error": error,
            "in_place": all(live.weights[key].data_ptr() == at for key, at in before.items()),
            "mode_reason": live.mode_reason,
            "peak_gb": round(peak / 1e9, 2),
        }
    return {**result, "methods": sorted(live.methods)}


def check(live: LiveFusion, base: Base, stack: Sequence[Adapter]) -> Report:
    """Error over ideal rounding of the float64 sum, at strengths of 0.7 and of 7; restored bytes."""
    found: Report = {}
    kinds = ("0.self_attn.q_proj", "1.cross_attn.k_proj", "0.mlp.layer1", "1.mlp.layer2")
    for strength in (0.7, -7.0):
        for tensor in live.weights.values():
            tensor.fill_(float("nan"))
        live.set_strengths([strength] * len(stack))
        bits = [live.weights[f"net.blocks.{kind}.weight"].clone() for kind in kinds]
        for kind, got in zip(kinds, bits, strict=True):
            wanted = base[f"net.blocks.{kind}.weight"].double()
            for adapter in stack:
                pair = adapter.modules[f"blocks.{kind}"].low_rank()
                assert pair is not None
                up, down = pair.up.to(wanted), pair.down.to(wanted)
                wanted = wanted + strength * pair.scale * (up @ down)
            ideal = (wanted.bfloat16().double() - wanted).norm()
            found[f"{kind} at {strength}"] = float((got.double() - wanted).norm() / ideal)
        assert all(bool(tensor.isfinite().all()) for tensor in live.weights.values())
    live.set_strengths([0.25] * len(stack))
    live.set_strengths([-7.0] * len(stack))
    again = [live.weights[f"net.blocks.{kind}.weight"] for kind in kinds]
    same = all(torch.equal(one, other) for one, other in zip(bits, again, strict=True))
    live.unfuse()
    restored = all(torch.equal(live.weights[key], base[key]) for key in base)
    worst = round(max(found.values()), 4)
    return {"worst": worst, "ratios": found, "same_bits_again": same, "restored": restored}


def one_block(bench: Bench, base: Base, stack: Sequence[Adapter]) -> Report:
    """Change one adapter's strength in one block."""
    with LiveFusion(base, stack, device=bench.device) as live:
        series = changing(bench)
        live.set_strengths([0.5] * len(stack))

        def move() -> None:
            first = next(series)[0]
            table = [[first] + [0.5] * (bench.blocks - 1)] + [[0.5] * bench.blocks] * (
                len(stack) - 1
            )
            live.set_strengths(table)

        return bench.time(move)


def factors_on_device(
    bench: Bench, stack: Sequence[Adapter]
) -> dict[str, list[tuple[torch.Tensor, torch.Tensor]]]:
    """Module -> (up, down) of every adapter, on the device."""
    found: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {}
    for adapter in stack:
        for name, module in adapter.modules.items():
            pair = module.low_rank()
            assert pair is not None
            found.setdefault(name, []).append(
                (pair.up.to(bench.device), pair.down.to(bench.device))
            )
    return found


def addmm_per_module(bench: Bench, base: Base, stack: Sequence[Adapter]) -> Report:
    """One product per module of joined bfloat16 factors, strength rounded into one of them."""
    joined = {
        name: (torch.cat([u for u, _ in pairs], 1), torch.cat([d for _, d in pairs], 0))
        for name, pairs in factors_on_device(bench, stack).items()
    }
    out = {key: torch.empty_like(weight) for key, weight in base.items()}
    factor = torch.full((bench.rank * len(stack),), 0.7, device=bench.device).bfloat16()

    def work() -> None:
        for name, (up, down) in joined.items():
            key = f"net.{name}.weight"
            torch.addmm(base[key], up * factor, down, out=out[key])

    return bench.time(work, max(bench.repeats // 5, 2))


def peer_loop(bench: Bench, base: Base, stack: Sequence[Adapter]) -> Report:
    """The pattern of common loaders, typed again: every adapter cast, multiplied, added, cast back."""
    factors = factors_on_device(bench, stack)

    def work() -> None:
        for name, pairs in factors.items():
            weight = base[f"net.{name}.weight"]
            for up, down in pairs:
                delta = torch.mm(up.float(), down.float()) * 0.7
                weight = (weight.float() + delta).to(weight.dtype)

    return bench.time(work, max(bench.repeats // 10, 2), warm=1)
