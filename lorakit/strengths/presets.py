"""Factors for all blocks at once, as LoRA-block-weight's `lbw=` gives them: a vector or a preset.

A vector has one number a block, of a model of 28, 40 or 52 blocks, or one more, which then stands
first and is BASE: the factor of everything outside the blocks (text adapter, text encoder, root).

The blocks of Anima are one uniform stack, and nobody has shown what each of them does. So the presets
only name places and kinds of module; what they do to a style is for the eye to tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from lorakit.counting import counted_rows
from lorakit.errors import BadUsage
from lorakit.formats import anima
from lorakit.formats.variants import SIZES

_SIZE_WORDS = ", ".join(map(str, SIZES[:-1])) + f" or {SIZES[-1]}"


@dataclass(frozen=True)
class Preset:
    """Named factors: of the blocks' kinds, of the thirds of the blocks, and of what lies outside.

    Kinds that are not named have 1. Block i of n lies in the first third when 3i < n and in the last
    when 3i >= 2n.
    """

    name: str
    description: str
    kinds: Mapping[anima.Kind, float] = field(default_factory=lambda: MappingProxyType({}))
    thirds: tuple[float, float, float] = (1.0, 1.0, 1.0)
    outside: float = 1.0

    def factor(self, module: str, model_blocks: int) -> float:
        """The factor of a module, in an adapter for a model of `model_blocks` blocks."""
        block = anima.block_of(module)
        if block is None:
            return self.outside
        third = min(3 * block // model_blocks, 2)
        return self.thirds[third] * self.kinds.get(anima.kind_of(module), 1.0)

    def to_dict(self) -> dict[str, object]:
        """The preset as JSON takes it."""
        return {
            "name": self.name,
            "description": self.description,
            "kinds": {kind: self.kinds.get(kind, 1.0) for kind in anima.KINDS},
            "thirds": list(self.thirds),
            "outside": self.outside,
        }


def _only(*kept: anima.Kind) -> Mapping[anima.Kind, float]:
    return MappingProxyType({kind: float(kind in kept) for kind in anima.KINDS})


def _without(left_out: anima.Kind) -> Mapping[anima.Kind, float]:
    return MappingProxyType({left_out: 0.0})


_TABLE = (
    Preset("ALL", "Everything, as if no preset were given."),
    Preset("NONE", "Nothing, outside the blocks neither.", thirds=(0.0, 0.0, 0.0), outside=0.0),
    Preset("EARLY", "Of the blocks, the first third only.", thirds=(1.0, 0.0, 0.0)),
    Preset("MIDDLE", "Of the blocks, the middle third only.", thirds=(0.0, 1.0, 0.0)),
    Preset("LATE", "Of the blocks, the last third only.", thirds=(0.0, 0.0, 1.0)),
    Preset("NO_EARLY", "All but the first third of the blocks.", thirds=(0.0, 1.0, 1.0)),
    Preset("NO_MIDDLE", "All but the middle third of the blocks.", thirds=(1.0, 0.0, 1.0)),
    Preset("NO_LATE", "All but the last third of the blocks.", thirds=(1.0, 1.0, 0.0)),
    Preset("ATTN", "In the blocks, both attentions only.", _only("self_attn", "cross_attn")),
    Preset("SELF", "In the blocks, self-attention only.", _only("self_attn")),
    Preset("CROSS", "In the blocks, cross-attention only: where the prompt enters.", _only("cross_attn")),
    Preset("MLP", "In the blocks, the MLPs only.", _only("mlp")),
    Preset("ADALN", "In the blocks, the AdaLN modulation only: where the noise level enters.", _only("adaln")),
    Preset("NO_SELF", "All but the blocks' self-attention.", _without("self_attn")),
    Preset("NO_CROSS", "All but the blocks' cross-attention.", _without("cross_attn")),
    Preset("NO_MLP", "All but the blocks' MLPs.", _without("mlp")),
    Preset("NO_ADALN", "All but the blocks' AdaLN modulation.", _without("adaln")),
    Preset("NO_OUTSIDE", "The blocks only: no text adapter, text encoder or root.", outside=0.0),
)  # fmt: skip
PRESETS: Mapping[str, Preset] = MappingProxyType({preset.name: preset for preset in _TABLE})

Lbw = str | tuple[float, ...]


def checked_lbw(lbw: Lbw) -> Lbw:
    """A preset's name in capitals, or the vector. Raises `BadUsage` for neither."""
    if isinstance(lbw, str):
        if lbw.upper() not in PRESETS:
            raise BadUsage(f"There is no preset {lbw!r}.", hint=f"There are: {', '.join(PRESETS)}.")
        return lbw.upper()
    if vector_blocks(lbw) not in SIZES:
        raise BadUsage(
            f"A vector of {len(lbw)} numbers fits no Anima model.",
            hint=f"Give one number a block, {_SIZE_WORDS} in all, or one more with BASE first.",
        )
    return lbw


def vector_blocks(vector: tuple[float, ...]) -> int:
    """How many blocks a vector is for, without BASE."""
    return len(vector) if len(vector) in SIZES else len(vector) - 1


def lbw_factor(lbw: Lbw, module: str, model_blocks: int) -> float:
    """The factor of a module. Raises `BadUsage` when the vector is for another size of model."""
    if isinstance(lbw, str):
        return PRESETS[lbw].factor(module, model_blocks)
    block, blocks = anima.block_of(module), vector_blocks(lbw)
    if block is None:
        return lbw[0] if len(lbw) > blocks else 1.0
    if blocks != model_blocks:
        raise BadUsage(
            f"The lbw vector is for {counted_rows(blocks, 'block')}, and the adapter was made for {model_blocks}.",
            hint="A vector counts the blocks of the adapter's own model, whatever the base.",
        )
    return lbw[block - blocks]
