from __future__ import annotations

import pytest
import torch

from lorakit.adapters.adapter import Adapter
from lorakit.adapters.lora import LoraModule
from lorakit.merging.spectra import Spectra, effective_rank, spectra
from lorakit.spectrum import Spectrum
from tests.models import memory_adapter, random_lora, tiny_shapes, usual_names
from tests.sketches.algorithms import ON_WEIGHT, PARTS, adapter
from tests.sketches.factories import LAYER

NAMES = usual_names(2)


def with_values(values: list[float], rank: int = 8, scale: float = 1.0) -> Adapter:
    """An adapter whose modules all have these singular values, times `scale`."""
    generator = torch.Generator().manual_seed(0)
    modules = {}
    for name in NAMES:
        out, inner = tiny_shapes(2)[name]
        u = torch.linalg.qr(torch.randn(out, rank, generator=generator)).Q
        v = torch.linalg.qr(torch.randn(inner, rank, generator=generator)).Q
        sizes = torch.tensor(values + [0.0] * (rank - len(values)))
        modules[name] = LoraModule(u * sizes, v.T.contiguous(), scale)
    return memory_adapter(modules)


@pytest.mark.parametrize("algo", PARTS)
def test_the_values_are_those_of_the_change_formed_whole(algo: str) -> None:
    found = spectra(adapter(algo)).modules
    if LAYER not in found:
        assert algo == "lora and full"  # A sum of both is worked out by neither.
        return
    change = adapter(algo).modules[LAYER].delta(torch.zeros((), dtype=torch.float64))
    wanted = torch.linalg.svdvals(change)
    values = torch.tensor(found[LAYER].values, dtype=torch.float64)
    count = min(len(values), len(wanted))
    torch.testing.assert_close(
        values[:count], wanted[:count], atol=1e-6 * float(wanted[0]), rtol=1e-6
    )


@pytest.mark.parametrize("algo", [algo for algo in PARTS if algo.startswith("lokr")])
def test_the_rank_of_a_kronecker_product_is_that_of_its_change(algo: str) -> None:
    found = spectra(adapter(algo))
    change = adapter(algo).modules[LAYER].delta(torch.zeros((), dtype=torch.float64))
    assert found.rank == int(torch.linalg.matrix_rank(change, rtol=1e-6))


def test_eight_bit_factors_have_values_like_any_other() -> None:
    modules = random_lora(NAMES[:1], 2)
    eight = torch.float8_e4m3fn
    small = {
        name: LoraModule(one.up.to(eight), one.down.to(eight), one.scale)
        for name, one in modules.items()
    }
    (found,) = spectra(memory_adapter(small)).modules.values()
    (one,) = small.values()
    wanted = torch.linalg.svdvals(one.up.double() @ one.down.double())[: len(found.values)]
    torch.testing.assert_close(torch.tensor(found.values, dtype=torch.float64), wanted)


@pytest.mark.parametrize("algo", ON_WEIGHT)
def test_what_depends_on_the_base_is_named(algo: str) -> None:
    found = spectra(adapter(algo))
    assert found.unknown == (LAYER,)
    assert not found.modules


def test_the_rank_that_would_do_keeps_what_is_said() -> None:
    found = spectra(with_values([4.0, 2.0, 1.0, 0.01], scale=0.5))
    assert found.rank == 8
    assert found.kept(2) == pytest.approx(20 / 21, rel=1e-4)
    assert found.enough() == 4
    assert found.enough(0.9) == 2
    assert found.energy == pytest.approx(len(NAMES) * 21 / 4, rel=1e-4)
    assert found.stable_rank == pytest.approx(21 / 16, rel=1e-3)


def test_no_rank_is_proposed_where_all_components_count() -> None:
    assert spectra(with_values([1.0] * 8)).enough() is None


def test_effective_rank_counts_equal_values_and_not_those_of_nothing() -> None:
    assert effective_rank(Spectrum((2.0,) * 5)) == pytest.approx(5)
    assert effective_rank(Spectrum((3.0, 3.0, 0.0))) == pytest.approx(2)
    assert effective_rank(Spectrum((1.0,))) == pytest.approx(1)
    assert effective_rank(Spectrum(())) == 0
    # p = (2/3, 1/3): exp(ln 3 - 2/3 ln 2).
    assert effective_rank(Spectrum((2.0, 1.0))) == pytest.approx(3 / 2 ** (2 / 3))


def test_a_change_of_nothing_has_no_ranks() -> None:
    found: Spectra = spectra(with_values([0.0]))
    assert found.energy == found.effective_rank == found.stable_rank == 0
    assert found.kept(1) == 1


def test_kinds_are_taken_apart() -> None:
    modules = random_lora(NAMES, 2, rank=4)
    found = spectra(memory_adapter(modules)).by_kind()
    assert {kind: len(one.modules) for kind, one in found.items()} == {
        "self_attn": 8,
        "cross_attn": 8,
        "mlp": 4,
    }
    assert {one.rank for one in found.values()} == {4}
