"""What a check says: who is alike, who fights where, what balances them; and nothing within noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import sqrt

import pytest
import torch

from lorakit.adapters.adapter import Adapter
from lorakit.adapters.lora import LoraModule
from lorakit.errors import BadFile, BadUsage, NotFusable
from lorakit.merging.checking.advice import advise
from lorakit.merging.checking.balance import balanced
from lorakit.merging.checking.comparing import Comparison, compare
from lorakit.merging.checking.notes import notes_on
from lorakit.merging.checking.relations import meetings, relation
from lorakit.merging.checking.usual import Usual
from lorakit.strengths import Strength
from lorakit.strengths.text import number
from tests.models import memory_adapter, random_lora, tiny_base, usual_names

BLOCKS = 6
NAMES = usual_names(BLOCKS)
Factors = dict[str, LoraModule]


def factors(seed: int, rank: int = 4, blocks: int = BLOCKS) -> Factors:
    return random_lora(usual_names(blocks), blocks, rank=rank, seed=seed)


def scaled(modules: Factors, scale: float) -> Factors:
    return {name: replace(module, scale=scale) for name, module in modules.items()}


def pulled(modules: Factors, towards: Factors, share: float, names: Sequence[str]) -> Factors:
    """`modules` with `share` times `towards` added in some of them."""
    return {
        name: LoraModule(
            torch.cat((module.up, share * towards[name].up), 1),
            torch.cat((module.down, towards[name].down)),
            1.0,
        )
        if name in names
        else module
        for name, module in modules.items()
    }


def check(*stack: tuple[Factors, float], base: dict[str, torch.Tensor] | None = None) -> Comparison:
    labels = ["ink", "wash", "sea", "fog"][: len(stack)]
    return compare([(memory_adapter(m), w) for m, w in stack], base, labels=labels)


def kinds(found: Comparison, **options: Usual) -> list[str]:
    return [one.kind for one in advise(found, options)]


@pytest.mark.parametrize("seed", range(5))
def test_strangers_get_no_verdict(seed: int) -> None:
    found = check((factors(seed), 1.0), (factors(seed + 100), 0.9), (factors(seed + 200, 8), 0.7))
    assert [relation(found, p.one, p.other) for p in found.pairs] == ["independent"] * 3
    assert meetings(found) == []
    assert set(kinds(found)) <= {"uneven"}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("side", ["up", "down"])
def test_strangers_that_share_one_side_get_no_verdict(seed: int, side: str) -> None:
    """Adapters of one base see the same activations, which spreads cosines beyond mere dimension."""
    shared, *others = factors(50 + seed, 2), factors(seed, 2), factors(seed + 100, 2)
    ink, wash = (
        {n: replace(module, **{side: getattr(shared[n], side)}) for n, module in one.items()}
        for one in others
    )
    found = check((ink, 1.0), (wash, 1.0))
    assert meetings(found) == []
    # The error is the one that is seen.
    cosines = [kind.cosine(0, 1) / kind.by_chance(0, 1) for kind in found.blocks]  # type: ignore[operator]
    assert 0.2 < sum(z * z for z in cosines) / len(cosines) < 3


def test_a_fight_is_found_where_it_is_and_nowhere_else() -> None:
    ink = factors(1)
    there = [name for name in NAMES if name.split(".")[1] in ("2", "3")]
    found = check((ink, 1.0), (pulled(factors(2), ink, -0.6, there), 1.0))
    fights = [one for one in meetings(found) if one.where == "blocks"]
    assert [one.names for one in fights] == [("2", "3")]
    assert fights[0].apart
    assert fights[0].cosine == pytest.approx(-0.6 / sqrt(1.36), abs=0.05)
    # ‖a + b‖ / √(‖a‖² + ‖b‖²) of vectors of sizes 1 and √1.36 at that angle.
    assert fights[0].effect == pytest.approx(sqrt(1 - 2 * 0.6 / 2.36) - 1, abs=0.05)
    (told,) = [one for one in advise(found) if one.kind == "apart" and "blocks" in one.text]
    assert "blocks 2-3" in told.text
    assert "ink:1@blocks=2-3:0.5" in told.text
    turned = check((ink, 1.0), (pulled(factors(2), ink, -0.6, there), -1.0))
    assert not any(one.apart for one in meetings(turned))


def test_a_kind_in_which_two_double_up_is_named() -> None:
    ink = factors(1)
    there = [name for name in NAMES if ".cross_attn." in name]
    found = check((ink, 1.0), (pulled(factors(2), ink, 0.8, there), 0.5))
    assert [one.names for one in meetings(found) if one.where == "kinds"] == [("cross_attn",)]
    assert any("pull the same way in cross_attn" in one.text for one in advise(found))


def test_one_module_alone_is_no_pattern() -> None:
    ink = factors(1)
    found = check((ink, 1.0), (pulled(factors(2), ink, -2.0, NAMES[:1]), 1.0))
    assert [one for one in meetings(found) if one.where == "blocks"] == []


def test_copies_at_any_size_are_the_same_change() -> None:
    ink = factors(1)
    found = check((ink, 0.8), (scaled(ink, -0.5), 0.4), (ink, 0.1))
    assert [relation(found, p.one, p.other) for p in found.pairs] == ["scaled", "same", "scaled"]
    first = advise(found)[0]
    assert first.kind == "same"
    assert first.figures["alone"] == pytest.approx(0.8 - 0.5 * 0.4)
    assert meetings(found) == []


def test_what_is_nearly_a_copy_is_called_so() -> None:
    ink = factors(1)
    found = check((ink, 0.8), (pulled(ink, factors(2), 0.04, NAMES), 0.4))
    assert relation(found, 0, 1) == "same"
    (told,) = [one for one in advise(found) if one.kind == "same"]
    assert told.text.startswith("wash is nearly ink again (cosine 0.99")
    assert advise(check((ink, 0.8), (ink, 0.4)))[0].text.startswith("wash is ink again (")


def test_a_relative_is_told_from_a_copy() -> None:
    ink = factors(1)
    trained_further = pulled(ink, factors(2), 0.5, NAMES)
    found = check((ink, 1.0), (trained_further, 1.0))
    assert relation(found, 0, 1) == "relative"
    assert found.whole.cosine(0, 1) == pytest.approx(1 / sqrt(1.25), abs=0.02)
    assert kinds(found) == ["relative"]


def test_the_stronger_one_is_balanced_by_the_strength_that_is_told() -> None:
    found = check((factors(1), 0.9), (scaled(factors(2), 3.0), 0.9))
    (told,) = advise(found)
    assert told.kind == "uneven"
    even = told.figures["balancing_strength"]
    assert found.whole.size(1, even) == pytest.approx(found.whole.size(0, 0.9))
    assert f"wash:{number(round(even, 2))} balances them" in told.text
    again = check((factors(1), 0.9), (scaled(factors(2), 3.0), even))
    assert advise(again) == []


def test_balance_makes_all_alike_and_the_sum_as_strong_as_the_strongest() -> None:
    stack = ((factors(1), 0.8), (scaled(factors(2), 4.0), -0.5), (factors(3, 8), 0.3))
    found = check(*stack)
    balance = balanced(found.whole, found.strengths)
    assert balance is not None
    sizes = [found.whole.size(at, w) for at, w in enumerate(balance.strengths)]
    assert sizes == pytest.approx([sizes[0]] * 3, rel=0.05)
    assert balance.strengths[1] < 0
    assert balance.size == pytest.approx(found.whole.size(1, 0.5), rel=0.03)


def test_two_alike_balance_at_half_and_two_strangers_at_seven_tenths() -> None:
    ink = factors(1)
    twice = check((ink, 1.0), (ink, 1.0))
    assert balanced(twice.whole, twice.strengths).strengths == (0.5, 0.5)  # type: ignore[union-attr]
    apart = check((ink, 1.0), (scaled(factors(2), 1.0), 1.0))
    balance = balanced(apart.whole, apart.strengths)
    assert balance is not None
    assert balance.strengths == pytest.approx((0.71, 0.71), abs=0.02)


def test_what_cancels_out_or_stands_alone_cannot_be_balanced() -> None:
    ink = factors(1)
    for stack in (((ink, 1.0), (ink, -1.0)), ((ink, 1.0),), ((ink, 1.0), (factors(2), 0.0))):
        found = check(*stack)
        assert balanced(found.whole, found.strengths) is None


def test_a_strength_outside_its_range_and_one_that_rounds_away_are_named() -> None:
    base = tiny_base(BLOCKS, dtype=torch.bfloat16)
    found = check((scaled(factors(1), 0.01), 1.5), base=base)
    assert kinds(found, ink=Usual(0.8, 0.6, 1.0)) == ["rounding", "range"]
    assert kinds(found, ink=Usual(0.8, 0.6, 1.5)) == ["rounding"]
    assert "fp16" in advise(found)[0].text


def of_blocks(highest: int, seed: int = 1, rows: int = 32) -> Adapter:
    names = [f"blocks.{n}.self_attn.q_proj" for n in (0, highest)]
    generator = torch.Generator().manual_seed(seed)
    return memory_adapter(
        {
            name: LoraModule(
                torch.randn(rows, 2, generator=generator),
                torch.randn(2, 32, generator=generator),
                1.0,
            )
            for name in names
        }
    )


def test_adapters_of_other_block_counts_meet_where_their_blocks_went() -> None:
    found = compare([(of_blocks(27), 1.0), (of_blocks(39), 1.0)], labels=["small", "large"])
    # The last block of 28 is the last of 40.
    assert found.measured.names == ("blocks.0.self_attn.q_proj", "blocks.39.self_attn.q_proj")
    assert any("renumbered" in note and note.startswith("small") for note in notes_on(found))


def test_what_cannot_be_stacked_is_named_and_the_rest_compared() -> None:
    found = compare(
        [(of_blocks(3), 1.0), (of_blocks(3, rows=48), 1.0), (of_blocks(3, seed=2), 1.0)],
        labels=["ink", "other", "wash"],
    )
    assert found.labels == ["ink", "wash"]
    assert "other sizes" in found.refused["other"]
    assert advise(found)[0].kind == "refused"
    small = compare([(of_blocks(1), 1.0), (of_blocks(9), 1.0)], tiny_base(3), labels=["ink", "big"])
    assert "larger model" in small.refused["big"]
    with pytest.raises(NotFusable, match="larger model"):
        compare([(of_blocks(9), 1.0)], tiny_base(3))


def test_what_does_nothing_is_said() -> None:
    found = compare(
        [
            (memory_adapter(factors(1)), Strength.parse("0.5@blocks=20-:0")),
            (memory_adapter(factors(2)), Strength.parse("0")),
            (memory_adapter(factors(3)), Strength.parse("1@steps=0-3")),
        ],
        labels=["ink", "wash", "sea"],
    )
    said = notes_on(found)
    assert any("blocks=20-:0 meets none" in note for note in said)
    assert any(note.startswith("wash has strength 0") for note in said)
    assert any(note.startswith("sea holds in some") for note in said)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_values_that_cannot_be_computed_with_are_refused_by_name(value: float) -> None:
    broken = factors(2)
    broken[NAMES[3]].up[0, 0] = value
    with pytest.raises(BadFile, match=NAMES[3]):
        check((factors(1), 1.0), (broken, 1.0))


def test_an_empty_stack_is_a_mistake() -> None:
    with pytest.raises(BadUsage):
        compare([])
