"""Sketches of the family's models, sampled from whole matrices without a file between."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from lorakit.sketches.positions import positions
from lorakit.sketches.sketch import Sketch
from lorakit.tracing.known import Known
from tests.tracing import family as f

# What the family's models are called in the table of known models, and what they may have been made from.
ANCESTORS: Mapping[str, tuple[str, ...]] = {
    "anima": (),
    "animayume": ("anima",),
    "rdbt": ("anima",),
}


def sampled(weights: f.Weights, dtype: str = "BF16", blocks: int = f.BLOCKS) -> Sketch:
    """The sketch of weights, or of a change, that are stored as `dtype`."""
    return Sketch({name: _taken(name, matrix) for name, matrix in weights.items()}, dtype, blocks)


def known(name: str, sketch: Sketch, model: str | None = None, parent: str | None = None) -> Known:
    """A checkpoint that may be recognised, under a content that is its name."""
    return Known(name, name, "weights", sketch, model, parent)


def known_adapter(name: str, change: f.Weights, model: str | None = None) -> Known:
    """An adapter that may be recognised."""
    return Known(name, name, "change", sampled(change), model)


def _taken(name: str, matrix: torch.Tensor) -> np.ndarray:
    where = positions(name, (matrix.shape[0], matrix.shape[1]))
    columns = np.array(where.columns)[:, None] + np.arange(where.length)
    found: np.ndarray = matrix.numpy()[np.array(where.rows)[:, None], columns]
    return found.ravel().astype(np.float32)
