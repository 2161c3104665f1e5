"""Which tensors of a checkpoint are a model's matrices, whatever the file calls them.

The prefix is not looked up but found: it is what stands before a layer that only this model has.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from lorakit.errors import BadFile
from lorakit.formats import anima
from lorakit.formats.fused_names import read_fused, split_fused
from lorakit.formats.shards import Shards, Stored

# A layer of the first block, in the original's and in diffusers' words, up to its weight. Packed formats
# call that qweight, or put more behind it.
_MARK = re.compile(
    r"(?P<prefix>(?:.*\.)?)(?:blocks\.0\.mlp\.layer1|transformer_blocks\.0\.ff\.net\.0\.proj)"
    r"\.q?weight(?:[._].*)?"
)
_WAY_IN = re.compile(
    r"(?P<prefix>(?:.*\.)?)(?:x_embedder\.proj\.1|patch_embed\.proj)\.q?weight(?:[._].*)?"
)
_TEXT_MARK = re.compile(
    r"(?P<prefix>(?:.*\.)?(?:llm_adapter|text_conditioner)\.)blocks\.0\.cross_attn\.q_proj"
    r"\.q?weight(?:[._].*)?"
)
_CONDITIONER = "text_conditioner."
_ADAPTER = "llm_adapter."

# A tensor of the model: its layer as the file calls it, the layer's own name, and what follows it.
_Part = tuple[str, str, str, Stored]


@dataclass(frozen=True, slots=True)
class Matrix:
    """A module's weight as it is stored.

    `shape` is the module's own (out, in); its first row is row `first_row` of the stored tensor, which
    may join several modules. `beside` are the other tensors of the layer by what follows its name
    (`weight_scale`), `layer` is what the file calls the layer.
    """

    weight: Stored
    shape: tuple[int, int]
    first_row: int
    beside: Mapping[str, Stored]
    layer: str


def find_matrices(shards: Shards) -> dict[str, Matrix | None]:
    """The matrices of the transformer and its text adapter by canonical module name.

    None stands for one that is there in a form that is no plain matrix. Raises `BadFile` for what is no
    Anima checkpoint, or holds the model twice.
    """
    layers: dict[str, dict[str, Stored]] = defaultdict(dict)
    called: dict[str, str] = {}
    for layer, name, tail, stored in _parts(shards):
        if tail in layers[name]:
            raise BadFile(
                f"{shards.path} holds the model twice: {name}.{tail} is there under two names.",
                hint="Name a file with one model.",
            )
        layers[name][tail] = stored
        called[name] = layer
    found: dict[str, Matrix | None] = {}
    for name, parts in layers.items():
        if not is_norm(name) and any(tail.startswith(("weight", "qweight")) for tail in parts):
            found |= _matrices(name, called[name], parts)
    return found


def find_vectors(shards: Shards) -> dict[str, Stored]:
    """The norms and biases of the model by canonical tensor name, `blocks.0.self_attn.q_norm.weight`.

    The biases of layers that join several modules are left out. Raises `BadFile` as `find_matrices` does.
    """
    return {
        f"{name}.{tail}": stored
        for _, name, tail, stored in _parts(shards)
        if (tail == "bias" or (tail == "weight" and is_norm(name))) and not split_fused(name)
    }


def find_unknown(shards: Shards) -> dict[str, tuple[str, Stored]]:
    """The tensors that neither `find_matrices` nor `find_vectors` gives, nor any that belongs to one of these.

    By their name without the model's prefix, with the key they have in the file. Raises `BadFile` as
    `find_matrices` does.
    """
    known = {
        f"{layer}.{tail}"
        for layer, name, tail, _ in _parts(shards)
        if not (tail == "bias" and split_fused(name))
    }
    prefix = _prefix(shards)
    return {
        key.removeprefix(prefix): (key, stored)
        for key, stored in shards.tensors.items()
        if key not in known
    }


def block_count(modules: Iterable[str]) -> int:
    """The highest index of a transformer block, plus one."""
    indices = (anima.block_of(module) for module in modules)
    return max((index + 1 for index in indices if index is not None), default=0)


def _parts(shards: Shards) -> Iterator[_Part]:
    """The tensors that belong to a layer of the model."""
    prefix = _prefix(shards)
    has_adapter = False
    for key, stored in shards.tensors.items():
        if key.startswith(prefix) and (part := _layer_of(key, prefix, "", stored)):
            has_adapter = has_adapter or part[1].startswith(_ADAPTER)
            yield part
    elsewhere = _prefixes(_TEXT_MARK, shards)
    if not has_adapter and len(elsewhere) == 1:
        (text_prefix,) = elsewhere
        for key, stored in shards.tensors.items():
            if key.startswith(text_prefix) and (
                part := _layer_of(key, text_prefix, _ADAPTER, stored)
            ):
                yield part


def _prefix(shards: Shards) -> str:
    found = _prefixes(_MARK, shards)
    if len(found) > 1:
        # A part built of the same blocks, such as a connector, has no way in for pictures.
        found = found & _prefixes(_WAY_IN, shards) or found
    if not found:
        raise BadFile(
            f"{shards.path} is not an Anima checkpoint: it has no blocks.0.mlp.layer1.weight.",
            hint="A checkpoint is the diffusion model, such as RDBT's or anima-base-v1.0.safetensors.",
        )
    if len(found) > 1:
        names = " and ".join(repr(prefix[:100]) for prefix in sorted(found)[:2])
        raise BadFile(
            f"{shards.path} holds the model more than once, under the prefixes {names}.",
            hint="Name a file with one model.",
        )
    return found.pop()


def _prefixes(mark: re.Pattern[str], shards: Shards) -> set[str]:
    return {match["prefix"] for key in shards.tensors if (match := mark.fullmatch(key))}


def _layer_of(key: str, prefix: str, stem: str, stored: Stored) -> _Part | None:
    """Where the name of a layer ends in a key, and what is left of it."""
    path = stem + key.removeprefix(prefix)
    end = len(path)
    while (end := path.rfind(".", 0, end)) > 0:
        name = _canonical(path[:end])
        if name is not None:
            tail = path[end + 1 :]
            return key.removesuffix(f".{tail}"), name, tail, stored
    return None


def _canonical(path: str) -> str | None:
    """The canonical name of a module, or the name of a layer that joins several."""
    if path.startswith(_CONDITIONER):
        path = _ADAPTER + path.removeprefix(_CONDITIONER)
    if anima.is_module(path):
        return None if anima.component_of(path) == "text_encoder" else path
    return anima.from_diffusers(path) or read_fused(path)


def is_norm(name: str) -> bool:
    """Whether a module is a norm, which has no matrix."""
    return "norm" in name.rpartition(".")[2]


def _matrices(name: str, layer: str, parts: Mapping[str, Stored]) -> dict[str, Matrix | None]:
    modules = split_fused(name) or (name,)
    weight = parts.get("weight")
    shape = () if weight is None else weight.info.shape
    flat = len(shape) >= 2 and all(size == 1 for size in shape[2:])
    if weight is None or not flat or 0 in shape or shape[0] % len(modules):
        return dict.fromkeys(modules)
    rows = shape[0] // len(modules)
    beside = {tail: stored for tail, stored in parts.items() if tail != "weight"}
    return {
        module: Matrix(weight, (rows, shape[1]), number * rows, beside, layer)
        for number, module in enumerate(modules)
    }
