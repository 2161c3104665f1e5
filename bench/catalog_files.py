"""Adapter files in great number: headers of about 64 KB as trainers write them, and tensors that are holes."""

from __future__ import annotations

import json
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from random import Random

from lorakit.formats.anima import BLOCK_LINEARS, Kind

_WORDS = (
    *("ink", "wash", "sumi", "oil", "water", "colour", "flat", "anime", "line", "art", "film"),
    *("grain", "noir", "pastel", "retro", "neon", "pixel", "clay", "paper", "gouache", "sketch"),
)
_KINDS: tuple[Kind, ...] = ("self_attn", "cross_attn", "mlp")
_BLOCKS, _WIDTH, _TEXT_WIDTH, _HIDDEN = 28, 2048, 1024, 8192
# Beside each other in a folder, as people have them.
PER_FOLDER = 500
_RANKS, _LEFT_OUT = (4, 8, 12, 16, 24, 32, 48, 64), 3
# With and without alphas.
KINDS = len(_RANKS) * _LEFT_OUT * 2
_ENDINGS = (".metadata.json", ".civitai.info", ".txt", ".preview.png")


@dataclass(frozen=True)
class _Shape:
    """The tensors of one training run: a header without its braces, and how many bytes it describes."""

    rank: int
    alpha: bool
    tensors: str
    size: int


def make_files(
    folder: Path,
    count: int,
    seed: int = 1,
    *,
    kinds: int = KINDS,
    real_bytes: bool = False,
    thin: bool = False,
) -> list[Path]:
    """Write `count` adapters below `folder`, of the largest `kinds`; no two have the same header.

    Their tensors are holes in the file, which take no room, unless `real_bytes`. `thin` ones patch
    weights of a single row and column: as many tensors, in 2 to 72 KB.
    """
    random = Random(seed)
    shapes = [
        _shape(rank, alpha, left_out, thin)
        for rank in _RANKS
        for left_out in range(_LEFT_OUT)
        for alpha in (True, False)
    ]
    paths = []
    for number in range(count):
        words = "_".join(random.choice(_WORDS) for _ in range(2))
        path = folder / f"{number // PER_FOLDER:04}" / f"{words}_{seed}{number:06}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, shapes[number % kinds - kinds], random, real_bytes)
        paths.append(path)
    return paths


def make_sidecars(paths: list[Path]) -> None:
    """Put four files of other programs beside each adapter."""
    said = json.dumps({"notes": "drawn by hand", "tags": ["ink"]}).encode()
    for path in paths:
        for ending in _ENDINGS:
            text = said if ending == _ENDINGS[0] else b"{}"
            path.with_suffix(ending).write_bytes(text)


def _shape(rank: int, alpha: bool, left_out: int, thin: bool) -> _Shape:
    """As a trainer writes it that leaves out the last blocks, `left_out` of them."""
    names = [
        f"blocks.{block}.{name}"
        for kind in _KINDS
        for block in range(_BLOCKS - left_out)
        for name in BLOCK_LINEARS[kind]
    ]
    tensors: dict[str, object] = {}
    end = 0
    if alpha:
        # Numbers of 32 bits come before those of 16 where safetensors sorts them.
        names = names[: len(names) * 7 // 10]
        for name in names:
            key = f"lora_unet_{name.replace('.', '_')}.alpha"
            tensors[key] = {"dtype": "F32", "shape": [], "data_offsets": [end, end + 4]}
            end += 4
    for name in names:
        stem = f"lora_unet_{name.replace('.', '_')}" if alpha else f"diffusion_model.{name}"
        down, up = ("lora_down", "lora_up") if alpha else ("lora_A", "lora_B")
        rows, columns = (1, 1) if thin else _sides(name)
        for part, shape in ((down, [rank, columns]), (up, [rows, rank])):
            size = 2 * shape[0] * shape[1]
            entry = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size]}
            tensors[f"{stem}.{part}.weight"] = entry
            end += size
    return _Shape(rank, alpha, json.dumps(tensors, separators=(",", ":"))[1:-1], end)


def _sides(name: str) -> tuple[int, int]:
    """The rows and columns of the matrix that a module patches."""
    if "mlp" in name:
        return (_HIDDEN, _WIDTH) if name.endswith("layer1") else (_WIDTH, _HIDDEN)
    from_text = "cross_attn" in name and name.endswith(("k_proj", "v_proj"))
    return _WIDTH, _TEXT_WIDTH if from_text else _WIDTH


def _write(path: Path, shape: _Shape, random: Random, real_bytes: bool) -> None:
    raw = f'{{"__metadata__":{json.dumps(_metadata(shape, random))},{shape.tensors}}}'.encode()
    raw += b" " * (-len(raw) % 8)
    start = struct.pack("<Q", len(raw)) + raw
    if shape.alpha:
        count = shape.tensors.count(".alpha")
        start += struct.pack("<f", float(shape.rank)) * count
    with path.open("wb", buffering=0) as file:
        file.write(start)
        if real_bytes:
            rest = 8 + len(raw) + shape.size - len(start)
            file.write(os.urandom(1 << 20) * (rest >> 20) + os.urandom(rest % (1 << 20)))
        else:
            file.truncate(8 + len(raw) + shape.size)


def _metadata(shape: _Shape, random: Random) -> dict[str, str]:
    tags = {" ".join(random.choices(_WORDS, k=3)): random.randint(1, 99) for _ in range(160)}
    return {
        "ss_network_dim": str(shape.rank),
        "ss_network_alpha": str(shape.rank),
        "ss_sd_model_name": "anima-base-v1.0.safetensors",
        "ss_tag_frequency": json.dumps({"1_set": tags}),
        "ss_session_id": str(random.getrandbits(32)),
        "modelspec.title": " ".join(random.choices(_WORDS, k=2)),
    }
