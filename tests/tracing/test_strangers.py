"""The quick look at two adapters: it may leave a pair to the comparison, and must never differ from it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lorakit.sketches.sketch import Sketch
from lorakit.tracing.similar import LEAST, compare
from lorakit.tracing.strangers import surely_strangers
from tests.models import usual_names

NAMES = usual_names(8)
VALUES = 1024


def random(seed: int, names: list[str] = NAMES) -> Sketch:
    drawn = np.random.default_rng(seed)
    values = {name: drawn.normal(size=VALUES).astype(np.float32) for name in names}
    return Sketch(values, "BF16", 8)


def mixed(one: Sketch, other: Sketch, share: float) -> Sketch:
    """`other` with so much of `one` that their cosine is about `share`."""
    kept = (1 - share**2) ** 0.5
    values = {name: share * one.values[name] + kept * v for name, v in other.values.items()}
    return replace(other, values=values)


def test_strangers_are_told_without_a_comparison() -> None:
    for seed in range(1, 20):
        pair = random(0), random(seed)
        assert surely_strangers(*pair), seed
        assert compare(*pair).kind == "unrelated"
    # Without a module in common there is nothing to look at.
    assert surely_strangers(random(0, NAMES[:10]), random(1, NAMES[10:]))


@pytest.mark.parametrize("share", [0.02, 0.03, 0.035, 0.05, 0.1, 0.3, -0.05, -1.0, 1.0])
def test_whoever_may_be_related_is_compared(share: float) -> None:
    for seed in range(1, 10):
        one, other = random(0), mixed(random(0), random(seed), share)
        quick, found = surely_strangers(one, other), compare(one, other)
        assert found.kind == "unrelated" or not quick
        assert quick == (abs(found.cosine) < 0.97 * LEAST)


def test_a_single_module_that_was_copied_is_seen() -> None:
    one, other = random(0), random(1)
    # It is a hundredth as large as the rest, so that the cosine over all shows nothing of it.
    small = {NAMES[5]: one.values[NAMES[5]] * 0.01}
    pair = (
        replace(one, values={**one.values, **small}),
        replace(other, values={**other.values, **small}),
    )
    assert abs(compare(*pair).cosine) < 0.97 * LEAST
    assert compare(*pair).kind == "part"
    assert not surely_strangers(*pair)


def test_what_is_open_in_either_is_left_to_the_comparison() -> None:
    one, other = random(0), random(1)
    assert not surely_strangers(one, replace(other, undecided=(NAMES[0],)))
    assert not surely_strangers(one, replace(other, blocks=28))
