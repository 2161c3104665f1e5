"""What a strength means for a module and a step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorakit.errors import BadUsage
from lorakit.strengths import PRESETS, Strength
from tests.factories import BLOCK_LINEARS
from tests.stack.strategies import STRENGTHS

MLP = "blocks.3.mlp.layer1"
ATTN = "blocks.3.self_attn.q_proj"
ROOT = "x_embedder.proj.1"
ADAPTER = "llm_adapter.blocks.3.self_attn.q_proj"
TEXT = "text_encoder.layers.3.mlp.up_proj"
EVERY = (MLP, ATTN, ROOT, ADAPTER, TEXT)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("0.5", (0.5, 0.5, 0.5, 0.5, 0.5)),
        # Only the transformer has blocks and kinds; the adapter and the encoder are components.
        ("0.5@blocks=0-3:2", (1, 1, 0.5, 0.5, 0.5)),
        ("0.5@blocks=4-27:2", (0.5, 0.5, 0.5, 0.5, 0.5)),
        ("0.5@blocks=3:0", (0, 0, 0.5, 0.5, 0.5)),
        ("0.5@blocks=2-:0", (0, 0, 0.5, 0.5, 0.5)),
        ("0.5@kinds=mlp:0", (0, 0.5, 0.5, 0.5, 0.5)),
        ("0.5@kinds=root:0", (0.5, 0.5, 0, 0.5, 0.5)),
        ("0.5@kinds=root:0@components=llm_adapter:0", (0.5, 0.5, 0, 0, 0.5)),
        ("0.5@components=dit:0,text_encoder:2", (0, 0, 0, 0.5, 1)),
        ("0.5@modules=blocks.*.mlp.*:0.5", (0.25, 0.5, 0.5, 0.5, 0.5)),
        ("0.5@modules=*.mlp.*:0.5,blocks.?.*:4", (1, 2, 0.5, 0.5, 0.25)),
        ("0.5@modules=*.[qk]_proj:0", (0.5, 0, 0.5, 0, 0.5)),
        ("0.5@blocks=0-9:2@kinds=mlp:2@modules=*.mlp.*:2", (4, 1, 0.5, 0.5, 1)),
        ("2@lbw=NONE", (0, 0, 0, 0, 0)),
        ("2@lbw=early@kinds=mlp:0.5", (1, 2, 2, 2, 2)),
        ("2@lbw=LATE", (0, 0, 2, 2, 2)),
        ("2@lbw=MLP", (2, 0, 2, 2, 2)),
        ("2@lbw=NO_OUTSIDE", (2, 2, 0, 0, 0)),
        (f"2@lbw=0,0,0,0.5,{','.join('0' * 24)}", (1, 1, 2, 2, 2)),
        (f"2@lbw=3,0,0,0,0.5,{','.join('0' * 24)}", (1, 1, 6, 6, 6)),
    ],
)
def test_a_module_has_the_base_times_every_factor_that_names_it(
    text: str, wanted: tuple[float, ...]
) -> None:
    strength = Strength.parse(text)
    assert tuple(strength.for_module(module) for module in EVERY) == wanted


@given(STRENGTHS)
def test_the_text_gives_back_an_equal_strength(strength: Strength) -> None:
    found = Strength.parse(str(strength))
    assert found == strength
    assert hash(found) == hash(strength)


def test_the_order_of_writing_does_not_matter() -> None:
    one = Strength.parse("1@kinds=mlp:0,adaln:2@blocks=10-27:1,0-9:0@steps=9-12,0-8")
    other = Strength.parse("1@steps=0-12@blocks=0-9:0,10-27:1@kinds=adaln:2,mlp:0")
    assert one == other
    assert str(one) == "1@blocks=0-9:0,10-27:1@kinds=adaln:2,mlp:0@steps=0-12"
    assert eval(repr(one)) == one


def test_steps_count_from_0_and_include_both_ends() -> None:
    strength = Strength.parse("0.8@kinds=mlp:0@steps=1-2,5")
    assert strength.is_scheduled
    assert [step for step in range(9) if strength.active(step)] == [1, 2, 5]
    assert strength.at_step(5) == Strength.parse("0.8@kinds=mlp:0")
    assert strength.at_step(6) == Strength(0.0)
    assert Strength(0.8).at_step(6) == Strength(0.8)


@pytest.mark.parametrize(
    ("words", "steps"),
    [("start=5", "5-"), ("stop=9", "0-8"), ("step=5-10", "5-9"), ("start=5@stop=10", "5-9"), ("step=5-", "5-")],
)  # fmt: skip
def test_lora_block_weights_steps_stop_before_their_end(words: str, steps: str) -> None:
    assert Strength.parse(f"1@{words}") == Strength.parse(f"1@steps={steps}")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "nan",
        "inf",
        "101",
        "50@kinds=mlp:3",
        "1@kinds=mlp:50@modules=*:3",
        "1@",
        "1@blocks",
        "1@blocks=",
        "1@blocks=0-9",
        "1@blocks=9-0:1",
        "1@blocks=-1:1",
        "1@blocks=0-9:1,9-12:1",
        "1@blocks=9-:1,20:1",
        "1@blocks=0-9:x",
        "1@kinds=norm:1",
        "1@kinds=mlp:1,mlp:1",
        "1@kinds=mlp:1@kinds=adaln:1",
        "1@components=te:1",
        "1@modules=a b:1",
        "1@modules=:1",
        "1@lbw=",
        "1@lbw=R",
        "1@lbw=1,R",
        "1@lbw=MIDD",
        f"1@lbw={','.join('1' * 17)}",
        "1@steps=",
        "1@steps=8-0",
        "1@steps=0-8@steps=1",
        "1@steps=0-8@start=1",
        "1@step=5-5",
        "1@step=5",
        "1@stop=0",
        "1@lbw=ALL@w=ALL",
        "1@layers=1",
    ],
)
def test_what_makes_no_strength_is_bad_usage(text: str) -> None:
    with pytest.raises(BadUsage):
        Strength.parse(text)


def test_an_unknown_preset_lists_those_there_are() -> None:
    with pytest.raises(BadUsage) as error:
        Strength.parse("1@lbw=INS")
    assert all(name in str(error.value.hint) for name in PRESETS)


@given(st.text("0129.-@:=,*abks lockpmetdurw"))
def test_any_text_is_a_strength_or_bad_usage(text: str) -> None:
    try:
        strength = Strength.parse(f"1@{text}")
    except BadUsage:
        return
    assert Strength.parse(str(strength)) == strength


@pytest.mark.parametrize("blocks", [28, 40, 52, 12])
def test_the_thirds_cover_every_block_once(blocks: int) -> None:
    names = [f"blocks.{i}.{inner}" for i in range(blocks) for inner in BLOCK_LINEARS]
    thirds = [PRESETS[name] for name in ("EARLY", "MIDDLE", "LATE")]
    assert {sum(third.factor(name, blocks) for third in thirds) for name in names} == {1.0}
    sizes = [sum(third.factor(name, blocks) for name in names) / 16 for third in thirds]
    assert max(sizes) - min(sizes) <= 1


def test_a_vector_counts_the_blocks_of_the_adapters_own_model() -> None:
    strength = Strength.of(lbw=[0.5] * 28)
    with pytest.raises(BadUsage, match="28 blocks, and the adapter was made for 40"):
        strength.for_module(MLP, 40)
    assert strength.for_module(ADAPTER, 40) == 1.0


def test_what_names_no_module_is_told() -> None:
    strength = Strength.parse(
        "1@blocks=0-5:0,30-35:1@kinds=mlp:1,root:1@components=text_encoder:2@modules=*.mlp.*:1,b?:1"
    )
    assert strength.misses([MLP, ATTN]) == (
        "blocks=30-35:1",
        "kinds=root:1",
        "components=text_encoder:2",
        "modules=b?:1",
    )


def test_root_is_the_transformers_own_and_what_it_leaves_is_told() -> None:
    root = Strength.parse("1@kinds=root:0")
    assert root.misses([MLP, ADAPTER]) == ("kinds=root:0",)
    (remark,) = root.beside_root(EVERY)
    assert "llm_adapter and text_encoder go by components=llm_adapter:NUMBER" in remark
    (remark,) = Strength.parse("1@kinds=root:0@components=llm_adapter:0").beside_root(EVERY)
    assert "text_encoder goes by" in remark
    assert root.beside_root([MLP, ROOT]) == ()
    assert Strength.parse("1@kinds=mlp:0").beside_root(EVERY) == ()


def test_the_headline_is_the_transformers_number() -> None:
    assert Strength.parse("0.5@kinds=mlp:0").headline == 0.5
    assert Strength.parse("0.5@components=dit:3,text_encoder:0").headline == 1.5
