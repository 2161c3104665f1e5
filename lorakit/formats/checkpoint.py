"""What is inside a base checkpoint: prefix, blocks, components, from its header alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lorakit.errors import BadFile
from lorakit.formats import anima
from lorakit.formats.header import Header, TensorInfo, read_header

# Longest first, as seen in published files; "" is a bare file (RDBT's own releases).
PREFIXES = ("model.diffusion_model.", "diffusion_model.", "net.", "")

# The pair of keys that only Anima has: a Cosmos trunk with a text adapter inside.
_TRUNK_MARK = "blocks.0.mlp.layer1.weight"
_ADAPTER_MARK = "llm_adapter.blocks.0.cross_attn.q_proj.weight"


@dataclass(frozen=True)
class Checkpoint:
    """A base file. `weights` maps canonical tensor names (`blocks.0.mlp.layer1.weight`) to the file's.

    `extra` are tensors outside the transformer and its text adapter, such as a VAE in the same file.
    """

    path: Path
    header: Header
    prefix: str
    blocks: int
    weights: Mapping[str, TensorInfo]
    extra: tuple[str, ...]

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

    Raises `BadFile` for a file that is not valid safetensors, is no Anima checkpoint, or mixes
    prefixes.
    """
    return parse_checkpoint(read_header(path))


def parse_checkpoint(header: Header) -> Checkpoint:
    """As `read_checkpoint`, of a header that has been read already."""
    prefix = find_prefix(header.tensors, header.path)
    weights: dict[str, TensorInfo] = {}
    extra: list[str] = []
    for key, info in header.tensors.items():
        name = key.removeprefix(prefix)
        known = key.startswith(prefix) and anima.is_module(name.rpartition(".")[0])
        if known:
            weights[name] = info
        else:
            extra.append(key)
    blocks = _count_blocks(weights, header.path)
    return Checkpoint(header.path, header, prefix, blocks, weights, tuple(extra))


def find_prefix(keys: Mapping[str, object], path: Path) -> str:
    """The prefix before `blocks.0...` in a checkpoint's keys. Raises `BadFile`."""
    found = [prefix for prefix in PREFIXES if prefix + _TRUNK_MARK in keys]
    if not found:
        raise BadFile(
            f"{path} is not an Anima checkpoint: it has no {_TRUNK_MARK}.",
            hint="A base is one .safetensors file of the diffusion model, such as RDBT's or "
            "anima-base-v1.0.safetensors. For a LoRA, use `lorakit add`.",
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
