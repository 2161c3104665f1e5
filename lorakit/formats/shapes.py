"""What the shapes of an adapter's tensors tell of rank and of the weight they patch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isqrt, prod
from types import MappingProxyType

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
WeightShape = tuple[int | None, ...]

# The factor whose rows are the rank, by algorithm; of several, the first that is there.
_RANK_PARTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "lora": ("down",),
        "loha": ("hada_w1_b",),
        "lokr": ("lokr_w2_b", "lokr_w1_b"),
        "tlora": ("tlora_q",),
    }
)


def module_rank(algo: str, shapes: Shapes) -> int | None:
    """The rank of a module's factors, None for an algorithm or a form without one."""
    if algo == "glora":
        # Both forms have the rank as the smaller side of a1.
        return min(shapes["glora_a1"][:2], default=None) if "glora_a1" in shapes else None
    for part in _RANK_PARTS.get(algo, ()):
        if shapes.get(part):
            return shapes[part][0]
    return None


def weight_shape(algo: str, shapes: Shapes) -> WeightShape | None:
    """(out, in) of a matrix or (dim,) of a norm, None for a side or a shape that is not told."""
    try:
        return _READERS[algo](shapes) if algo in _READERS else None
    except (KeyError, IndexError, ValueError):
        # A part is missing or has another number of dimensions, which fusing reports.
        return None


def _lora(shapes: Shapes) -> WeightShape | None:
    up, down = shapes["up"], shapes["down"]
    return (up[0], prod(down[1:])) if len(up) >= 2 and len(down) >= 2 else None


def _loha(shapes: Shapes) -> WeightShape:
    a, b = shapes["hada_w1_a"], shapes["hada_w1_b"]
    return (a[1], b[1]) if "hada_t1" in shapes else (a[0], b[1])


def _lokr(shapes: Shapes) -> WeightShape:
    first, second = _kronecker_side(shapes, "1"), _kronecker_side(shapes, "2")
    return first[0] * second[0], first[1] * second[1]


def _kronecker_side(shapes: Shapes, side: str) -> tuple[int, int]:
    if (whole := shapes.get(f"lokr_w{side}")) is not None:
        return whole[0], prod(whole[1:])
    a, b = shapes[f"lokr_w{side}_a"], shapes[f"lokr_w{side}_b"]
    return (a[1], b[1]) if f"lokr_t{side}" in shapes else (a[0], prod(b[1:]))


def _glora(shapes: Shapes) -> WeightShape:
    a1, b1, b2 = shapes["glora_a1"], shapes["glora_b1"], shapes["glora_b2"]
    new = a1[0] >= a1[1]
    return (b1[0], a1[0]) if new else (b2[0], a1[1])


def _tlora(shapes: Shapes) -> WeightShape:
    return shapes["tlora_p"][0], shapes["tlora_q"][1]


def _oft(shapes: Shapes) -> WeightShape:
    # (n, b, b), or with the stages of BOFT in front (m, n, b, b).
    count, size, _ = shapes["oft_blocks"][-3:]
    return count * size, None


def _oftv2(shapes: Shapes) -> WeightShape | None:
    count, entries = shapes["oft_r"]
    size = (1 + isqrt(1 + 8 * entries)) // 2
    # One block may be shared along the whole input.
    return (None, count * size) if count > 1 else None


def _stored(*parts: str) -> Callable[[Shapes], WeightShape | None]:
    def read(shapes: Shapes) -> WeightShape | None:
        found = next((shapes[part] for part in parts if part in shapes), None)
        return found if found is None or len(found) < 3 else (found[0], prod(found[1:]))

    return read


_READERS: Mapping[str, Callable[[Shapes], WeightShape | None]] = MappingProxyType(
    {
        "lora": _lora,
        "loha": _loha,
        "lokr": _lokr,
        "glora": _glora,
        "tlora": _tlora,
        "oft": _oft,
        "oftv2": _oftv2,
        "full": _stored("diff"),
        "norm": _stored("w_norm"),
        "set": _stored("set_weight"),
    }
)
