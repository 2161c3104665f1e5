"""How alike adapters are: each kind of relative is told, and strangers stay strangers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lorakit.adapters.lora import LoraModule
from lorakit.formats.variants import block_map
from lorakit.sketches.adapters import sketch_adapter
from lorakit.sketches.sketch import Sketch
from lorakit.tracing.coarse import coarse, cosines, from_bytes, to_bytes
from lorakit.tracing.similar import compare, mixture
from tests.models import memory_adapter, random_lora, usual_names

Modules = dict[str, LoraModule]
NAMES = usual_names(8)


def made(seed: int, rank: int = 8) -> Modules:
    return random_lora(NAMES, 8, seed=seed, rank=rank)


def sketch(modules: Modules) -> Sketch:
    return sketch_adapter(memory_adapter(modules))


def cast(modules: Modules, dtype: str) -> Sketch:
    """The sketch of the file that holds `modules` in another format."""
    torch_dtype = {
        "F32": torch.float32,
        "F16": torch.float16,
        "BF16": torch.bfloat16,
        "F8_E4M3": torch.float8_e4m3fn,
    }[dtype]
    factors = {
        name: LoraModule(
            one.up.to(torch_dtype).float(), one.down.to(torch_dtype).float(), one.scale
        )
        for name, one in modules.items()
    }
    return replace(sketch(factors), dtype=dtype)


def delta(module: LoraModule) -> torch.Tensor:
    return module.delta(torch.zeros((), dtype=torch.float64))


def resized(module: LoraModule, rank: int) -> LoraModule:
    u, s, v = torch.linalg.svd(delta(module), full_matrices=False)
    return LoraModule((u * s)[:, :rank].float(), v[:rank].float(), 1.0)


def joined(one: LoraModule, two: LoraModule, a: float, b: float) -> LoraModule:
    up = torch.cat((one.up * a, two.up * b), 1)
    return LoraModule(up, torch.cat((one.down, two.down)), 1.0)


def test_the_same_weights_in_another_dtype_are_the_same() -> None:
    ink = made(0)
    for dtype in ("BF16", "F16", "F8_E4M3"):
        found = compare(sketch(ink), cast(ink, dtype))
        assert found.kind == "same weights", found
        assert found.equal >= 0.9 * found.either
    # As far apart as two files of one adapter can be: each of them was rounded.
    assert compare(cast(ink, "F16"), cast(ink, "BF16")).kind == "same weights"


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_one_alpha_that_differs_is_no_rounding(dtype: str) -> None:
    ink = made(0)
    name = NAMES[3]
    other = {**ink, name: replace(ink[name], scale=ink[name].scale * 0.97)}
    found = compare(sketch(ink), cast(other, dtype))
    assert 0.9999 < found.cosine < 1
    assert (found.kind, found.differing) == ("nearly the same", 1)
    assert found.words == "nearly the same weights: 1 of 80 modules differs"


def test_a_size_that_differs_by_less_than_it_seems_is_told() -> None:
    ink = made(0)
    other = {name: replace(one, scale=one.scale * 1.004) for name, one in ink.items()}
    assert compare(sketch(ink), sketch(other)).words == "scaled by 1.0040"
    # Beside the steps of bfloat16, this may be a rounded alpha.
    assert compare(sketch(ink), cast(other, "BF16")).kind == "same weights"


def test_what_was_cut_off_is_no_rounding() -> None:
    ink = {
        name: joined(one, made(1, 1)[name], 1.0, 0.1) if name in NAMES[:9] else one
        for name, one in made(0).items()
    }
    found = compare(sketch(ink), sketch(made(0)))
    assert (found.kind, found.differing) == ("nearly the same", 9)


@pytest.mark.parametrize("factor", [0.5, -1.0, 3.0])
def test_a_scaled_one_is_told_with_its_factor(factor: float) -> None:
    ink = made(0)
    scaled = {name: replace(module, scale=module.scale * factor) for name, module in ink.items()}
    found = compare(sketch(ink), sketch(scaled))
    assert found.kind == "scaled"
    assert found.scale == pytest.approx(factor, rel=1e-4)
    assert found.ratio == pytest.approx(abs(factor), rel=1e-4)
    assert found.words == f"scaled by {factor:.2f}"


def test_one_of_half_the_rank_is_a_relative_with_the_cosine_of_the_whole_changes() -> None:
    ink = made(0)
    half = {name: resized(module, 4) for name, module in ink.items()}
    one, two = (torch.cat([delta(m).flatten() for m in a.values()]) for a in (ink, half))
    exact = float(one @ two / one.norm() / two.norm())
    found = compare(sketch(ink), sketch(half))
    assert 0.7 < exact < 0.998
    assert found.kind == "relative"
    assert found.cosine == pytest.approx(exact, abs=0.03)


def test_one_that_holds_some_of_the_modules_shares_a_part() -> None:
    ink, wash = made(0), made(1)
    some = {name: module for name, module in ink.items() if name.startswith("blocks.2.")}
    assert len(some) == 10
    for other in (some, {**wash, **some}):
        found = compare(sketch(ink), sketch(other))
        assert (found.kind, found.equal, found.either) == ("part", 10, 80)


def test_strangers_stay_below_what_chance_allows() -> None:
    one = sketch(made(0))
    cosines_found = []
    for seed in range(1, 30):
        found = compare(one, sketch(made(seed)))
        assert found.kind == "unrelated", found
        assert abs(found.cosine) < found.chance
        cosines_found.append(found.cosine)
    # Not so wide that nothing could ever be beyond it.
    assert found.chance < 10 * float(np.std(cosines_found))


def test_a_merge_is_taken_apart_though_a_copy_of_one_part_is_there_too() -> None:
    ink, wash, neon = made(0), made(1), made(2)
    both = {name: joined(ink[name], wash[name], 0.7, -0.4) for name in NAMES}
    copy = {name: replace(module, scale=2.0) for name, module in ink.items()}
    others = [sketch(one) for one in (neon, ink, copy, wash)]
    found = mixture(sketch(both), others)
    assert found is not None
    assert [at for at, _ in found.weights] == [1, 3]
    assert [weight for _, weight in found.weights] == pytest.approx([0.7, -0.4], abs=1e-3)
    assert found.share == pytest.approx(1, abs=1e-6)
    assert mixture(sketch(made(3)), others) is None
    assert mixture(sketch(ink), [sketch(wash), sketch(neon)]) is None


def published(seed: int, blocks: int) -> Sketch:
    """As an adapter of a published model: 1,024 values each in two modules a block."""
    draw = np.random.default_rng(seed)
    names = [f"blocks.{b}.{m}" for b in range(blocks) for m in ("mlp.layer1", "self_attn.q_proj")]
    values = {name: draw.standard_normal(1024).astype(np.float32) for name in names}
    return Sketch(values, "BF16", blocks)


def renumbered(one: Sketch, blocks: int) -> Sketch:
    numbers = block_map(one.blocks, blocks)
    values = {}
    for name, found in one.values.items():
        _, block, rest = name.split(".", 2)
        values[f"blocks.{numbers[int(block)]}.{rest}"] = found
    return Sketch(values, one.dtype, blocks)


def test_one_under_the_block_numbers_of_a_larger_model_is_the_same() -> None:
    ink = published(0, 28)
    larger = renumbered(ink, 40)
    for one, other in ((ink, larger), (larger, ink)):
        assert compare(one, other).kind == "same weights"
        (found,) = cosines([coarse(other), coarse(published(1, 40))], [coarse(one)])
        assert found[0] > 0.8
        assert abs(found[1]) < 0.35


def test_coarse_cosines_are_near_the_true_ones_and_outlast_being_kept() -> None:
    ink, noise = published(0, 52), published(1, 52)
    values = {name: 0.6 * found + 0.8 * noise.values[name] for name, found in ink.values.items()}
    mixed = Sketch(values, "BF16", 52)
    rows = []
    for one in (ink, noise, mixed):
        again = from_bytes(to_bytes(coarse(one)))
        assert again is not None
        rows.append(again)
    found = cosines(rows, rows)
    exact = [[compare(a, b).cosine for b in (ink, noise, mixed)] for a in (ink, noise, mixed)]
    # Four sums a module, 104 modules: a standard error of 0.05.
    np.testing.assert_allclose(found, exact, atol=0.25)
    for damaged in (b"", b"{}\n", to_bytes(coarse(ink))[:-3], b"\x00" * 50):
        assert from_bytes(damaged) is None


def test_modules_that_need_the_base_are_left_out_on_both_sides() -> None:
    ink = sketch(made(0))
    name = NAMES[0]
    without = {other: found for other, found in ink.values.items() if other != name}
    found = compare(ink, replace(ink, values=without, undecided=(name,)))
    assert (found.kind, found.either) == ("same weights", 79)
    nothing = compare(ink, Sketch({}, "F32", 8, tuple(ink.values)))
    assert (nothing.kind, nothing.cosine) == ("unrelated", 0.0)
