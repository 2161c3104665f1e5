"""The configs that PEFT and diffusers read beside weights: ranks, alphas, and which modules there are.

PEFT's `LoraConfig`, `LoHaConfig`, `LoKrConfig` and `OFTConfig` (peft 0.18 and later). Patterns begin with
`^`, as diffusers writes them, so that a name is never the end of another.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isclose, isqrt, sqrt
from typing import Any

from lorakit.adapters.pieces import Piece
from lorakit.errors import NotFusable
from lorakit.formats import anima
from lorakit.formats.peft_config import METADATA_KEY

_TYPES = {"lora": "LORA", "loha": "LOHA", "lokr": "LOKR", "oftv2": "OFT"}
_COMPONENTS: Mapping[anima.Component, str] = {
    "dit": "transformer",
    "llm_adapter": "text_conditioner",
    "text_encoder": "text_encoder",
}


@dataclass(frozen=True)
class PeftFile:
    """The entry of the header, and for PEFT's own layout the document of adapter_config.json."""

    metadata: Mapping[str, str]
    document: Mapping[str, Any] | None = None


def component_configs(modules: Mapping[str, Piece], paths: Mapping[str, str]) -> PeftFile:
    """One `LoraConfig` for each component, as diffusers' `save_lora_adapter` writes them.

    `paths` are the names of the modules as the keys of the file have them.
    """
    entries: dict[str, Any] = {}
    for component, owner in _COMPONENTS.items():
        inside = {
            paths[name].removeprefix(f"{owner}."): piece
            for name, piece in modules.items()
            if anima.component_of(name) == component
        }
        if inside:
            entries |= {f"{owner}.{key}": value for key, value in _lora(inside).items()}
    return PeftFile({METADATA_KEY: _dumped(entries)})


def peft_file(modules: Mapping[str, Piece], paths: Mapping[str, str]) -> PeftFile:
    """The config of the transformer alone. Raises `NotFusable` for what one config cannot say."""
    inside = {paths[name]: piece for name, piece in modules.items()}
    algos = sorted({piece.algo for piece in modules.values()})
    if len(algos) > 1:
        raise NotFusable(
            f"PEFT's files hold one algorithm each, and this adapter mixes {' and '.join(algos)}.",
            hint="kohya's layout and ComfyUI's hold both.",
        )
    makers = {"lora": _lora, "loha": _scaled, "lokr": _lokr, "oftv2": _oft}
    config = makers[algos[0]](inside)
    document = {"peft_type": _TYPES[algos[0]], "task_type": None, "inference_mode": True, **config}
    return PeftFile({METADATA_KEY: _dumped(config)}, document)


def _dumped(entries: Mapping[str, Any]) -> str:
    return json.dumps(entries, indent=2, sort_keys=True)


def _lora(modules: Mapping[str, Piece]) -> dict[str, Any]:
    rslora = _is_rslora(modules.values())
    for name, piece in modules.items():
        magnitude = piece.parts.get("dora_scale")
        if magnitude is not None and magnitude.ndim > 1 and magnitude.shape[0] == 1:
            raise NotFusable(
                f"PEFT has no spelling for DoRA by columns, which {name} is.",
                hint="kohya's layout and ComfyUI's have one.",
            )
    config = _scaled(modules, "lora_alpha", rslora=rslora)
    dora = [name for name, piece in modules.items() if "dora_scale" in piece.parts]
    bias = [name for name, piece in modules.items() if "up_bias" in piece.parts]
    for what, names in (("DoRA", dora), ("a bias", bias)):
        if names and len(names) < len(modules):
            other = next(name for name in modules if name not in names)
            raise NotFusable(
                f"PEFT's config says {what} of all modules or of none, and {other} has none.",
                hint="kohya's layout and ComfyUI's hold both.",
            )
    return {**config, "use_dora": bool(dora), "lora_bias": bool(bias), "use_rslora": rslora}


def _is_rslora(pieces: Iterable[Piece]) -> bool:
    """Whether all scales are alpha / √rank, and not alpha / rank as well."""
    stated = [(p.alpha, p.rank, p.scale) for p in pieces]
    return any(a and r and a / r != s for a, r, s in stated) and all(
        a is not None and r is not None and isclose(a / sqrt(r), s, rel_tol=1e-12)
        for a, r, s in stated
    )


def _scaled(
    modules: Mapping[str, Piece], alpha_name: str = "alpha", *, rslora: bool = False
) -> dict[str, Any]:
    ranks = {name: _rank(piece) for name, piece in modules.items()}
    alphas = {
        name: piece.alpha if rslora else _alpha(piece, ranks[name])
        for name, piece in modules.items()
    }
    rank, alpha = (Counter(one.values()).most_common(1)[0][0] for one in (ranks, alphas))
    return {
        "r": rank,
        alpha_name: _number(alpha),
        "rank_pattern": {f"^{name}": r for name, r in ranks.items() if r != rank},
        "alpha_pattern": {f"^{name}": _number(a) for name, a in alphas.items() if a != alpha},
        "target_modules": sorted(modules),
    }


def _rank(piece: Piece) -> int:
    """The rank; for a LoKr of whole factors one that makes PEFT keep them whole."""
    if piece.rank is not None:
        return piece.rank
    whole = piece.parts.get("lokr_w2")
    return max(whole.shape) if whole is not None else 1


def _alpha(piece: Piece, rank: int) -> float:
    """The alpha with which alpha / rank is the scale, exactly."""
    if piece.alpha is not None and piece.rank and piece.alpha / rank == piece.scale:
        return piece.alpha
    return piece.scale * rank


def _number(value: float | None) -> float | int | None:
    return int(value) if value is not None and value == int(value) else value


def _lokr(modules: Mapping[str, Piece]) -> dict[str, Any]:
    """`LoKrConfig`, whose one factor has to give every module the shapes that it has."""
    config = _scaled(modules)
    both = any("lokr_w1_a" in piece.parts for piece in modules.values())
    sides = {name: _kronecker(piece) for name, piece in modules.items()}
    candidates = [-1, *sorted({side for (first, _) in sides.values() for side in first})]
    for factor in candidates:
        if all(_splits(first, second, factor) for first, second in sides.values()):
            return {**config, "decompose_both": both, "decompose_factor": factor}
    raise NotFusable(
        "PEFT splits all modules of a LoKr by one factor, and this adapter does not.",
        hint="kohya's layout and ComfyUI's hold it.",
    )


Shape = tuple[int, int]


def _kronecker(piece: Piece) -> tuple[Shape, Shape]:
    return _side(piece, "1"), _side(piece, "2")


def _side(piece: Piece, side: str) -> Shape:
    whole = piece.parts.get(f"lokr_w{side}")
    if whole is not None:
        return whole.shape[0], whole.shape[1]
    return piece.parts[f"lokr_w{side}_a"].shape[0], piece.parts[f"lokr_w{side}_b"].shape[1]


def _splits(first: Shape, second: Shape, factor: int) -> bool:
    """Whether PEFT's factorisation of out and in by `factor` gives these sides."""
    return all(_split(a * b, factor) == (a, b) for a, b in zip(first, second, strict=True))


def _split(size: int, factor: int) -> Shape:
    """`size` as two factors, the first as near below `factor` as can be (LyCORIS' rule)."""
    if factor > 0 and size % factor == 0:
        return factor, size // factor
    most = isqrt(size) if factor < 0 else min(factor, isqrt(size))
    first = next(n for n in range(most, 0, -1) if size % n == 0)
    return first, size // first


def _oft(modules: Mapping[str, Piece]) -> dict[str, Any]:
    """`OFTConfig` with the five terms of the Neumann series, which lorakit reads it by."""
    entries = {piece.parts["oft_r"].shape[1] for piece in modules.values()}
    if len(entries) > 1:
        raise NotFusable(
            "PEFT's config has one block size for OFT, and this adapter has several.",
            hint="kohya's layout holds it.",
        )
    size = (1 + isqrt(1 + 8 * entries.pop())) // 2
    return {
        "r": 0,
        "oft_block_size": size,
        "use_cayley_neumann": True,
        "target_modules": sorted(modules),
    }
