"""What is extracted from two checkpoints is what was fused, up to the rounding that is stated."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import lorakit
from lorakit.adapters.lora import LoraModule
from lorakit.errors import BadFile, BadUsage, LorakitError, NotFusable
from lorakit.merging.extracting.extract import extract
from lorakit.merging.extracting.noise import threshold
from lorakit.merging.range_finding import largest_triplets
from tests.models import memory_adapter, random_lora, tiny_base, usual_names

STRENGTH, RANK = 0.8, 4
WIDE = 192


def saved(path: Path, tensors: Mapping[str, torch.Tensor]) -> Path:
    save_file({key: tensor.clone() for key, tensor in tensors.items()}, path)
    return path


def lora() -> dict[str, LoraModule]:
    """A change of about a hundredth of the weights, as trained adapters have it."""
    return random_lora(usual_names(3), 3, rank=RANK, scale=0.05)


def pair(folder: Path, dtype: torch.dtype) -> tuple[Path, Path]:
    """A checkpoint with `lora` fused in, under another prefix, and the base it was made from."""
    base = tiny_base(3, dtype=dtype)
    fused = lorakit.fuse(base, [(memory_adapter(lora()), STRENGTH)])
    tuned = {key.replace("net.", "model.diffusion_model."): t for key, t in fused.items()}
    return saved(folder / "tuned.safetensors", tuned), saved(folder / "base.safetensors", base)


def distance(found: lorakit.Adapter) -> float:
    """‖extracted - fused‖ / ‖fused‖ over all modules."""
    error = size = 0.0
    for name, module in lora().items():
        meant = STRENGTH * module.delta(torch.zeros(module.up.shape[0], module.down.shape[1]))
        error += float((found.modules[name].delta(meant) - meant).double().square().sum())
        size += float(meant.double().square().sum())
    return sqrt(error / size)


@pytest.mark.parametrize(
    ("dtype", "most"),
    [(torch.float32, 3e-6), (torch.float16, 0.012), (torch.bfloat16, 0.1)],
    ids=["fp32", "fp16", "bf16"],
)
def test_what_was_fused_comes_back_within_the_stated_rounding(
    tmp_path: Path, dtype: torch.dtype, most: float
) -> None:
    found = extract(*pair(tmp_path, dtype))
    total = found.report.total
    # The rank is found where the spectrum meets the noise of rounding, in every module.
    assert total.ranks == (RANK, RANK)
    assert found.adapter.modules.keys() == lora().keys()
    assert distance(found.adapter) == pytest.approx(total.floor, rel=0.15)
    assert total.floor < most
    # What is kept and what rounding adds are together all that differs.
    assert total.retained + total.rounded == pytest.approx(1, abs=0.01)


def test_retained_energy_is_that_of_the_factors_as_they_are_written(tmp_path: Path) -> None:
    tuned, base = pair(tmp_path, torch.float32)
    found = extract(tuned, base, rank=2, dtype=torch.bfloat16)
    weights = {key.removeprefix("net."): t.double() for key, t in tiny_base(3).items()}
    fused = lorakit.fuse(tiny_base(3), [(memory_adapter(lora()), STRENGTH)])
    missing = whole = 0.0
    for name, module in found.adapter.modules.items():
        assert isinstance(module, LoraModule)
        assert module.up.dtype == torch.bfloat16
        assert module.up.shape[1] == 2
        delta = fused[f"net.{name}.weight"].double() - weights[f"{name}.weight"]
        missing += float((delta - module.delta(delta)).square().sum())
        whole += float(delta.square().sum())
    assert found.report.total.retained == pytest.approx(1 - missing / whole, abs=1e-6)
    assert found.report.total.energy == pytest.approx(whole, rel=1e-6)
    # No approximation of rank 2 holds more than the two largest singular values of each module.
    best = sum(
        float(
            (torch.linalg.svdvals(STRENGTH * m.up.double() @ m.down.double())[:2] * m.scale)
            .square()
            .sum()
        )
        for m in lora().values()
    )
    assert found.report.total.retained == pytest.approx(best / whole, abs=1e-4)


def test_next_to_no_loss_is_told_as_what_it_is_and_all_components_are_no_limit(
    tmp_path: Path,
) -> None:
    tuned, base = pair(tmp_path, torch.float32)
    change = torch.randn(4, WIDE, generator=torch.Generator().manual_seed(0)) * 1e-2
    weights = {path: load_file(path) for path in (tuned, base)}
    weights[base]["net.final_layer.linear.weight"] = torch.ones(4, WIDE)
    weights[tuned]["model.diffusion_model.final_layer.linear.weight"] = torch.ones(4, WIDE) + change
    for path, tensors in weights.items():
        save_file(tensors, path)
    found = extract(tuned, base)
    prefixes = {tuned: "model.diffusion_model.", base: "net."}
    missing = whole = 0.0
    for name, module in found.adapter.modules.items():
        after, before = (
            weights[path][f"{prefixes[path]}{name}.weight"].double() for path in (tuned, base)
        )
        missing += float((after - before - module.delta(after)).square().sum())
        whole += float((after - before).square().sum())
    assert 1 - found.report.total.retained == pytest.approx(missing / whole, rel=0.1)
    # The last layer has four components, and has all of them.
    assert found.report.limited == ()
    assert extract(tuned, base, energy=1, most=2).report.limited != ()


def test_energy_takes_as_few_components_as_hold_it(tmp_path: Path) -> None:
    tuned, base = pair(tmp_path, torch.float32)
    found = extract(tuned, base, energy=0.7)
    fewer = extract(tuned, base, rank=1)
    assert fewer.report.total.retained < 0.7 <= found.report.total.retained
    assert found.report.total.ranks is not None
    assert found.report.total.ranks[1] < RANK
    # All of it is never found in noise: the ranks of the change are the most.
    assert extract(tuned, base, energy=1).report.total.ranks == (RANK, RANK)


def test_norms_and_biases_come_along_when_asked(tmp_path: Path) -> None:
    base = {**tiny_base(1), "net.llm_adapter.out_proj.bias": torch.zeros(16)}
    base["net.llm_adapter.out_proj.weight"] = torch.ones(16, 16)
    tuned = {key: tensor.clone() for key, tensor in base.items()}
    tuned["net.blocks.0.self_attn.q_norm.weight"] += 0.5
    tuned["net.llm_adapter.out_proj.bias"] -= 2
    paths = saved(tmp_path / "t.safetensors", tuned), saved(tmp_path / "b.safetensors", base)
    with pytest.raises(LorakitError, match="2 norms and biases alone"):
        extract(*paths)
    norms = extract(*paths, norms=True)
    assert norms.report.left_out == ("llm_adapter.out_proj.bias",)
    both = extract(*paths, norms=True, biases=True).adapter
    fused = lorakit.fuse(base, [(both, 1.0)])
    assert all(torch.equal(fused[key], tuned[key]) for key in tuned)


def test_what_no_name_tells_is_counted_where_it_differs(tmp_path: Path) -> None:
    known = tiny_base(1)
    base = {**known, "net.alike.weight": torch.ones(3), "net.other.weight": torch.ones(3)}
    tuned = {
        # Another prefix is no difference, nor are the same bytes.
        **{k.replace("net.", ""): t for k, t in base.items()},
        "other.weight": torch.zeros(3),
        "extra.blocks.0.weight": torch.ones(2),
    }
    tuned["blocks.0.self_attn.q_norm.bias"] = torch.ones(8)
    paths = saved(tmp_path / "t.safetensors", tuned), saved(tmp_path / "b.safetensors", base)
    with pytest.raises(LorakitError, match=r"in 2 tensors alone .* such as"):
        extract(*paths)
    tuned["blocks.0.mlp.layer1.weight"] = tuned["blocks.0.mlp.layer1.weight"] + 0.5
    report = extract(saved(tmp_path / "t.safetensors", tuned), paths[1], rank=1).report
    assert set(report.unknown) == {"other.weight", "extra.blocks.0.weight"}
    assert report.to_dict()["unknown"] == list(report.unknown)
    assert report.one_sided == ("blocks.0.self_attn.q_norm.bias",)
    plain = {k.replace("net.", ""): t for k, t in known.items()}
    plain["blocks.0.mlp.layer1.weight"] = tuned["blocks.0.mlp.layer1.weight"]
    found = extract(saved(tmp_path / "p.safetensors", plain), paths[1], rank=1).report
    assert set(found.unknown) == {"net.alike.weight", "net.other.weight"}


def test_an_unchanged_checkpoint_gives_an_error_that_says_so(tmp_path: Path) -> None:
    base = saved(tmp_path / "base.safetensors", tiny_base(3))
    same = saved(tmp_path / "same.safetensors", tiny_base(3, prefix=""))
    with pytest.raises(LorakitError, match="hold the same weights"):
        extract(same, base)


def test_what_only_rounding_moved_is_not_extracted(tmp_path: Path) -> None:
    exact = saved(tmp_path / "exact.safetensors", tiny_base(3))
    cast = saved(tmp_path / "cast.safetensors", tiny_base(3, dtype=torch.bfloat16))
    with pytest.raises(LorakitError, match="no more than rounding"):
        extract(cast, exact)
    assert extract(cast, exact, rank=1).report.total.retained < 0.5


def test_checkpoints_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    base = saved(tmp_path / "base.safetensors", tiny_base(3))
    longer = saved(tmp_path / "longer.safetensors", tiny_base(4))
    with pytest.raises(NotFusable, match=r"4 blocks and base.safetensors has 3"):
        extract(longer, base)
    wide = tiny_base(3) | {"net.blocks.1.mlp.layer1.weight": torch.ones(100, 32)}
    with pytest.raises(NotFusable, match=r"blocks.1.mlp.layer1 has the shape \[100, 32\]"):
        extract(saved(tmp_path / "wide.safetensors", wide), base)
    broken = tiny_base(3)
    broken["net.blocks.1.mlp.layer1.weight"][3, 4] = torch.nan
    with pytest.raises(BadFile, match=r"blocks.1.mlp.layer1 holds values that are not finite"):
        extract(saved(tmp_path / "broken.safetensors", broken), base)
    broken = tiny_base(3)
    broken["net.blocks.0.self_attn.q_norm.weight"][2] = torch.inf
    with pytest.raises(BadFile, match=r"q_norm.weight holds values that are not finite"):
        extract(saved(tmp_path / "broken.safetensors", broken), base)
    with pytest.raises(BadUsage, match="not several"):
        extract(longer, base, rank=2, energy=0.9)


@pytest.mark.parametrize("rows", [1, 32], ids=["one scale", "one a row"])
def test_eight_bit_checkpoints_with_scales_are_read(tmp_path: Path, rows: int) -> None:
    base = tiny_base(2)
    name = "net.blocks.1.mlp.layer2.weight"
    weight = base.pop(name)
    scale = (weight.abs().amax(1, keepdim=True) if rows > 1 else weight.abs().max()) / 448
    stored = (weight / scale).to(torch.float8_e4m3fn)
    beside = name.removesuffix("weight") + "weight_scale"
    eight = saved(tmp_path / "b.safetensors", {**base, name: stored, beside: scale.clone()})
    exact = stored.float() * scale
    change = torch.randn(32, 2) @ torch.randn(2, 128) * 0.01
    tuned = saved(tmp_path / "t.safetensors", {**base, name: exact + change})
    (module,) = extract(tuned, eight).adapter.modules.values()
    assert torch.allclose(module.delta(exact), change, atol=1e-6)
    # Between two of them it is what their numbers and scales say.
    doubled = {**base, name: stored, beside: scale * 2}
    twice = extract(saved(tmp_path / "d.safetensors", doubled), eight, rank=32)
    (module,) = twice.adapter.modules.values()
    assert torch.allclose(module.delta(exact), exact, atol=1e-6)


def test_shards_are_read_as_one_checkpoint(tmp_path: Path) -> None:
    tuned, base = pair(tmp_path, torch.bfloat16)
    tensors = load_file(base)
    for number, part in enumerate((list(tensors)[::2], list(tensors)[1::2]), start=1):
        name = f"base-0000{number}-of-00002.safetensors"
        saved(tmp_path / name, {key: tensors[key] for key in part})
    whole, sharded = (
        extract(tuned, path, rank=2).report.to_dict()["total"]
        for path in (base, tmp_path / "base-00001-of-00002.safetensors")
    )
    assert whole == sharded


def test_the_same_bits_come_out_every_time(tmp_path: Path) -> None:
    tuned, base = pair(tmp_path, torch.bfloat16)
    one, other = (extract(tuned, base, rank=3, seed=5).adapter for _ in range(2))
    for name, module in one.modules.items():
        again = other.modules[name]
        assert isinstance(module, LoraModule)
        assert isinstance(again, LoraModule)
        assert torch.equal(module.up, again.up)
        assert torch.equal(module.down, again.down)


def test_no_file_leaves_the_gate_by_another_door(tmp_path: Path) -> None:
    found = extract(*pair(tmp_path, torch.float32), rank=1)
    with pytest.raises(LorakitError):
        found.adapter.save(tmp_path / "out.safetensors", layout="kohya")


def decaying(rows: int, columns: int) -> torch.Tensor:
    """A matrix with the singular values 1, 1/√2, 1/√3, ..., which no rank cuts off cleanly."""
    generator = torch.Generator().manual_seed(3)
    u = torch.linalg.qr(torch.randn(rows, columns, generator=generator)).Q
    v = torch.linalg.qr(torch.randn(columns, columns, generator=generator)).Q
    values = torch.arange(1, columns + 1).rsqrt()
    return torch.mm(u * values, v.T)


def test_the_largest_triplets_are_those_of_a_whole_decomposition() -> None:
    matrix = decaying(256, WIDE)
    found = largest_triplets(matrix, lambda values: 24, first=24, most=24, seed=0)
    exact = torch.linalg.svdvals(matrix.double())
    held = float(found.s.double().square().sum())
    assert held == pytest.approx(float(exact[:24].square().sum()), rel=1e-3)
    # What the values say is held is what the product holds.
    rest = matrix - (found.u * found.s) @ found.v.T
    assert float(rest.square().sum()) == pytest.approx(float(exact.square().sum()) - held, rel=1e-4)


def test_the_search_widens_until_enough_is_found() -> None:
    matrix = decaying(WIDE, WIDE)

    def above(values: torch.Tensor) -> int | None:
        count = int((values > 0.15).sum())
        return None if count == len(values) else count

    found = largest_triplets(matrix, above, first=4, most=128, seed=0)
    # 1/√44 > 0.15 > 1/√45
    assert len(found.s) == 44
    assert len(largest_triplets(matrix, above, first=4, most=16, seed=0).s) == 16


def test_the_threshold_is_that_of_the_paper() -> None:
    # Square matrices: 4/√3 √n.
    assert threshold(100, 100) == pytest.approx(4 / 3**0.5 * 10)
    # Never below where noise ends: √rows + √columns.
    for rows, columns in ((100, 100), (100, 400), (8192, 2048)):
        assert threshold(rows, columns) > rows**0.5 + columns**0.5
