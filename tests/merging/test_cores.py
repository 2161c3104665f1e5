"""Singular values of products, against NumPy's SVD of the whole matrix."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lorakit.merging.cores import core_of, gram_of, singular_values, svd_of_product, truncate
from lorakit.merging.factors import Factors


def factors(out: int, rank: int, inner: int, seed: int = 0, decay: float = 1.0) -> Factors:
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.logspace(0, -decay, rank, dtype=torch.float64)
    up = torch.randn(out, rank, generator=generator, dtype=torch.float64) * sizes
    return Factors(up, torch.randn(rank, inner, generator=generator, dtype=torch.float64))


def degenerate(kind: str) -> Factors:
    plain = factors(40, 8, 30)
    up, down = plain.up, plain.down
    match kind:
        case "a column twice":
            return Factors(torch.cat([up, up], 1), torch.cat([down, 2 * down]))
        case "a column of zeros":
            return Factors(torch.cat([up, up.new_zeros(40, 1)], 1), torch.cat([down, down[:1]]))
        case "nearly the same column":
            near = up[:, :1] + 1e-9 * up[:, 1:2]
            return Factors(torch.cat([up, near], 1), torch.cat([down, down[1:2]]))
        case "opposite":
            return Factors(torch.cat([up, -up], 1), torch.cat([down, down * (1 + 1e-6)]))
        case "sizes far apart":
            return factors(40, 8, 30, decay=9)
        case "more components than sides":
            return factors(12, 20, 9)
        case "nothing":
            return Factors(up * 0, down)
    raise AssertionError(kind)


KINDS = (
    "a column twice",
    "a column of zeros",
    "nearly the same column",
    "opposite",
    "sizes far apart",
    "more components than sides",
    "nothing",
)


def values_of(matrix: torch.Tensor, count: int) -> np.ndarray:
    found = np.linalg.svd(matrix.numpy(), compute_uv=False)
    return np.concatenate([found, np.zeros(count)])[:count]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), st.integers(9, 40), st.integers(9, 40), st.integers(0, 99))
def test_a_product_has_the_singular_values_of_the_matrix(
    rank: int, out: int, inner: int, seed: int
) -> None:
    pair = factors(out, rank, inner, seed)
    found = svd_of_product(pair.up, pair.down)
    np.testing.assert_allclose(found.s, values_of(pair.dense(), rank), rtol=1e-9)
    torch.testing.assert_close((found.u * found.s) @ found.v.T, pair.dense())
    eye = torch.eye(rank, dtype=torch.float64)
    torch.testing.assert_close(found.u.T @ found.u, eye, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.v.T @ found.v, eye, rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_factors_that_hardly_stand_apart_lose_nothing(kind: str) -> None:
    pair = degenerate(kind)
    # What the accuracy is stated in: the size of what is multiplied, not of what is left of it.
    size = float(pair.up.norm() * pair.down.norm())
    found = core_of(pair.up, pair.down)
    wanted = values_of(pair.dense(), pair.rank)
    got = np.zeros(pair.rank)
    got[: len(found.values)] = found.values
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-12 * size)
    whole = truncate(found, pair.rank, torch.float64)
    torch.testing.assert_close(whole.dense(), pair.dense(), rtol=0, atol=1e-12 * size)
    np.testing.assert_allclose(
        singular_values(pair.up, pair.down)[: pair.rank],
        wanted[: min(pair.shape)],
        atol=1e-12 * size,
    )


@pytest.mark.parametrize("rank", [1, 3, 5])
def test_truncation_is_the_best_there_is(rank: int) -> None:
    pair = factors(30, 7, 20)
    for found in (core_of(pair.up, pair.down), svd_of_product(pair.up, pair.down)):
        cut = truncate(found, rank, torch.float64)
        assert cut.rank == rank
        error = float((cut.dense() - pair.dense()).norm())
        best = values_of(pair.dense(), 7)[rank:]
        assert error == pytest.approx(float(np.sqrt((best**2).sum())), rel=1e-9)


def test_both_factors_share_the_size() -> None:
    cut = truncate(core_of(*(1e3 * factors(30, 4, 20).up, factors(30, 4, 20).down)), 4)
    assert cut.up.dtype == torch.float32
    torch.testing.assert_close(cut.up.norm(dim=0), cut.down.norm(dim=1))


def test_bf16_factors_are_multiplied_as_they_are() -> None:
    pair = factors(30, 5, 20).to(torch.bfloat16)
    exact = pair.to(torch.float64).dense()
    np.testing.assert_allclose(core_of(pair.up, pair.down).s, values_of(exact, 5), rtol=1e-9)


def test_inner_products_need_no_matrix() -> None:
    changes = [factors(30, rank, 20, seed) for seed, rank in enumerate((2, 5, 1))]
    dense = torch.stack([change.dense().flatten() for change in changes])
    torch.testing.assert_close(gram_of(changes), dense @ dense.T)
