"""Singular values against numpy's, taken of the whole change."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lorakit.adapters.full import DiffModule
from lorakit.adapters.lora import LoraModule
from lorakit.spectrum import Spectrum, spectrum
from tests.sketches.algorithms import ON_WEIGHT, PARTS, adapter
from tests.sketches.factories import IN, LAYER, OUT


def oracle(matrix: torch.Tensor) -> np.ndarray:
    return np.linalg.svd(matrix.double().numpy(), compute_uv=False)


@pytest.mark.parametrize("algo", sorted(set(PARTS) - {"lora and full"}))
def test_the_values_are_those_of_the_whole_change(algo: str) -> None:
    module = adapter(algo).modules[LAYER]
    found = spectrum(module)
    assert found is not None
    wanted = oracle(module.delta(torch.zeros(OUT, IN, dtype=torch.float64)))
    values = np.zeros(len(wanted))
    values[: len(found.values)] = found.values[: len(wanted)]
    np.testing.assert_allclose(values, wanted, rtol=1e-9, atol=1e-12 * wanted[0])
    # What is beyond the sides of the matrix is nothing.
    assert sum(found.values[len(wanted) :]) <= 1e-9 * wanted[0]


@pytest.mark.parametrize("algo", sorted(ON_WEIGHT))
def test_there_are_none_where_the_change_depends_on_the_base(algo: str) -> None:
    assert spectrum(adapter(algo).modules[LAYER]) is None


def test_a_rank_above_the_sides_a_zero_and_a_negative_scale_are_no_trouble() -> None:
    draw = torch.Generator().manual_seed(0)
    up, down = torch.randn(6, 20, generator=draw), torch.randn(20, 9, generator=draw)
    found = spectrum(LoraModule(up, down, -0.5))
    assert found is not None
    np.testing.assert_allclose(found.values, oracle(-0.5 * up.double() @ down.double()), rtol=1e-9)
    nothing = spectrum(LoraModule(torch.zeros(8, 2), torch.zeros(2, 8), 1.0))
    assert nothing == Spectrum((0.0, 0.0))
    assert (nothing.energy, nothing.stable_rank, nothing.rank_for(0.9)) == (0, 0, 0)


def test_what_is_not_finite_or_too_large_to_be_quick_has_none() -> None:
    assert spectrum(LoraModule(torch.full((8, 2), torch.nan), torch.ones(2, 8), 1.0)) is None
    assert spectrum(LoraModule(torch.ones(8, 2), torch.ones(2, 8), float("inf"))) is None
    assert spectrum(DiffModule(torch.ones(40, 50)), most_dense=30) is None
    assert spectrum(DiffModule(torch.ones(40, 50)), most_dense=40) is not None
    assert spectrum(DiffModule(torch.ones(40))) is None


def test_figures_of_a_known_spectrum() -> None:
    known = Spectrum((4.0, 2.0, 2.0, 1.0))
    assert known.energy == 25
    assert known.stable_rank == 25 / 16
    assert [known.rank_for(share) for share in (0.0, 0.5, 0.64, 0.65, 0.96, 1.0)] == [
        0,
        1,
        1,
        2,
        3,
        4,
    ]
