"""What a person asks of one picture. Light: the command line builds this before torch is imported."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from lorakit.errors import BadUsage

SIDE_STEP = 16
"""The VAE shrinks a side eightfold and the transformer reads patches of 2 × 2 latents."""

LONGEST_SIDE = 2048
"""diffusers lays out rotary positions for 128 patches a side, and no more."""

LARGEST_SEED = 2**63 - 1

MOST_STEPS = 1000
"""The times a flow model is trained at; more steps would only repeat them."""

LARGEST_CFG = 100.0
"""Far beyond any picture, and far below what overflows."""

LONGEST_PROMPT = 20_000
"""Characters; the text encoder reads far fewer, so that more is a mistake."""

USUAL_DENOISE = 0.75
"""A1111's, for a starting image with which no denoising strength was named."""


@dataclass(frozen=True)
class RenderSettings:
    """One picture: prompt, size in pixels, steps, guidance, seed, the flow shift and a starting image.

    CFG 1 means no guidance: the negative prompt is then not used and a step costs one pass. With an
    `image`, the first steps are left out and the picture starts from the image with the noise of the
    first step that is run; `denoise` (A1111's denoising strength) is the share of the steps that are
    run, at least one. At 1 nothing of the image is left.

    Raises:
        BadUsage: a value is out of range; the message names it and the hint says what would do.
    """

    prompt: str
    negative_prompt: str = ""
    width: int = 1024
    height: int = 1024
    steps: int = 20
    cfg: float = 1.0
    seed: int = 0
    shift: float = 3.0
    image: Path | None = None
    denoise: float = 1.0

    def __post_init__(self) -> None:
        for name, text in (("prompt", self.prompt), ("negative prompt", self.negative_prompt)):
            if not text.isascii() and any("\ud800" <= sign <= "\udfff" for sign in text):
                raise BadUsage(f"The {name} is not valid text.", hint="Type it in UTF-8.")
            if len(text) > LONGEST_PROMPT:
                raise BadUsage(
                    f"The {name} has {len(text)} characters.",
                    hint=f"Give {LONGEST_PROMPT} at most.",
                )
        _check_side("width", self.width)
        _check_side("height", self.height)
        if self.steps < 1:
            raise BadUsage(
                f"{self.steps} steps make no picture.",
                hint="Give at least 1 step; RDBT takes 16 to 24, or 8 to 12 with a turbo adapter.",
            )
        if self.steps > MOST_STEPS:
            raise BadUsage(
                f"{self.steps} steps are more than any picture needs.",
                hint=f"Give {MOST_STEPS} at most; RDBT takes 16 to 24.",
            )
        if not 1.0 <= self.cfg <= LARGEST_CFG:
            raise BadUsage(
                f"CFG {self.cfg} is out of range.",
                hint="Give 1 for no guidance, or more; RDBT takes 1 to 4.",
            )
        if not (math.isfinite(self.shift) and self.shift > 0.0):
            raise BadUsage(
                f"Flow shift {self.shift} is out of range.",
                hint="Give a number above 0; Anima uses 3.",
            )
        if not 0 <= self.seed <= LARGEST_SEED:
            raise BadUsage(
                f"Seed {self.seed} is out of range.", hint=f"Give a seed from 0 to {LARGEST_SEED}."
            )
        if not 0.0 < self.denoise <= 1.0:
            raise BadUsage(
                f"A denoising strength of {self.denoise} is out of range.",
                hint="Give a number above 0, which keeps the image, up to 1, which keeps nothing of it.",
            )
        if self.image is None and self.denoise < 1.0:
            raise BadUsage(
                f"A denoising strength of {self.denoise} needs an image to start from.",
                hint="Name the image, or leave the denoising strength out.",
            )

    @property
    def first_step(self) -> int:
        """The first of the `steps` that is run, counted from 0, as diffusers rounds it."""
        return int(max(self.steps - self.steps * self.denoise, 0))

    @property
    def steps_run(self) -> int:
        """How many of the `steps` are run: all of them without a starting image."""
        return self.steps - self.first_step

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON takes them; the image is the path it was named by."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**values, "image": None if self.image is None else str(self.image)}


def _check_side(name: str, side: int) -> None:
    if SIDE_STEP <= side <= LONGEST_SIDE and side % SIDE_STEP == 0:
        return
    nearest = min(max(round(side / SIDE_STEP) * SIDE_STEP, SIDE_STEP), LONGEST_SIDE)
    raise BadUsage(
        f"A {name} of {side} pixels cannot be rendered.",
        hint=f"Give a multiple of {SIDE_STEP} from {SIDE_STEP} to {LONGEST_SIDE}; "
        f"the nearest is {nearest}.",
    )
