"""Training adapters on the frozen base: four styles, and the base's own guidance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from lorakit.formats import anima
from training.fitting import Course, Run, fit
from training.flow import BATCH, DROPPED, Painter, Pool, noised, quick

Kinds = tuple[anima.Kind, ...]
MOST: Kinds = ("self_attn", "cross_attn", "mlp")


@dataclass(frozen=True)
class Plan:
    """What an adapter is: its algorithm, size and reach, and how long it learns."""

    name: str
    algo: Literal["lora", "lokr"]
    rank: int
    alpha: float
    kinds: Kinds
    first_block: int
    course: Course

    def modules(self, blocks: int) -> list[str]:
        """The canonical names of the linears it touches, in a model of so many blocks."""
        return [
            f"blocks.{block}.{inner}"
            for block in range(self.first_block, blocks)
            for kind in self.kinds
            for inner in anima.BLOCK_LINEARS[kind]
        ]


class LowRank(nn.Module):
    """A linear with `alpha / rank * up @ down` beside it."""

    def __init__(self, linear: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.linear = linear
        self.scale = alpha / rank
        self.down = nn.Parameter(torch.empty(rank, linear.in_features))
        self.up = nn.Parameter(torch.zeros(linear.out_features, rank))
        nn.init.kaiming_uniform_(self.down, a=5**0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[..., in] to [..., out]."""
        made: torch.Tensor = self.linear(x)
        return made + F.linear(F.linear(x, self.down), self.up) * self.scale


class Kronecker(nn.Module):
    """A linear with `alpha / rank * w1 ⊗ (w2_a @ w2_b)` beside it (LoKr; LyCORIS, arXiv 2309.14859)."""

    FACTOR = 4

    def __init__(self, linear: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.linear = linear
        self.scale = alpha / rank
        out, inner = linear.out_features // self.FACTOR, linear.in_features // self.FACTOR
        self.w1 = nn.Parameter(torch.empty(self.FACTOR, self.FACTOR))
        self.w2_a = nn.Parameter(torch.zeros(out, rank))
        self.w2_b = nn.Parameter(torch.empty(rank, inner))
        nn.init.kaiming_uniform_(self.w1, a=5**0.5)
        nn.init.kaiming_uniform_(self.w2_b, a=5**0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[..., in] to [..., out]."""
        delta = torch.kron(self.w1, self.w2_a @ self.w2_b) * self.scale
        return F.linear(x, self.linear.weight + delta)


Patch = LowRank | Kronecker


@contextmanager
def patched(painter: Painter, plan: Plan, device: torch.device) -> Iterator[nn.ModuleDict]:
    """The painter's linears with fresh patches, by canonical names (dots as underscores) within."""
    made = nn.ModuleDict()
    blocks = len(painter.transformer.transformer_blocks)
    for name in plan.modules(blocks):
        path = anima.diffusers_tensor_name(f"{name}.weight").removesuffix(".weight")
        linear = painter.transformer.get_submodule(path)
        kind = LowRank if plan.algo == "lora" else Kronecker
        patch = kind(linear, plan.rank, plan.alpha).to(device)
        painter.transformer.set_submodule(path, patch)
        made[name.replace(".", "_")] = patch
    try:
        yield made
    finally:
        for name in plan.modules(blocks):
            path = anima.diffusers_tensor_name(f"{name}.weight").removesuffix(".weight")
            painter.transformer.set_submodule(path, painter.transformer.get_submodule(path).linear)


def train_style(run: Run, painter: Painter, plan: Plan, pool: Pool) -> dict[str, Patch]:
    """An adapter that gives the pictures of `pool` for its prompts."""

    def batch() -> tuple[torch.Tensor, ...]:
        latents, fields = pool.draw(BATCH, DROPPED, run.device)
        noisy, times, wanted = noised(latents)
        with torch.no_grad():
            return noisy, times, wanted, painter.read(fields)

    return _train(run, painter, plan, batch)


def train_distilled(
    run: Run, painter: Painter, plan: Plan, pool: Pool, *, cfg: float
) -> dict[str, Patch]:
    """An adapter that gives in one pass what the base gives with guidance.

    The target is free + cfg (given - free), both of the base alone (Meng et al. 2023, arXiv
    2210.03142, for one fixed scale).
    """
    frozen = Painter(deepcopy(painter.transformer), painter.conditioner)

    @torch.no_grad()
    def batch() -> tuple[torch.Tensor, ...]:
        latents, fields = pool.draw(BATCH, 0.0, run.device)
        noisy, times, _ = noised(latents)
        given = painter.read(fields)
        first = torch.zeros(len(latents), dtype=torch.long)
        nothing = painter.read(pool.empty.pick(first, run.device))
        with quick(run):
            both = frozen(noisy.repeat(2, 1, 1, 1), times.repeat(2), torch.cat([given, nothing]))
        towards, free = both.float().chunk(2)
        return noisy, times, free + cfg * (towards - free), given

    return _train(run, painter, plan, batch)


def _train(
    run: Run, painter: Painter, plan: Plan, batch: Callable[[], tuple[torch.Tensor, ...]]
) -> dict[str, Patch]:
    """Fit fresh patches to batches of noisy latents, times, wanted velocities and conditioning."""

    def error(
        noisy: torch.Tensor, times: torch.Tensor, wanted: torch.Tensor, given: torch.Tensor
    ) -> torch.Tensor:
        velocity: torch.Tensor = painter(noisy, times, given)
        return (velocity.float() - wanted).square().mean()

    torch.manual_seed(run.seed)
    with patched(painter, plan, run.device) as patches:
        compiled = torch.compile(error) if run.compile else error

        def loss() -> torch.Tensor:
            drawn = batch()
            with quick(run):
                return compiled(*drawn)

        fit(run, plan.name, patches, plan.course, loss)
        blocks = len(painter.transformer.transformer_blocks)
        return {name: patches[name.replace(".", "_")] for name in plan.modules(blocks)}  # type: ignore[misc]
