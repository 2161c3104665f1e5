"""Layers that a trainer joins or renames inside: anima_lora's qkv, kv and adaln_up.

Its files are split on saving, but older ones and those of its own repository keep the inner names.
Joined rows stand in the order q, k, v.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

_PARTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "self_attn.qkv_proj": tuple(f"self_attn.{x}_proj" for x in "qkv"),
        "cross_attn.kv_proj": tuple(f"cross_attn.{x}_proj" for x in "kv"),
        **{
            f"adaln_up_{branch}": (f"adaln_modulation_{branch}.2",)
            for branch in ("self_attn", "cross_attn", "mlp")
        },
    }
)
_FLAT: Mapping[str, str] = MappingProxyType({name.replace(".", "_"): name for name in _PARTS})
_NAME = re.compile(r"blocks[._](0|[1-9][0-9]{0,3})[._](.+)")


def read_fused(path: str) -> str | None:
    """The dotted name of a joined layer, from a dotted or a flattened path; None for any other."""
    match = _NAME.fullmatch(path)
    if match is None:
        return None
    inner = match[2] if match[2] in _PARTS else _FLAT.get(match[2])
    return f"blocks.{match[1]}.{inner}" if inner else None


@lru_cache(maxsize=8192)
def split_fused(name: str) -> tuple[str, ...]:
    """The canonical modules that a joined layer stands for, in the order of its rows; () for others."""
    match = _NAME.fullmatch(name)
    inner = _PARTS.get(match[2], ()) if match else ()
    return tuple(f"blocks.{match[1]}.{part}" for part in inner) if match else ()
