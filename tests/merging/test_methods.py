"""Every method against its paper's formula, written out slowly on whole matrices in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lorakit.errors import BadUsage
from lorakit.merging.factors import Factors
from lorakit.merging.methods.core import core
from lorakit.merging.methods.ctm import ctm, tucker
from lorakit.merging.methods.dare import dare
from lorakit.merging.methods.della import della, prune
from lorakit.merging.methods.iso import iso
from lorakit.merging.methods.knots import knots
from lorakit.merging.methods.settings import Settings
from lorakit.merging.methods.table import METHODS, method_named, settled
from lorakit.merging.methods.ties import ties
from lorakit.merging.methods.tsv import tsv

Array = NDArray[np.float64]
OUT, IN, RANK = 26, 18, 3


def settings(method: str, rank: int | None = None, **given: float | str) -> Settings:
    return Settings(settled(method_named(method), given), seed=3, place="somewhere", rank=rank)


def changes(count: int = 3, seed: int = 0) -> list[Factors]:
    generator = torch.Generator().manual_seed(seed)
    return [
        Factors(
            torch.randn(OUT, RANK, generator=generator, dtype=torch.float64) * (number + 1),
            torch.randn(RANK, IN, generator=generator, dtype=torch.float64),
        )
        for number in range(count)
    ]


def dense(found: Sequence[Factors]) -> list[Array]:
    return [change.dense().numpy() for change in found]


def lazily(matrices: Sequence[Array]) -> list[Callable[[], torch.Tensor]]:
    return [lambda m=m: torch.from_numpy(m.copy()) for m in matrices]  # type: ignore[misc]


def elected_mean(matrices: Sequence[Array]) -> Array:
    """TIES' second and third step, entry by entry."""
    merged = np.zeros_like(matrices[0])
    for place in np.ndindex(*merged.shape):
        entries = [matrix[place] for matrix in matrices]
        sign = np.sign(sum(entries))
        agreeing = [entry for entry in entries if entry * sign > 0]
        merged[place] = np.mean(agreeing) if agreeing else 0
    return merged


def ties_by_hand(matrices: Sequence[Array], density: float) -> Array:
    trimmed = []
    for matrix in matrices:
        kept = round(density * matrix.size)
        least = np.sort(np.abs(matrix), axis=None)[-kept]
        trimmed.append(np.where(np.abs(matrix) >= least, matrix, 0))
    return elected_mean(trimmed)


def procrustes(matrix: Array) -> Array:
    u, _, vh = np.linalg.svd(matrix, full_matrices=False)
    return np.asarray(u @ vh)


def tsv_by_hand(matrices: Sequence[Array], rank: int) -> Array:
    found = [np.linalg.svd(matrix, full_matrices=False) for matrix in matrices]
    u = np.hstack([u[:, :rank] for u, _, _ in found])
    s = np.hstack([s[:rank] for _, s, _ in found])
    v = np.vstack([vh[:rank] for _, _, vh in found])
    return np.asarray(procrustes(u) @ np.diag(s) @ procrustes(v))


def iso_by_hand(matrices: Sequence[Array]) -> Array:
    u, s, vh = np.linalg.svd(sum(matrices), full_matrices=False)
    active = int((s > 1e-9 * s[0]).sum())
    return np.asarray(s[:active].mean() * u[:, :active] @ vh[:active])


INSIDE: dict[str, Callable[[Sequence[Array]], Array]] = {
    "sum": lambda matrices: np.asarray(sum(matrices)),
    "ties": lambda matrices: ties_by_hand(matrices, 0.2),
    "tsv": lambda matrices: tsv_by_hand(matrices, RANK),
    "iso": iso_by_hand,
}


def knots_by_hand(matrices: Sequence[Array], inside: str) -> Array:
    u, s, vh = np.linalg.svd(np.hstack(matrices), full_matrices=False)
    active = int((s > 1e-9 * s[0]).sum())
    parts = [np.diag(s[:active]) @ part for part in np.split(vh[:active], len(matrices), axis=1)]
    return np.asarray(u[:, :active] @ INSIDE[inside](parts))


def core_by_hand(matrices: Sequence[Array], inside: str) -> Array:
    found = [np.linalg.svd(matrix, full_matrices=False) for matrix in matrices]
    ups = np.hstack([u[:, :RANK] * np.sqrt(s[:RANK]) for u, s, _ in found])
    downs = np.vstack([np.sqrt(s[:RANK])[:, None] * vh[:RANK] for _, s, vh in found])
    u = np.linalg.svd(ups, full_matrices=False)[0]
    vh = np.linalg.svd(downs, full_matrices=False)[2]
    return np.asarray(u @ INSIDE[inside]([u.T @ matrix @ vh.T for matrix in matrices]) @ vh)


def assert_same(found: torch.Tensor, wanted: Array, tolerance: float = 1e-9) -> None:
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


@pytest.mark.parametrize("method", ["dare", "della"])
def test_chance_goes_by_the_place_of_an_entry_as_the_page_says(method: str) -> None:
    by_name = {"dare": dare, "della": della}[method]
    given = dense(changes(2))
    found, again = (by_name(lazily(given), settings(method)) for _ in range(2))
    turned = by_name(lazily(given[::-1]), settings(method))
    assert torch.equal(found, again)
    assert not torch.allclose(found, turned)


@pytest.mark.parametrize("density", [0.2, 0.5, 1.0])
def test_ties_is_trim_elect_and_mean(density: float) -> None:
    matrices = dense(changes())
    found = ties(lazily(matrices), settings("ties", density=density, scale=0.7))
    assert_same(found, 0.7 * ties_by_hand(matrices, density))


def test_tsv_takes_the_interference_away() -> None:
    found = tsv(changes(), settings("tsv")).dense()
    assert_same(found, tsv_by_hand(dense(changes()), RANK))


def test_tsv_of_opposite_changes_is_nothing_and_not_nonsense() -> None:
    one = changes(1)[0]
    found = tsv([one, one.scaled(-1.0)], settings("tsv")).dense()
    assert float(found.norm()) < 1e-9 * float(one.dense().norm())


def test_iso_gives_every_active_direction_the_mean_size() -> None:
    found = iso(changes(), settings("iso")).dense()
    assert_same(found, iso_by_hand(dense(changes())))
    values = torch.linalg.svdvals(found)
    torch.testing.assert_close(values[: 3 * RANK], values[:1].expand(3 * RANK))


@pytest.mark.parametrize("inside", INSIDE)
def test_knots_merges_in_common_left_singular_vectors(inside: str) -> None:
    found = knots(changes(), settings("knots", in_core=inside)).dense()
    assert_same(found, knots_by_hand(dense(changes()), inside))


@pytest.mark.parametrize("inside", INSIDE)
def test_core_merges_in_bases_common_to_all(inside: str) -> None:
    found = core(changes(), settings("core", in_core=inside)).dense()
    assert_same(found, core_by_hand(dense(changes()), inside))


def test_core_depends_on_the_changes_and_not_on_their_factors() -> None:
    turn = torch.randn(RANK, RANK, generator=torch.Generator().manual_seed(1)).double()
    other = [Factors(c.up @ turn, torch.linalg.inv(turn) @ c.down) for c in changes()]
    found = core(other, settings("core")).dense()
    assert_same(found, core(changes(), settings("core")).dense().numpy(), 1e-6)


def test_ctm_has_the_rank_that_is_asked_for_and_loses_nothing_at_full_rank() -> None:
    found = ctm(changes(), settings("ctm", rank=4, in_core="sum"))
    assert int(torch.linalg.matrix_rank(found.dense())) == 4
    whole = ctm(changes(), settings("ctm", rank=9, in_core="sum")).dense()
    assert_same(whole, np.asarray(sum(dense(changes()))))


def test_ctm_keeps_as_much_of_a_small_change_as_of_a_large_one_where_beta_is_0() -> None:
    even, large = (changes(2), [changes(2)[0], changes(2)[1].scaled(1000.0)])
    one = ctm(even, settings("ctm", rank=3, in_core="sum", beta=0.0))
    other = ctm(large, settings("ctm", rank=3, in_core="sum", beta=0.0))
    # The same bases, whatever the sizes: both results lie in the same column space.
    spans = [torch.linalg.qr(found.up).Q for found in (one, other)]
    torch.testing.assert_close(spans[0] @ spans[0].T, spans[1] @ spans[1].T, rtol=0, atol=1e-5)


def test_tucker_is_no_worse_than_any_other_bases() -> None:
    generator = torch.Generator().manual_seed(5)
    tensor = torch.randn(3, 9, 8, generator=generator, dtype=torch.float64)
    u, v = tucker(tensor, 3)
    held = float((u.T @ tensor @ v).square().sum())
    for _ in range(50):
        left = torch.linalg.qr(u + 0.1 * torch.randn(9, 3, generator=generator).double()).Q
        right = torch.linalg.qr(v + 0.1 * torch.randn(8, 3, generator=generator).double()).Q
        assert float((left.T @ tensor @ right).square().sum()) <= held * (1 + 1e-9)


def test_dare_drops_a_share_and_keeps_the_expectation() -> None:
    ones = np.ones((400, 300))
    found = dare(lazily([ones]), settings("dare", drop=0.8))
    assert sorted(set(found.flatten().tolist())) == pytest.approx([0.0, 5.0])
    # Four standard deviations of the mean of 120 000 draws.
    assert float(found.mean()) == pytest.approx(1.0, abs=4 * 2 / np.sqrt(ones.size))


def test_entries_drop_by_seed_place_and_entry_not_by_turn() -> None:
    matrices = dense(changes(2))
    first = dare(lazily(matrices), settings("dare"))
    assert torch.equal(first, dare(lazily(matrices), settings("dare")))
    options = settings("dare").options
    for seed, place in ((4, "somewhere"), (3, "elsewhere")):
        assert not torch.equal(first, dare(lazily(matrices), Settings(options, seed, place)))
    alone = [dare(lazily([matrix]), settings("dare")) for matrix in matrices]
    # The second entry draws numbers of its own.
    assert not torch.equal(alone[0] + alone[1], first)


def test_magprune_drops_small_entries_more_often_and_keeps_the_expectation() -> None:
    row = torch.arange(1.0, 102.0).repeat(4000, 1)
    row[:, ::2] *= -1
    found = prune(row, 0.3, 0.2, torch.Generator().manual_seed(0))
    dropped = (found == 0).float().mean(0)
    wanted = torch.linspace(0.4, 0.2, 101)
    assert float((dropped - wanted).abs().max()) < 4 * 0.5 / np.sqrt(4000)
    kept = found[:, 50][found[:, 50] != 0]
    torch.testing.assert_close(kept, row[0, 50].expand_as(kept) / 0.7)


def test_della_elects_signs_among_what_is_left() -> None:
    matrices = dense(changes(2))
    made = settings("della")
    pruned = [
        prune(torch.from_numpy(matrix), 0.3, 0.14, made.generator(number)).numpy()
        for number, matrix in enumerate(matrices)
    ]
    assert_same(della(lazily(matrices), made), elected_mean(pruned), 1e-6)


@pytest.mark.parametrize(("drop", "window"), [(0.95, 0.2), (0.95, 0.1), (0.05, 0.2)])
def test_della_refuses_chances_beyond_one(drop: float, window: float) -> None:
    for given in ({}, {"in_core": "della"}):
        method = method_named("core" if given else "della")
        with pytest.raises(BadUsage, match="window"):
            settled(method, {"drop": drop, "window": window, **given})
    assert settings("core", drop=drop, window=window).number("drop") == drop


def test_a_density_keeps_one_entry_at_least() -> None:
    matrix = np.array([[1.0, -3.0], [0.5, 2.0]])
    found = ties(lazily([matrix]), settings("ties", density=1e-6))
    assert_same(found, np.array([[0.0, -3.0], [0.0, 0.0]]))


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("ties", {"densty": 0.2}, "no option"),
        ("ties", {"density": 1.2}, "between 0 and 1"),
        ("ties", {"density": 0.0}, "is not 0"),
        ("ties", {"density": "much"}, "is a number"),
        ("dare", {"drop": float("nan")}, "cannot be nan"),
        ("core", {"in_core": "slerp"}, "slerp"),
    ],
)
def test_an_option_that_makes_no_sense_is_told(
    name: str, given: dict[str, float | str], says: str
) -> None:
    with pytest.raises(BadUsage) as caught:
        settled(method_named(name), given)
    assert says in f"{caught.value.message} {caught.value.hint}"


def test_every_method_cites_its_paper() -> None:
    assert all("arXiv:" in m.paper for m in METHODS.values() if m.name != "sum")
    with pytest.raises(BadUsage, match="slerp"):
        method_named("slerp")
