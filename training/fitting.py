"""One training loop for every stage: seeded by step, saved every minute, taken up where it stopped."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

SAVE_EVERY = 60.0
"""Seconds between two saves; what a sudden stop can cost."""


@dataclass(frozen=True)
class Run:
    """Where a training keeps its state, and what it computes on."""

    folder: Path
    device: torch.device
    seed: int = 0
    compile: bool = False


@dataclass(frozen=True)
class Course:
    """How long and how fast to learn: warm-up, then cosine decay to zero."""

    steps: int
    rate: float
    warm_up: int = 50
    weight_decay: float = 0.01

    def rate_at(self, step: int) -> float:
        """The learning rate of `step`, counted from 0."""
        warm = min(1.0, (step + 1) / self.warm_up)
        return self.rate * warm * 0.5 * (1.0 + math.cos(math.pi * step / self.steps))


def fit(
    run: Run, name: str, module: nn.Module, course: Course, loss: Callable[[], torch.Tensor]
) -> None:
    """Train `module` in place; a finished or interrupted stage of this name is taken up again.

    `loss` draws its own batch from torch's global generator, which is seeded anew at each step, so
    that a training that was stopped gives what an unbroken one gives.
    """
    wanted = [p for p in module.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(
        wanted, lr=course.rate, betas=(0.9, 0.95), weight_decay=course.weight_decay
    )
    state = run.folder / f"{name}.pt"
    start = _take_up(state, module, optimiser)
    saved = told = time.monotonic()
    mean, counted = 0.0, 0
    for step in range(start, course.steps):
        torch.manual_seed(run.seed * 1_000_003 + step)
        for group in optimiser.param_groups:
            group["lr"] = course.rate_at(step)
        value = loss()
        optimiser.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(wanted, 1.0)
        optimiser.step()
        mean, counted = mean + float(value.detach()), counted + 1
        last = step + 1 == course.steps
        if counted == 100 or last:
            seconds = (time.monotonic() - told) / counted
            _tell(run, {"stage": name, "step": step + 1, "loss": mean / counted, "s": seconds})
            told, mean, counted = time.monotonic(), 0.0, 0
        if last or time.monotonic() - saved > SAVE_EVERY:
            _save(state, module, optimiser, step + 1)
            saved = time.monotonic()


def _take_up(state: Path, module: nn.Module, optimiser: torch.optim.Optimizer) -> int:
    if not state.exists():
        return 0
    kept = torch.load(state, weights_only=True)
    module.load_state_dict(kept["module"], strict=False)
    optimiser.load_state_dict(kept["optimiser"])
    return int(kept["step"])


def _save(state: Path, module: nn.Module, optimiser: torch.optim.Optimizer, step: int) -> None:
    wanted = {name for name, p in module.named_parameters() if p.requires_grad}
    kept = {k: v for k, v in module.state_dict().items() if k in wanted}
    partial = state.with_suffix(".part")
    torch.save({"module": kept, "optimiser": optimiser.state_dict(), "step": step}, partial)
    partial.replace(state)


def _tell(run: Run, facts: dict[str, float | int | str]) -> None:
    line = json.dumps({k: round(v, 5) if isinstance(v, float) else v for k, v in facts.items()})
    print(line, flush=True)
    with (run.folder / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write(line + "\n")
