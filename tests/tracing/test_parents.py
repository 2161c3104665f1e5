"""Which of several models RDBT's likeness was made from, whatever they are called."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import permutations

import pytest

from lorakit.tracing.known import Known
from lorakit.tracing.parents import likeliest_parents
from lorakit.tracing.relation import Relations
from tests.gate.relatives import (
    ancestor,
    in_blocks,
    rdbt,
    style,
    tuned,
    with_rdbt,
    without,
    yume,
)
from tests.tracing import family as f
from tests.tracing.sketched import known, sampled

OTHERS: dict[str, Callable[[], f.Weights]] = {
    "a sibling": lambda: without((1, style(1))),
    "a strong sibling": lambda: without((2.5, style(1))),
    "a sibling that changed RDBT's very layers": lambda: without(
        (1, f.product_of(f.low_rank(7, 0.015, 24, f.as_rdbt)))
    ),
    "a fine-tune": yume,
    "a tenth of it": lambda: with_rdbt(0.1),
    "half of it and a style": lambda: with_rdbt(0.5, (0.5, style(2))),
    "a fifth of it and a weak style": lambda: with_rdbt(0.2, (0.2, style(2))),
    "most of it and a strong style": lambda: with_rdbt(0.9, (1.5, style(2))),
    "blocks 10 to 20 of it": lambda: in_blocks(range(10, 21), 1),
    "blocks 10 to 20 of it and a style": lambda: f.summed(
        in_blocks(range(10, 21), 1), (0.2, style(3))
    ),
}


@pytest.fixture(scope="module")
def made() -> Known:
    return known("rdbt", sampled(rdbt()), "rdbt")


@pytest.fixture(scope="module")
def anima() -> Known:
    return known("anima", sampled(ancestor()), "anima")


def parents(made: Known, possible: Sequence[Known]) -> list[str]:
    return [one.name for one in likeliest_parents(made, possible, Relations())]


@pytest.mark.parametrize("make", OTHERS.values(), ids=list(OTHERS))
def test_the_ancestor_is_told_from_another_that_claims_to_be_it(
    make: Callable[[], f.Weights], made: Known, anima: Known
) -> None:
    other = known("other", sampled(f.rounded(make())), "anima")
    for order in permutations([anima, other]):
        assert parents(made, order) == ["anima"]


def test_it_is_found_among_many(made: Known, anima: Known) -> None:
    names = ["a sibling", "a tenth of it", "blocks 10 to 20 of it"]
    others = [known(name, sampled(f.rounded(OTHERS[name]()))) for name in names]
    assert parents(made, [*others, anima]) == ["anima"]
    assert parents(made, [anima, *reversed(others)]) == ["anima"]


def test_a_model_whose_every_weight_differs_proves_nothing(made: Known) -> None:
    assert parents(made, [known("yume", sampled(yume()))]) == []
    assert parents(made, [known("tuned", sampled(f.rounded(tuned(ancestor(), 1, 0.01))))]) == []
    assert parents(made, []) == []


def test_the_only_one_that_fits_is_taken_at_its_word(made: Known) -> None:
    # It shares adaln with RDBT, and nothing better is known. Whoever registers it as Anima says so.
    assert parents(made, [known("sibling", sampled(f.rounded(without((1, style(1))))))]) == [
        "sibling"
    ]
