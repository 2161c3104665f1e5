"""Whether the keys of a file that bear Anima's names are Anima's, or another model's with the same names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lorakit.formats import anima
from lorakit.formats.grouping import KeyGroups, ModuleKeys
from lorakit.formats.header import Header
from lorakit.formats.layouts import parse_key
from lorakit.formats.other_models import OtherModel, other_model

# Anima's own, of every number of blocks.
_WIDTH, _CONTEXT, _TEXT_WIDTH = 2048, 1024, 1024
_BRANCHES = ("self_attn", "cross_attn", "mlp")
# Layers that tell the width by their inputs, by their outputs, and by three times as many outputs.
_READS_STREAM = (
    *(f"self_attn.{x}_proj" for x in "qkv"),
    "cross_attn.q_proj",
    "mlp.layer1",
    *(f"adaln_modulation_{branch}.1" for branch in _BRANCHES),
    "final_layer.linear",
)
_WRITES_STREAM = ("self_attn.output_proj", "cross_attn.output_proj", "mlp.layer2")
_MODULATES_STREAM = tuple(f"adaln_modulation_{branch}.2" for branch in _BRANCHES)
_READS_CONTEXT = ("cross_attn.k_proj", "cross_attn.v_proj")
_READS_TEXT = (*(f"self_attn.{x}_proj" for x in "qkv"), "mlp.gate_proj", "mlp.up_proj")
_WRITES_TEXT = ("self_attn.o_proj", "mlp.down_proj")


@dataclass(frozen=True)
class ToldApart:
    """The keys by module, of none where they are another model's.

    `other` is that model, where it has a name; `look_alikes` are those that have the same layers as the adapter.
    """

    groups: KeyGroups
    other: OtherModel | None = None
    look_alikes: tuple[str, ...] = ()


def tell_apart(header: Header, groups: KeyGroups) -> ToldApart:
    """`groups` as they are where they are Anima's: by name, and by width where another model has it."""
    width, context = _stream_width(groups.modules), _context_width(groups.modules)
    text = _text_width(groups.modules)
    foreign = (
        width not in (None, _WIDTH)
        or context not in (None, _CONTEXT)
        or text not in (None, _TEXT_WIDTH)
    )
    # Anima's cross-attention reads another width than that of any model with its names and its stream.
    alike = width is not None and context is None
    if groups.modules and not groups.unused_keys and not foreign and not alike:
        return ToldApart(groups)
    other, own = other_model(header.tensors), _own_layers(groups)
    if other is not None and (
        other.layers > own or (other.layers == own and (foreign or not groups.modules))
    ):
        return ToldApart(_none_of(header), other)
    if _strange(header, groups):
        return ToldApart(_none_of(header))
    same = other is not None and other.layers == own > 0
    return ToldApart(groups, look_alikes=_beside_cosmos(other.names) if other and same else ())


def _beside_cosmos(names: Sequence[str]) -> tuple[str, ...]:
    """`names` without Cosmos-Predict, whose layers are Anima's in every adapter: family.py tells of it."""
    return tuple(name for name in names if not name.startswith("Cosmos-Predict"))


def _own_layers(groups: KeyGroups) -> int:
    """How many layers of the file bear names of Anima's transformer or text adapter, also twice the same."""
    named = {m.path: m.name for m in groups.modules}
    again = (parse_key(key) for key in groups.unused_keys)
    named.update((parsed.path, parsed.module) for parsed in again if parsed is not None)
    return sum(anima.component_of(name) != "text_encoder" for name in named.values())


def _none_of(header: Header) -> KeyGroups:
    return KeyGroups((), (), tuple(header.tensors), ())


def _strange(header: Header, groups: KeyGroups) -> bool:
    """Whether most keys are no known model's, and those that are Anima's are of layers that many models have."""
    if 2 * len(groups.unused_keys) <= len(header.tensors):
        return False
    return all(
        anima.component_of(m.name) == "dit" and anima.block_of(m.name) is None
        for m in groups.modules
    )


def _stream_width(modules: Sequence[ModuleKeys]) -> int | None:
    own = [m for m in modules if m.name.startswith(("blocks.", "final_layer."))]
    width = _side(own, _READS_STREAM, 1) or _side(own, _WRITES_STREAM, 0)
    if width is None and (triple := _side(own, _MODULATES_STREAM, 0)) is not None:
        return triple // 3
    return width


def _context_width(modules: Sequence[ModuleKeys]) -> int | None:
    return _side((m for m in modules if m.name.startswith("blocks.")), _READS_CONTEXT, 1)


def _text_width(modules: Sequence[ModuleKeys]) -> int | None:
    own = [m for m in modules if m.name.startswith("text_encoder.layers.")]
    return _side(own, _READS_TEXT, 1) or _side(own, _WRITES_TEXT, 0)


def _side(modules: Iterable[ModuleKeys], names: tuple[str, ...], axis: int) -> int | None:
    """That side of the first layer among `names` whose shape is told."""
    for module in modules:
        if not module.name.endswith(names):
            continue
        shape = module.shape
        side = shape[axis] if shape is not None and len(shape) > axis else None
        if side is not None:
            return side
    return None
