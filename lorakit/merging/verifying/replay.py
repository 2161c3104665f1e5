"""Making an adapter again as its header says it was made, in memory: the tensors its file should hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import torch

from lorakit.adapters.adapter import Adapter, AdapterModule
from lorakit.adapters.loading import build_patches
from lorakit.adapters.parts import Parts
from lorakit.adapters.pieces import Pieces, pieces_in
from lorakit.errors import BadFile
from lorakit.formats.layouts import WRITABLE, WritableLayout
from lorakit.fusion.devices import same_kind
from lorakit.gate.derived import Progress
from lorakit.merging.extracting.extract_to_file import Wanted
from lorakit.merging.merge import merged
from lorakit.merging.pruning import Cut, parse_blocks
from lorakit.merging.ranks import RankRule, rank_rule
from lorakit.merging.renumbering import renumbered
from lorakit.merging.result import adapter_of
from lorakit.merging.rounding import DTYPES, in_dtype
from lorakit.merging.verifying.ingredients import Ingredients
from lorakit.merging.writing import even_pieces, spelled

T = TypeVar("T")


@dataclass(frozen=True)
class Replay:
    """An adapter made anew: the tensors of its file by key, the adapter that they are, and the device.

    The `device` is of the kind that the record names, or the CPU where there is none here.
    """

    tensors: Mapping[str, torch.Tensor]
    adapter: Adapter
    device: str


def replayed(made: Mapping[str, Any], ingredients: Ingredients, on_progress: Progress) -> Replay:
    """Make an adapter anew, in memory, as the record `made` of its file's header says.

    Raises `BadFile` for a record that says what no version of lorakit writes, and what the verb that
    made it would raise.
    """
    try:
        layout, dtype, verb = made["layout"], made["dtype"], made["verb"]
        if layout not in WRITABLE or not (dtype is None or dtype in DTYPES):
            raise ValueError(f"{layout} in {dtype}")
        pieces, lead_back = _pieces(verb, made, ingredients, on_progress)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadFile(
            f"The header's record of how it was made cannot be followed: {error}.",
            hint="--recipe STACK compares it with what a stack should give.",
        ) from error
    found, _ = spelled(pieces, cast("WritableLayout", layout), dtype, lead_back=lead_back)
    adapter = _adapter(in_dtype(pieces, DTYPES[dtype] if dtype else None))
    return Replay(found.tensors, adapter, same_kind(made["device"]))


def _adapter(pieces: Pieces) -> Adapter:
    """The adapter that a file of `pieces` is read as."""
    modules: dict[str, AdapterModule] = {}
    biases: dict[str, AdapterModule] = {}
    for name, piece in pieces.modules.items():
        tensors = {part: tensor for part, tensor in piece.parts.items() if part != "alpha"}
        parts = Parts(tensors, piece.alpha, piece.scale)
        weight, bias = build_patches(pieces.report.path, name, parts)
        modules |= {name: weight} if weight is not None else {}
        biases |= {name: bias} if bias is not None else {}
    stated = {module.name: module for module in pieces.report.modules}
    return adapter_of(
        modules, biases, path=Path("replay"), blocks=pieces.report.model_blocks, stated=stated
    )


def _pieces(
    verb: str, made: Mapping[str, Any], ingredients: Ingredients, on_progress: Progress
) -> tuple[Pieces, bool]:
    """What is to be spelled, and whether the verb leads back to the spelling of before."""
    options: Mapping[str, Any] = made["options"]
    if verb == "extract":
        tuned, base = ingredients.bases
        adapter = (
            Wanted.recorded(made)
            .extract(tuned.path, base.path, on_progress, device=same_kind(made["device"]))
            .adapter
        )
        return even_pieces(adapter, made["dtype"]), False
    if verb in ("merge", "resize") or "dora_to_lora" in options:
        return even_pieces(_merged(made, ingredients, on_progress), made["dtype"]), False
    pieces = pieces_in(_only(ingredients.entries).path)
    pieces = replace(pieces, keep_names=options.get("keep_names", False))
    if verb == "prune":
        cut = _cut(options)
        kept = {name: piece for name, piece in pieces.modules.items() if cut.stays(name)}
        return replace(pieces, modules=kept), False
    if verb == "convert":
        blocks = options.get("blocks")
        return (pieces, True) if blocks is None else (renumbered(pieces, blocks), False)
    raise ValueError(f"there is no verb {verb!r}")


def _merged(made: Mapping[str, Any], ingredients: Ingredients, on_progress: Progress) -> Adapter:
    options = made["options"]
    base = ingredients.bases[0].path if ingredients.bases else None
    return merged(
        [(entry.path, entry.strength) for entry in ingredients.entries],
        method=made.get("method", "sum"),
        rank=_rule(options),
        base=base,
        seed=made.get("seed", 0),
        full_diffs=options.get("full_diffs", False),
        options=options.get("method_options"),
        device=same_kind(made["device"]),
        on_progress=on_progress,
    ).adapter


def _rule(options: Mapping[str, Any]) -> RankRule | None:
    names = ("rank", "energy", "sv_ratio", "frobenius")
    rank = options.get("rank", options.get("dora_to_lora"))
    return rank_rule(rank, *(options.get(name) for name in names[1:]))


def _cut(options: Mapping[str, Any]) -> Cut:
    return Cut(
        components=tuple(options.get("components", ())),
        blocks=parse_blocks(",".join(options.get("blocks", ()))),
        kinds=tuple(options.get("kinds", ())),
        modules=tuple(options.get("modules", ())),
        keep=options["keep"],
    )


def _only(found: Sequence[T]) -> T:
    (one,) = found
    return one
