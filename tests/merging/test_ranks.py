"""How many singular values a rule keeps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorakit.errors import BadUsage
from lorakit.merging.ranks import Energy, Frobenius, Rank, RankRule, SvRatio, lost, rank_for

VALUES = [4.0, 2.0, 1.0, 0.5]  # squares 16, 4, 1, 0.25


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        (Rank(3), 3),
        (Rank(9), 4),
        (Energy(16 / 21.25), 1),
        (Energy(0.8), 2),
        (Energy(20 / 21.25), 2),
        (Energy(1.0), 4),
        (SvRatio(2), 2),
        (SvRatio(3.9), 2),
        (SvRatio(1), 1),
        (Frobenius(0.9), 2),
        (Frobenius(1.0), 4),
    ],
)
def test_a_rule_keeps_as_few_as_fulfil_it(rule: RankRule, kept: int) -> None:
    assert rank_for(VALUES, rule) == kept


@pytest.mark.parametrize("rule", [Rank(2), Energy(0.9), SvRatio(10), Frobenius(0.9)])
def test_a_change_of_nothing_has_rank_one(rule: RankRule) -> None:
    assert rank_for([0.0], rule) == rank_for([], rule) == 1


def test_zeros_are_not_kept_for_the_whole_energy() -> None:
    assert rank_for([3.0, 1.0, 0.0, 0.0], Energy(1.0)) == 2
    assert rank_for([3.0, 1.0, 0.0], SvRatio(1e9)) == 2


sizes = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=20)


@given(sizes, st.floats(0.01, 0.999))
def test_one_fewer_would_not_hold_the_energy(values: list[float], share: float) -> None:
    ordered = sorted(values, reverse=True)
    kept = rank_for(ordered, Energy(share))
    whole = sum(value * value for value in ordered)
    assert whole - lost(ordered, kept) ** 2 >= share * whole * (1 - 1e-9)
    if kept > 1:
        assert whole - lost(ordered, kept - 1) ** 2 < share * whole * (1 + 1e-9)


@pytest.mark.parametrize(
    ("make", "value"),
    [(Rank, 0), (Energy, 0.0), (Energy, 1.5), (SvRatio, 0.5), (Frobenius, float("nan"))],
)
def test_what_makes_no_sense_is_refused(make: type, value: float) -> None:
    with pytest.raises(BadUsage):
        make(value)
