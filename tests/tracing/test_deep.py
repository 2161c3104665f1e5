"""What whole rows and every weight tell: strengths of small changes, and adapters without any relative."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lorakit.adapters.loading import load_adapter
from lorakit.sketches.adapters import WeightOf
from lorakit.sketches.whole import weights_in
from lorakit.tracing.deep import deep_estimate
from lorakit.tracing.deep_change import deep_evidence
from lorakit.tracing.deepening import deepened
from lorakit.tracing.trace import trace_sketch
from lorakit.tracing.weighing import weigh_weights
from lorakit.tracing.weights import BANDS, bands, change_between, change_of
from tests.gate.relatives import (
    ancestor,
    change,
    edition,
    in_blocks,
    rdbt,
    rescaled,
    style,
    style_factors,
    with_rdbt,
    without,
)
from tests.tracing import family as f
from tests.tracing.files import Form, write_adapter, write_checkpoint
from tests.tracing.sketched import ANCESTORS, known, known_adapter, sampled


def silent(done: int, total: int, what: str) -> None:
    pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models")
    write_checkpoint(path / "anima.safetensors", ancestor())
    write_checkpoint(path / "rdbt.safetensors", rdbt(), Form("fp16", "net."))
    write_adapter(path / "ink.safetensors", style_factors(1))
    return path


@pytest.mark.parametrize("strength", [0.5, 0.1, 0.03])
def test_a_strength_is_found_closely(strength: float, folder: Path) -> None:
    merged = f.rounded(with_rdbt(strength, (0.8, style(2))))
    evidence = deep_evidence(
        merged.__getitem__,
        weights_in(folder / "anima.safetensors"),
        change_between(folder / "rdbt.safetensors", folder / "anima.safetensors"),
        list(change()),
    )
    assert evidence is not None
    found = evidence.estimate()
    assert found.count == sum(x.numel() for x in change().values())
    assert abs(found.value - strength) < 4 * found.error
    assert found.error < 0.05 * strength + 0.001
    assert weigh_weights(evidence).answer == "there"


@pytest.mark.parametrize("strength", [0.5, 0.0])
def test_bands_of_rows_stand_for_all(strength: float, folder: Path, tmp_path: Path) -> None:
    some = partial(bands, most=2**10)
    merged = with_rdbt(strength, (0.8, style(2)))
    suspect = weights_in(write_checkpoint(tmp_path / "mix.safetensors", merged), some)
    before = weights_in(folder / "anima.safetensors", some)
    by_files = change_between(folder / "rdbt.safetensors", folder / "anima.safetensors", some)
    write_adapter(tmp_path / "edition.safetensors", edition())
    by_adapter = change_of(tmp_path / "edition.safetensors", before, some)
    for change_at in (by_files, by_adapter):
        evidence = deep_evidence(suspect, before, change_at, list(change()))
        assert evidence is not None
        found = evidence.estimate()
        assert found.count < sum(x.numel() for x in change().values()) / 8
        assert abs(found.value - strength) < 4 * found.error
        assert found.error < 0.02
        assert weigh_weights(evidence).answer == ("there" if strength else "not there")


def test_the_error_of_bands_means_what_it_says(folder: Path) -> None:
    some = partial(bands, most=2**10)
    merged = f.rounded(without((0.8, style(2))))
    names = [name for name in change() if name.endswith("mlp.layer1")]

    def rows(weights: f.Weights) -> WeightOf:
        return lambda name: torch.cat([weights[name][span] for span in some(*weights[name].shape)])

    zs = []
    for seed in range(40):
        other = f.product_of(f.low_rank(900 + seed, 0.015, 24, lambda n: n in names))
        evidence = deep_evidence(rows(merged), rows(ancestor()), rows(other), names)
        assert evidence is not None
        zs.append(evidence.estimate().z)
    # The error is the largest of three, so on the whole it may be too large, but not too small.
    assert 0.5 < float(torch.tensor(zs).std()) < 1.3


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(2**8, 2**20))
def test_bands_are_equal_and_lie_apart(rows: int, columns: int, most: int) -> None:
    found = bands(rows, columns, most)
    assert all(0 <= span.start < span.stop <= rows for span in found)
    assert all(one.stop <= next.start for one, next in pairwise(found))
    if len(found) == 1:
        assert found[0] == slice(0, rows)
    else:
        assert len(found) == BANDS
        assert len({span.stop - span.start for span in found}) == 1
        # The later of two neighbours is never further than two sixteenths of the rows on.
        assert max(b.start - a.start for a, b in pairwise(found)) <= 2 * rows / BANDS + 1


def test_samples_and_whole_matrices_say_the_same() -> None:
    merged = f.rounded(f.summed(in_blocks(range(10, 21), 0.7), (0.5, style(2))))
    evidence = deep_evidence(
        merged.__getitem__, ancestor().__getitem__, change().__getitem__, list(change())
    )
    assert evidence is not None
    for block in (5, 15):
        names = [name for name in change() if name.startswith(f"blocks.{block}.")]
        found = evidence.estimate(names)
        assert abs(found.value - (0.7 if block == 15 else 0)) < 4 * found.error + 0.001


def test_modules_that_were_rescaled_are_compared_at_their_own_scale() -> None:
    merged = rescaled(with_rdbt(0.5))
    evidence = deep_evidence(
        merged.__getitem__, ancestor().__getitem__, change().__getitem__, list(change())
    )
    assert evidence is not None
    assert evidence.estimate().value == pytest.approx(0.5, abs=0.02)


def test_what_else_lies_there_can_be_taken_away() -> None:
    merged = f.rounded(with_rdbt(0.5, (0.8, style(2))))
    parts = merged.__getitem__, ancestor().__getitem__, change().__getitem__, list(change())
    alone, beside = deep_evidence(*parts), deep_evidence(*parts, [(0.8, style(2).__getitem__)])
    assert alone is not None
    assert beside is not None
    assert beside.estimate().value == pytest.approx(0.5, abs=0.005)
    assert beside.estimate().error < alone.estimate().error


def test_modules_that_are_missing_or_of_another_shape_are_passed_over() -> None:
    names = list(change())[:3]
    odd = {**ancestor(), names[0]: torch.zeros(3, 3)}
    del odd[names[1]]
    told: list[tuple[int, int, str]] = []
    evidence = deep_evidence(
        odd.__getitem__,
        ancestor().__getitem__,
        change().__getitem__,
        names,
        on_progress=lambda *step: told.append(step),
    )
    assert evidence is not None
    assert evidence.products.names == (names[2],)
    assert told[-1] == (3, 3, names[2])
    empty: f.Weights = {}
    nothing = deep_evidence(empty.__getitem__, ancestor().__getitem__, change().__getitem__, names)
    assert nothing is None


def test_an_adapter_changes_what_it_changes(folder: Path) -> None:
    weight_of = change_of(folder / "ink.safetensors", ancestor().__getitem__)
    name = "blocks.3.mlp.layer1"
    up, down = style_factors(1)[name]
    assert torch.allclose(weight_of(name), up.bfloat16().float() @ down.bfloat16().float())
    with pytest.raises(LookupError):
        weight_of("blocks.99.mlp.layer1")


@pytest.mark.parametrize(("strength", "there"), [(1.0, True), (0.5, True), (0.0, False)])
def test_an_adapter_is_seen_without_any_relative(
    strength: float, there: bool, folder: Path
) -> None:
    adapter = load_adapter(folder / "ink.safetensors")
    merged = f.rounded(without((strength, style(1)), (0.5, style(2))))
    found = deep_estimate(adapter, merged.__getitem__)
    assert found is not None
    assert found.modules == len(adapter.modules)
    assert abs(found.value - strength) < 4 * found.error
    assert (found.z > 5) == there
    assert (abs(found.value) > found.largest_null) == there


def test_the_error_without_relatives_means_what_it_says(folder: Path) -> None:
    merged = f.rounded(without((0.5, style(2))))
    zs = []
    for seed in range(40):
        path = folder / "null.safetensors"
        write_adapter(
            path, f.low_rank(700 + seed, 0.02, 16, lambda n: n.startswith("blocks.3.mlp"))
        )
        found = deep_estimate(load_adapter(path), merged.__getitem__)
        assert found is not None
        zs.append(found.z)
        assert found.largest_null < 6 * found.error
    spread = float(torch.tensor(zs).std())
    assert 0.7 < spread < 1.4
    assert max(map(abs, zs)) < 4.5


def test_traces_are_deepened_where_the_files_are_here(folder: Path, tmp_path: Path) -> None:
    path = write_checkpoint(
        tmp_path / "mix.safetensors", with_rdbt(0.4, (0.8, style(1))), Form(diffusers=True)
    )
    anima = known("anima", sampled(ancestor()), "anima")
    likeness = known("rdbt", sampled(rdbt()), "rdbt")
    family = [
        replace(anima, path=folder / "anima.safetensors"),
        replace(likeness, path=folder / "rdbt.safetensors"),
        replace(known_adapter("ink", style(1)), path=folder / "ink.safetensors"),
        known_adapter("wash", style(2)),
    ]
    suspect = sampled(f.rounded(with_rdbt(0.4, (0.8, style(1)))))
    before = trace_sketch(suspect, "checkpoint", family, ancestors=ANCESTORS)
    after = {t.finding.known.name: t for t in deepened(path, before, silent)}
    strengths = {name: after[name].finding.strength for name in ("rdbt", "ink")}
    assert strengths["rdbt"] == pytest.approx(0.4, abs=0.005)
    assert strengths["ink"] == pytest.approx(0.8, abs=0.005)
    assert "From 6,144,000 weights" in after["rdbt"].finding.how
    assert [part.name for part in after["rdbt"].blocks] == ["3-27"]
    # Without a file it stays as it was.
    (wash,) = [trace for trace in before if trace.finding.known.name == "wash"]
    assert after["wash"] == wash


def test_an_adapter_that_went_unseen_is_found_by_every_weight(folder: Path, tmp_path: Path) -> None:
    weights = without((0.3, style(1)))
    path = write_checkpoint(tmp_path / "mix.safetensors", weights)
    ink = replace(known_adapter("ink", style(1)), path=folder / "ink.safetensors")
    (before,) = trace_sketch(sampled(f.rounded(weights)), "checkpoint", [ink])
    assert before.finding.outcome == "unseen"
    (after,) = deepened(path, [before], silent)
    assert after.finding.outcome == "contains"
    assert after.finding.settle is None
    assert after.finding.strength == pytest.approx(0.3, abs=4 * (after.finding.error or 0))
    plain = write_checkpoint(tmp_path / "plain.safetensors", ancestor())
    (after,) = deepened(plain, [before], silent)
    assert after.finding.outcome in ("unseen", "absent")
