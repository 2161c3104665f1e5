"""What the end of a key says: which part of which algorithm a tensor is.

The spellings are those of the trainers; lorakit's names for the parts are on the right.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

SUFFIXES: Mapping[str, str] = MappingProxyType(
    {
        "lora_down.weight": "down",
        "lora_up.weight": "up",
        "lora_mid.weight": "mid",
        "lora_A.weight": "down",
        "lora_B.weight": "up",
        "lora.down.weight": "down",
        "lora.up.weight": "up",
        "lora_B.bias": "up_bias",
        "alpha": "alpha",
        "inv_scale": "inv_scale",
        "dora_scale": "dora_scale",
        "lora_magnitude_vector.weight": "dora_scale",
        "lora_magnitude_vector": "dora_scale",
        "magnitude": "dora_scale",
        **{f"hada_{x}": f"hada_{x}" for x in ("w1_a", "w1_b", "w2_a", "w2_b", "t1", "t2")},
        **{f"lokr_{x}": f"lokr_{x}" for x in ("w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b", "t2")},
        "oft_blocks": "oft_blocks",
        "rescale": "rescale",
        "oft_R.weight": "oft_r",
        "oft_R.scaled_oft": "oft_scaled",
        "a1.weight": "glora_a1",
        "a2.weight": "glora_a2",
        "b1.weight": "glora_b1",
        "b2.weight": "glora_b2",
        "bm.weight": "glora_bm",
        "q_layer.weight": "tlora_q",
        "p_layer.weight": "tlora_p",
        "lambda_layer": "tlora_lambda",
        "on_input": "on_input",
        "weight": "weight",
        "diff": "diff",
        "diff_b": "diff_b",
        "w_norm": "w_norm",
        "b_norm": "b_norm",
        "set_weight": "set_weight",
    }
)


@dataclass(frozen=True)
class Algo:
    """How one algorithm is recognised, and what it cannot do without.

    `needs` lists alternatives per requirement: at least one of each tuple's part sets is complete.
    """

    name: str
    marks: frozenset[str]
    needs: tuple[tuple[frozenset[str], ...], ...]


def _algo(name: str, *needs: str | tuple[str, ...]) -> Algo:
    split = [
        tuple(frozenset(way.split()) for way in ([need] if isinstance(need, str) else need))
        for need in needs
    ]
    marks = frozenset(part for ways in split for way in ways for part in way)
    return Algo(name, marks, tuple(split))


# The first whose marks appear names the module; `weight` alone marks nothing (checkpoints have it).
ALGOS: tuple[Algo, ...] = (
    _algo("loha", "hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"),
    _algo("lokr", ("lokr_w1", "lokr_w1_a lokr_w1_b"), ("lokr_w2", "lokr_w2_a lokr_w2_b")),
    _algo("glora", "glora_a1", "glora_a2", "glora_b1", "glora_b2"),
    _algo("tlora", "tlora_q", "tlora_p", "tlora_lambda"),
    _algo("lora", "down", "up"),
    _algo("oft", "oft_blocks"),
    _algo("oftv2", "oft_r"),
    Algo("ia3", frozenset({"on_input"}), ((frozenset({"on_input", "weight"}),),)),
    Algo("full", frozenset({"diff", "diff_b"}), ()),
    Algo("norm", frozenset({"w_norm", "b_norm"}), ()),
    _algo("set", "set_weight"),
)
_WITH_DORA = MappingProxyType({"lora": "dora", "lokr": "dokr", "loha": "doha"})


def algos_of(parts: Collection[str]) -> tuple[Algo, ...]:
    """Every algorithm that a module with these parts uses, the naming one first."""
    return _algos_of(frozenset(parts))


# A file has hundreds of modules of a few kinds.
@lru_cache(maxsize=256)
def _algos_of(parts: frozenset[str]) -> tuple[Algo, ...]:
    return tuple(algo for algo in ALGOS if not algo.marks.isdisjoint(parts))


def algo_of(parts: Collection[str]) -> Algo | None:
    """The algorithm that names a module with these parts; None when nothing marks one."""
    return next(iter(algos_of(parts)), None)


def algo_name(algo: Algo, parts: Collection[str]) -> str:
    """The algorithm's name, told apart where a magnitude makes it another one (DoRA)."""
    return _WITH_DORA.get(algo.name, algo.name) if "dora_scale" in parts else algo.name


def missing_parts(algo: Algo, parts: Collection[str]) -> tuple[str, ...]:
    """The parts that `algo` needs and this module lacks; empty when it is whole."""
    present = frozenset(parts)
    lacking: list[str] = []
    for ways in algo.needs:
        if any(way <= present for way in ways):
            continue
        # Of several ways, name what is missing from the one that is nearest to complete.
        gaps = [sorted(way - present) for way in ways]
        nearest = min(gaps, key=len)
        lacking.extend(nearest)
    return tuple(lacking)
