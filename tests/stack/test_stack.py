"""A stack as text, as a file, and back."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorakit import Stack
from lorakit.errors import BadFile, BadUsage, LorakitError, NotFound
from lorakit.stack import Entry, resolve_stack
from tests.stack.strategies import STRENGTHS


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("", []),
        ("ink", [("ink", 1.0)]),
        ("ink:0.8 wash:-.5", [("ink", 0.8), ("wash", -0.5)]),
        ("<lora:ink:0.8> <lora:wash>", [("ink", 0.8), ("wash", 1.0)]),
        ("<lora:my ink:0.8>", [("my ink", 0.8)]),
        ('"my ink.safetensors":0.8', [("my ink.safetensors", 0.8)]),
        ("loras/ink.safetensors:1e-1", [("loras/ink.safetensors", 0.1)]),
        ("sha256:1234", [("sha256:1234", 1.0)]),
        ("sha256:12ab:0.5", [("sha256:12ab", 0.5)]),
        ("sha256:1234:0.5", [("sha256:1234", 0.5)]),
        ("v0.6d:2", [("v0.6d", 2.0)]),
        ("monet's:0.5 'x'", [("monet's", 0.5), ("'x'", 1.0)]),
        (r"C:\loras\ink.safetensors:0.8", [(r"C:\loras\ink.safetensors", 0.8)]),
        ("ink:0.5 ink:0.5", [("ink", 0.5), ("ink", 0.5)]),
    ],
)
def test_text_is_read(text: str, entries: list[tuple[str, float]]) -> None:
    assert Stack.parse(text) == Stack(tuple(Entry(name, strength) for name, strength in entries))


@pytest.mark.parametrize(
    "text", ["ink:1e9", "ink:0.8@blocks", "ink:0.8@", '"ink:0.8', "<lora:ink:te=>", "<lora:>"]
)
def test_what_is_no_stack_is_bad_usage(text: str) -> None:
    with pytest.raises(BadUsage):
        Stack.parse(text)


@pytest.mark.parametrize("word", ["nan", "inf", "-inf", "NaN", "+Infinity", "nan@kinds=mlp:0"])
def test_a_strength_that_is_no_finite_number_is_not_taken_for_a_name(word: str) -> None:
    with pytest.raises(BadUsage, match="finite number"):
        Stack.parse(f"wash ink:{word}")
    assert Stack.parse('"ink:nan"') == Stack((Entry("ink:nan"),))


NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1).filter(
    lambda name: name.strip() == name and not name.endswith(".toml")
)
STACKS = st.lists(st.builds(Entry, NAMES, STRENGTHS), max_size=5).map(lambda e: Stack(tuple(e)))


@given(STACKS)
def test_a_stack_file_gives_back_the_same_stack(tmp_path_factory, stack: Stack) -> None:
    path = tmp_path_factory.mktemp("stack") / "mine.toml"
    path.write_text(stack.to_toml(), encoding="utf-8")
    assert Stack.parse(str(path)) == stack


@given(STACKS)
def test_the_text_of_a_stack_gives_back_the_same_stack(stack: Stack) -> None:
    assert Stack.parse(str(stack)) == stack


@pytest.mark.parametrize("name", ["sha256", "a@b", "me@steps=1", "a:0.5", '"', "<lora:a>", "a\\"])
def test_a_name_that_looks_like_something_else_survives(name: str) -> None:
    stack = Stack((Entry(name, 5.0),))
    assert Stack.parse(str(stack)) == stack


def test_a_name_may_hold_an_at_sign() -> None:
    assert Stack.parse("loras/me@home/ink:0.5") == Stack((Entry("loras/me@home/ink", 0.5),))


def test_an_error_shows_the_entry_it_is_about() -> None:
    with pytest.raises(BadUsage, match=r"ink:0\.8@kinds=norm:0.*no kind 'norm'") as error:
        Stack.parse("wash ink:0.8@kinds=norm:0")
    assert "self_attn" in str(error.value.hint)


def test_a_file_holds_refinements_as_tables(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        """
        format = "lorakit/stack/1"
        [[entry]]
        name = "plain"
        [[entry]]
        name = "ink"
        strength = 0.8
        blocks = {"0-9" = 0.0, "10-27" = 1}
        kinds = {adaln = 0.0}
        components = {text_encoder = 0.0}
        modules = {"blocks.*.mlp.*" = 0.5}
        lbw = "middle"
        steps = "0-8"
        """,
        encoding="utf-8",
    )
    text = (
        "plain ink:0.8@blocks=0-9:0,10-27:1@kinds=adaln:0@components=text_encoder:0"
        "@modules=blocks.*.mlp.*:0.5@lbw=MIDDLE@steps=0-8"
    )
    assert Stack.parse(str(path)) == Stack.parse(text)


@given(st.text())
def test_any_text_is_a_stack_or_a_known_error(text: str) -> None:
    with suppress(LorakitError):
        assert Stack.parse(text) is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "format = 1",
        'format = "lorakit/stack/2"',
        'format = "lorakit/stack/1"\nentry = 3',
        'format = "lorakit/stack/1"\n[[entry]]\nstrength = 1',
        'format = "lorakit/stack/1"\n[[entry]]\nname = "a"\nstrength = "1"',
        'format = "lorakit/stack/1"\n[[entry]]\nname = "a"\nstrength = true',
        'format = "lorakit/stack/1"\n[[entry]]\nname = "a"\nstrength = nan',
        'format = "lorakit/stack/1"\n[[entry]]\nname = "a"\nblocks = [1]',
        'format = "lorakit/stack/1"\n[[entry]]\nname = "a"\nblocks = {"0-9" = true}',
        'format = "lorakit/stack/1"\n[[entry]]\nname = "a"\nblocks = {"0-9" = 1, "9-10" = 1}',
        'format = "lorakit/stack/1"\n[[entry]]\nname = "a"\nkinds = {norm = 1}',
        'format = "lorakit/stack/1"\n[[entry]]\nname = "a"\nlbw = [1, 2]',
        'format = "lorakit/stack/1"\n[[entry]]\nname = "a"\nsteps = 8',
        'format = "lorakit/stack/1"\n[[entry]]\nname = "a"\nwhatever = 8',
        "[[[",
    ],
)
def test_a_broken_stack_file_is_a_bad_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadFile, match=r"mine\.toml"):
        Stack.parse(str(path))


def test_a_stack_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"none\.toml"):
        Stack.parse(str(tmp_path / "none.toml"))


def test_without_a_catalog_a_name_must_be_a_file() -> None:
    with pytest.raises(NotFound, match="nowhere"):
        resolve_stack(Stack.parse("nowhere:1"), None)
