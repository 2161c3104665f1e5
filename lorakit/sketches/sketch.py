"""A weight sketch: the values of a model at fixed places of each of its matrices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy


@dataclass(frozen=True)
class Sketch:
    """What a model's weights, or an adapter's delta, are at the places of `lorakit.sketches.positions`.

    It is linear: sketch(base + s * delta) = sketch(base) + s * sketch(delta), but for rounding.
    `values` maps canonical module names to float32 arrays (n,), all finite, in the order of the
    positions. `dtype` is the safetensors code that most of the values were stored in, which tells how
    they were rounded. `blocks` is the number of transformer blocks: of a checkpoint the highest index
    plus one, of an adapter the size of the model it was made for. `undecided` names the modules that
    are there but whose values could not be taken.
    """

    values: Mapping[str, numpy.ndarray]
    dtype: str
    blocks: int
    undecided: tuple[str, ...] = ()
