"""Which other model an adapter was made for, told by names and widths from a table (`other_models.toml`).

An adapter whose names are not in the table, or whose widths are none that was published, is not guessed at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lorakit.formats import anima
from lorakit.formats.grouping import ModuleKeys
from lorakit.formats.header import TensorInfo
from lorakit.formats.layouts import split_key
from lorakit.formats.parts import algo_of
from lorakit.formats.shapes import WeightShape, weight_shape

_TABLE = Path(__file__).with_name("other_models.toml")
_DOTTED = (
    "base_model.model.",
    "model.diffusion_model.",
    "diffusion_model.",
    "transformer.",
    "unet.",
    "dit.",
    "text_encoder.",
    "text_encoder_2.",
    "text_encoder_3.",
)
_FLAT = (
    "lora_unet_",
    "lora_transformer_",
    "lora_prior_unet_",
    "lora_te1_",
    "lora_te2_",
    "lora_te3_",
    "lora_te_",
    "lycoris_",
)
# Far above any real name.
_MAX_NAME = 300
# Anima's own, of every number of blocks.
_WIDTH, _CONTEXT = 2048, 1024
# Layers that tell the width by their inputs, and by their outputs.
_READS_STREAM = (
    *(f"self_attn.{x}_proj" for x in "qkv"),
    "cross_attn.q_proj",
    "mlp.layer1",
)
_WRITES_STREAM = ("self_attn.output_proj", "cross_attn.output_proj", "mlp.layer2")
_READS_CONTEXT = ("cross_attn.k_proj", "cross_attn.v_proj")


@dataclass(frozen=True)
class OtherModel:
    """A model that is not Anima, and the layer that tells: as the file spells it, with its inputs."""

    name: str
    layer: str
    inputs: int | None = None

    @property
    def sentence(self) -> str:
        """What to tell a person."""
        wide = f" of {self.inputs} inputs" if self.inputs else ""
        return f"An adapter for {self.name}, not for Anima: it changes {self.layer}{wide}."


@dataclass(frozen=True)
class _Layer:
    spelt: str
    flat: str
    shape: WeightShape | None

    @property
    def inputs(self) -> int | None:
        return self.shape[1] if self.shape is not None and len(self.shape) > 1 else None


@dataclass(frozen=True)
class _Model:
    name: str
    names: re.Pattern[str]
    inputs: frozenset[int]

    def fits(self, layer: _Layer) -> bool:
        return (not self.inputs or layer.inputs in self.inputs) and bool(
            self.names.fullmatch(layer.flat)
        )


@dataclass(frozen=True)
class _Twin:
    name: str
    width: int
    context: int | None = None


def other_model(tensors: Mapping[str, TensorInfo], keys: Iterable[str]) -> OtherModel | None:
    """The other model whose layers `keys` of a file name; None where no entry of the table fits."""
    layers = _layers(tensors, keys)
    for model in _models():
        for layer in layers:
            if model.fits(layer):
                return OtherModel(model.name, layer.spelt, layer.inputs if model.inputs else None)
    return None


def twin_model(modules: Sequence[ModuleKeys]) -> OtherModel | None:
    """The other model whose layers bear Anima's names and have widths that no Anima model has."""
    width = _dimension(modules, _READS_STREAM, 1) or _dimension(modules, _WRITES_STREAM, 0)
    context = _dimension(modules, _READS_CONTEXT, 1)
    # The published sizes of Anima need no look into the table.
    if (width is None or width[1] == _WIDTH) and (context is None or context[1] == _CONTEXT):
        return None
    for twin in _twins():
        found = width if twin.context is None else context
        wanted = twin.width if twin.context is None else twin.context
        if found is not None and found[1] == wanted and (width is None or width[1] == twin.width):
            return OtherModel(twin.name, *found)
    return None


def _dimension(
    modules: Sequence[ModuleKeys], names: tuple[str, ...], axis: int
) -> tuple[str, int] | None:
    """The first layer of a block among `names` whose shape is told, with that side of it."""
    for module in modules:
        if anima.block_of(module.name) is None or not module.name.endswith(names):
            continue
        shape = module.shape
        side = shape[axis] if shape is not None and len(shape) > axis else None
        if side is not None:
            return module.path, side
    return None


def _layers(tensors: Mapping[str, TensorInfo], keys: Iterable[str]) -> list[_Layer]:
    parts: dict[str, dict[str, tuple[int, ...]]] = {}
    for key in keys:
        if len(key) > _MAX_NAME:
            continue
        # diffusers' first LoRAs had a processor between the attention and its layer.
        plain = key.replace(".processor.", ".").replace("_lora.", ".lora.").replace(".default", "")
        found = split_key(plain)
        if found is not None:
            parts.setdefault(found[0], {})[found[1]] = tensors[key].shape
    layers = []
    for path, shapes in parts.items():
        algo = algo_of(shapes)
        if algo is not None:
            layers.append(_Layer(path, _flat(path), weight_shape(algo.name, shapes)))
    return layers


def _flat(path: str) -> str:
    """The name of a layer without its prefix, dots as underscores."""
    for prefix in _DOTTED:
        path = path.removeprefix(prefix)
    for prefix in _FLAT:
        if path.startswith(prefix):
            path = path.removeprefix(prefix)
            break
    return path.replace(".", "_")


@cache
def _models() -> tuple[_Model, ...]:
    return tuple(
        _Model(one["name"], re.compile("|".join(one["names"])), frozenset(one.get("inputs", ())))
        for one in _document()["model"]
    )


@cache
def _twins() -> tuple[_Twin, ...]:
    return tuple(_Twin(**one) for one in _document()["twin"])


@cache
def _document() -> dict[str, list[dict[str, Any]]]:
    # Most files need nothing of it.
    import tomllib

    return tomllib.loads(_TABLE.read_text("utf-8"))
