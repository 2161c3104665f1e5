"""What is inside a base checkpoint: prefix, blocks, components, from its headers alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lorakit.errors import BadFile
from lorakit.formats import anima
from lorakit.formats.header import Header, TensorInfo
from lorakit.formats.shards import Shards, Stored, read_shards, shards_of

# Longest first, as seen in published files; "" is a bare file (RDBT's own releases).
PREFIXES = ("model.diffusion_model.", "diffusion_model.", "net.", "")

# The pair of keys that only Anima has: a Cosmos trunk with a text adapter inside.
_TRUNK_MARK = "blocks.0.mlp.layer1.weight"
_ADAPTER_MARK = "llm_adapter.blocks.0.cross_attn.q_proj.weight"
# The same layer in diffusers' words, whose transformer is a model of its own and has no prefix.
_DIFFUSERS_MARK = "transformer_blocks.0.ff.net.0.proj.weight"
_DIFFUSERS_PREFIXES = ("transformer.", "")
_CONDITIONER = "text_conditioner."


@dataclass(frozen=True)
class Checkpoint:
    """A base: a file, shards, or a folder. `tensors` are all that it holds, by key.

    A key is the file's own, but for models in diffusers' words, which go by the original's: so each is
    `prefix` and a canonical name. `weights` are those of the transformer and its text adapter by canonical
    tensor name (`blocks.0.mlp.layer1.weight`), `extra` the keys of all others, such as a VAE's.
    """

    path: Path
    tensors: Mapping[str, Stored]
    prefix: str
    blocks: int
    weights: Mapping[str, TensorInfo]
    extra: tuple[str, ...]

    @property
    def size(self) -> int:
        """The bytes of all tensors."""
        return sum(stored.info.end - stored.info.start for stored in self.tensors.values())

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that hold tensors."""
        return tuple(dict.fromkeys(stored.path for stored in self.tensors.values()))

    @property
    def has_llm_adapter(self) -> bool:
        """Whether the text adapter is part of the file."""
        return _ADAPTER_MARK in self.weights

    @property
    def dtype(self) -> str:
        """The dtype that most of the transformer's bytes are stored in."""
        sizes: Counter[str] = Counter()
        for info in self.weights.values():
            sizes[info.dtype] += info.end - info.start
        return sizes.most_common(1)[0][0]

    def modules(self) -> dict[str, TensorInfo]:
        """The weight tensor of every module that an adapter could patch, by canonical module name."""
        return {
            name.removesuffix(".weight"): info
            for name, info in self.weights.items()
            if name.endswith(".weight")
        }


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Recognise the Anima checkpoint at `path`, without reading a tensor.

    `path` is a file, one of its shards, their index, or a folder of them. Raises `BadFile` for what is not
    valid safetensors, is no Anima checkpoint, lacks a shard, or mixes prefixes.
    """
    path = Path(path)
    return _checkpoint(path, in_original_names(read_shards(path)))


def parse_checkpoint(header: Header) -> Checkpoint:
    """As `read_checkpoint`, of one file whose header has been read, in the original's names."""
    return _checkpoint(header.path, shards_of(header).tensors)


def in_original_names(shards: Shards) -> Mapping[str, Stored]:
    """The tensors of a model, those in diffusers' words by the original's names, without a prefix."""
    tensors = shards.tensors
    found = [prefix for prefix in _DIFFUSERS_PREFIXES if prefix + _DIFFUSERS_MARK in tensors]
    if not found or any(prefix + _TRUNK_MARK in tensors for prefix in PREFIXES):
        return tensors
    renamed: dict[str, Stored] = {}
    for key, stored in tensors.items():
        name = _original_name(key, found[0])
        if name in renamed:
            raise BadFile(f"{shards.path} holds {name!r} twice, under two names.")
        renamed[name] = stored
    return renamed


def _original_name(key: str, prefix: str) -> str:
    if key.startswith(_CONDITIONER):
        return f"llm_adapter.{key.removeprefix(_CONDITIONER)}"
    # What follows a layer's name may have dots itself.
    name = key.removeprefix(prefix)
    end = len(name)
    while (end := name.rfind(".", 0, end)) > 0:
        if module := anima.from_diffusers(name[:end]):
            return module + name[end:]
    return key


def _checkpoint(path: Path, tensors: Mapping[str, Stored]) -> Checkpoint:
    prefix = find_prefix(tensors, path)
    weights: dict[str, TensorInfo] = {}
    extra: list[str] = []
    for key, stored in tensors.items():
        name = key.removeprefix(prefix)
        known = key.startswith(prefix) and anima.is_module(name.rpartition(".")[0])
        if known:
            weights[name] = stored.info
        else:
            extra.append(key)
    blocks = _count_blocks(weights, path)
    return Checkpoint(path, tensors, prefix, blocks, weights, tuple(extra))


def find_prefix(keys: Mapping[str, object], path: Path) -> str:
    """The prefix before `blocks.0...` in a checkpoint's keys. Raises `BadFile`."""
    found = [prefix for prefix in PREFIXES if prefix + _TRUNK_MARK in keys]
    if not found:
        raise BadFile(
            f"{path} is not an Anima checkpoint: it has no {_TRUNK_MARK}.",
            hint="A base is the diffusion model, such as RDBT's or anima-base-v1.0.safetensors: its file, "
            "its shards, or a folder of diffusers'. For a LoRA, use `lorakit add`.",
        )
    if len(found) > 1:
        names = " and ".join(repr(prefix) for prefix in found)
        raise BadFile(f"{path} holds the model twice, under the prefixes {names}.")
    return found[0]


def _count_blocks(weights: Mapping[str, TensorInfo], path: Path) -> int:
    indices = {anima.block_of(name) for name in weights} - {None}
    count = len(indices)
    if indices != set(range(count)):
        absent = min(set(range(count + 1)) - indices)
        raise BadFile(f"{path} is incomplete: block {absent} is missing.")
    return count
