"""Axes as text, and the cells they make."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorakit.errors import BadFile, BadUsage, LorakitError, NotFound
from lorakit.preview.grid.axes import Axis
from lorakit.preview.grid.cells import Asked, Layout, expand_names, lay_out
from lorakit.stack import Stack


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("seed=1,2,10", ["1", "2", "10"]),
        ("seed=1-4", ["1", "2", "3", "4"]),
        ("SEED = 7 , 1..3", ["7", "1", "2", "3"]),
        ("strength=0..1:0.25", ["0", "0.25", "0.5", "0.75", "1"]),
        ("strength=0..1:0.3", ["0", "0.3", "0.6", "0.9"]),
        ("strength:ink=-0.5-0.5:.5", ["-0.5", "0", "0.5"]),
        ("strength:ink=1..0:0.5", ["1", "0.5", "0"]),
        ("steps=1-5 (+2)", ["1", "3", "5"]),
        ("steps=10-5 (-3)", ["10", "7"]),
        ("cfg=1-10 [4]", ["1", "4", "7", "10"]),
        ("strength=0.10, 1.0, -0", ["0.1", "1", "0"]),
        ("prompt=cat,dog", ["cat", "dog"]),
        ("prompt=a cat, ink | a dog, wash", ["a cat, ink", "a dog, wash"]),
        (r'prompt="a cat, ink", "say \"a|b\""', ["a cat, ink", 'say "a|b"']),
        ('prompt="",cat', ["", "cat"]),
        ("prompt=@ink, a sea | @wash, a sea", ["@ink, a sea", "@wash, a sea"]),
        ("size=832X1216, 64×64", ["832x1216", "64x64"]),
        ('adapter=ink,"my ink":0.5', ["ink", '"my ink":0.5']),
        ("adapter=ink:1@blocks=0-3:0,4-7:1 | wash", ["ink:1@blocks=0-3:0,4-7:1", "wash"]),
        ("strength:ink=0.5 | 1@blocks=0-3:0,4-7:1", ["0.5", "1@blocks=0-3:0,4-7:1"]),
    ],
)
def test_values_are_read_as_people_write_them(text: str, values: list[str]) -> None:
    assert list(Axis.parse(text).values) == values


def test_the_entry_of_the_stack_may_be_quoted() -> None:
    assert Axis.parse('strength:"my = ink"=0,1').target == "my = ink"
    assert Axis.parse("strength: my ink =0,1").target == "my ink"
    assert Axis.parse("strength=0,1").target is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seeds=1", "is no axis"),
        ("seed", "is no axis"),
        ("seed:ink=1", "no entry"),
        ("seed=1.5", "whole"),
        ("seed=one", "neither a number nor a range"),
        ("seed=1,,2", "empty value"),
        ("seed=", "empty value"),
        ("seed=1,1", "twice"),
        ("strength=0.5,0.50", "twice"),
        ("seed=1-1000000000", "too long"),
        ("strength=0..1:0.0000001", "too long"),
        ("strength=0..1:0", "never gets"),
        ("steps=1-5 (-1)", "never gets"),
        ("cfg=1-5 [1]", "count"),
        ('prompt="a cat', "no end"),
        ("size=64", "not a size"),
        ("replace=sea", "Two words"),
        ("strength:ink=1@blocks=x:1", "strength:ink"),
    ],
)
def test_what_is_no_axis_is_one_sentence(text: str, said: str) -> None:
    with pytest.raises(BadUsage, match=said):
        Axis.parse(text)


def test_prompts_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("\ufeffa cat, ink\n\n  a dog | wash \r\n", encoding="utf-8")
    assert Axis.parse(f"prompt=@{file}").values == ("a cat, ink", "a dog | wash")
    for content, said in ((b"\n", "no prompt"), (b"\xff\xfe", "UTF-8")):
        file.write_bytes(content)
        with pytest.raises(BadFile, match=said):
            Axis.parse(f"prompt=@{file}")
    with pytest.raises(BadFile, match="gone"):
        Axis.parse(f"prompt=@{tmp_path / 'gone.txt'}")


@given(
    kind=st.sampled_from(["prompt", "replace", "base"]),
    values=st.lists(st.text(min_size=1).map(str.strip).filter(bool), min_size=2, unique=True),
)
def test_every_text_survives_being_written_and_read(kind: str, values: list[str]) -> None:
    axis = Axis(kind, tuple(values))  # type: ignore[arg-type]
    assert Axis.parse(str(axis)) == axis


@pytest.mark.parametrize(
    "text",
    [
        "strength:ink=0,0.5,1@blocks=0-3:0",
        'strength:"my, ink"=0,1',
        'adapter=ink,"my ink":0.5,wash:1',
        "adapter:ink=ink:1@blocks=0-3:0,4-7:1 | wash",
        "size=64x64,832x1216",
        "seed=1-3",
    ],
)
def test_every_kind_survives_being_written_and_read(text: str) -> None:
    axis = Axis.parse(text)
    assert Axis.parse(str(axis)) == axis


def grid(stack: str, *axes: str, plain: bool = True, prompt: str = "a sea") -> Layout:
    return lay_out(
        Asked(Stack.parse(stack), prompt=prompt), [Axis.parse(text) for text in axes], plain=plain
    )


def stacks(layout: Layout) -> list[str]:
    return [str(cell.asked.stack) for cell in layout.cells]


def labels(layout: Layout) -> list[str]:
    return [place.label for place in layout.columns]


def test_strengths_of_one_entry_are_set_and_of_all_multiplied() -> None:
    one = grid("ink:0.8@blocks=0-3:0 wash:0.5", "strength:ink=0.5,2", plain=False)
    assert stacks(one) == ["ink:0.5@blocks=0-3:0 wash:0.5", "ink:2@blocks=0-3:0 wash:0.5"]
    every = grid("ink:0.8 wash:0.5", "strength=0.5,-1", plain=False)
    assert stacks(every) == ["ink:0.4 wash:0.25", "ink:-0.8 wash:-0.5"]
    refined = grid("ink:0.8@kinds=mlp:0", "strength:ink=1@blocks=0-3:0,0.5", plain=False)
    assert stacks(refined) == ["ink:1@blocks=0-3:0", "ink:0.5@kinds=mlp:0"]


def test_adapters_are_exchanged_and_keep_the_strength() -> None:
    assert stacks(grid("ink:0.8", "adapter=wash,neon:0.3", plain=False)) == ["wash:0.8", "neon:0.3"]
    assert stacks(grid("", 'adapter="my ink",neon:0.3', plain=False)) == ['"my ink":1', "neon:0.3"]
    several = grid("ink:0.8 wash:0.5", "adapter:wash=neon,oil", plain=False)
    assert stacks(several) == ["ink:0.8 neon:0.5", "ink:0.8 oil:0.5"]


def test_two_axes_meet_in_one_entry() -> None:
    both = grid("ink wash:0.5", "strength:ink=0.5,1", "adapter:ink=neon,oil:0.3", plain=False)
    assert stacks(both) == [
        "neon:0.5 wash:0.5",
        "neon:1 wash:0.5",
        "oil:0.5 wash:0.5",
        "oil:1 wash:0.5",
    ]


def test_an_entry_is_named_by_the_stem_of_its_file() -> None:
    layout = grid("folder/ink.safetensors:0.8", "strength:ink=0.1", plain=False)
    assert stacks(layout) == ["folder/ink.safetensors:0.1"]


def test_files_are_labelled_by_their_stems() -> None:
    layout = grid("", 'adapter=lora/ink.safetensors,"my lora/wash.safetensors":0.5,neon')
    assert labels(layout) == ["no adapter", "ink", "wash 0.5", "neon"]
    of_one = grid("lora/ink.safetensors:0.8", "strength:ink=1", "base=models/rdbt.safetensors")
    assert labels(of_one) == ["no adapter", "ink 1"]
    assert [place.label for place in of_one.rows] == ["rdbt"]
    beside = grid("lora/ink.safetensors:0.8", "seed=1")
    assert labels(beside)[1] == "seed 1\nink:0.8"


def test_words_are_replaced_in_the_prompt_of_each_cell() -> None:
    layout = grid("", "replace=sea,town", "prompt=a sea | the sea, night")
    assert [cell.asked.prompt for cell in layout.cells] == [
        "a sea",
        "a town",
        "the sea, night",
        "the town, night",
    ]


def test_every_kind_changes_its_setting() -> None:
    for text, name, value in (
        ("seed=7", "seed", 7),
        ("cfg=2.5", "cfg", 2.5),
        ("steps=9", "steps", 9),
        ("shift=5", "shift", 5.0),
        ("denoise=0.5", "denoise", 0.5),
        ("size=64x32", "size", (64, 32)),
        ("base=rdbt", "base", "rdbt"),
        ("prompt=a dog", "prompt", "a dog"),
    ):
        (cell,) = grid("", text).cells
        assert getattr(cell.asked, name) == value


def test_the_base_without_adapters_stands_first_along_the_axis_of_the_stack() -> None:
    layout = grid("ink:0.8", "seed=1,2", "strength:ink=0.5,1")
    assert [place.label for place in layout.rows] == ["no adapter", "ink 0.5", "ink 1"]
    assert stacks(layout)[:2] == ["", ""]
    assert labels(grid("ink wash", "strength:ink=0,1"))[0] == "no adapter"
    assert labels(grid("", "adapter=ink,wash")) == ["no adapter", "ink", "wash"]


def test_a_strength_of_nothing_shows_the_base_already() -> None:
    assert labels(grid("ink", "strength:ink=0,1")) == ["ink 0", "ink 1"]
    assert labels(grid("ink wash", "strength=0,1")) == ["strength × 0", "strength × 1"]


def test_without_an_axis_of_the_stack_the_base_stands_beside_each_column() -> None:
    layout = grid("ink:0.8", "seed=1,2", "cfg=1,2")
    assert labels(layout) == [
        "seed 1\nno adapter",
        "seed 1\nink:0.8",
        "seed 2\nno adapter",
        "seed 2\nink:0.8",
    ]
    assert [(c.asked.seed, str(c.asked.stack)) for c in layout.cells[:4]] == [
        (1, ""),
        (1, "ink:0.8"),
        (2, ""),
        (2, "ink:0.8"),
    ]


def test_nothing_is_added_to_a_base_without_a_stack_or_where_it_is_not_wanted() -> None:
    assert labels(grid("", "seed=1,2")) == ["seed 1", "seed 2"]
    assert labels(grid("ink", "seed=1,2", plain=False)) == ["seed 1", "seed 2"]
    assert labels(grid("ink", "strength:ink=0.5,1", plain=False)) == ["ink 0.5", "ink 1"]


def test_cells_stand_in_columns_rows_and_pages() -> None:
    layout = grid("", "seed=1,2", "cfg=1,2,3", "steps=4,5")
    assert [len(places) for places in (layout.columns, layout.rows, layout.pages)] == [2, 3, 2]
    for cell in layout.cells:
        assert cell.asked.seed == cell.column + 1
        assert cell.asked.cfg == cell.row + 1
        assert cell.asked.steps == cell.page + 4
    assert len(layout.cells) == 12


@pytest.mark.parametrize(
    ("stack", "axes", "said"),
    [
        ("ink", [], "one, two or three"),
        ("ink", ["seed=1", "cfg=1", "steps=1", "shift=1"], "one, two or three"),
        ("ink", ["seed=1", "seed=2"], "the same thing"),
        ("ink wash", ["strength:neon=1"], "no 'neon'"),
        ("ink ink", ["strength:ink=1"], "two entries"),
        ("ink wash", ["adapter=neon"], "several entries"),
        ("", ["strength=1,2"], "empty"),
        ("ink", ["strength:ink=1000"], "-100 to 100"),
        ("ink", ["replace=forest,town"], "not in the prompt"),
        ("ink", ["seed=1-1000", "cfg=1-20"], "too many"),
    ],
)
def test_what_makes_no_grid_is_one_sentence(stack: str, axes: list[str], said: str) -> None:
    with pytest.raises(LorakitError, match=said):
        grid(stack, *axes)


def test_a_pattern_stands_for_the_names_it_fits() -> None:
    def names(pattern: str) -> list[str]:
        return {"style-*": ["style-a", "style, b"], "*": ["x"]}.get(pattern, [])

    axis = expand_names(Axis.parse("adapter=style-a,style-*,ink:0.5"), names)
    assert axis.values == ("style-a", '"style, b"', "ink:0.5")
    assert stacks(lay_out(Asked(Stack()), [axis], plain=False))[1] == '"style, b":1'
    assert Axis.parse(str(axis)) == axis
    with pytest.raises(NotFound, match="nothing"):
        expand_names(Axis.parse("adapter=nothing*"), names)
