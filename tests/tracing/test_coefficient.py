"""The estimate of a strength: right, with an error that means what it says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorakit.sketches.sketch import Sketch
from lorakit.tracing.coefficient import sign_nulls
from lorakit.tracing.comparison import change_next_to, gap_between
from tests.tracing import family as f
from tests.tracing.sketched import sampled


def few(name: str) -> bool:
    """The layers of two blocks that style LoRAs change."""
    return f.usual(name) and name.startswith(("blocks.3.", "blocks.4."))


def lora(seed: int, size: float = 0.02, rank: int = 16) -> Sketch:
    return sampled(f.product_of(f.low_rank(seed, size, rank, few)))


def times(strength: float, sketch: Sketch) -> Sketch:
    values = {n: np.float32(strength) * x for n, x in sketch.values.items()}
    return Sketch(values, sketch.dtype, sketch.blocks)


def plus(one: Sketch, other: Sketch) -> Sketch:
    values = {n: x + other.values.get(n, np.float32(0)) for n, x in one.values.items()}
    return Sketch(values, one.dtype, one.blocks)


@settings(deadline=None, max_examples=30)
@given(st.floats(-20, 20).filter(lambda s: abs(s) > 0.01))
def test_it_is_linear(strength: float) -> None:
    known = lora(1)
    found = change_next_to(times(strength, known), known).evidence.estimate()
    assert found.value == pytest.approx(strength, rel=1e-5)
    assert found.share == pytest.approx(np.sign(strength), rel=1e-5)
    assert found.error < 1e-3 * abs(strength)


@pytest.mark.parametrize("strength", [1.0, 0.5, 0.2, 0.1])
def test_a_strength_is_found_under_another_change(strength: float) -> None:
    found = [
        change_next_to(
            plus(times(strength, lora(seed)), lora(seed + 500)), lora(seed)
        ).evidence.estimate()
        for seed in range(20)
    ]
    off = np.array([(one.value - strength) / one.error for one in found])
    assert np.abs(off).max() < 4
    assert np.sqrt((off**2).mean()) < 1.5


@pytest.mark.parametrize("rank", [1, 4, 32])
def test_of_what_is_not_there_a_share_is_found_as_often_as_the_error_says(rank: int) -> None:
    known = lora(1, rank=rank)
    zs = np.array(
        [
            change_next_to(lora(seed, rank=rank), known).evidence.estimate().z
            for seed in range(2, 202)
        ]
    )
    # Values of one row move together, so errors that took them for independent would be too small.
    assert 0.75 < zs.std() < 1.3
    assert abs(zs.mean()) < 0.3
    assert np.abs(zs).max() < 5


def test_flipping_signs_gives_the_same_null_distribution() -> None:
    known, other = lora(1), lora(2)
    evidence = change_next_to(other, known).evidence
    nulls = sign_nulls(evidence.products, 1000)
    assert abs(nulls.mean()) < 0.2 * nulls.std()
    found = evidence.estimate()
    assert nulls.std() == pytest.approx(found.error, rel=0.5)
    assert abs(found.value) < np.abs(nulls).max() * 1.5
    assert np.array_equal(nulls, sign_nulls(evidence.products, 1000))


@pytest.mark.parametrize("strength", [1.0, 0.5, 0.2, 0.1])
def test_what_rounding_to_bfloat16_takes_is_not_counted(strength: float) -> None:
    base = {n: w for n, w in f.weights(1).items() if few(n)}
    change = f.product_of(f.low_rank(4, 0.01, 24, few))
    merged = sampled(f.rounded(f.summed(base, (strength, change))))
    evidence = gap_between(merged, sampled(base), base.keys()).next_to(sampled(change)).evidence
    found = evidence.estimate()
    assert abs(found.value - strength) < max(3 * found.error, 0.01 * strength)
    # All values alike would say far less: most weights came back unchanged.
    if strength == 0.1:
        assert found.kept < 0.7 * strength


def test_modules_that_were_merged_differently_make_it_less_sure() -> None:
    known = lora(1)
    half = {n: x * (1.0 if n.startswith("blocks.3.") else 0.0) for n, x in known.values.items()}
    uneven = plus(Sketch(half, "BF16", f.BLOCKS), times(0.05, lora(2)))
    evidence = change_next_to(uneven, known).evidence
    whole = evidence.estimate()
    assert 0.35 < whole.value < 0.65
    assert whole.error > 0.05
    part = evidence.estimate([n for n in known.values if n.startswith("blocks.3.")])
    assert part.value == pytest.approx(1, abs=3 * part.error)
    assert part.error < 0.02


def test_nothing_to_look_for_gives_no_answer() -> None:
    known = lora(1)
    nothing = change_next_to(known, times(0, known)).evidence.estimate()
    assert (nothing.value, nothing.z, nothing.count) == (0, 0, 0)
    empty = change_next_to(Sketch({}, "BF16", 28), Sketch({}, "BF16", 28)).evidence.estimate()
    assert empty.count == 0
