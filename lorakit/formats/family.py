"""Whether an adapter was made for Anima or for Cosmos-Predict2 (2B), from which Anima was made.

The layers of both transformers have the same names and widths, so an adapter of either fits the other, and
only what Anima added, or the header, tells them apart. So it is with what else has the layers of a file that
changes few kinds of them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from lorakit.formats import anima

ANIMA = "Anima"
COSMOS = "Cosmos-Predict2 or 2.5 (2B)"
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
        if self.name in (ANIMA, None):
            return None
        return (
            f"Made for {self.name}, {self.how}. Its layers are called and shaped as Anima's: it fits, but was "
            "not trained on Anima."
        )


def family_told(
    components: Collection[str],
    blocks: Collection[int],
    width: int | None,
    header: Mapping[str, str],
    look_alikes: Sequence[str] = (),
) -> FamilyTold:
    """What tells Anima from Cosmos-Predict2 (2B), for an adapter of their layers.

    `components` and `blocks` are those it touches, `width` the inputs of its attention where they are known,
    `look_alikes` the models beside Cosmos-Predict2 that have those layers.
    """
    own = {"llm_adapter": "text adapter", "text_encoder": "text encoder"}
    for component, called in own.items():
        if component in components:
            return FamilyTold(ANIMA, f"it changes Anima's {called}")
    if max(blocks, default=0) >= _BLOCKS:
        return FamilyTold(ANIMA, f"it has more blocks than the {_BLOCKS} of {COSMOS}")
    for field in _FIELDS:
        text = header.get(field, "")
        for name, pattern in (*_NAMES, *_patterns(look_alikes)):
            if pattern.search(text):
                said = f": {text}" if len(text) <= _LONGEST else ""
                return FamilyTold(name, f"by its header, {field}{said}")
    if width is not None and width != _WIDTH:
        return FamilyTold(ANIMA, "by the names of its layers")
    *rest, last = (ANIMA, COSMOS, *look_alikes)
    none = "none of them" if look_alikes else "neither"
    return FamilyTold(
        None, f"its layers are those of {', '.join(rest)} and {last}, and its header names {none}"
    )


def _patterns(names: Sequence[str]) -> list[tuple[str, re.Pattern[str]]]:
    """By the first part of each name, as LTX of LTX-Video (2B): headers say "ltxv", "ltx-video" or "LTX_0.9"."""
    return [(n, re.compile(re.escape(n.split("-")[0].split(" ")[0]), re.IGNORECASE)) for n in names]


def stream_width(shapes: Mapping[str, Sequence[int | None] | None]) -> int | None:
    """The width of the transformer, from the shapes (out, in) of modules by name, where one tells it."""
    for name, shape in shapes.items():
        reads = name.endswith(("self_attn.q_proj", "self_attn.k_proj", "mlp.layer1"))
        if reads and anima.block_of(name) is not None and shape is not None and len(shape) > 1:
            return shape[1]
    return None
