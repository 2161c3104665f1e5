"""Refined strengths reach every weight as the written formula in float64 says, and no other byte."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import lorakit
from lorakit.errors import BadUsage
from lorakit.formats import anima
from lorakit.formats.inspection import inspect
from lorakit.fusion.plan import BaseModules, plan_fusion
from lorakit.stack import Stack
from lorakit.strengths import Strength
from tests.fusion.test_fuse import exact, relative_to_delta
from tests.models import lora_file, memory_adapter, random_lora, tiny_base, tiny_shapes, usual_names

BLOCKS = 4
ADAPTER = "llm_adapter.blocks.0.cross_attn.q_proj"
NAMES = [*tiny_shapes(BLOCKS), ADAPTER]


def by_hand(module: str, text: str) -> float:
    """What the formula says for the strengths below, written out once more."""
    block, kind, component = (
        anima.block_of(module),
        anima.kind_of(module),
        anima.component_of(module),
    )
    return {
        "0.8@blocks=0-1:0.5,2:0": 0.8 * {0: 0.5, 1: 0.5, 2: 0.0}.get(-1 if block is None else block, 1),
        "0.8@kinds=adaln:0,mlp:0.5": 0.8 * {"adaln": 0.0, "mlp": 0.5}.get(kind, 1),
        "0.8@components=llm_adapter:-2": 0.8 * (-2 if component == "llm_adapter" else 1),
        "0.8@modules=*.q_proj:3,blocks.1.*:0.5": 0.8
        * (3 if module.endswith(".q_proj") else 1)
        * (0.5 if module.startswith("blocks.1.") else 1),
        "0.8@lbw=cross": 0.8 * (1 if block is None or kind == "cross_attn" else 0),
        "0.8@lbw=late": 0.8 * (1 if block in (None, 3) else 0),
    }[text]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "0.8@blocks=0-1:0.5,2:0",
        "0.8@kinds=adaln:0,mlp:0.5",
        "0.8@components=llm_adapter:-2",
        "0.8@modules=*.q_proj:3,blocks.1.*:0.5",
        "0.8@lbw=cross",
        "0.8@lbw=late",
    ],
)
def test_every_weight_gets_the_float64_formula(text: str) -> None:
    base = tiny_base(BLOCKS)
    modules = random_lora(NAMES, BLOCKS, scale=0.5)
    plain = random_lora(NAMES, BLOCKS, seed=1)
    fused = lorakit.fuse(
        base, [(memory_adapter(modules), Strength.parse(text)), (memory_adapter(plain), 0.3)]
    )
    for name, module in modules.items():
        key = f"net.{name}.weight"
        wanted = exact(base[key], [(module, by_hand(name, text)), (plain[name], 0.3)])
        assert relative_to_delta(fused[key], wanted, base[key]) < 1e-6, name


def test_a_strength_of_0_for_some_blocks_leaves_their_bytes() -> None:
    base = tiny_base(BLOCKS, dtype=torch.bfloat16)
    adapter = memory_adapter(random_lora(NAMES, BLOCKS))
    fused = lorakit.fuse(base, [(adapter, Strength.of(0.8, blocks={"0-2": 0}))])
    assert fused.touched == {f"net.{n}.weight" for n in NAMES if anima.block_of(n) in (None, 3)}
    for key in base:
        assert torch.equal(fused[key], base[key]) == (key not in fused.touched), key


def test_an_entry_with_0_everywhere_changes_nothing() -> None:
    base = tiny_base(BLOCKS)
    adapter = memory_adapter(random_lora(usual_names(BLOCKS), BLOCKS))
    fused = lorakit.fuse(base, [(adapter, Strength.parse("0.8@components=dit:0"))])
    assert fused.touched == frozenset()
    assert fused.plan.entries[0].changed == ()
    assert fused.plan.total_ranks == {}


@pytest.mark.parametrize("text", ["0.8@kinds=mlp:0.5", "0.8@blocks=0-1:0.25@lbw=NO_ADALN"])
def test_two_half_strength_entries_equal_one(text: str) -> None:
    base = tiny_base(BLOCKS)
    adapter = memory_adapter(random_lora(NAMES, BLOCKS))
    half = Strength.parse(text.replace("0.8", "0.4", 1))
    whole = lorakit.fuse(base, [(adapter, Strength.parse(text))])
    halves = lorakit.fuse(base, [(adapter, half), (adapter, half)])
    for key in base:
        torch.testing.assert_close(halves[key], whole[key], rtol=1e-6, atol=1e-8)


def test_complementary_entries_equal_the_whole() -> None:
    base = tiny_base(BLOCKS)
    adapter = memory_adapter(random_lora(NAMES, BLOCKS))
    parts = [
        Strength.of(0.8, lbw="MLP"),
        Strength.of(0.8, lbw="NO_MLP", components={"llm_adapter": 0}),
    ]
    fused = lorakit.fuse(base, [(adapter, part) for part in parts])
    whole = lorakit.fuse(base, [(adapter, 0.8)])
    assert all(torch.equal(fused[key], whole[key]) for key in base)


def test_blocks_are_those_of_the_adapter_before_it_is_renumbered(tmp_path: Path) -> None:
    base = tiny_base(40)
    names = [f"blocks.{i}.mlp.layer1" for i in (2, 3, 27)]
    modules = random_lora(names, 28)
    path = lora_file(tmp_path / "a.safetensors", modules)
    # 28 -> 40: 2 stands at 3, 3 at 4 and 27 at 39.
    fused = lorakit.fuse(base, [(path, Strength.parse("1@blocks=3:0.5,27:0"))])
    assert fused.touched == {"net.blocks.3.mlp.layer1.weight", "net.blocks.4.mlp.layer1.weight"}
    key = "net.blocks.4.mlp.layer1.weight"
    wanted = exact(base[key], [(modules[names[1]], 0.5)])
    assert relative_to_delta(fused[key], wanted, base[key]) < 1e-6


def test_thirds_and_vectors_count_the_adapters_own_blocks(tmp_path: Path) -> None:
    base = tiny_base(40)
    names = [f"blocks.{i}.mlp.layer1" for i in (9, 10, 27)]
    path = lora_file(tmp_path / "a.safetensors", random_lora(names, 28))
    vector = [1.0] * 10 + [0.0] * 18
    # Of 28 blocks the first third is 0-9; block 9 stands at 13 of 40.
    for strength in (Strength.of(lbw="EARLY"), Strength.of(lbw=vector)):
        fused = lorakit.fuse(base, [(path, strength)])
        assert fused.touched == {"net.blocks.13.mlp.layer1.weight"}


def test_a_vector_for_another_size_is_refused_and_names_both(tmp_path: Path) -> None:
    path = lora_file(tmp_path / "ink.safetensors", random_lora(["blocks.27.mlp.layer1"], 28))
    with pytest.raises(BadUsage, match=r"ink: .* 40 blocks, and the adapter was made for 28"):
        lorakit.fuse(tiny_base(40), [(path, Strength.of(lbw=[1.0] * 40))])


def test_strengths_that_depend_on_the_step_need_a_preview() -> None:
    adapter = memory_adapter(random_lora(usual_names(1), 1))
    with pytest.raises(BadUsage, match=r"0\.8@steps=0-8") as error:
        lorakit.fuse(tiny_base(1), [(adapter, Strength.of(0.8, steps="0-8"))])
    assert "preview" in str(error.value.hint)


def test_a_stack_of_text_is_fused_as_its_strengths(tmp_path: Path) -> None:
    path = lora_file(tmp_path / "a.safetensors", random_lora(NAMES, BLOCKS))
    text = "0.8@kinds=mlp:0@blocks=1:2"
    base = tiny_base(BLOCKS)
    one = lorakit.fuse(base, Stack.parse(f"{path}:{text}"))
    other = lorakit.fuse(base, [(path, Strength.parse(text))])
    assert one.touched == other.touched
    assert all(torch.equal(one[key], other[key]) for key in base)


def test_the_plan_tells_the_strength_and_what_it_misses(tmp_path: Path) -> None:
    path = lora_file(tmp_path / "a.safetensors", random_lora(usual_names(28), 28))
    strength = Strength.parse("0.8@blocks=0-9:0,30-35:1@kinds=adaln:1,mlp:0.5")
    shapes: dict[str, tuple[int, ...]] = {**tiny_shapes(28)}
    plan = plan_fusion(BaseModules("tiny", 28, shapes), [("ink", strength, inspect(path))])
    (entry,) = plan.to_dict()["entries"]
    assert (entry["strength"], entry["strength_text"]) == (0.8, str(strength))
    assert entry["missed_refinements"] == ["blocks=30-35:1", "kinds=adaln:1"]
    assert (entry["modules"], entry["changed_modules"]) == (280, 180)
    assert len(plan.total_ranks) == 180
