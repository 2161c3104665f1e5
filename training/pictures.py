"""Pools of drawn scenes, as the stages of the training want them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from training.scenes import Scene, draw, draw_lots, prompt_of
from training.styles import draw_any

if TYPE_CHECKING:
    from PIL.Image import Image


def scenes(count: int, seed: int) -> list[Scene]:
    """`count` scenes at random."""
    lots = random.Random(seed)
    return [draw_lots(lots) for _ in range(count)]


def stack(pictures: Sequence[Image]) -> torch.Tensor:
    """Pictures as bytes, [n, height, width, 3]."""
    return torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures]))


def drawn(chosen: Sequence[Scene], how: Callable[[Scene], Image] = draw) -> torch.Tensor:
    """Each scene drawn plain or in a style."""
    return stack([how(scene) for scene in chosen])


def mixed(count: int, seed: int) -> torch.Tensor:
    """`count` scenes, a third of them plain and the others in one of the styles."""
    lots = random.Random(seed)
    return stack([draw_any(draw_lots(lots), lots) for _ in range(count)])


def prompts(chosen: Sequence[Scene], seed: int) -> list[str]:
    """A prompt for each scene, worded at random."""
    lots = random.Random(seed)
    return [prompt_of(scene, lots) for scene in chosen]
