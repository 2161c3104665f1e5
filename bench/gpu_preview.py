"""Previews at full size on a GPU: lorakit, and diffusers with the same adapters through PEFT.

    python3 bench/gpu_preview.py                      # full size, on the first CUDA device
    python3 bench/gpu_preview.py --small --device cpu # the same steps with the demo's model

Needs lorakit's preview extra, and peft for the comparison. Weights are random; about 12 GB of disk in
--dir. Prints Markdown; with OUT set, the figures go to $OUT/gpu_preview.json too. Each way runs in a
process of its own, under a time limit: one that fails is reported, and the others go on.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.preview import (
    NOTE,
    OURS,
    SHARE_TARGET,
    SHEET_TARGET,
    THEIRS,
    difference_notes,
    make_request,
    per_minute,
    share,
    table,
)
from bench.preview_files import Files, write_full, write_small
from bench.preview_runs import WAYS, Request, Result, run_way
from bench.tables import Section, say

RANKS = (8, 16, 24, 32)
SIZE, STEPS, CHANGES = 1024, 20, 5
SMALL = {"size": 128, "steps": 2, "changes": 2}
# One way, in seconds: loading, six pictures and a sheet of sixteen.
LIMIT = 150.0


def main(arguments: Sequence[str] | None = None) -> int:
    """The script; 1 where a way failed."""
    options = _options(arguments)
    reason = _obstacle(options.device)
    if reason:
        print(f"Nothing was measured: {reason}")
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = options.dir or Path(name)
        request = _prepare(folder, options)
        results, failures = _run(request, options.ways, options.limit)
        report = _report(request, results, failures)
        print(_section(request, results, failures, options).markdown(), flush=True)
    for line in verdict(results, judged=not options.small and options.device != "cpu"):
        print(line)
    if os.environ.get("OUT"):
        text = json.dumps(report, indent=1)
        (Path(os.environ["OUT"]) / "gpu_preview.json").write_text(text, encoding="utf-8")
    return 1 if failures else 0


def verdict(results: Mapping[str, Result], *, judged: bool) -> list[str]:
    """The targets, plainly."""
    ours, theirs = results.get(OURS), results.get(THEIRS)
    lines = []
    if ours is not None and judged:
        mark = "pass" if share(ours) < SHARE_TARGET else "FAIL"
        lines.append(f"changing strengths: {share(ours):.2%} of a picture's time: {mark}")
    if ours is not None and theirs is not None and judged:
        times = per_minute(ours) / per_minute(theirs)
        mark = "pass" if times >= SHEET_TARGET else "FAIL"
        lines.append(f"pictures a minute: {times:.2f} times, target {SHEET_TARGET}: {mark}")
    return lines


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time previews at full size on a GPU.")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="the demo's model, for a test")
    parser.add_argument("--dir", type=Path, help="keep the files here and use them again")
    parser.add_argument("--size", type=int, help=f"pixels a side (usually {SIZE})")
    parser.add_argument("--steps", type=int, help=f"usually {STEPS}")
    parser.add_argument("--changes", type=int, help=f"timed changes of strengths ({CHANGES})")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds for one way")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    options = parser.parse_args(arguments)
    usual = SMALL if options.small else {"size": SIZE, "steps": STEPS, "changes": CHANGES}
    for name, value in usual.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def _obstacle(device: str) -> str | None:
    try:
        import diffusers  # noqa: F401
        import torch
        import transformers  # noqa: F401
    except ImportError as error:
        return f"{error.name} cannot be imported."
    if device.startswith("cuda") and not torch.cuda.is_available():
        return "no CUDA device is in reach."
    return None


def _prepare(folder: Path, options: argparse.Namespace) -> Request:
    say("Writing the files")
    files: Files = write_small(folder, (2, 3)) if options.small else write_full(folder, RANKS)
    return make_request(
        files,
        folder=folder,
        device=options.device,
        size=options.size,
        steps=options.steps,
        changes=options.changes,
    )


def _run(
    request: Request, ways: Sequence[str], limit: float
) -> tuple[dict[str, Result], dict[str, str]]:
    results: dict[str, Result] = {}
    failures: dict[str, str] = {}
    for way in ways:
        say(f"Timing {way}")
        try:
            results[way] = run_way(way, request, limit=limit)
            say(f"  {asdict(results[way])}")
        # Whatever goes wrong in one way must not cost the figures of the others.
        except Exception as error:
            failures[way] = str(error)
            say(f"  failed: {error}")
    return results, failures


def _section(
    request: Request,
    results: Mapping[str, Result],
    failures: Mapping[str, str],
    options: argparse.Namespace,
) -> Section:
    notes = [NOTE, f"Pictures of {request.size} × {request.size} in {request.steps} steps."]
    peaks = [f"{way} {r.memory / 1e9:.1f} GB" for way, r in results.items() if r.memory]
    notes += [f"Peak memory of the device: {', '.join(peaks)}."] if peaks else []
    notes += [f"{way}: {note}" for way, result in results.items() for note in result.notes]
    notes += [f"FAILED: {way}: {reason}" for way, reason in failures.items()]
    notes += difference_notes(request, results)
    command = f"python bench/gpu_preview.py{' --small' if options.small else ''} --device {request.device}"
    body = table(results) if results else [("figure", "value"), ("none", "every way failed")]
    return Section("Previews at full size", command, body, notes)


def _report(
    request: Request, results: Mapping[str, Result], failures: Mapping[str, str]
) -> dict[str, object]:
    from bench.machine import describe

    return {
        "machine": describe(),
        "size": request.size,
        "steps": request.steps,
        "adapters": len(request.adapters),
        "results": {way: asdict(result) for way, result in results.items()},
        "failures": dict(failures),
    }


if __name__ == "__main__":
    sys.exit(main())
