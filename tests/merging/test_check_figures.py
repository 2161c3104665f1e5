"""The figures of a check against the changes themselves, formed in float64."""

from __future__ import annotations

from math import sqrt
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import lorakit
from lorakit.adapters.adapter import Adapter
from lorakit.adapters.lora import LoraModule
from lorakit.merging.checking.changes import Kronecker
from lorakit.merging.checking.comparing import Comparison, compare
from lorakit.merging.checking.rounding import GRIDS, squared_error
from lorakit.merging.checking.thinning import thinned
from lorakit.strengths import Strength
from tests.models import (
    WIDTH,
    lora_file,
    memory_adapter,
    random_lora,
    tiny_base,
    tiny_base_file,
    usual_names,
)
from tests.sketches.algorithms import ALL, ON_WEIGHT, adapter
from tests.sketches.factories import IN, LAYER, OUT

NAMES = usual_names(3)
BASE = tiny_base(dtype=torch.float64)


def lora(seed: int, **options: object) -> Adapter:
    return memory_adapter(random_lora(NAMES, 3, seed=seed, **options))  # type: ignore[arg-type]


def weight_of(module: str) -> torch.Tensor:
    return BASE[f"net.{module}.weight"]


def deltas(one: Adapter) -> dict[str, torch.Tensor]:
    return {name: module.delta(weight_of(name)) for name, module in one.modules.items()}


@pytest.mark.parametrize("algo", ALL)
def test_inner_products_are_exact_for_every_pair_of_algorithms(algo: str) -> None:
    weight = torch.randn(OUT, IN, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    base = {**BASE, f"net.{LAYER}.weight": weight}
    others = [other for other in ALL if other >= algo]
    changes = [adapter(one).modules[LAYER].delta(weight) for one in others]
    found = compare([(adapter(one), 1.0) for one in others], base)
    mine = changes[others.index(algo)]
    gram = torch.tensor(found.whole.gram, dtype=torch.float64)[others.index(algo)]
    wanted = torch.stack([(mine * change).sum() for change in changes])
    sizes = torch.stack([change.norm() for change in changes]) * mine.norm()
    assert float(((gram - wanted) / sizes).abs().max()) < 1e-5


@pytest.mark.parametrize("algo", ON_WEIGHT)
def test_what_depends_on_a_base_is_named_without_one(algo: str) -> None:
    found = compare([(adapter(algo), 1.0), (adapter("lora"), 1.0)])
    assert found.measured.left_out == ((found.labels[0], LAYER),)
    assert found.whole.size(0, 1.0) == 0
    assert found.whole.cosine(0, 1) is None


def test_the_energy_of_the_sum_is_that_of_the_fused_weights(tmp_path: Path) -> None:
    ink, wash, sea = (
        lora_file(tmp_path / f"{name}.safetensors", random_lora(NAMES, 3, rank=rank, seed=rank))
        for name, rank in (("ink", 2), ("wash", 4), ("sea", 5))
    )
    stack = [
        (ink, Strength.parse("0.8@blocks=0:0@kinds=mlp:0.5")),
        (wash, Strength.parse("-0.3")),
        (sea, Strength.parse("0.4@modules=*.q_proj:2")),
    ]
    found = compare(stack, BASE)
    fused = lorakit.fuse(BASE, stack)

    def size(start: str, weights: dict[str, torch.Tensor]) -> float:
        chosen = (key for key in fused.touched if key.startswith(f"net.{start}"))
        return sqrt(sum(float(weights[key].square().sum()) for key in chosen))

    def base_size(start: str) -> float:
        """All matrices there, but for the embedding."""
        chosen = (
            key for key in BASE if key.startswith(f"net.{start}") and "embed.weight" not in key
        )
        return sqrt(sum(float(BASE[key].square().sum()) for key in chosen if BASE[key].ndim == 2))

    changes = {key: fused[key] - BASE[key] for key in fused.touched}
    strengths = found.strengths
    assert found.whole.sum_size(strengths) == pytest.approx(size("", changes), rel=1e-5)
    for block in found.blocks:
        start = f"blocks.{block.name}."
        assert block.sum_size(strengths) == pytest.approx(size(start, changes), rel=1e-5)
        assert block.base == pytest.approx(base_size(start) ** 2, rel=1e-5)
    assert found.relative(found.whole.sum_size(strengths)) == pytest.approx(
        size("", changes) / base_size(""), rel=1e-5
    )
    assert found.touched(1) == pytest.approx(found.whole.size(1, 0.3) / size("", BASE), rel=1e-5)
    # At other strengths the same matrices hold.
    other = [(path, Strength(1.5)) for path, _ in stack[1:2]]
    assert found.whole.size(1, 1.5) == pytest.approx(
        compare(other, BASE).whole.sum_size([1.5]), rel=1e-5
    )


def test_a_strength_of_nothing_keeps_what_its_refinements_would_do() -> None:
    found = compare([(lora(1), Strength.parse("0@blocks=0:0")), (lora(2), 1.0)])
    kept = compare([(lora(1), Strength.parse("1@blocks=0:0")), (lora(2), 1.0)])
    assert found.strengths[0] == 0
    assert found.whole.gram == kept.whole.gram


def span(delta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The leading left and right singular vectors, by a dense decomposition."""
    left, values, right = torch.linalg.svd(delta, full_matrices=False)
    energy = values.square().cumsum(0)
    count = int((energy < 0.99 * energy[-1]).sum()) + 1
    return left[:, :count], right[:count].T


def test_overlap_is_that_of_the_principal_angles() -> None:
    one, other = lora(1, rank=3), lora(2, rank=6, scale=0.3)
    (pair,) = compare([(one, 1.0), (other, 0.5)]).pairs
    for side, angle in enumerate((pair.outputs, pair.inputs)):
        wanted, chance = [], []
        for name in NAMES:
            spans = [span(deltas(which)[name])[side] for which in (one, other)]
            counts = [basis.shape[1] for basis in spans]
            wanted.append(float((spans[0].T @ spans[1]).square().sum()) / min(counts))
            chance.append(max(counts) / spans[0].shape[0])
        assert angle is not None
        assert angle.overlap == pytest.approx(sum(wanted) / len(NAMES), rel=1e-4)
        assert angle.chance == pytest.approx(sum(chance) / len(NAMES))


def test_shared_inputs_show_as_a_multiple_of_chance_and_outputs_do_not() -> None:
    ink, wash = random_lora(NAMES, 3, rank=2, seed=1), random_lora(NAMES, 3, rank=2, seed=2)
    same = {n: LoraModule(wash[n].up, ink[n].down, 1.0) for n in NAMES}
    (pair,) = compare([(memory_adapter(ink), 1.0), (memory_adapter(same), 1.0)]).pairs
    assert pair.inputs is not None
    assert pair.outputs is not None
    assert pair.inputs.overlap == pytest.approx(1, abs=1e-4)
    assert pair.inputs.times_chance > 10
    assert 0.3 < pair.outputs.times_chance < 3


def test_components_without_any_size_change_nothing() -> None:
    """T-LoRA and pruned files hold factors with columns of zeros."""
    whole = random_lora(NAMES, 3, rank=3, seed=1)
    padded = {
        n: LoraModule(
            torch.nn.functional.pad(m.up, (0, 5)),
            torch.nn.functional.pad(m.down, (0, 0, 0, 5)),
            1.0,
        )
        for n, m in whole.items()
    }
    other = lora(2)
    plain = compare([(memory_adapter(whole), 1.0), (other, 1.0)]).pairs[0]
    found = compare([(memory_adapter(padded), 1.0), (other, 1.0)]).pairs[0]
    assert plain.outputs is not None
    assert found.outputs is not None
    assert found.outputs.overlap == pytest.approx(plain.outputs.overlap, rel=1e-3)


@pytest.mark.parametrize(
    ("dtype", "code"),
    [(torch.bfloat16, "BF16"), (torch.float16, "F16"), (torch.float8_e4m3fn, "F8_E4M3")],
)
@pytest.mark.parametrize("rho", [0.001, 0.003, 0.01, 0.05])
def test_the_loss_to_rounding_is_what_rounding_does(
    dtype: torch.dtype, code: str, rho: float
) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(1000, 1000, generator=generator).mul_(0.02).to(dtype).double()
    delta = torch.randn(1000, 1000, generator=generator).mul_(0.02 * rho).double()
    error = (weight + delta).to(torch.float32).to(dtype).double() - weight - delta
    measured = float(error.square().mean().sqrt() / delta.square().mean().sqrt())
    found = squared_error(torch.tensor([0.02 * rho]), torch.tensor([0.02]), GRIDS[code])
    assert float(found.sqrt()) / (0.02 * rho) == pytest.approx(measured, rel=0.02)


def test_weights_off_the_grid_are_rounded_even_without_a_change() -> None:
    weight = torch.randn(1000, 1000, generator=torch.Generator().manual_seed(0))
    error = (weight.bfloat16().float() - weight).square().mean()
    found = squared_error(torch.zeros(1), torch.ones(1), GRIDS["BF16"], on_grid=False)
    assert float(found) == pytest.approx(float(error), rel=0.02)


def test_the_loss_of_a_stack_is_near_the_measured_one() -> None:
    base = tiny_base(dtype=torch.bfloat16)
    ink, wash = lora(1, scale=0.05), lora(2, scale=0.02)
    found = compare([(ink, 0.8), (wash, 0.5)], base)
    fused = lorakit.fuse(base, [(ink, 0.8), (wash, 0.5)])
    exact = lorakit.fuse({k: t.double() for k, t in base.items()}, [(ink, 0.8), (wash, 0.5)])
    error = sum(float((fused[k].double() - exact[k]).square().sum()) for k in fused.touched)
    change = sum(float((exact[k] - base[k].double()).square().sum()) for k in fused.touched)
    assert 0.05 < (error / change) ** 0.5 < 0.9
    assert found.lost(found.strengths) == pytest.approx((error / change) ** 0.5, rel=0.1)
    assert found.lost(found.strengths, "F16") < found.lost(found.strengths) / 6  # type: ignore[operator]


def test_without_a_base_nothing_is_said_of_it() -> None:
    found: Comparison = compare([(lora(1), 1.0), (lora(2), 0.5)])
    assert found.relative(1.0) is None
    assert found.lost([1.0, 0.5]) is None


def test_what_an_entry_is_beside_the_base_does_not_depend_on_the_others() -> None:
    few = {n: m for n, m in random_lora(NAMES, 3, seed=1).items() if ".mlp." in n}
    alone = compare([(memory_adapter(few), 1.0)], BASE)
    beside = compare([(memory_adapter(few), 1.0), (lora(2), 1.0)], BASE)
    figures = [found.relative(found.whole.size(0, 1.0)) for found in (alone, beside)]
    assert figures[0] == pytest.approx(figures[1])


def test_the_text_encoder_stands_apart() -> None:
    name = "text_encoder.layers.0.mlp.up_proj"
    generator = torch.Generator().manual_seed(0)
    module = LoraModule(
        torch.randn(24, 2, generator=generator), torch.randn(2, 8, generator=generator), 1.0
    )
    plain, both = random_lora(NAMES, 3, seed=1), {**random_lora(NAMES, 3, seed=1), name: module}
    found = compare([(memory_adapter(both), 0.5), (lora(2), 1.0)], BASE)
    assert [one.name for one in found.components] == ["dit", "text_encoder"]
    assert found.components[1].base is None
    size = float(module.delta(torch.zeros((), dtype=torch.float64)).norm())
    assert found.components[1].size(0, 0.5) == pytest.approx(size / 2, rel=1e-5)
    without = compare([(memory_adapter(plain), 0.5), (lora(2), 1.0)], BASE)
    assert found.whole.sum_size(found.strengths) == without.whole.sum_size(found.strengths)


def test_a_base_in_a_file_gives_what_its_tensors_give(tmp_path: Path) -> None:
    tensors = {
        f"diffusion_model.{LAYER}.lora_A.weight": torch.randn(2, WIDTH),
        f"diffusion_model.{LAYER}.lora_B.weight": torch.randn(4 * WIDTH, 2),
        f"diffusion_model.{LAYER}.dora_scale": torch.rand(4 * WIDTH, 1),
    }
    save_file(tensors, tmp_path / "dora.safetensors")
    path = tiny_base_file(tmp_path / "base.safetensors")
    stack: list[tuple[Path | Adapter, float]] = [
        (tmp_path / "dora.safetensors", 0.7),
        (lora(1), 1.0),
    ]
    filed, held = compare(stack, path), compare(stack, tiny_base())
    assert filed.measured.left_out == ()
    assert filed.whole.gram[0] == pytest.approx(held.whole.gram[0])
    assert filed.whole.base == pytest.approx(held.whole.base)
    assert filed.lost(filed.strengths) == pytest.approx(held.lost(held.strengths))


def noisy(rank: int, noise: float, rows: int = 400, columns: int = 320) -> torch.Tensor:
    """A change that is held by few directions, but for some noise."""
    generator = torch.Generator().manual_seed(rank)
    up, down = (torch.randn(*s, generator=generator) for s in ((rows, rank), (rank, columns)))
    found: torch.Tensor = up @ down / rank**0.5
    return found + noise * torch.randn(rows, columns, generator=generator)


@pytest.mark.parametrize("rank", [1, 20, 60])
def test_the_leading_directions_of_a_large_change_are_those_of_its_decomposition(
    rank: int,
) -> None:
    change = noisy(rank, 0.05)
    found = thinned(change)
    assert found is not None
    left, right = span(change.double())
    assert found.factors.up.shape[1] == left.shape[1]
    assert found.energy == pytest.approx(float(change.double().square().sum()), rel=1e-6)
    for mine, wanted in ((found.factors.up, left), (found.factors.down.T, right)):
        basis = torch.linalg.qr(mine.double()).Q
        shared = float((basis.T @ wanted).square().sum()) / wanted.shape[1]
        assert shared == pytest.approx(1, abs=2e-3)


def test_a_change_that_needs_many_directions_is_not_compared() -> None:
    assert thinned(noisy(1, 3.0)) is None
    assert thinned(noisy(120, 0.0)) is None
    generator = torch.Generator().manual_seed(0)
    sides = torch.randn(4, 4, generator=generator), torch.randn(64, 64, generator=generator)
    assert thinned(Kronecker(*sides)) is None


def test_the_directions_of_a_kronecker_product_are_those_of_the_whole() -> None:
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(4, 6, generator=generator)
    second = torch.randn(80, 4, generator=generator) @ torch.randn(4, 64, generator=generator)
    found = thinned(Kronecker(first, second))
    assert found is not None
    whole = torch.kron(first, second).double()
    left, right = span(whole)
    assert found.factors.up.shape[1] == left.shape[1]
    for mine, wanted in ((found.factors.up, left), (found.factors.down.T, right)):
        basis = torch.linalg.qr(mine.double()).Q
        assert float((basis.T @ wanted).square().sum()) == pytest.approx(wanted.shape[1], rel=1e-5)
