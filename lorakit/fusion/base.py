"""The tensors of a base, from a mapped file or from memory, under one read-only face."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from lorakit.errors import BadFile, NotFusable
from lorakit.formats import anima
from lorakit.formats.checkpoint import Checkpoint, find_prefix, read_checkpoint
from lorakit.fusion.plan import BaseModules
from lorakit.fusion.quantised import ScaledTensors, read_scales

TEXT_ENCODER = "text_encoder."


class BaseTensors(Mapping[str, torch.Tensor]):
    """A base's tensors by the file's own keys; those of a file stay mapped, not read.

    A base in diffusers' words goes by the original's, as `Checkpoint` has them.

    `names` maps canonical tensor names (`blocks.0.mlp.layer1.weight`) to keys, for the tensors that
    belong to the transformer and its text adapter.
    """

    def __init__(
        self,
        tensors: Mapping[str, torch.Tensor],
        prefix: str,
        modules: BaseModules,
        text_encoder: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        beside = text_encoder or {}
        self._parts = (tensors, beside)
        self.prefix = prefix
        self.modules = modules
        self.names = {**canonical_names(tensors, prefix), **{name: name for name in beside}}

    def with_text_encoder(self, tensors: Mapping[str, torch.Tensor]) -> BaseTensors:
        """This base and the text encoder that goes with it, so that a stack is fused into both.

        `tensors` are Qwen3's by its own names (`layers.0.mlp.up_proj.weight`); here they stand under
        `TEXT_ENCODER`, as adapters' modules do.
        """
        known = {f"{TEXT_ENCODER}{name}": tensor for name, tensor in tensors.items()}
        shapes = {
            name.removesuffix(".weight"): tuple(tensor.shape)
            for name, tensor in known.items()
            if name.endswith(".weight") and anima.is_module(name.removesuffix(".weight"))
        }
        modules = replace(self.modules, shapes={**self.modules.shapes, **shapes})
        return BaseTensors(self._parts[0], self.prefix, modules, known)

    def keeping(self, names: Collection[str]) -> BaseTensors:
        """This base with copies of those text encoder tensors among `names`.

        A model that holds the originals may then be written to.
        """
        own, beside = self._parts
        kept = {name: t.clone() if name in names else t for name, t in beside.items()}
        return BaseTensors(own, self.prefix, self.modules, kept)

    @property
    def scaled(self) -> bool:
        """Whether some weights are 8-bit floats with a scale beside them."""
        return isinstance(self._parts[0], ScaledTensors)

    def exact(self, key: str) -> torch.Tensor:
        """What deltas are added to: the tensor, or a scaled 8-bit weight in float32."""
        holder = next(part for part in self._parts if key in part)
        return holder.exact(key) if isinstance(holder, ScaledTensors) else holder[key]

    def kept_dtype(self, key: str) -> torch.dtype:
        """The dtype a fused tensor is kept in: the base's own, but bfloat16 for 8-bit floats.

        A delta is lost in an 8-bit grid.
        """
        holder = next(part for part in self._parts if key in part)
        stored = (
            holder.stored_dtype(key) if isinstance(holder, ScaledTensors) else holder[key].dtype
        )
        return torch.bfloat16 if stored.itemsize == 1 else stored

    def given_dtype(self, key: str) -> torch.dtype:
        """The dtype of `self[key]`, without building a scaled weight for it."""
        holder = next(part for part in self._parts if key in part)
        return holder.given_dtype(key) if isinstance(holder, ScaledTensors) else holder[key].dtype

    def __getitem__(self, key: str) -> torch.Tensor:
        own, beside = self._parts
        return beside[key] if key in beside else own[key]

    def __iter__(self) -> Iterator[str]:
        return chain(*self._parts)

    def __len__(self) -> int:
        return sum(map(len, self._parts))


def open_base(base: str | Path | Mapping[str, torch.Tensor]) -> BaseTensors:
    """Open a checkpoint (a file, a shard, an index of shards or a folder), or take a mapping of its tensors.

    Raises `BadFile` for a file that is no Anima checkpoint and `NotFusable` for a quantised one whose
    weights cannot be patched as they are stored.
    """
    if isinstance(base, BaseTensors):
        return base
    if isinstance(base, Mapping):
        return _from_mapping(base)
    checkpoint = read_checkpoint(base)
    modules = BaseModules.of(checkpoint)
    plain = _plain_weights(_mapped(checkpoint), checkpoint.prefix, modules)
    return BaseTensors(plain, checkpoint.prefix, modules)


def _mapped(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """All tensors of a checkpoint by key, as views of its mapped files."""
    tensors: dict[str, torch.Tensor] = {}
    for path in checkpoint.files:
        try:
            with safe_open(path, framework="pt") as file:
                for key, stored in checkpoint.tensors.items():
                    if stored.path == path:
                        tensors[key] = file.get_tensor(stored.info.name)
        except (OSError, SafetensorError) as error:
            raise BadFile(f"{path} cannot be read: {error}.") from error
    return tensors


def canonical_names(keys: Iterable[str], prefix: str) -> dict[str, str]:
    """Canonical tensor name -> key, for the keys behind `prefix` that belong to a known module."""
    found = ((key.removeprefix(prefix), key) for key in keys if key.startswith(prefix))
    return {name: key for name, key in found if anima.is_module(name.rpartition(".")[0])}


def _from_mapping(tensors: Mapping[str, torch.Tensor]) -> BaseTensors:
    label = "the base"
    prefix = find_prefix(tensors, Path(label))
    shapes = {
        name.removesuffix(".weight"): tuple(tensors[key].shape)
        for name, key in canonical_names(tensors, prefix).items()
        if name.endswith(".weight")
    }
    blocks = {anima.block_of(name) for name in shapes} - {None}
    names = canonical_names(tensors, prefix)
    eight_bit = frozenset(n for n in shapes if tensors[names[f"{n}.weight"]].itemsize == 1)
    modules = BaseModules(label, len(blocks), shapes, eight_bit)
    return BaseTensors(_plain_weights(tensors, prefix, modules), prefix, modules)


def _plain_weights(
    tensors: Mapping[str, torch.Tensor], prefix: str, modules: BaseModules
) -> Mapping[str, torch.Tensor]:
    """The tensors with any scales applied. Raises `NotFusable` for integers in a weight's place."""
    plain = read_scales(tensors, modules.label)
    for name in modules.shapes:
        tensor = tensors[f"{prefix}{name}.weight"]
        if not tensor.is_floating_point():
            raise NotFusable(
                f"{modules.label} is quantised in a way that cannot be patched: {prefix}{name}.weight is "
                f"{tensor.dtype}.",
                hint="Use the bf16, fp16 or fp8 edition of the base.",
            )
    return plain
