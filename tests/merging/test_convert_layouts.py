"""Every trainer's file in every layout, and back again: the same tensors, byte for byte."""

from __future__ import annotations

import random
from math import prod
from pathlib import Path
from typing import get_args

import pytest
import torch

import lorakit
from lorakit.errors import BadUsage, NotFusable, Refused
from lorakit.formats.header import Header, read_header
from lorakit.formats.inspection import AdapterReport
from lorakit.formats.layouts import WRITABLE, WRITTEN_AS, Layout, WritableLayout, parse_key
from tests.factories import DTYPE_BYTES, Payload, write_safetensors
from tests.layouts import NAMES, layout_tensors, read_layout
from tests.models import lora_file, memory_adapter, random_lora, tiny_base, usual_names

PAGE = Path(__file__).parents[2] / "docs" / "layouts.md"


def table_on_the_page() -> dict[tuple[str, str], str]:
    """What docs/layouts.md says of every trainer's file (its name in tests/layouts) in every layout."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.read_text(encoding="utf-8").partition("## There and back")[2].splitlines()
        if line.startswith("|")
    ]
    head, _, *body = rows
    assert tuple(head[2:]) == WRITABLE
    names = {read_layout(name)["trainer"]: name for name in NAMES}
    assert [row[0] for row in body] == list(names)
    return {
        (names[row[0]], layout): cell
        for row in body
        for layout, cell in zip(head[2:], row[2:], strict=True)
    }


CELLS = table_on_the_page()


@pytest.fixture(params=NAMES)
def trainer(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def some_file(trainer: str, folder: Path) -> Path:
    """The smallest modules of a trainer's file, with random bytes, under the name that PEFT wants."""
    table = read_layout(trainer)
    tensors = layout_tensors(table)
    sizes: dict[str, int] = {}
    modules = {key: parsed.module for key in tensors if (parsed := parse_key(key)) is not None}
    assert modules.keys() == tensors.keys()
    for key, (dtype, shape, _) in tensors.items():
        sizes[modules[key]] = sizes.get(modules[key], 0) + prod(shape) * DTYPE_BYTES[dtype]
    # The last block tells the size of the model; every component has its say.
    small = sorted(
        (name for name in sizes if sizes[name] < 9_000_000), key=lambda name: sizes[name]
    )
    chosen = {name for name in small if name.startswith("blocks.27.")}
    chosen = set(sorted(chosen, key=lambda name: sizes[name])[:2])
    chosen |= {
        name
        for name in small
        if name.startswith(("text_encoder.layers.5.s", "llm_adapter.blocks.5.c"))
    }
    source = random.Random(trainer)
    return write_safetensors(
        folder / "source.safetensors",
        {
            key: _filled(payload, source)
            for key, payload in tensors.items()
            if modules[key] in chosen
        },
        table["metadata"],
    )


def _filled(payload: Payload, source: random.Random) -> Payload:
    dtype, shape, data = payload
    return dtype, shape, data or source.randbytes(prod(shape) * DTYPE_BYTES[dtype])


def bytes_of(header: Header) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    data = header.path.read_bytes()[header.data_offset :]
    return {t.name: (t.dtype, t.shape, data[t.start : t.end]) for t in header.tensors.values()}


def facts(report: AdapterReport) -> set[tuple[object, ...]]:
    return {(m.name, m.algo, m.rank, m.scale, m.shape) for m in report.modules}


def saved(path: Path, to: Path, layout: WritableLayout) -> Path:
    to.mkdir()
    target = to / "adapter_model.safetensors"
    lorakit.load_adapter(path).save(target, layout=layout)
    return target


def test_every_layout_that_is_read_is_written() -> None:
    assert set(get_args(Layout)) == set(WRITTEN_AS)
    assert set(WRITTEN_AS.values()) == set(WRITABLE)


@pytest.mark.parametrize("layout", WRITABLE)
def test_every_cell_of_the_table_is_as_the_page_says(
    trainer: str, layout: WritableLayout, tmp_path: Path
) -> None:
    cell = CELLS[trainer, layout]
    source = some_file(trainer, tmp_path)
    before = lorakit.inspect(source)
    assert before.modules
    home = WRITTEN_AS[before.layouts[0]]  # type: ignore[index]
    assert (cell == "own") is (layout == home and "no " not in cell)
    if cell.startswith("no "):
        with pytest.raises(NotFusable, match=cell.removeprefix("no ")):
            saved(source, tmp_path / "there", layout)
        assert list((tmp_path / "there").iterdir()) == []
        return
    there = saved(source, tmp_path / "there", layout)
    after = lorakit.inspect(there)
    assert facts(after) == facts(before)
    assert {WRITTEN_AS[name] for name in after.layouts} == {layout}  # type: ignore[index]
    assert (after.unused_keys, after.problems) == ((), ())
    if cell != "own":
        assert cell == "same"
        back = saved(there, tmp_path / "back", home)
        assert bytes_of(read_header(back)) == bytes_of(read_header(source))


@pytest.mark.parametrize("layout", WRITABLE)
@pytest.mark.parametrize("home", WRITABLE)
def test_what_lorakit_wrote_comes_back_as_the_same_file(
    tmp_path: Path, home: WritableLayout, layout: WritableLayout
) -> None:
    modules = random_lora(usual_names(2), 2, scale=0.3, dtype=torch.bfloat16)
    made = lora_file(tmp_path / "x.safetensors", modules, metadata={"ss_network_dim": "4"})
    first = saved(made, tmp_path / "first", home)
    there = saved(first, tmp_path / "there", layout)
    back = saved(there, tmp_path / "back", home)
    one, other = read_header(first), read_header(back)
    assert bytes_of(one) == bytes_of(other)
    if layout != home and home != "kohya":
        # The record of the way back to kohya's names stays in all but kohya's own layout.
        assert one.metadata == other.metadata
        assert first.read_bytes() == back.read_bytes()


def test_factors_of_convolutions_keep_their_bytes_and_in_two_layouts_lose_sides_of_one(
    tmp_path: Path,
) -> None:
    source = random.Random(1)
    name = "diffusion_model.blocks.0.mlp.layer1"
    shapes = {f"{name}.lora_A.weight": (2, 16, 1, 1), f"{name}.lora_B.weight": (64, 2, 1, 1)}
    payloads = {key: _filled(("F32", shape, None), source) for key, shape in shapes.items()}
    first = write_safetensors(tmp_path / "x.safetensors", payloads)
    before = bytes_of(read_header(first))
    lost = set()
    for layout in WRITABLE:
        there = saved(first, tmp_path / layout, layout)
        back = bytes_of(read_header(saved(there, tmp_path / f"{layout}-back", "comfy")))
        assert {key: t[2] for key, t in back.items()} == {key: t[2] for key, t in before.items()}
        if back != before:
            lost.add(layout)
            assert {t[1] for t in back.values()} == {(2, 16), (64, 2)}
    assert lost == {"diffusers", "peft"}


def test_a_config_of_peft_moves_into_tensors_and_back(tmp_path: Path) -> None:
    text = '{"transformer.r": 4, "transformer.lora_alpha": 3, "transformer.use_rslora": true}'
    modules = random_lora(usual_names(1), 1, rank=4)
    source = lora_file(
        tmp_path / "a.safetensors", modules, "diffusers", {"lora_adapter_metadata": text}
    )
    assert {m.scale for m in lorakit.inspect(source).modules} == {1.5}
    there = saved(source, tmp_path / "there", "kohya")
    assert {m.alpha for m in lorakit.inspect(there).modules} == {6.0}
    assert "lora_adapter_metadata" not in read_header(there).metadata
    back = saved(there, tmp_path / "back", "diffusers")
    assert read_header(back).metadata["lora_adapter_metadata"] == text
    assert bytes_of(read_header(back)) == bytes_of(read_header(source))


def test_fused_weights_are_the_same_in_every_layout(tmp_path: Path) -> None:
    modules = random_lora(usual_names(2), 2, scale=0.3, dtype=torch.bfloat16)
    source = lora_file(tmp_path / "x.safetensors", modules)
    base = tiny_base(2, dtype=torch.float64)
    wanted = lorakit.fuse(base, [(source, 1.0)])
    for layout in WRITABLE:
        found = lorakit.fuse(base, [(saved(source, tmp_path / layout, layout), 1.0)])
        assert found.touched == wanted.touched
        assert all(torch.equal(found[key], wanted[key]) for key in wanted.touched)


def test_what_is_in_the_way_or_made_in_memory_is_not_written(tmp_path: Path) -> None:
    path = lora_file(tmp_path / "a.safetensors", random_lora(usual_names(1), 1))
    adapter = lorakit.load_adapter(path)
    with pytest.raises(BadUsage, match="exists already"):
        adapter.save(path, layout="comfy")
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(BadUsage, match=r"adapter_config\.json exists already"):
        adapter.save(tmp_path / "adapter_model.safetensors", layout="peft")
    with pytest.raises(BadUsage, match="layout 'a1111'"):
        adapter.save(tmp_path / "new.safetensors", layout="a1111")  # type: ignore[arg-type]
    merged = lorakit.merge([(path, 1.0), (memory_adapter(random_lora(usual_names(1), 1)), 0.5)])
    with pytest.raises(Refused, match="made in memory"):
        merged.save(tmp_path / "new.safetensors", layout="comfy")
    assert not (tmp_path / "new.safetensors").exists()
