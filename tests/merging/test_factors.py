"""Exact factors: their product is the change that the algorithm defines."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from lorakit.adapters.adapter import AdapterModule
from lorakit.adapters.dora import DoraModule
from lorakit.adapters.full import DiffModule, SumModule
from lorakit.adapters.glora import GloraModule
from lorakit.adapters.loha import LohaModule
from lorakit.adapters.lokr import LokrModule
from lorakit.adapters.lora import LoraModule
from lorakit.adapters.parts import Parts
from lorakit.merging.factors import exact_factors, of_matrix
from lorakit.merging.kroneckers import approximate_kronecker
from lorakit.merging.ranks import Energy, Rank, RankRule, rank_for

OUT, IN = 24, 20
GENERATOR = torch.Generator().manual_seed(7)


def numbers(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=GENERATOR)


def parts(scale: float = 0.7, **shapes: tuple[int, ...]) -> Parts:
    return Parts({name: numbers(*shape) for name, shape in shapes.items()}, None, scale)


def lora() -> LoraModule:
    return LoraModule(numbers(OUT, 3), numbers(3, IN), 0.5)


def loha(rank: int = 3) -> LohaModule:
    a, b = (OUT, rank), (rank, IN)
    return LohaModule(parts(hada_w1_a=a, hada_w1_b=b, hada_w2_a=a, hada_w2_b=b))


def tucker_loha() -> LohaModule:
    a, b, t = (2, OUT), (2, IN), (2, 2, 1, 1)
    return LohaModule(
        parts(hada_w1_a=a, hada_w1_b=b, hada_t1=t, hada_w2_a=a, hada_w2_b=b, hada_t2=t)
    )


THIN: dict[str, Callable[[], AdapterModule]] = {
    "lora": lora,
    "loha": loha,
    "loha with a core": tucker_loha,
    "lokr of a whole and a product": lambda: LokrModule(
        parts(lokr_w1=(4, 5), lokr_w2_a=(6, 2), lokr_w2_b=(2, 4))
    ),
    "lokr of a wide and a product": lambda: LokrModule(
        parts(lokr_w1=(2, 10), lokr_w2_a=(12, 1), lokr_w2_b=(1, 2))
    ),
    "lokr of two products": lambda: LokrModule(
        parts(lokr_w1_a=(4, 2), lokr_w1_b=(2, 5), lokr_w2_a=(6, 3), lokr_w2_b=(3, 4))
    ),
    "lora and loha": lambda: SumModule((lora(), loha())),
}
FULL: dict[str, Callable[[], AdapterModule]] = {
    "loha of a high rank": lambda: loha(5),
    "lokr of two wholes": lambda: LokrModule(parts(lokr_w1=(6, 5), lokr_w2=(4, 4))),
    "full": lambda: DiffModule(numbers(OUT, IN)),
    "lora and full": lambda: SumModule((lora(), DiffModule(numbers(OUT, IN)))),
    "dora": lambda: DoraModule(lora(), numbers(OUT, 1), "there"),
    "glora without a base": lambda: GloraModule(
        parts(glora_a1=(IN, 2), glora_a2=(2, IN), glora_b1=(OUT, 2), glora_b2=(2, IN))
    ),
}


@pytest.mark.parametrize("make", THIN.values(), ids=THIN)
def test_the_product_is_the_change(make: Callable[[], AdapterModule]) -> None:
    module = make()
    wanted = -0.3 * module.delta(torch.zeros(OUT, IN, dtype=torch.float64))
    found = exact_factors(module, -0.3, dtype=torch.float64)
    assert found is not None
    assert found.shape == (OUT, IN)
    assert found.rank < min(OUT, IN)
    torch.testing.assert_close(found.dense(), wanted, rtol=0, atol=1e-13 * float(wanted.norm()))


@pytest.mark.parametrize("make", FULL.values(), ids=FULL)
def test_what_is_not_of_low_rank_has_none(make: Callable[[], AdapterModule]) -> None:
    assert exact_factors(make()) is None


def test_glora_is_of_low_rank_where_the_weight_is_known() -> None:
    weight = numbers(OUT, IN).double()
    module = GloraModule(
        parts(glora_a1=(IN, 2), glora_a2=(2, IN), glora_b1=(OUT, 2), glora_b2=(2, IN))
    )
    found = exact_factors(module, 1.0, weight=weight, dtype=torch.float64)
    assert found is not None
    torch.testing.assert_close(found.dense(), module.delta(weight))


def test_factors_of_the_file_are_taken_as_they_are() -> None:
    module = LoraModule(numbers(OUT, 3), numbers(3, IN), 1.0)
    found = exact_factors(module)
    assert found is not None
    assert found.up.data_ptr() == module.up.data_ptr()
    assert found.down.data_ptr() == module.down.data_ptr()


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4)])
def test_any_matrix_is_itself_times_an_identity(shape: tuple[int, int]) -> None:
    matrix = numbers(*shape)
    found = of_matrix(matrix)
    assert found.rank == min(shape)
    assert torch.equal(found.dense(), matrix)


@pytest.mark.parametrize("strength", [0.5, -2.0])
@pytest.mark.parametrize("rule", [Rank(3), Rank(99), Energy(0.9)])
def test_a_kronecker_product_is_cut_as_well_as_can_be(strength: float, rule: RankRule) -> None:
    module = LokrModule(parts(lokr_w1=(6, 5), lokr_w2=(4, 4)))
    whole = strength * module.delta(torch.zeros(OUT, IN, dtype=torch.float64))
    values = torch.linalg.svdvals(whole)
    found = approximate_kronecker(module, strength, rule)
    assert found.factors.rank == rank_for(values.tolist(), rule)
    rest = float(values[found.factors.rank :].square().sum())
    assert found.energy == pytest.approx(float(values.square().sum()))
    assert found.lost == pytest.approx(rest, rel=1e-9, abs=1e-12)
    missing = found.factors.to(torch.float64).dense() - whole
    assert float(missing.square().sum()) == pytest.approx(rest, rel=1e-5, abs=1e-9)
