"""Training the transformer and its text adapter: rectified flow on the VAE's normalised latents.

x_t = (1 - t) x_0 + t noise, velocity = noise - x_0 (Liu et al. 2022, arXiv 2209.03003); times are
logit-normal (Esser et al. 2024, arXiv 2403.03206) and shifted by 3 as Anima's sampler does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from training.fitting import Course, Run, fit
from training.models import make_conditioner, make_transformer
from training.text import Read

if TYPE_CHECKING:
    from diffusers import AnimaTextConditioner, CosmosTransformer3DModel

Fields: TypeAlias = tuple[torch.Tensor, ...]

SHIFT = 3.0
BATCH = 48
DROPPED = 0.1
"""Share of prompts that are replaced by the empty one, so that guidance has something to leave."""


class Painter(nn.Module):
    """The transformer with its text conditioner, as the pipeline joins them."""

    def __init__(
        self, transformer: CosmosTransformer3DModel, conditioner: AnimaTextConditioner
    ) -> None:
        super().__init__()
        self.transformer = transformer
        self.conditioner = conditioner

    def read(self, prompts: Fields) -> torch.Tensor:
        """Conditioning [n, tokens, 64] of the fields of a `Read`."""
        states, states_mask, ids, ids_mask = prompts
        made: torch.Tensor = self.conditioner(
            source_hidden_states=states,
            target_input_ids=ids,
            target_attention_mask=ids_mask,
            source_attention_mask=states_mask,
        )
        return made

    def forward(
        self, noisy: torch.Tensor, times: torch.Tensor, conditioning: torch.Tensor
    ) -> torch.Tensor:
        """The velocity [n, 16, h, w] at latents of that shape and times [n] from 0 to 1."""
        *_, height, width = noisy.shape
        velocity: torch.Tensor = self.transformer(
            hidden_states=noisy.unsqueeze(2),
            timestep=times,
            encoder_hidden_states=conditioning,
            padding_mask=noisy.new_zeros(1, 1, 8 * height, 8 * width),
            return_dict=False,
        )[0]
        return velocity.squeeze(2)


@dataclass(frozen=True)
class Pool:
    """Latents [n, 16, h, w], normalised, and the prompts of each; `empty` is the empty prompt."""

    latents: torch.Tensor
    prompts: Read
    empty: Read

    def draw(self, count: int, dropped: float, device: torch.device) -> tuple[torch.Tensor, Fields]:
        """Latents and prompt fields of `count` examples at random."""
        chosen = torch.randint(0, len(self.latents), (count,))
        fields = list(self.prompts.pick(chosen, device))
        gone = torch.rand(count) < dropped
        nothing = self.empty.pick(torch.zeros(int(gone.sum()), dtype=torch.long), device)
        for field, blank in zip(fields, nothing, strict=True):
            field[gone] = 0
            field[gone, : blank.shape[1]] = blank
        return self.latents[chosen].to(device).float(), tuple(fields)


def noised(latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Noisy latents, their times [n] and the velocity to learn."""
    times = torch.sigmoid(torch.randn(len(latents)))
    times = (SHIFT * times / (1.0 + (SHIFT - 1.0) * times)).to(latents.device)
    noise = torch.randn(latents.shape).to(latents.device)
    at = times.view(-1, 1, 1, 1)
    return (1.0 - at) * latents + at * noise, times, noise - latents


@contextmanager
def quick(run: Run) -> Iterator[None]:
    """bfloat16 products, and attention written out: on a CPU the fused one is slow backwards."""
    with torch.autocast(run.device.type, torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
        yield


def flow_loss(run: Run, painter: Painter, pool: Pool) -> Callable[[], torch.Tensor]:
    """Mean square error of the velocity on a batch drawn at random."""

    def whole(
        noisy: torch.Tensor, times: torch.Tensor, wanted: torch.Tensor, fields: Fields
    ) -> torch.Tensor:
        velocity: torch.Tensor = painter(noisy, times, painter.read(fields))
        return (velocity.float() - wanted).square().mean()

    compiled = torch.compile(whole) if run.compile else whole

    def loss() -> torch.Tensor:
        latents, fields = pool.draw(BATCH, DROPPED, run.device)
        noisy, times, wanted = noised(latents)
        with quick(run):
            return compiled(noisy, times, wanted, fields)

    return loss


def train_flow(run: Run, vocabulary: int, course: Course, pool: Pool) -> Painter:
    """Train transformer and text conditioner from nothing."""
    torch.manual_seed(run.seed)
    painter = Painter(make_transformer(), make_conditioner(vocabulary)).to(run.device)
    fit(run, "flow", painter, course, flow_loss(run, painter, pool))
    return painter.requires_grad_(False).eval()


@torch.no_grad()
def sample(
    painter: Painter,
    prompts: Read,
    empty: Read,
    *,
    cfg: float,
    steps: int,
    seed: int,
    side: int = 16,
) -> torch.Tensor:
    """Latents [n, 16, side, side] by Euler steps, as the pipeline takes them."""
    generator = torch.Generator().manual_seed(seed)
    count = len(prompts.ids)
    device = next(painter.parameters()).device
    latents = torch.randn(count, 16, side, side, generator=generator).to(device)
    given = painter.read(prompts.pick(torch.arange(count), device))
    nothing = painter.read(empty.pick(torch.zeros(count, dtype=torch.long), device))
    sigmas = torch.linspace(1.0, 1.0 / steps, steps)
    sigmas = torch.cat([SHIFT * sigmas / (1.0 + (SHIFT - 1.0) * sigmas), torch.zeros(1)])
    for now, following in zip(sigmas[:-1].tolist(), sigmas[1:].tolist(), strict=True):
        times = torch.full((count,), now, device=device)
        velocity = painter(latents, times, given)
        if cfg != 1.0:
            free = painter(latents, times, nothing)
            velocity = free + cfg * (velocity - free)
        latents = latents + (following - now) * velocity
    return latents
