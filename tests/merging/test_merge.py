"""A merged adapter does to a base what its entries do together."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

import lorakit
from lorakit.adapters.adapter import Adapter
from lorakit.adapters.full import DiffModule
from lorakit.adapters.lora import LoraModule
from lorakit.errors import BadFile, BadUsage, NotFusable, Refused
from lorakit.merging.gathering import needing_base
from lorakit.merging.merge import Merged, merged
from lorakit.merging.methods.table import METHODS
from lorakit.merging.ranks import Energy, Rank, RankRule, SvRatio, rank_for
from lorakit.strengths import Strength
from tests.models import lora_file, memory_adapter, random_lora, tiny_base, usual_names

BLOCKS = 2
BASE = tiny_base(BLOCKS, dtype=torch.float64)
Q, WIDE = "blocks.0.self_attn.q_proj", "blocks.0.mlp.layer1"  # (32, 32), (128, 32)
NORM = "blocks.0.self_attn.q_norm"  # (8,)
Entry = tuple[Adapter, float | Strength]


def adapter(seed: int, rank: int = 4, blocks: int = BLOCKS, scale: float = 1.0) -> Adapter:
    names = usual_names(blocks)
    return memory_adapter(random_lora(names, blocks, rank=rank, seed=seed, scale=scale))


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))) * 0.1


def from_file(folder: Path, tensors: dict[str, torch.Tensor], name: str = "a") -> Adapter:
    """An adapter that was read from a file of these tensors, modules by their canonical names."""
    path = folder / f"{name}.safetensors"
    save_file({f"diffusion_model.{key}": t.contiguous() for key, t in tensors.items()}, path)
    return lorakit.load_adapter(path)


def lokr(folder: Path, name: str = "lokr") -> Adapter:
    """A Kronecker product of full rank."""
    parts = {"lokr_w1": drawn(8, 8), "lokr_w2": drawn(4, 4), "alpha": torch.tensor(1.0)}
    return from_file(folder, {f"{Q}.{part}": t for part, t in parts.items()}, name)


def dora(folder: Path) -> Adapter:
    parts = {
        "lora_down.weight": drawn(2, 32),
        "lora_up.weight": drawn(32, 2),
        "dora_scale": BASE[f"net.{Q}.weight"].norm(dim=1, keepdim=True).float() * 1.1,
    }
    return from_file(folder, {f"{Q}.{part}": t for part, t in parts.items()}, "dora")


def change(
    entries: list[Entry], base: dict[str, torch.Tensor] | None = None
) -> dict[str, torch.Tensor]:
    """What `entries` add to each weight of a float64 base."""
    base = base or BASE
    fused = lorakit.fuse(base, entries)
    return {key: fused[key] - base[key] for key in base}


def assert_same_change(
    found: Adapter, entries: list[Entry], base: dict[str, torch.Tensor] | None = None
) -> None:
    """To the rounding of factors in float32."""
    wanted = change(entries, base)
    for key, delta in change([(found, 1.0)], base).items():
        size = float(wanted[key].abs().max())
        torch.testing.assert_close(delta, wanted[key], rtol=0, atol=2e-6 * size + 1e-12, msg=key)


@settings(max_examples=10, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 6),
            st.sampled_from([0.25, 1.0, 3.0]),
            st.floats(-2, 2).filter(lambda x: abs(x) > 0.01),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_the_change_is_the_weighted_sum(drawn_entries: list[tuple[int, float, float]]) -> None:
    entries: list[Entry] = [
        (adapter(seed, rank, scale=scale), strength)
        for seed, (rank, scale, strength) in enumerate(drawn_entries)
    ]
    result = merged(entries)
    assert result.report.exact
    assert_same_change(result.adapter, entries)
    # The order is of no matter.
    assert_same_change(lorakit.merge(entries[::-1]), entries)


def test_one_plain_adapter_keeps_the_bytes_of_its_factors(tmp_path: Path) -> None:
    modules = random_lora(usual_names(BLOCKS), BLOCKS, scale=0.5, dtype=torch.bfloat16)
    one = lorakit.load_adapter(lora_file(tmp_path / "one.safetensors", modules))
    result = lorakit.merge([(one, 0.8)])
    for name, module in result.modules.items():
        assert isinstance(module, LoraModule)
        assert module.scale == pytest.approx(0.4)
        for kept, given_ in ((module.up, modules[name].up), (module.down, modules[name].down)):
            assert kept.dtype == torch.bfloat16
            assert torch.equal(kept, given_)
    assert_same_change(result, [(one, 0.8)])


@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_one_kronecker_product_stays_one(tmp_path: Path, strength: float) -> None:
    one = lokr(tmp_path)
    result = lorakit.merge([(one, strength)])
    assert type(result.modules[Q]) is type(one.modules[Q])
    assert result.report.modules[0].algo == "lokr"
    assert_same_change(result, [(one, strength)])


def test_one_adapter_that_needs_a_base_stays_what_it_is_at_full_strength(tmp_path: Path) -> None:
    one = dora(tmp_path)
    assert lorakit.merge([(one, 1.0)]).modules[Q] is one.modules[Q]
    with pytest.raises(NotFusable, match="depends on the weight of the base"):
        lorakit.merge([(one, 0.5)])


def test_opposite_changes_leave_nothing() -> None:
    result = lorakit.merge([(adapter(1), 0.7), (adapter(1), -0.7)])
    assert not any(delta.any() for delta in change([(result, 1.0)]).values())


def test_the_rank_is_the_sum_but_never_more_than_the_weight_has() -> None:
    entries: list[Entry] = [(adapter(seed, rank=6), 1.0) for seed in range(6)]
    result = merged(entries)
    ranks = {fact.name: fact.rank_out for fact in result.report.modules}
    assert ranks["blocks.0.mlp.layer1"] == 32  # of 36, on a weight of (128, 32)
    assert result.report.exact
    assert_same_change(result.adapter, entries)


def test_strengths_by_block_kind_and_name_are_those_of_a_stack() -> None:
    parts = Strength.of(
        0.8, blocks={"1": 0.5}, kinds={"mlp": -1.5}, modules={"*.cross_attn.k_proj": 0}
    )
    entries: list[Entry] = [(adapter(1), parts), (adapter(2), 0.3)]
    assert_same_change(lorakit.merge(entries), entries)


def test_root_is_the_transformers_own_and_the_text_adapter_goes_by_its_name() -> None:
    other, mlp = "llm_adapter.blocks.0.cross_attn.q_proj", "blocks.0.mlp.layer1"
    one = memory_adapter(random_lora([mlp, other], BLOCKS))
    named = merged([(one, Strength.parse("1@kinds=mlp:0,root:0"))])
    assert list(named.adapter.modules) == [other]
    assert any("llm_adapter goes by components=llm_adapter:NUMBER" in n for n in named.report.notes)
    by_name = merged([(one, Strength.parse("1@kinds=root:0@components=llm_adapter:0"))])
    assert list(by_name.adapter.modules) == [mlp]
    assert not any("components=" in note for note in by_name.report.notes)


def test_a_loss_that_nobody_asked_for_is_told(tmp_path: Path) -> None:
    name = "blocks.0.mlp.layer1"
    wide = from_file(tmp_path, {f"{name}.diff": drawn(512, 256)})
    found = merged([(wide, 0.5), (wide, 0.25)])
    assert any(f"brought to rank 128: {name}." in note for note in found.report.notes)
    assert found.report.total.rank_out == (128, 128)
    assert not merged([(wide, 0.5), (wide, 0.25)], rank=8).report.notes


def test_loha_is_exact_and_its_rank_is_told(tmp_path: Path) -> None:
    a, b = (128, 4), (4, 32)
    parts = {"hada_w1_a": a, "hada_w1_b": b, "hada_w2_a": a, "hada_w2_b": b}
    one = from_file(tmp_path, {f"{WIDE}.{part}": drawn(*shape) for part, shape in parts.items()})
    entries: list[Entry] = [(one, 0.8), (adapter(1, rank=3, blocks=1), 0.5)]
    found = merged(entries)
    fact = next(fact for fact in found.report.modules if fact.name == WIDE)
    assert (fact.rank_in, fact.rank_out, fact.lost) == (19, 19, 0)
    assert any("here up to 19" in note for note in found.report.notes)
    assert_same_change(found.adapter, entries)


def test_strength_0_leaves_out_and_nothing_but_0_is_refused() -> None:
    result = merged([(adapter(1), 0.5), (adapter(2), 0.0)])
    assert result.report.total.rank_out == (4, 4)
    with pytest.raises(BadUsage, match="Every strength is 0"):
        lorakit.merge([(adapter(1), 0.0)])
    with pytest.raises(BadUsage, match="nothing to merge"):
        lorakit.merge([])


def test_strengths_that_depend_on_the_step_are_refused() -> None:
    with pytest.raises(BadUsage, match="steps"):
        lorakit.merge([(adapter(1), Strength.parse("0.8@steps=0-8"))])


def test_a_smaller_models_adapter_is_renumbered_for_the_larger() -> None:
    small = memory_adapter(random_lora(usual_names(28)[-10:], 28, seed=1))
    large = memory_adapter(random_lora(usual_names(40)[-10:], 40, seed=2))
    result = merged([(small, 1.0), (large, 0.5)])
    base = {key: t.double() for key, t in tiny_base(40).items()}
    assert_same_change(result.adapter, [(small, 1.0), (large, 0.5)], base)
    assert result.report.blocks == 40
    assert any("renumbered for 40" in note for note in result.report.notes)


def of_size(folder: Path, blocks: int, seed: int) -> Adapter:
    """An adapter whose header states the size of its model."""
    modules = random_lora(usual_names(2), 2, seed=seed)
    path = lora_file(
        folder / f"{seed}.safetensors", modules, metadata={"lorakit.base_blocks": str(blocks)}
    )
    return lorakit.load_adapter(path)


def test_a_size_that_headers_state_is_kept(tmp_path: Path) -> None:
    eight, silent = of_size(tmp_path, 8, 1), adapter(3)
    result = lorakit.merge([(eight, 1.0), (of_size(tmp_path, 8, 2), 0.5), (silent, 1.0)])
    assert result.report.model_blocks == 8
    with pytest.raises(NotFusable, match=r"a model of 6 blocks, .* for one of 8"):
        lorakit.merge([(eight, 1.0), (of_size(tmp_path, 6, 4), 1.0)])


def test_adapters_of_unrelated_models_are_refused() -> None:
    shapes = {Q: LoraModule(drawn(64, 2), drawn(2, 32), 1.0)}
    with pytest.raises(NotFusable, match=r"\[32, 32\].*\[64, 32\]"):
        lorakit.merge([(adapter(1), 1.0), (memory_adapter(shapes), 1.0)])


def test_biases_and_norms_add_up(tmp_path: Path) -> None:
    first = {
        f"{NORM}.w_norm": drawn(8),
        f"{WIDE}.diff_b": drawn(128),
        f"{WIDE}.diff": drawn(128, 32),
    }
    second = {f"{NORM}.w_norm": drawn(8) * 2, f"{WIDE}.diff_b": drawn(128) * 3}
    one, two = from_file(tmp_path, first), from_file(tmp_path, second, "b")
    base = {**BASE, f"net.{WIDE}.bias": torch.zeros(128, dtype=torch.float64)}
    entries: list[Entry] = [(one, 0.5), (two, -0.25)]
    result = lorakit.merge(entries, full_diffs=True)
    assert_same_change(result, entries, base)


def test_a_change_in_full_becomes_the_best_of_a_rank_or_stays_in_full(tmp_path: Path) -> None:
    entries: list[Entry] = [(lokr(tmp_path), 0.8), (adapter(1), -0.5)]
    wanted = change(entries)[f"net.{Q}.weight"]
    exact = lorakit.merge(entries, full_diffs=True)
    assert isinstance(exact.modules[Q], DiffModule)
    assert_same_change(exact, entries)
    default = merged(entries)
    assert default.report.exact  # since the rank it gives is all that the weight has
    assert_same_change(default.adapter, entries)
    cut = merged(entries, rank=5)
    found = change([(cut.adapter, 1.0)])[f"net.{Q}.weight"]
    best = torch.linalg.svdvals(wanted)[5:].square().sum()
    fact = next(fact for fact in cut.report.modules if fact.name == Q)
    assert fact.lost == pytest.approx(float(best), rel=1e-4)
    assert float((found - wanted).square().sum()) == pytest.approx(fact.lost, rel=1e-4)
    assert not cut.report.exact


def test_what_depends_on_the_base_takes_part_where_one_is_given(tmp_path: Path) -> None:
    one = dora(tmp_path)
    assert needing_base(one.report) == (Q,)
    assert needing_base(adapter(1).report) == ()
    both = {
        f"{WIDE}.lora_down.weight": drawn(2, 32),
        f"{WIDE}.lora_up.weight": drawn(128, 2),
        f"{WIDE}.set_weight": drawn(128, 32),
    }
    assert needing_base(from_file(tmp_path, both, "both").report) == (WIDE,)
    entries: list[Entry] = [(one, 0.6), (adapter(1), 0.5)]
    with pytest.raises(NotFusable, match=r"q_proj of dora.safetensors"):
        lorakit.merge(entries)
    assert_same_change(lorakit.merge(entries, base=BASE, full_diffs=True), entries)
    # Of rank 32 at most, so the default of 64 loses nothing.
    assert_same_change(lorakit.merge(entries, base=BASE), entries)


def test_a_rank_keeps_the_best_approximation_and_says_what_it_keeps() -> None:
    entries: list[Entry] = [(adapter(1), 1.0), (adapter(2), 1.0)]
    cut, whole = merged(entries, rank=3), change(entries)
    found = change([(cut.adapter, 1.0)])
    for fact in cut.report.modules:
        key = f"net.{fact.name}.weight"
        values = torch.linalg.svdvals(whole[key])
        assert (fact.rank_in, fact.rank_out) == (8, 3)
        assert fact.energy == pytest.approx(float(values.square().sum()), rel=1e-5)
        assert fact.lost == pytest.approx(float(values[3:].square().sum()), rel=1e-4)
        assert float((found[key] - whole[key]).square().sum()) == pytest.approx(fact.lost, rel=1e-4)


@pytest.mark.parametrize("options", [{}, {"in_core": "iso"}])
@pytest.mark.parametrize("rule", [Rank(3), Energy(0.8), SvRatio(3.0)])
def test_levelling_keeps_the_directions_that_are_largest_in_the_sum(
    options: dict[str, str], rule: RankRule
) -> None:
    def found(shaken: float) -> Merged:
        entries: list[Entry] = [(adapter(1, blocks=1), 0.8), (adapter(2, blocks=1), -0.5)]
        for module in entries[0][0].modules.values():
            assert isinstance(module, LoraModule)
            noise = torch.randn(module.up.shape, generator=torch.Generator().manual_seed(9))
            module.up.add_(noise * shaken * module.up.abs().max())
        return merged(entries, method="core" if options else "iso", rank=rule, options=options)

    plain, shaken = found(0), found(1e-7)
    entries: list[Entry] = [(adapter(1, blocks=1), 0.8), (adapter(2, blocks=1), -0.5)]
    whole = change(entries)
    one, other = (change([(each.adapter, 1.0)]) for each in (plain, shaken))
    for facts in plain.report.modules:
        key = f"net.{facts.name}.weight"
        u, s, vh = torch.linalg.svd(whole[key], full_matrices=False)
        kept = rank_for(s.tolist(), rule)
        assert facts.rank_out == kept
        assert facts.energy == pytest.approx(float(s.square().sum()), rel=1e-5)
        assert facts.lost == pytest.approx(float(s[kept:].square().sum()), rel=1e-5)
        wanted = s[:kept].mean() * u[:, :kept] @ vh[:kept]
        assert float((one[key] - wanted).norm() / wanted.norm()) < 1e-5
        assert float((one[key] - other[key]).norm() / wanted.norm()) < 1e-4


@pytest.mark.parametrize("method", ["iso", "knots", "core"])
def test_levelling_of_opposite_changes_leaves_nothing(method: str) -> None:
    one, options = adapter(1, blocks=1), {} if method == "iso" else {"in_core": "iso"}
    found = merged([(one, 1.0), (one, -1.0)], method=method, options=options, rank=2)
    assert all(float(delta.abs().max()) < 1e-6 for delta in change([(found.adapter, 1.0)]).values())


def test_an_energy_is_held_by_every_module() -> None:
    report = merged([(adapter(1), 1.0), (adapter(2), 0.2)], energy=0.9).report
    assert all(1 - fact.lost / fact.energy >= 0.9 for fact in report.modules)
    assert report.rank == "energy 0.9"
    assert {kind.kind for kind in report.kinds} == {"self_attn", "cross_attn", "mlp"}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_the_same_bits_again_and_names_its_options(method: str) -> None:
    entries: list[Entry] = [(adapter(1, blocks=1), 0.8), (adapter(2, blocks=1), -0.5)]
    first, again = (merged(entries, method=method, seed=5) for _ in range(2))
    assert first.report.options.keys() == METHODS[method].options.keys()
    for name, module in first.adapter.modules.items():
        other = again.adapter.modules[name]
        assert isinstance(module, LoraModule)
        assert isinstance(other, LoraModule)
        assert torch.equal(module.up, other.up)
        assert torch.equal(module.down, other.down)
        assert bool(torch.isfinite(module.up).all())


@pytest.mark.parametrize("method", ["ties", "iso", "ctm"])
def test_a_method_is_compared_with_the_plain_sum(tmp_path: Path, method: str) -> None:
    for first in (adapter(2), lokr(tmp_path)):
        entries: list[Entry] = [(first, 0.8), (adapter(1), -0.5)]
        result, plain = merged(entries, method=method), change(entries)
        found = change([(result.adapter, 1.0)])
        one, other = (torch.cat([each[key].flatten() for key in BASE]) for each in (found, plain))
        beside = result.report.total.beside
        assert beside is not None
        assert beside.size == pytest.approx(float(one.norm() / other.norm()), rel=1e-5)
        assert beside.cosine == pytest.approx(
            float(one @ other / one.norm() / other.norm()), rel=1e-5
        )
    assert merged([(adapter(1), 1.0)]).report.total.beside is None


def test_a_kronecker_product_takes_part_in_every_method(tmp_path: Path) -> None:
    for method in METHODS:
        result = merged([(lokr(tmp_path), 0.5), (adapter(1, blocks=1), 0.5)], method=method)
        assert Q in result.adapter.modules


@pytest.mark.parametrize("method", ["tsv", "knots", "core"])
def test_what_a_method_could_not_take_along_is_a_share_of_what_was_meant(
    tmp_path: Path, method: str
) -> None:
    parts = {"lokr_w1": drawn(16, 16), "lokr_w2": drawn(12, 12)}
    one = from_file(tmp_path, {f"{Q}.{part}": t for part, t in parts.items()})
    options = {} if method == "tsv" else {"in_core": "sum"}
    report = merged([(one, 1.0)], method=method, options=options).report
    (found,) = report.modules
    assert found.beside is not None
    # Alone, and with nothing done to it, the result is the sum but for what was left out.
    gap = found.beside.energy + found.beside.sum_energy - 2 * found.beside.inner
    assert (
        0.1 < report.total.error == pytest.approx((gap / found.beside.sum_energy) ** 0.5, rel=1e-3)
    )
    opposite = merged([(one, 1.0), (one, -1.0)], method=method, options=options).report
    assert 0 <= opposite.total.retained <= 1


@pytest.mark.parametrize("rank", [None, 20])
@pytest.mark.parametrize("method", ["tsv", "knots", "core", "ctm", "iso"])
def test_what_two_changes_leave_behind_together_is_told_in_full(
    tmp_path: Path, method: str, rank: int | None
) -> None:
    parts = {"lokr_w1": drawn(16, 16), "lokr_w2": drawn(12, 12)}
    one = from_file(tmp_path, {f"{Q}.{part}": t for part, t in parts.items()})
    inside = {"in_core": "sum"} if "in_core" in METHODS[method].options else {}
    two = [(one, 0.5), (one, 1.0)]
    report = merged(two, method=method, options=inside, rank=rank).report
    # Both leave the same behind, so together they lose the share that one of them loses, and not less.
    alone = merged([(one, 1.0)], method="core", options={"in_core": "sum"}, rank=rank).report
    assert alone.total.error > 0.1
    by_inputs = method in ("tsv", "ctm")
    if method == "tsv" and rank:
        assert alone.total.error < report.total.error < 2 * alone.total.error
    elif method == "ctm" and rank:
        # Only what did not come in is counted, not what the bases that it seeks leave out.
        assert 0.1 < report.total.error < alone.total.error
    else:
        assert report.total.error == pytest.approx(alone.total.error, rel=0.02)
    assert report.of_inputs is by_inputs
    assert any("at most" in note for note in report.notes) is by_inputs
    # A factor of the result is no loss.
    scaled = merged(two, method=method, options={**inside, "scale": 0.1}, rank=rank).report
    assert scaled.total.error == pytest.approx(report.total.error, rel=1e-3)


@pytest.mark.parametrize("rank", [None, 20])
def test_the_error_of_a_sum_in_common_bases_is_the_distance_from_the_sum(
    tmp_path: Path, rank: int | None
) -> None:
    wide = {f"{Q}.lokr_w1": drawn(16, 16), f"{Q}.lokr_w2": drawn(12, 12)}
    full = {f"{Q}.diff": drawn(192, 192)}
    entries: list[Entry] = [
        (from_file(tmp_path, wide, "wide"), 0.7),
        (from_file(tmp_path, full, "full"), -1.2),
    ]
    result = merged(entries, method="core", options={"in_core": "sum"}, rank=rank)
    like = torch.zeros(192, 192)
    found = result.adapter.modules[Q].delta(like)
    wanted = 0.7 * entries[0][0].modules[Q].delta(like) - 1.2 * entries[1][0].modules[Q].delta(like)
    assert result.report.total.error == pytest.approx(
        float((found - wanted).norm() / wanted.norm()), rel=1e-4
    )


def test_text_encoder_modules_are_merged_too() -> None:
    module = {"text_encoder.layers.0.mlp.up_proj": LoraModule(drawn(48, 2), drawn(2, 16), 1.0)}
    result = lorakit.merge([(memory_adapter(module), 0.5), (adapter(1), 1.0)])
    assert "text_encoder.layers.0.mlp.up_proj" in result.modules


@pytest.mark.parametrize("method", METHODS)
def test_changes_of_nothing_are_no_trouble_to_any_method(method: str) -> None:
    untrained = {
        name: LoraModule(torch.zeros_like(module.up), module.down, 1.0)
        for name, module in random_lora(usual_names(1), 1, seed=3).items()
    }
    nothing, one = memory_adapter(untrained), adapter(1, blocks=1)
    for entries in ([(nothing, 1.0), (nothing, 0.5)], [(one, 1.0), (one, -1.0)]):
        result = lorakit.merge(entries, method=method, options=_everything(method))
        size = max(float(delta.abs().max()) for delta in change([(one, 1.0)]).values())
        assert all(float(d.abs().max()) < 1e-6 * size for d in change([(result, 1.0)]).values())
    for entries in ([(nothing, 1.0), (one, 1.0)], [(one, 1.0)]):
        result = lorakit.merge(entries, method=method)
        assert all(bool(torch.isfinite(d).all()) for d in change([(result, 1.0)]).values())


def _everything(method: str) -> dict[str, float | str]:
    """Options with which opposite changes must vanish: nothing is dropped by chance."""
    named = METHODS[method].options
    return {name: 0.0 for name in ("drop", "window") if name in named}


@pytest.mark.parametrize("options", [{}, {"rank": 2}, {"method": "ties"}, {"method": "tsv"}])
def test_numbers_that_are_not_finite_are_told_with_their_file(options: dict[str, object]) -> None:
    broken = random_lora(usual_names(1), 1, seed=3)
    broken[Q].up[3, 1] = float("nan")
    entries = [(memory_adapter(broken), 1.0), (adapter(1, blocks=1), 1.0)]
    with pytest.raises(BadFile, match=f"{Q} of memory.safetensors"):
        lorakit.merge(entries, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{}, {"rank": 2}, {"method": "ties"}, {"method": "tsv"}])
def test_numbers_too_large_to_be_measured_are_told_too(
    tmp_path: Path, options: dict[str, object]
) -> None:
    large = from_file(tmp_path, {f"{Q}.diff": torch.full((32, 32), 1e30)}, "large")
    with pytest.raises(BadFile, match=rf"{Q} of large\.safetensors"):
        lorakit.merge([(large, 1.0), (adapter(1), 1.0)], **options)  # type: ignore[arg-type]


def test_a_kronecker_product_that_is_not_finite_is_told(tmp_path: Path) -> None:
    parts = {"lokr_w1": drawn(8, 8), "lokr_w2": torch.full((4, 4), float("inf"))}
    broken = from_file(tmp_path, {f"{Q}.{part}": t for part, t in parts.items()}, "broken")
    for entries in ([(broken, 1.0)], [(broken, 1.0), (adapter(1), 1.0)]):
        for rank in (2, None):
            with pytest.raises(BadFile, match=f"{Q} of broken.safetensors"):
                lorakit.merge(entries, rank=rank)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("method", METHODS)
def test_a_gpu_gives_the_same(tmp_path: Path, method: str) -> None:
    entries: list[Entry] = [(dora(tmp_path), 0.6), (lokr(tmp_path), 0.5), (adapter(1), 0.5)]
    found, wanted = (
        change([(lorakit.merge(entries, method=method, base=BASE, device=device), 1.0)])
        for device in ("cuda", "cpu")
    )
    for key, delta in wanted.items():
        torch.testing.assert_close(found[key], delta, rtol=0, atol=1e-4 * float(delta.abs().max()))


def test_a_merged_adapter_is_not_saved_behind_the_gate(tmp_path: Path) -> None:
    result = lorakit.merge([(adapter(1), 1.0), (adapter(2), 1.0)])
    assert result.made_of
    with pytest.raises(Refused, match="licences"):
        result.save(tmp_path / "out.safetensors", layout="kohya")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"rank": 4, "energy": 0.9}, "not several"),
        ({"rank": 0}, "rank of 0"),
        ({"energy": 1.5}, "energy of 1.5"),
        ({"method": "slerp"}, "slerp"),
        ({"method": "ctm", "energy": 0.9}, "number"),
        ({"rank": 4, "full_diffs": True}, "no rank"),
        ({"device": "gpu"}, "'gpu' is not a device"),
        ({"method": "ties", "options": {"density": 7}}, "density of ties"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_computed(
    options: dict[str, object], says: str
) -> None:
    with pytest.raises(BadUsage, match=says):
        lorakit.merge([(adapter(1), 1.0), (adapter(2), 1.0)], **options)  # type: ignore[arg-type]
