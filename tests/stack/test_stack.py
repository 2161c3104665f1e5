"""A stack as text, as a file, and back."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorakit import Stack
from lorakit.errors import BadFile, BadUsage, LorakitError, NotFound
from lorakit.stack import MAX_STRENGTH, Entry, resolve_stack


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
    assert [(e.name, e.strength) for e in Stack.parse(text)] == entries


@pytest.mark.parametrize(
    "text", ["ink:1e9", "ink:0.8@blocks=0-9:1", '"ink:0.8', "<lora:ink:te=1>", "<lora:>"]
)
def test_what_is_no_stack_is_bad_usage(text: str) -> None:
    with pytest.raises(BadUsage):
        Stack.parse(text)


NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1).filter(
    lambda name: name.strip() == name and not name.endswith(".toml")
)
STRENGTHS = st.floats(-MAX_STRENGTH, MAX_STRENGTH)
STACKS = st.lists(st.builds(Entry, NAMES, STRENGTHS), max_size=5).map(lambda e: Stack(tuple(e)))


@given(STACKS)
def test_a_stack_file_gives_back_the_same_stack(tmp_path_factory, stack: Stack) -> None:
    path = tmp_path_factory.mktemp("stack") / "mine.toml"
    path.write_text(stack.to_toml(), encoding="utf-8")
    assert Stack.parse(str(path)) == stack


@given(STACKS)
def test_the_text_of_a_stack_gives_back_the_same_stack(stack: Stack) -> None:
    plain = [e for e in stack if "@" not in e.name]
    found = Stack.parse(str(Stack(tuple(plain))))
    assert [e.name for e in found] == [e.name for e in plain]
    # Strengths are printed as a person would write them, to six digits.
    assert [e.strength for e in found] == pytest.approx([e.strength for e in plain], rel=1e-5)


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
        'format = "lorakit/stack/1"\n[[entry]]\nname = "a"\nblocks = [1]',
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
