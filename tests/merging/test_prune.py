"""Parts left out: what goes, how much it was, and what stays as it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import lorakit
from lorakit.catalog import Catalog
from lorakit.errors import BadUsage, LorakitError, NotFusable
from lorakit.formats import anima
from lorakit.formats.header import read_header
from lorakit.merging.converting import Conversion, convert
from lorakit.merging.pruning import Cut, parse_blocks, prune, what_goes
from tests.merging.conftest import entry
from tests.models import lora_file, random_lora, usual_names

NAMES = [*usual_names(28), "llm_adapter.blocks.0.cross_attn.q_proj"]

CUTS: dict[str, tuple[Cut, Callable[[str], bool]]] = {
    "component": (Cut(components=("llm_adapter",)), lambda n: n.startswith("llm_adapter")),
    "blocks": (Cut(blocks=parse_blocks("0-2,27")), lambda n: anima.block_of(n) in (0, 1, 2, 27)),
    "kinds": (Cut(kinds=("mlp",)), lambda n: anima.kind_of(n) == "mlp"),
    "both": (
        Cut(kinds=("mlp",), blocks=parse_blocks("26-")),
        lambda n: anima.kind_of(n) == "mlp" and (anima.block_of(n) or 0) >= 26,
    ),
    "pattern": (Cut(modules=("*.cross_attn.*",)), lambda n: ".cross_attn." in n),
    "keep": (Cut(blocks=parse_blocks("5"), keep=True), lambda n: anima.block_of(n) != 5),
}


@pytest.fixture
def ink(tmp_path: Path) -> Path:
    return lora_file(tmp_path / "ink.safetensors", random_lora(NAMES, 28, rank=2, scale=0.3))


@pytest.mark.parametrize("name", CUTS)
def test_what_is_named_goes_and_the_rest_keeps_its_bytes(
    empty_catalog: Catalog, ink: Path, tmp_path: Path, name: str
) -> None:
    cut, gone = CUTS[name]
    done = prune(empty_catalog, entry(ink), cut, tmp_path / "out.safetensors")
    report = lorakit.inspect(done.written.path)
    assert {m.name for m in report.modules} == {n for n in NAMES if not gone(n)}
    assert report.model_blocks == 28
    before, after = load_file(ink), load_file(done.written.path)
    assert all(torch.equal(before[key], tensor) for key, tensor in after.items())
    energies = {
        module: float(patch.delta(torch.zeros(())).double().square().sum())
        for module, patch in lorakit.load_adapter(ink).modules.items()
    }
    found = what_goes(entry(ink), cut)
    share = sum(e for n, e in energies.items() if gone(n)) / sum(energies.values())
    assert found.total.share == pytest.approx(share, rel=1e-5)
    assert found.total.go == sum(map(gone, NAMES))


def test_a_cut_of_all_or_nothing_is_refused(
    empty_catalog: Catalog, ink: Path, tmp_path: Path
) -> None:
    for cut, words in (
        (Cut(components=("text_encoder",)), "nothing in it is to go"),
        (Cut(components=("dit", "llm_adapter")), "nothing would be left"),
    ):
        with pytest.raises(LorakitError, match=words):
            prune(empty_catalog, entry(ink), cut, tmp_path / "out.safetensors")
    nothing = Cut(modules=("blocks.*.nlp.*",))
    with pytest.raises(LorakitError, match=r"to go, since no module of it fits 'blocks\.\*\.nlp"):
        prune(empty_catalog, entry(ink), nothing, tmp_path / "out.safetensors")
    some = Cut(modules=("*.layer1", "*.layer3"), blocks=parse_blocks("0-1,70-80"))
    assert what_goes(entry(ink), some).missed == ("blocks 70-80", "*.layer3")
    assert what_goes(entry(ink), Cut(modules=("*.layer1",))).missed == ()
    with pytest.raises(BadUsage, match="no kind 'mpl'"):
        Cut(kinds=("mpl",))
    with pytest.raises(BadUsage, match="Nothing to prune"):
        Cut(keep=True)


@pytest.mark.parametrize("blocks", [40, 52])
def test_blocks_are_renumbered_for_a_larger_model(
    empty_catalog: Catalog, ink: Path, tmp_path: Path, blocks: int
) -> None:
    # Of the first blocks alone, whose new numbers would still look like those of 28.
    few = Cut(blocks=parse_blocks("0-5"), keep=True)
    small = prune(empty_catalog, entry(ink), few, tmp_path / "few.safetensors").written.path
    done = convert(
        empty_catalog, entry(small), Conversion(blocks=blocks), tmp_path / "out.safetensors"
    )
    report = lorakit.inspect(done.written.path)
    assert report.model_blocks == blocks
    places = {40: (0, 1, 3, 4, 6, 7), 52: (0, 1, 4, 5, 8, 9)}[blocks]
    assert report.blocks == places
    before, after = load_file(small), load_file(done.written.path)
    stem = "lora_unet_blocks_{}_mlp_layer1.lora_up.weight"
    assert torch.equal(after[stem.format(places[5])], before[stem.format(5)])
    with pytest.raises(NotFusable, match=f"made for {blocks} blocks"):
        convert(
            empty_catalog,
            entry(done.written.path),
            Conversion(blocks=28),
            tmp_path / "x.safetensors",
        )


def test_names_and_config_are_those_of_what_is_left(empty_catalog: Catalog, tmp_path: Path) -> None:
    """Tensors keep the names of their trainer, and no config speaks of modules that went."""
    path = lora_file(tmp_path / "a.safetensors", random_lora(usual_names(2), 2, scale=0.3))
    odd = {key.replace("unet_", "unet_net_"): t for key, t in load_file(path).items()}
    save_file(odd, tmp_path / "odd.safetensors")
    cut = Cut(kinds=("mlp",))
    done = prune(
        empty_catalog, entry(tmp_path / "odd.safetensors"), cut, tmp_path / "o.safetensors"
    )
    assert load_file(done.written.path).keys() == {key for key in odd if "_mlp_" not in key}
    there = tmp_path / "there.safetensors"
    lorakit.load_adapter(path).save(there, layout="diffusers")
    lorakit.load_adapter(there).save(tmp_path / "comfy.safetensors", layout="comfy")
    some = prune(
        empty_catalog,
        entry(tmp_path / "comfy.safetensors"),
        cut,
        tmp_path / "some.safetensors",
        layout="diffusers",
    )
    metadata = read_header(some.written.path).metadata
    targets = json.loads(metadata["lora_adapter_metadata"])["transformer.target_modules"]
    assert len(targets) == len(lorakit.inspect(some.written.path).modules) == 16


def test_a_dtype_alone_leaves_names_and_the_way_back(
    empty_catalog: Catalog, ink: Path, tmp_path: Path
) -> None:
    there, small, back = (tmp_path / f"{name}.safetensors" for name in ("there", "small", "back"))
    convert(empty_catalog, entry(ink), Conversion(layout="comfy"), there)
    convert(empty_catalog, entry(there), Conversion(dtype="bf16"), small)
    assert load_file(small).keys() == load_file(there).keys()
    convert(empty_catalog, entry(small), Conversion(layout="kohya"), back)
    assert load_file(back).keys() == load_file(ink).keys()


def test_a_record_of_names_that_lies_is_not_believed(tmp_path: Path) -> None:
    path = lora_file(tmp_path / "a.safetensors", random_lora(usual_names(1), 1), "comfy")
    stem = "lora_unet_blocks_0_self_attn_{}_proj.lora_up.weight"
    lie = {"layout": "kohya", "keys": {stem.format("q"): stem.format("k"), stem.format("v"): "x"}}
    save_file(load_file(path), path, {"lorakit.spelling": json.dumps(lie)})
    lorakit.load_adapter(path).save(tmp_path / "b.safetensors", layout="kohya")
    before, after = lorakit.load_adapter(path), lorakit.load_adapter(tmp_path / "b.safetensors")
    like = torch.zeros(())
    assert before.modules.keys() == after.modules.keys()
    for name, module in before.modules.items():
        assert torch.equal(module.delta(like), after.modules[name].delta(like))
