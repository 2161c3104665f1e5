"""Copies, relatives and strangers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lorakit.sketches.sketch import Sketch
from lorakit.tracing.relation import Relations, relate
from tests.tracing import family as f
from tests.tracing.sketched import sampled


def few(name: str) -> bool:
    return name.startswith(("blocks.3.", "blocks.4.", "x_embedder", "final_layer"))


BASE = {n: w for n, w in f.weights(1).items() if few(n)}
MODEL = sampled(BASE)


@pytest.mark.parametrize(
    ("code", "dtype"),
    [
        ("F32", torch.float32),
        ("F16", torch.float16),
        ("BF16", torch.bfloat16),
        ("F8_E4M3", torch.float8_e4m3fn),
        ("F8_E5M2", torch.float8_e5m2),
    ],
)
def test_a_copy_in_another_format_is_the_same(code: str, dtype: torch.dtype) -> None:
    relation = relate(sampled(f.rounded(BASE, dtype), code), MODEL)
    assert relation.same
    assert relation.equal == 1
    assert relation.untouched == 0  # since nothing was touched


@pytest.mark.parametrize("size", [0.003, 0.01, 0.05])
def test_a_change_of_a_few_parts_in_a_thousand_is_another_model(size: float) -> None:
    tuned = f.rounded(f.summed(BASE, (1, f.dense(2, size, few))))
    relation = relate(sampled(tuned), MODEL)
    assert not relation.same
    assert not relation.strangers
    assert relation.related == 1
    assert relation.distance == pytest.approx(size, rel=0.15)
    assert not relation.direct


def test_unrelated_weights_are_strangers() -> None:
    other = {n: w for n, w in f.weights(99).items() if few(n)}
    relation = relate(sampled(other), MODEL)
    assert relation.strangers
    assert not relation.same
    assert relation.distance == np.inf


def test_nothing_in_common_is_no_relation() -> None:
    relation = relate(Sketch({"a": np.ones(32, np.float32)}, "BF16", 28), MODEL)
    assert (relation.modules, relation.equal, relation.same) == (0, None, False)
    assert relation.strangers


def test_untouched_modules_prove_descent() -> None:
    change = f.product_of(
        f.low_rank(3, 0.01, 8, lambda n: f.usual(n) and n.startswith("blocks.4."))
    )
    made = sampled(f.rounded(f.summed(BASE, (1, change))))
    relation = relate(made, MODEL)
    assert relation.direct
    assert relation.untouched == pytest.approx(22 / 32)
    assert "blocks.3.mlp.layer1" in relation.unchanged
    assert "blocks.4.mlp.layer1" not in relation.unchanged


def test_a_permuted_module_is_not_alike_and_the_others_are() -> None:
    name = "blocks.3.mlp.layer1"
    permuted = {**BASE, name: BASE[name][torch.randperm(f.MLP)]}
    relation = relate(sampled(permuted), MODEL)
    assert name not in relation.alike
    assert relation.related == pytest.approx(1 - 1 / len(BASE))


def test_values_on_no_steps_are_compared_exactly() -> None:
    scaled = sampled({n: w * 1.0137 for n, w in BASE.items()})
    assert relate(replace(scaled, dtype="F8_E4M3"), MODEL).equal is None
    again = replace(scaled, dtype="F8_E4M3")
    assert relate(again, replace(scaled, dtype="F8_E4M3")).same


def test_a_pair_is_looked_at_once() -> None:
    relations = Relations()
    other = sampled(f.rounded(f.summed(BASE, (1, f.dense(2, 0.01, few)))))
    assert relations.between(other, MODEL) is relations.between(other, MODEL)
    assert relations.gap(other, MODEL) is relations.gap(other, MODEL)
    assert relations.between(MODEL, other) is not relations.between(other, MODEL)
