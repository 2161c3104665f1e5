"""Which known models a checkpoint or an adapter holds, with and without what they were made from."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lorakit.formats.variants import block_map
from lorakit.sketches.sketch import Sketch
from lorakit.tracing.grid import with_blocks
from lorakit.tracing.known import Finding, Known
from lorakit.tracing.recognition import recognise_adapter, recognise_base
from tests.gate.relatives import (
    ancestor,
    change,
    edition,
    rdbt,
    style,
    style_factors,
    tuned,
    with_rdbt,
    without,
    yume,
)
from tests.tracing import family as f
from tests.tracing.sketched import ANCESTORS, known, known_adapter, sampled


@pytest.fixture(scope="module")
def anima() -> Known:
    return known("anima", sampled(ancestor()), "anima")


@pytest.fixture(scope="module")
def fine_tune() -> Known:
    return known("yume", sampled(yume()), "animayume")


@pytest.fixture(scope="module")
def likeness() -> Known:
    return known("rdbt", sampled(rdbt()), "rdbt")


@pytest.fixture(scope="module")
def ink() -> Known:
    return known_adapter("ink", style(1))


def in_base(weights: f.Weights, about: Known, *others: Known) -> Finding:
    suspect = sampled(f.rounded(weights))
    (found,) = recognise_base(suspect, [about, *others], ancestors=ANCESTORS, about=[about])
    return found


def in_adapter(weights: f.Weights, about: Known, *others: Known) -> Finding:
    (found,) = recognise_adapter(
        sampled(weights), [about, *others], ancestors=ANCESTORS, about=[about]
    )
    return found


def test_a_copy_is_the_same_with_or_without_its_ancestor(likeness: Known, anima: Known) -> None:
    for others in ((), (anima,)):
        found = in_base(rdbt(), likeness, *others)
        assert (found.outcome, found.strength) == ("same", 1)
        assert "These are the weights of rdbt" in found.how


def test_a_merge_holds_it(likeness: Known, anima: Known, fine_tune: Known) -> None:
    found = in_base(with_rdbt(0.4, (0.8, style(1))), likeness, anima, fine_tune)
    assert found.outcome == "contains"
    assert found.strength == pytest.approx(0.4, abs=0.01)
    assert found.reference is anima
    assert f"the change that makes rdbt, at strength {found.strength:.3f} ± " in found.how
    assert "next to anima" in found.how


def test_a_relative_without_it_does_not(likeness: Known, anima: Known) -> None:
    for weights in (ancestor(), yume(), without((1, style(1))), tuned(ancestor(), 2, 0.02)):
        found = in_base(weights, likeness, anima)
        assert found.outcome == "absent", found.how


def test_a_stranger_is_one_with_or_without_the_ancestor(likeness: Known, anima: Known) -> None:
    for others in ((), (anima,)):
        found = in_base(f.weights(99), likeness, *others)
        assert found.outcome == "absent"
        assert "not related" in found.how


def test_without_the_ancestor_a_relative_cannot_be_told(likeness: Known) -> None:
    for weights in (yume(), with_rdbt(0.5)):
        found = in_base(weights, likeness)
        assert found.outcome == "undecided"
        assert found.settle == "the very model that rdbt was made from (anima)"


def test_an_ancestor_that_shares_nothing_untouched_is_not_believed(likeness: Known) -> None:
    # Another model registered as Anima: the difference to it is not RDBT's own change.
    wrong = known("wrong", sampled(f.rounded(tuned(ancestor(), 3, 0.01))), "anima")
    found = in_base(yume(), likeness, wrong)
    assert found.outcome == "undecided"
    assert "nothing shows that rdbt was made from wrong" in found.how
    assert found.settle is not None
    assert "rdbt again with `--on wrong`" in found.settle


def test_a_declared_parent_is_believed(likeness: Known, fine_tune: Known, anima: Known) -> None:
    dense = f.rounded(tuned(yume(), 4, 0.01))
    child = known("child", sampled(dense), "child", parent="yume")
    half = f.summed(yume(), (0.5, f.difference(dense, yume())))
    found = in_base(half, child, fine_tune, anima)
    assert found.outcome == "contains"
    assert found.strength == pytest.approx(0.5, abs=0.01)
    assert found.reference is fine_tune
    assert in_base(yume(), child, fine_tune, anima).outcome == "absent"
    # A model is never its own parent.
    itself = replace(child, parent="child")
    assert in_base(half, itself, anima).outcome == "undecided"


def test_whatever_is_near_the_first_model_was_made_from_it(anima: Known) -> None:
    found = in_base(with_rdbt(1), anima)
    assert (found.outcome, found.strength) == ("contains", None)
    assert "made from anima" in found.how
    assert in_base(ancestor(), anima).outcome == "same"
    assert in_base(f.weights(99), anima).outcome == "absent"


def test_an_adapter_is_found_next_to_any_relative(
    ink: Known, anima: Known, fine_tune: Known
) -> None:
    merged = without((0.6, style(1)), (0.5, style(2)))
    for others in ((anima,), (fine_tune,), (anima, fine_tune)):
        found = in_base(merged, ink, *others)
        assert found.outcome == "contains"
        assert found.strength == pytest.approx(0.6, abs=0.02)
        assert in_base(without((1, style(2))), ink, *others).outcome == "absent"


def test_a_relative_that_holds_the_adapter_itself_says_nothing(ink: Known, anima: Known) -> None:
    holder = known("holder", sampled(f.rounded(without((1, style(1))))), "anima")
    assert in_base(without((1, style(2))), ink, anima, holder).outcome == "absent"
    assert in_base(without((0.8, style(1))), ink, anima, holder).outcome == "contains"


def test_without_any_relative_an_adapter_may_go_unseen(ink: Known) -> None:
    found = in_base(without((1, style(2))), ink)
    assert found.outcome == "unseen"
    assert found.settle == "another model of its family"
    strong = known_adapter("strong", style(1, 0.2, 16))
    assert in_base(without((1, style(1, 0.2, 16))), strong).outcome == "contains"


def test_adapters_hold_checkpoints_and_adapters(likeness: Known, anima: Known, ink: Known) -> None:
    mix = f.summed(style(1), (0.5, change()))
    found = in_adapter(mix, likeness, anima)
    assert found.outcome == "contains"
    assert found.strength == pytest.approx(0.5, abs=0.02)
    found = in_adapter(mix, ink)
    assert found.strength == pytest.approx(1, abs=0.02)
    assert in_adapter(style(2), likeness, anima).outcome == "absent"
    assert in_adapter(style(2), ink).outcome == "absent"
    assert in_adapter(style(2), anima).outcome == "absent"


def test_an_adapter_and_a_checkpoint_without_its_ancestor(likeness: Known) -> None:
    assert in_adapter(style(2), likeness).outcome == "unseen"
    # What the adapter changes stands out in the model's weights, and it may be chance.
    found = in_adapter(change(), likeness)
    assert found.outcome == "undecided"
    assert found.settle is not None


def test_the_larger_models_of_the_family_are_compared_block_by_block(
    likeness: Known, anima: Known
) -> None:
    suspect = with_blocks(sampled(f.rounded(with_rdbt(0.5))), 40)
    carried = set(block_map(28, 40))
    inserted = {
        f"blocks.{n}.{layer}": values + 0
        for n in range(40)
        if n not in carried
        for name, values in suspect.values.items()
        if name.startswith("blocks.0.")
        for layer in [name.split(".", 2)[2]]
    }
    larger = Sketch({**suspect.values, **inserted}, "BF16", 40)
    (found,) = recognise_base(larger, [likeness, anima], ancestors=ANCESTORS, about=[likeness])
    assert found.outcome == "contains"
    assert found.strength == pytest.approx(0.5, abs=0.01)
    # The other way round: a known model of 40 blocks, and one of 28.
    grown = replace(likeness, sketch=with_blocks(likeness.sketch, 40))
    (found,) = recognise_base(
        sampled(f.rounded(with_rdbt(0.5))), [grown, anima], ancestors=ANCESTORS, about=[grown]
    )
    assert found.outcome == "contains"


@settings(
    deadline=None, max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.permutations(range(4)))
def test_the_order_of_what_is_known_changes_nothing(
    likeness: Known, anima: Known, fine_tune: Known, ink: Known, order: list[int]
) -> None:
    suspect = sampled(f.rounded(with_rdbt(0.3, (0.5, style(1)))))
    everyone = [likeness, anima, fine_tune, ink]
    shuffled = [everyone[number] for number in order]
    found = {
        one.known.name: (one.outcome, one.strength)
        for one in recognise_base(suspect, shuffled, ancestors=ANCESTORS)
    }
    wanted = {
        one.known.name: (one.outcome, one.strength)
        for one in recognise_base(suspect, everyone, ancestors=ANCESTORS)
    }
    assert found == wanted
    assert found["rdbt"][0] == found["ink"][0] == "contains"


def test_its_lora_edition_is_known_by_either(likeness: Known, anima: Known) -> None:
    own = f.product_of(edition())
    assert in_adapter(own, likeness, anima).strength == pytest.approx(1, abs=0.02)
    listed = known_adapter("edition", own, "rdbt")
    assert in_base(with_rdbt(0.7), listed, anima).strength == pytest.approx(0.7, abs=0.02)
    assert in_adapter(f.product_of(style_factors(3)), listed).outcome == "absent"
