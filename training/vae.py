"""Training the VAE: pictures of every style in and out, through 16 channels at an eighth of the side.

A picture is one frame, so every causal convolution over time is the 2-D convolution of its last slice;
training computes just that, a third of the work. The decoder is trained without its final clamp, where
the gradient of a saturated pixel would be zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from training.fitting import Course, Run, fit

if TYPE_CHECKING:
    from diffusers import AutoencoderKLQwenImage

LATENT_NOISE = 0.05
CROP = 64
BATCH = 8


@contextmanager
def one_frame(vae: AutoencoderKLQwenImage) -> Iterator[None]:
    """Within, the VAE's convolutions over time are computed as 2-D ones, for one frame."""
    convolutions = [m for m in vae.modules() if isinstance(m, torch.nn.Conv3d)]
    for convolution in convolutions:
        # The class's own forward comes back when the instance's attribute goes.
        object.__setattr__(convolution, "forward", _flat(convolution))
    try:
        yield
    finally:
        for convolution in convolutions:
            object.__delattr__(convolution, "forward")


def _flat(convolution: torch.nn.Conv3d) -> Callable[..., torch.Tensor]:
    across, _, down, *_ = convolution.__dict__["_padding"]

    def forward(x: torch.Tensor, cache_x: object = None) -> torch.Tensor:
        last = convolution.weight[:, :, -1]
        return F.conv2d(x[:, :, 0], last, convolution.bias, padding=(down, across)).unsqueeze(2)

    return forward


def encode(vae: AutoencoderKLQwenImage, pictures: torch.Tensor) -> torch.Tensor:
    """The mean of the posterior, [n, 16, h/8, w/8], of pictures [n, 3, h, w] from -1 to 1."""
    moments = vae.quant_conv(vae.encoder(pictures.unsqueeze(2)))
    mean: torch.Tensor = moments.chunk(2, dim=1)[0]
    return mean.squeeze(2)


def decode(vae: AutoencoderKLQwenImage, latents: torch.Tensor) -> torch.Tensor:
    """Pictures [n, 3, h, w], not clamped, of latents [n, 16, h/8, w/8]."""
    made: torch.Tensor = vae.decoder(vae.post_quant_conv(latents.unsqueeze(2)))
    return made.squeeze(2)


def vae_loss(vae: AutoencoderKLQwenImage, pictures: torch.Tensor) -> torch.Tensor:
    """Reconstruction by mean square and absolute error, with a light pull of the latents to zero."""
    mean = encode(vae, pictures)
    made = decode(vae, mean + LATENT_NOISE * torch.randn_like(mean))
    return (
        F.mse_loss(made, pictures) + 0.1 * F.l1_loss(made, pictures) + 1e-3 * mean.square().mean()
    )


def train_vae(run: Run, vae: AutoencoderKLQwenImage, course: Course, pool: torch.Tensor) -> None:
    """Train on crops of `pool`, pictures as bytes [n, height, width, 3], and set the latents' scale.

    The mean and deviation of each latent channel over the pool go into the configuration, where the
    pipeline looks for them.
    """
    vae.to(run.device)
    with one_frame(vae):
        loss = torch.compile(vae_loss) if run.compile else vae_loss
        fit(run, "vae", vae, course, lambda: loss(vae, _crops(pool).to(run.device)))
    mean, deviation = latent_scale(vae, pool[:512], run.device)
    vae.register_to_config(latents_mean=mean, latents_std=deviation)


def latent_scale(
    vae: AutoencoderKLQwenImage, pool: torch.Tensor, device: torch.device
) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each of the 16 latent channels over `pool`."""
    latents = encode_all(vae, pool, device).float()
    return (
        latents.mean((0, 2, 3)).tolist(),
        latents.std((0, 2, 3)).tolist(),
    )


@torch.no_grad()
def encode_all(
    vae: AutoencoderKLQwenImage, pool: torch.Tensor, device: torch.device
) -> torch.Tensor:
    """Latents [n, 16, h/8, w/8] of pictures as bytes [n, h, w, 3], not normalised."""
    with one_frame(vae):
        return torch.cat(
            [encode(vae, to_signed(part).to(device)).cpu() for part in torch.split(pool, 64)]
        )


def normalised(
    vae: AutoencoderKLQwenImage, pool: torch.Tensor, device: torch.device
) -> torch.Tensor:
    """Latents of pictures as bytes, each channel with mean 0 and deviation 1 over many pictures."""
    mean = torch.tensor(vae.config.latents_mean).view(-1, 1, 1)
    deviation = torch.tensor(vae.config.latents_std).view(-1, 1, 1)
    return (encode_all(vae, pool, device) - mean) / deviation


def to_signed(pool: torch.Tensor) -> torch.Tensor:
    """Bytes [n, h, w, 3] as floats [n, 3, h, w] from -1 to 1."""
    return pool.permute(0, 3, 1, 2).float().div(127.5).sub(1.0)


def _crops(pool: torch.Tensor) -> torch.Tensor:
    rows, columns = (
        torch.randint(0, (side - CROP) // 8 + 1, (BATCH,)) * 8 for side in pool.shape[1:3]
    )
    chosen = torch.randint(0, len(pool), (BATCH,))
    crops = [
        pool[i, y : y + CROP, x : x + CROP]
        for i, y, x in zip(chosen.tolist(), rows.tolist(), columns.tolist(), strict=True)
    ]
    return to_signed(torch.stack(crops)).contiguous(memory_format=torch.channels_last)
