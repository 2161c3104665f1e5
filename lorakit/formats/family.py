"""Whether an adapter was made for Anima or for Cosmos-Predict2 (2B), from which Anima was made.

The layers of both transformers have the same names and widths, so an adapter of either fits the other, and
only what Anima added, or the header, tells them apart.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from lorakit.formats import anima

ANIMA = "Anima"
COSMOS = "Cosmos-Predict2 (2B)"
_BLOCKS = 28
_WIDTH = 2048
# Fields in which trainers name the model, those first that name nothing else.
_FIELDS = (
    "modelspec.architecture",
    "ss_base_model_version",
    "modelspec.implementation",
    "ss_network_module",
    "ss_sd_model_name",
    "ot_config",
    "training_info",
)
# Not Animagine, AnimateDiff, or a text about animation; and no model of 14 billion parameters.
_NAMES = (
    (ANIMA, re.compile(r"anima(?!gin|te|ti|l)|rdbt", re.IGNORECASE)),
    (COSMOS, re.compile(r"cosmos", re.IGNORECASE)),
)
_LONGEST = 60


@dataclass(frozen=True)
class FamilyTold:
    """The model that an adapter of Anima's layers was made for, None where nothing tells; and what told it."""

    name: str | None
    how: str

    @property
    def note(self) -> str | None:
        """What to know before using it with Anima; None where nothing speaks against that."""
        if self.name != COSMOS:
            return None
        return (
            f"Made for {COSMOS}, {self.how}. Its layers are called and shaped as Anima's: it fits, but was "
            "not trained on Anima."
        )


def family_told(
    components: Collection[str],
    blocks: Collection[int],
    width: int | None,
    header: Mapping[str, str],
) -> FamilyTold:
    """What tells Anima from Cosmos-Predict2 (2B), for an adapter of their layers.

    `components` and `blocks` are those it touches, `width` the inputs of its attention where they are known.
    """
    own = {"llm_adapter": "text adapter", "text_encoder": "text encoder"}
    for component, called in own.items():
        if component in components:
            return FamilyTold(ANIMA, f"it changes Anima's {called}")
    if max(blocks, default=0) >= _BLOCKS:
        return FamilyTold(ANIMA, f"it has more blocks than the {_BLOCKS} of {COSMOS}")
    for field in _FIELDS:
        text = header.get(field, "")
        for name, pattern in _NAMES:
            if pattern.search(text):
                said = f": {text}" if len(text) <= _LONGEST else ""
                return FamilyTold(name, f"by its header, {field}{said}")
    if width is not None and width != _WIDTH:
        return FamilyTold(ANIMA, "by the names of its layers")
    return FamilyTold(
        None, f"its layers are those of Anima and of {COSMOS}, and its header names neither"
    )


def stream_width(shapes: Mapping[str, Sequence[int | None] | None]) -> int | None:
    """The width of the transformer, from the shapes (out, in) of modules by name, where one tells it."""
    for name, shape in shapes.items():
        reads = name.endswith(("self_attn.q_proj", "self_attn.k_proj", "mlp.layer1"))
        if reads and anima.block_of(name) is not None and shape is not None and len(shape) > 1:
            return shape[1]
    return None
