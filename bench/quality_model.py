"""The shipped demo model as the quality table uses it: changes put on it, losses and pictures taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
import torch

from lorakit.adapters.adapter import Adapter
from lorakit.formats.anima import diffusers_tensor_name
from lorakit.fusion.base import open_base
from lorakit.preview.components import load_components
from lorakit.preview.demo_model import CHECKPOINT_NAME, SHIPPED
from lorakit.preview.models import build_text_conditioner, build_transformer
from lorakit.preview.quiet import quiet_libraries
from training.flow import SHIFT, Painter, sample
from training.measures import Picture
from training.pictures import drawn, scenes
from training.scenes import Scene, prompt_of
from training.styles import STYLES
from training.text import Read, TextPath
from training.vae import decode, normalised, one_frame

if TYPE_CHECKING:
    from diffusers import AutoencoderKLQwenImage

Change = Mapping[str, torch.Tensor]
"""What an adapter adds to each weight, by canonical module name, float32."""

CPU = torch.device("cpu")
STEPS = 6


@dataclass(frozen=True)
class Examples:
    """One style's pictures as a flow sees them: noisy latents, times, velocities and conditioning."""

    noisy: torch.Tensor
    times: torch.Tensor
    wanted: torch.Tensor
    conditioning: torch.Tensor


@dataclass(frozen=True)
class Model:
    """The demo model in float32; `plain` are the base's own weights."""

    painter: Painter
    text: TextPath
    vae: AutoencoderKLQwenImage
    plain: Mapping[str, torch.Tensor]

    @classmethod
    def load(cls) -> Model:
        """Read what lorakit ships."""
        opened = open_base(SHIPPED / CHECKPOINT_NAME)
        weights = {name: opened[key].float() for name, key in opened.names.items()}
        with quiet_libraries():
            parts = load_components(str(SHIPPED / "components"), device="cpu")
            transformer = build_transformer(
                {name: tensor.clone() for name, tensor in weights.items()},
                device="cpu",
                dtype=torch.float32,
            )
            conditioner = build_text_conditioner(
                weights, min_sequence_length=parts.min_sequence_length, device="cpu"
            )
        painter = Painter(transformer, conditioner).requires_grad_(False).eval()
        text = TextPath(parts.tokenizer, parts.t5_tokenizer, parts.text_encoder)
        plain = {
            name.removesuffix(".weight"): tensor
            for name, tensor in weights.items()
            if name.startswith("blocks.") and name.endswith(".weight")
        }
        return cls(painter, text, parts.vae.float(), plain)

    def change_of(self, adapter: Adapter) -> Change:
        """What `adapter` adds at strength 1."""
        return {name: m.delta(self.plain[name]) for name, m in adapter.modules.items()}

    @torch.no_grad()
    def put(self, change: Change, strength: float) -> None:
        """Let the weights be the base's plus `strength` times `change`."""
        for name, parameter in self._parameters.items():
            parameter.copy_(self.plain[name])
            if name in change:
                parameter.add_(change[name], alpha=strength)

    @cached_property
    def _parameters(self) -> dict[str, torch.nn.Parameter]:
        held = dict(self.painter.transformer.named_parameters())
        return {name: held[diffusers_tensor_name(f"{name}.weight")] for name in self.plain}

    def examples(self, style: str, count: int, seed: int) -> Examples:
        """`count` pictures in `style`, called by its trigger word, at times spread evenly over the flow."""
        shown = scenes(count, seed)
        latents = normalised(self.vae, drawn(shown, STYLES[style]), CPU).float()
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(latents.shape, generator=generator)
        # The times of training, at even quantiles in place of chance.
        normal = NormalDist()
        spread = torch.tensor([normal.inv_cdf((i + 0.5) / count) for i in range(count)])
        times = torch.sigmoid(spread[torch.randperm(count, generator=generator)])
        times = SHIFT * times / (1.0 + (SHIFT - 1.0) * times)
        at = times.view(-1, 1, 1, 1)
        prompts = self._read([f"@{style}, {prompt_of(scene)}" for scene in shown])
        with torch.no_grad():
            conditioning = self.painter.read(prompts.pick(torch.arange(count), CPU))
        return Examples((1.0 - at) * latents + at * noise, times, noise - latents, conditioning)

    def _read(self, prompts: Sequence[str]) -> Read:
        return self.text.read(prompts)

    @torch.no_grad()
    def loss(self, examples: Examples) -> float:
        """Mean square error of the velocity with the weights as they are."""
        made = self.painter(examples.noisy, examples.times, examples.conditioning)
        return float((made - examples.wanted).square().mean())

    @torch.no_grad()
    def pictures(self, shown: Sequence[Scene], seed: int) -> list[Picture]:
        """A picture of each scene, no style named in its prompt."""
        prompts = self._read([prompt_of(scene) for scene in shown])
        latents = sample(self.painter, prompts, self._read([""]), cfg=1.0, steps=STEPS, seed=seed)
        config = self.vae.config
        mean, deviation = (
            torch.tensor(values).view(-1, 1, 1)
            for values in (config.latents_mean, config.latents_std)
        )
        with one_frame(self.vae):
            made = decode(self.vae, latents * deviation + mean)
        pixels = ((made.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        return [np.asarray(one) for one in pixels.permute(0, 2, 3, 1).contiguous().numpy()]
