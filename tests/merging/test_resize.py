"""Other ranks: the same change where all is kept, the best one where not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import lorakit
from lorakit.catalog import Catalog
from lorakit.errors import BadFile, NotFusable, Refused
from lorakit.formats.header import read_header
from lorakit.merging.provenance import read_made
from lorakit.merging.ranks import Energy, Frobenius, Rank, RankRule, SvRatio
from lorakit.merging.resizing import resize
from tests.merging.conftest import entry
from tests.models import lora_file, random_lora, usual_names

NAMES = usual_names(2)
LIKE = torch.zeros((), dtype=torch.float64)


@pytest.fixture
def ink(tmp_path: Path) -> Path:
    """Rank 8 at a scale that is no power of two, with what a trainer says of it."""
    said = {
        "ss_network_dim": "8",
        "ss_network_alpha": "2.4",
        "ss_network_module": "networks.lora_anima",
        "modelspec.trigger_phrase": "@ink",
        "sshs_model_hash": "a" * 64,
    }
    modules = random_lora(NAMES, 2, rank=8, scale=0.3)
    return lora_file(tmp_path / "ink.safetensors", modules, metadata=said)


def deltas(path: Path) -> dict[str, torch.Tensor]:
    modules = lorakit.load_adapter(path).modules
    return {name: module.delta(LIKE) for name, module in modules.items()}


@pytest.mark.parametrize("rule", [Rank(8), Rank(64), Energy(1.0), Frobenius(1.0), SvRatio(1e9)])
def test_a_rule_that_keeps_everything_keeps_the_change(
    empty_catalog: Catalog, ink: Path, tmp_path: Path, rule: RankRule
) -> None:
    done, report = resize(
        empty_catalog, entry(ink), rule, tmp_path / "out.safetensors", dtype="fp32"
    )
    found = deltas(done.written.path)
    for name, wanted in deltas(ink).items():
        assert float((found[name] - wanted).norm()) < 1e-6 * float(wanted.norm())
    assert report.total.retained == pytest.approx(1, abs=1e-12)
    assert {m.scale for m in lorakit.inspect(done.written.path).modules} == {1.0}


@pytest.mark.parametrize("rule", [Rank(3), Energy(0.8), Frobenius(0.9), SvRatio(2.0)])
def test_what_is_kept_is_the_best_of_its_rank_and_the_report_says_how_much(
    empty_catalog: Catalog, ink: Path, tmp_path: Path, rule: RankRule
) -> None:
    done, report = resize(
        empty_catalog, entry(ink), rule, tmp_path / "out.safetensors", dtype="fp32"
    )
    found, kept, whole = deltas(done.written.path), 0.0, 0.0
    ranks = {module.name: module.rank_out for module in report.modules}
    for name, wanted in deltas(ink).items():
        values = torch.linalg.svdvals(wanted)
        rank = ranks[name]
        assert rank is not None
        assert 1 <= rank <= 8
        missing = float((found[name] - wanted).norm())
        assert missing == pytest.approx(float(values[rank:].norm()), rel=1e-4, abs=1e-9)
        whole += float(wanted.square().sum())
        kept += float(values[:rank].square().sum())
    assert report.total.retained == pytest.approx(kept / whole, rel=1e-6)


def test_the_header_stays_true(empty_catalog: Catalog, ink: Path, tmp_path: Path) -> None:
    done, _ = resize(empty_catalog, entry(ink), Rank(4), tmp_path / "out.safetensors")
    metadata = read_header(done.written.path).metadata
    assert metadata["ss_network_dim"] == metadata["ss_network_alpha"] == "4"
    assert metadata["modelspec.trigger_phrase"] == "@ink"
    assert "sshs_model_hash" not in metadata
    record = read_made(metadata)
    assert record is not None
    assert (record["verb"], record["options"]) == ("resize", {"rank": 4})


def test_loha_becomes_a_lora_of_all_its_rank(empty_catalog: Catalog, tmp_path: Path) -> None:
    torch.manual_seed(0)
    key = "lora_unet_blocks_0_mlp_layer1"
    tensors = {
        f"{key}.hada_w{side}_{half}": torch.randn(shape) * 0.1
        for side in "12"
        for half, shape in (("a", (128, 3)), ("b", (3, 32)))
    }
    path = tmp_path / "loha.safetensors"
    save_file({**tensors, f"{key}.alpha": torch.tensor(1.5)}, path)
    done, report = resize(
        empty_catalog, entry(path), Rank(9), tmp_path / "out.safetensors", dtype="fp32"
    )
    (wanted,), (found,) = deltas(path).values(), deltas(done.written.path).values()
    assert float((found - wanted).norm()) < 1e-6 * float(wanted.norm())
    assert lorakit.inspect(done.written.path).algos == ("lora",)
    assert report.total.rank_out == (9, 9)


def test_a_lokr_has_no_more_rank_than_its_sides(empty_catalog: Catalog, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(4)
    parts = {
        "lokr_w1": torch.randn(2, 2, generator=generator),
        "lokr_w2_a": torch.randn(16, 3, generator=generator),
        "lokr_w2_b": torch.randn(3, 16, generator=generator),
    }
    stem = "diffusion_model.blocks.0.self_attn.q_proj"
    path, out = tmp_path / "lokr.safetensors", tmp_path / "out.safetensors"
    save_file({f"{stem}.{part}": tensor for part, tensor in parts.items()}, path)
    written, report = resize(empty_catalog, entry(path), Rank(64), out)
    assert report.total.rank_out == (6, 6)
    assert lorakit.inspect(written.written.path).ranks == {6: 1}
    ((name, found),) = deltas(out).items()
    torch.testing.assert_close(found, deltas(path)[name], rtol=1e-5, atol=1e-5)


def test_what_depends_on_a_base_cannot_be_resized(
    empty_catalog: Catalog, ink: Path, tmp_path: Path
) -> None:
    tensors = load_file(ink)
    stem = "lora_unet_blocks_0_self_attn_q_proj"
    save_file({**tensors, f"{stem}.dora_scale": torch.ones(32, 1)}, ink)
    with pytest.raises(NotFusable, match=r"self_attn\.q_proj is dora"):
        resize(empty_catalog, entry(ink), Rank(2), tmp_path / "out.safetensors")


def test_a_licence_that_denies_holds_for_every_rank(empty_catalog: Catalog, tmp_path: Path) -> None:
    path = lora_file(
        tmp_path / "closed.safetensors",
        # Weights of its own: what is said of them stays said, in a catalog that the tests share.
        random_lora(NAMES, 2, seed=97),
        metadata={"modelspec.license": "CC-BY-ND-4.0"},
    )
    with pytest.raises(Refused, match="closed"):
        resize(empty_catalog, entry(path), Rank(2), tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_a_lokr_in_eight_bits_has_the_singular_values_of_its_numbers(
    empty_catalog: Catalog, tmp_path: Path
) -> None:
    generator = torch.Generator().manual_seed(1)
    shapes = {"lokr_w1": (2, 2), "lokr_w2_a": (16, 3), "lokr_w2_b": (3, 16)}
    tensors = {
        f"lycoris_blocks_0_self_attn_q_proj.{part}": torch.randn(
            *shape, generator=generator, dtype=torch.float32
        ).to(torch.float8_e4m3fn)
        for part, shape in shapes.items()
    }
    path, out = tmp_path / "lokr.safetensors", tmp_path / "out.safetensors"
    save_file(tensors, path, {"modelspec.license": "CC0-1.0"})
    _, report = resize(empty_catalog, entry(path), Rank(2), out, dtype="fp32")
    ((name, wanted),) = deltas(path).items()
    values = torch.linalg.svdvals(wanted)
    missing = float((deltas(out)[name] - wanted).norm())
    assert missing == pytest.approx(float(values[2:].norm()), rel=1e-5)
    assert report.total.retained == pytest.approx(
        float(values[:2].square().sum() / values.square().sum()), rel=1e-6
    )
    tensors[f"{next(iter(tensors)).rpartition('.')[0]}.lokr_w1"][0, 0] = float("nan")
    save_file(tensors, path, {"modelspec.license": "CC0-1.0"})
    with pytest.raises(BadFile, match="not finite"):
        resize(empty_catalog, entry(path), Rank(2), tmp_path / "nan.safetensors")
    assert not (tmp_path / "nan.safetensors").exists()
