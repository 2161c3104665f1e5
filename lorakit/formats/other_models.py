"""Which other model an adapter was made for, told by the names and widths of its layers (`other_models.toml`).

A model is named where the table has its layers and no other model of the table has as many of them; where
several have, all of them are. What contradicts a model in one width or block was not made for it, and what
nothing in the table explains is not guessed at.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from lorakit.formats.header import TensorInfo
from lorakit.formats.layer_names import Spelt, spelt
from lorakit.formats.layouts import split_key
from lorakit.formats.model_table import Place, Table, table
from lorakit.formats.parts import algo_of
from lorakit.formats.shapes import weight_shape

# Far above any real name.
_MAX_NAME = 300
# What trainers add of their own is left out of account up to this share of the layers.
_UNKNOWN = 0.1
# A stack that ends where a model's does tells nothing of a file that changes one block or two.
_STACK = 4
# The factor that reads a layer's inputs, as most files spell it, and what tells nothing of them.
_DOWN = (".lora_A.weight", ".lora_down.weight", ".lora.down.weight", "_lora.down.weight")
_SILENT = (".lora_B.weight", ".lora_up.weight", "lora.up.weight", ".alpha")


@dataclass(frozen=True)
class OtherModel:
    """The model that is not Anima, and the layer that tells: as the file spells it, with its inputs.

    `names` are several where the layers are those of several. `layers` counts the layers of the transformer that
    they have; 0 where only a text encoder tells.
    """

    names: tuple[str, ...]
    layer: str
    inputs: int | None = None
    layers: int = 0

    @property
    def name(self) -> str:
        """The name, or the names with "or" between them."""
        *rest, last = self.names
        return f"{', '.join(rest)} or {last}" if rest else last

    @property
    def sentence(self) -> str:
        """What to tell a person."""
        wide = f" of {self.inputs} inputs" if self.inputs else ""
        told = " (which of them is not certain)" if len(self.names) > 1 else ""
        return f"An adapter for {self.name}{told}, not for Anima: it changes {self.layer}{wide}."


@dataclass(slots=True)
class _Kind:
    """Layers of the same name and width, in `blocks`; `path` is the first of them as the file spells it."""

    name: Spelt
    path: str
    inputs: int | None
    blocks: list[tuple[int, ...]]
    models: frozenset[int] = frozenset()


def other_model(tensors: Mapping[str, TensorInfo]) -> OtherModel | None:
    """The other models that the layers of a file may be of; None where no model of the table has them."""
    kinds = _kinds(tensors)
    # What is done to a text encoder tells only where nothing else is changed.
    own = [kind for kind in kinds if not kind.name.is_text]
    known = table()
    models = _fitting(known, own or kinds)
    if not models:
        return None
    shared = [kind for kind in own or kinds if kind.models.issuperset(models)]
    told = min(shared or own or kinds, key=lambda kind: len(kind.models))
    names = tuple(dict.fromkeys(known.names[model] for model in models))
    return OtherModel(names, told.path, told.inputs, sum(len(kind.blocks) for kind in own))


def strange_layers(keys: Iterable[str]) -> str:
    """One or two of the layers that `keys` name, of different kinds where there are, to know a file by."""
    found: dict[str, str] = {}
    for key in keys:
        split = split_key(key)
        path = split[0] if split else key
        if len(path) <= _MAX_NAME:
            found.setdefault(re.sub(r"\d+", "", path), path)
        if len(found) == 2:
            break
    return " and ".join(found.values())


def _kinds(tensors: Mapping[str, TensorInfo]) -> list[_Kind]:
    found: dict[tuple[str, int | None], _Kind] = {}
    for path, inputs in _layers(tensors):
        name = spelt(path)
        kind = found.get((name.template, inputs))
        if kind is None:
            found[name.template, inputs] = _Kind(name, path, inputs, [name.blocks])
        else:
            kind.blocks.append(name.blocks)
    return list(found.values())


def _layers(tensors: Mapping[str, TensorInfo]) -> Iterator[tuple[str, int | None]]:
    """Every layer that is changed, once, with its inputs where the shapes tell them."""
    parts: dict[str, dict[str, tuple[int, ...]]] = {}
    told: set[str] = set()
    for key, info in tensors.items():
        if len(key) > _MAX_NAME or key.endswith(_SILENT):
            continue
        down = next((end for end in _DOWN if key.endswith(end)), None)
        if down is not None and len(info.shape) > 1:
            path = key.removesuffix(down)
            told.add(path)
            yield path, prod(info.shape[1:])
        elif (split := split_key(_plain(key))) is not None:
            parts.setdefault(split[0], {})[split[1]] = info.shape
    for path, shapes in parts.items():
        # A difference of the bias may stand beside the factors.
        if path in told:
            continue
        algo = algo_of(shapes)
        # Norms have no width of their own, and no trainer changes them alone.
        if algo is not None and algo.name != "norm":
            shape = weight_shape(algo.name, shapes)
            yield path, shape[1] if shape is not None and len(shape) > 1 else None


def _plain(key: str) -> str:
    """`key` without what PEFT and the first LoRAs of diffusers and XLabs put into it."""
    if "_lora" in key:
        key = key.replace("_lora.", ".lora.")
        key = key.replace("_lora1.", "1.lora.").replace("_lora2.", "2.lora.")
    return key.replace(".default.", ".").removesuffix(".default")


def _fitting(known: Table, kinds: Sequence[_Kind]) -> list[int]:
    """The models that have most of the layers and contradict none; no model where too many are unknown."""
    explained: Counter[int] = Counter()
    refuted: set[int] = set()
    for kind in kinds:
        places = known.places.get(kind.name.template, ())
        kind.models = frozenset(_holding(places, kind))
        refuted.update(place.model for place in places if place.model not in kind.models)
        for model in kind.models:
            explained[model] += len(kind.blocks)
    counts = {model: count for model, count in explained.items() if model not in refuted}
    most = max(counts.values(), default=0)
    if most < (1 - _UNKNOWN) * sum(len(kind.blocks) for kind in kinds):
        return []
    models = sorted(model for model, count in counts.items() if count == most)
    stacks = _stacks(kinds)
    return [model for model in models if _ends_with(known.stacks[model], stacks)] or models


def _holding(places: Sequence[Place], kind: _Kind) -> Iterator[int]:
    """The models that have every layer of a kind, most of which one line of the table has."""
    spans: dict[int, list[tuple[range, ...]]] = {}
    for place in places:
        if not (place.inputs and kind.inputs) or place.inputs == kind.inputs:
            spans.setdefault(place.model, []).append(place.spans)
    bounds = [(min(numbers), max(numbers)) for numbers in zip(*kind.blocks, strict=True)]
    for model, found in spans.items():
        whole = any(
            all(low in span and high in span for (low, high), span in zip(bounds, one, strict=True))
            for one in found
        )
        if whole or all(_within(blocks, found) for blocks in set(kind.blocks)):
            yield model


def _within(blocks: tuple[int, ...], spans: Sequence[tuple[range, ...]]) -> bool:
    return any(
        all(number in span for number, span in zip(blocks, one, strict=True)) for one in spans
    )


def _stacks(kinds: Sequence[_Kind]) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for kind in kinds:
        if kind.name.blocks:
            found.setdefault(kind.name.stack, set()).update(blocks[0] for blocks in kind.blocks)
    return found


def _ends_with(ends: Mapping[str, int], stacks: Mapping[str, set[int]]) -> bool:
    """Whether a file has every block of each stack that it touches, to the last that the model has."""
    return any(len(blocks) >= _STACK for blocks in stacks.values()) and all(
        blocks == set(range(ends.get(stack, 0))) for stack, blocks in stacks.items()
    )
