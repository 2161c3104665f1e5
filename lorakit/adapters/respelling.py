"""Pieces of an adapter as the tensors of a file in another layout, with nothing lost on the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import torch

from lorakit.adapters.peft_files import PeftFile, component_configs, peft_file
from lorakit.adapters.pieces import Piece, Pieces
from lorakit.adapters.tensor_file import DTYPE_CODES, DTYPES
from lorakit.errors import NotFusable
from lorakit.formats import anima
from lorakit.formats.layouts import WRITTEN_AS, ParsedKey, WritableLayout, parse_key
from lorakit.formats.metadata import BASE_BLOCKS_KEY
from lorakit.formats.peft_config import METADATA_KEY
from lorakit.formats.spelling import keeps_alpha, spell_key
from lorakit.formats.way_back import SPELLING_KEY, AlphaForm, WayBack, read_way_back, way_back


@dataclass(frozen=True)
class Spelled:
    """A file to be written: tensors by key, and the entries of its header that say how to read them.

    `config` is what PEFT wants as adapter_config.json; `remarks` say what a person should know.
    """

    tensors: Mapping[str, torch.Tensor]
    metadata: Mapping[str, str]
    config: Mapping[str, object] | None = None
    remarks: tuple[str, ...] = ()


def respell(pieces: Pieces, layout: WritableLayout, *, lead_back: bool = True) -> Spelled:
    """`pieces` in `layout`. Every tensor keeps its bytes, but for alphas, which move into a config where
    the layout has one, and LoKr of two whole factors whose config scales them, which nobody else does.

    With `lead_back` the header says how to come back to what was there before; it is read here, too.
    Raises `NotFusable` for what `layout` has no spelling for, by name.
    """
    source = pieces.report.metadata
    before = read_way_back(source) if lead_back else None
    back = before if before and before.layout == layout else None
    own = layout == _layout_of(pieces)
    said: dict[str, list[str]] = {}
    tensors: dict[str, torch.Tensor] = {}
    paths: dict[str, str] = {}
    modules = {
        name: _prepared(name, piece, layout, before, said) for name, piece in pieces.modules.items()
    }
    for name, piece in modules.items():
        for part, tensor in piece.parts.items():
            if part == "alpha" and not keeps_alpha(layout):
                continue
            usual = spell_key(name, part, layout, piece.parts)
            if usual is None:
                raise _no_spelling(pieces, name, piece, part, layout)
            key = back.keys.get(usual, usual) if back else usual
            if own and pieces.keep_names:
                key = pieces.modules[name].keys.get(part, key)
            if not _says_the_same(key, usual):
                key = usual
            tensors[key] = _shaped(part, key, tensor, piece, layout)
            paths[name] = _path(key, usual)
    config = None if keeps_alpha(layout) else _config(modules, paths, layout)
    # A model of no published size is told by its adapters' headers alone.
    metadata = {BASE_BLOCKS_KEY: source[BASE_BLOCKS_KEY]} if BASE_BLOCKS_KEY in source else {}
    metadata |= dict(config.metadata) if config else {}
    if back and back.config is not None:
        metadata[METADATA_KEY] = back.config
    elif lead_back and not back and (before or not own):
        metadata |= (before or _way_back(pieces)).encode()
    remarks = [*_of_modules(said), *_remarks(modules, layout)]
    return Spelled(tensors, metadata, config.document if config else None, tuple(remarks))


def carried(metadata: Mapping[str, str]) -> dict[str, str]:
    """The entries of a header that say nothing of how its own file is spelled."""
    return {k: text for k, text in metadata.items() if k not in (METADATA_KEY, SPELLING_KEY)}


def _layout_of(pieces: Pieces) -> WritableLayout | None:
    layouts = pieces.report.layouts
    return next((w for read, w in WRITTEN_AS.items() if layouts[:1] == (read,)), None)


def _way_back(pieces: Pieces) -> WayBack:
    """The record of what `pieces` were read from."""
    layout = _layout_of(pieces)
    keys: dict[str, str] = {}
    alphas: dict[str, AlphaForm] = {}
    for name, piece in pieces.modules.items():
        alpha = piece.parts.get("alpha")
        alphas[name] = None if alpha is None else _form(alpha)
        for part, key in piece.keys.items():
            usual = spell_key(name, part, layout, piece.parts) if layout else None
            if usual is not None and usual != key:
                keys[usual] = key
    return way_back(layout or "", keys, alphas, pieces.report.metadata.get(METADATA_KEY))


def _form(alpha: torch.Tensor) -> AlphaForm:
    raw = bytes(alpha.reshape(-1).view(torch.uint8).tolist())
    return DTYPE_CODES[alpha.dtype], tuple(alpha.shape), raw.hex()


def _prepared(
    name: str,
    piece: Piece,
    layout: WritableLayout,
    before: WayBack | None,
    said: dict[str, list[str]],
) -> Piece:
    """The piece with its alpha where `layout` keeps it; `said` gets the modules by what is said of them."""
    if not keeps_alpha(layout) or "alpha" in piece.parts:
        return piece
    restored = _restored(before.alpha_of(name)) if before else None
    rank = piece.rank
    if rank is None and piece.scale != 1:
        return _folded(name, piece, said)
    if restored is not None and (rank is None or float(restored) / rank == piece.scale):
        return Piece({**piece.parts, "alpha": restored}, piece.alpha, piece.scale)
    if rank is None:
        return piece
    # A scale of 1 goes without saying, but kohya's files say it where anything was said of it.
    if piece.scale == 1 and (piece.alpha is None or layout == "comfy" or before is not None):
        return piece
    alpha = torch.tensor(piece.scale * rank)
    if float(alpha) / rank != piece.scale:
        said.setdefault(f"alpha is rounded to float32 ({float(alpha):.9g})", []).append(name)
    return Piece({**piece.parts, "alpha": alpha}, piece.alpha, piece.scale)


def _restored(form: AlphaForm) -> torch.Tensor | None:
    if form is None:
        return None
    dtype, shape, raw = form
    data = bytes.fromhex(raw)
    if dtype not in DTYPES or prod(shape) != 1 or len(data) != DTYPES[dtype].itemsize:
        return None
    return torch.frombuffer(bytearray(data), dtype=DTYPES[dtype]).reshape(shape)


def _folded(name: str, piece: Piece, said: dict[str, list[str]]) -> Piece:
    """A LoKr of two whole factors, whose scale is 1 to everybody but PEFT, with its scale in the first."""
    first = piece.parts["lokr_w1"]
    scaled = first.double() * piece.scale
    kept = scaled.to(first.dtype)
    if not torch.equal(kept.double(), scaled):
        kept = scaled.float()
        what = f"the scale ({piece.scale:g}) is multiplied into lokr_w1, in float32"
        said.setdefault(what, []).append(name)
    return Piece({**piece.parts, "lokr_w1": kept}, None, 1.0)


def _shaped(
    part: str, key: str, tensor: torch.Tensor, piece: Piece, layout: WritableLayout
) -> torch.Tensor:
    """The tensor in the shape in which readers of `layout` want it; the same bytes."""
    if part == "dora_scale":
        if "magnitude" in key:
            return tensor.flatten()
        return tensor if tensor.ndim > 1 else _oriented(tensor, piece)
    if part in ("down", "up") and not keeps_alpha(layout):
        return tensor.flatten(1)
    return tensor


def _oriented(magnitude: torch.Tensor, piece: Piece) -> torch.Tensor:
    """A magnitude of one dimension as (out, 1): those who read it would take it for norms of columns."""
    up = piece.parts.get("up")
    columns = up is not None and up.shape[0] != magnitude.numel()
    return magnitude[None, :] if columns else magnitude[:, None]


def _says_the_same(key: str, usual: str) -> bool:
    """Whether a key that a header brings is one for the same part of the same module."""
    one, other = parse_key(key), parse_key(usual)
    return one is not None and other is not None and _place(one) == _place(other)


def _place(key: ParsedKey) -> tuple[str, str]:
    return key.module, key.part


def _path(key: str, usual: str) -> str:
    """The module in a key, as it is spelled there and without PEFT's prefix."""
    parsed = parse_key(key) or parse_key(usual)
    return parsed.path if parsed else usual


def _config(
    modules: Mapping[str, Piece], paths: Mapping[str, str], layout: WritableLayout
) -> PeftFile:
    return peft_file(modules, paths) if layout == "peft" else component_configs(modules, paths)


def _no_spelling(
    pieces: Pieces, name: str, piece: Piece, part: str, layout: WritableLayout
) -> NotFusable:
    component = anima.component_of(name)
    what = f"{part} of {name} ({piece.algo})"
    hint = "Other layouts may have one: kohya's holds everything."
    if component != "dit" and spell_key("blocks.0.mlp.layer1", part, layout, piece.parts):
        what = f"the {component} ({name})"
        hint = (
            f"`lorakit prune FILE --component {component}` leaves it out; kohya's layout holds it."
        )
    return NotFusable(
        f"{pieces.report.path} cannot be written in the layout {layout}, which has no spelling for {what}.",
        hint=hint,
    )


def _of_modules(said: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """One sentence for all modules of which the same is said: there may be hundreds."""
    for what, names in said.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        yield f"{what}: {names[0]}{more}"


def _remarks(modules: Mapping[str, Piece], layout: WritableLayout) -> list[str]:
    found = []
    scales = {piece.scale for piece in modules.values() if piece.rank}
    if not keeps_alpha(layout) and scales - {1.0}:
        shown = ", ".join(f"{scale:g}" for scale in sorted(scales)[:3])
        found.append(
            f"alpha is kept in the header ({METADATA_KEY}); a reader that looks at tensors alone misses "
            f"the scale ({shown})"
        )
    if layout == "diffusers" and any(n.startswith("text_encoder.") for n in modules):
        found.append("diffusers' loader for Anima leaves out the text encoder")
    return found
