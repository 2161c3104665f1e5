"""From estimates to answers: there, not there, in a part alone, or merely trained alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lorakit.adapters.loading import load_adapter
from lorakit.formats import anima
from lorakit.preview.demo_model import write_demo_adapters
from lorakit.sketches.adapters import sketch_adapter
from lorakit.sketches.sketch import Sketch
from lorakit.tracing.comparison import change_next_to, gap_between
from lorakit.tracing.evenness import unevenness
from lorakit.tracing.products import ALL
from lorakit.tracing.weighing import Weighed, weigh_change, weigh_weights
from tests.gate.relatives import ancestor, change, edition, in_blocks, style, with_rdbt, without
from tests.tracing import family as f
from tests.tracing.sketched import sampled


def between(weights: f.Weights, wanted: f.Weights) -> Weighed:
    base = sampled(ancestor())
    gap = gap_between(sampled(f.rounded(weights)), base, ancestor().keys())
    return weigh_weights(gap.next_to(sampled(wanted)).evidence)


def in_adapter(suspect: Sketch, wanted: Sketch) -> Weighed:
    return weigh_change(change_next_to(suspect, wanted).evidence)


@pytest.mark.parametrize("strength", [1.0, 0.3, 0.1])
def test_a_merge_is_there(strength: float) -> None:
    found = between(with_rdbt(strength), change())
    assert (found.answer, found.where) == ("there", None)
    assert found.estimate.value == pytest.approx(strength, rel=0.02)


def test_a_sibling_is_not() -> None:
    found = between(without((1, style(1))), change())
    assert found.answer == "not there"


def test_the_opposite_is_said_to_be_that() -> None:
    assert between(with_rdbt(-0.5), change()).answer == "opposite"


def test_what_is_small_beside_the_rest_is_unclear() -> None:
    # A fine-tune a hundred times larger than what is looked for.
    tiny = {n: 0.02 * x for n, x in change().items()}
    assert between(without((1, f.dense(5, 0.05))), tiny).answer == "unclear"


def test_one_block_is_found() -> None:
    found = between(in_blocks([14], 1), change())
    assert (found.answer, found.where) == ("there", "block 14")
    assert found.estimate.value == pytest.approx(1, abs=0.02)


def test_one_layer_of_all_blocks_is_found() -> None:
    part = {n: x for n, x in change().items() if n.endswith("cross_attn.q_proj")}
    found = between(without((0.5, part)), change())
    assert found.answer == "there"
    assert found.where in (None, "the layers cross_attn.q_proj")
    assert between(without((0.5, part)), part).estimate.value == pytest.approx(0.5, rel=0.02)


def test_an_adapter_counts_by_its_direction_alone() -> None:
    wanted = sampled(f.product_of(edition()))
    for strength in (0.001, 1, 1000):
        scaled = Sketch({n: x * strength for n, x in wanted.values.items()}, "BF16", 28)
        assert in_adapter(scaled, wanted).answer == "there"
    opposite = Sketch({n: -x for n, x in wanted.values.items()}, "BF16", 28)
    assert in_adapter(opposite, wanted).answer == "opposite"


@pytest.fixture(scope="module")
def styles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sketch]:
    """The demo's styles, which were trained: two of them from the same first values."""
    folder = tmp_path_factory.mktemp("loras")
    write_demo_adapters(folder)
    return {path.stem: sketch_adapter(load_adapter(path)) for path in folder.iterdir()}


def test_styles_that_were_trained_alike_are_not_merges_of_one_another(
    styles: dict[str, Sketch],
) -> None:
    for one in styles:
        for other in styles:
            if one != other:
                assert in_adapter(styles[one], styles[other]).answer in ("not there", "alike")
    found = in_adapter(styles["wash"], styles["ink"])
    assert found.answer == "alike"
    assert found.estimate.z > 5


@pytest.mark.parametrize("strength", [0.1, 0.2, 0.5])
@pytest.mark.parametrize(("one", "other"), [("neon", "ink"), ("ink", "neon"), ("mosaic", "wash")])
def test_merges_of_trained_styles_are_there(
    styles: dict[str, Sketch], one: str, other: str, strength: float
) -> None:
    held, rest = styles[one].values, styles[other].values
    values = {n: rest.get(n, np.zeros(1, np.float32)) for n in {**held, **rest}}
    for name, x in held.items():
        values[name] = (values[name] + strength * x).astype(np.float32)
    merged = replace(styles[other], values=values)
    assert in_adapter(merged, styles[one]).answer == "there"


def test_blocks_at_strengths_of_their_own_are_not_uneven() -> None:
    gradient = {n: x * ((anima.block_of(n) or 0) / 27) for n, x in change().items()}
    evidence = change_next_to(sampled(gradient), sampled(change())).evidence
    assert unevenness(evidence.products, ALL) < 0.02
    by_module = {n: x * (0.2 + 0.2 * (k % 9)) for k, (n, x) in enumerate(change().items())}
    evidence = change_next_to(sampled(by_module), sampled(change())).evidence
    assert unevenness(evidence.products, ALL) > 0.5
