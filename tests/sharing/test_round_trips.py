"""A recipe of every kind, read on a machine where all files are called otherwise."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lorakit.cli.stack_argument import read_made
from lorakit.errors import BadUsage
from lorakit.formats.generation import Generation
from lorakit.sharing.finding import find_ingredients
from lorakit.sharing.shared import Settings, SharedStack, plain_strength
from lorakit.sharing.writing import RecipeKind, recipe_text
from lorakit.stack import ResolvedEntry, stated_strength
from lorakit.strengths import Strength
from tests.sharing.machines import SETTINGS, Machine, in_memory
from tests.stack.strategies import STRENGTHS

KINDS = list(RecipeKind)
STACK = (
    "ink:0.8 wash:-0.25@blocks=0-9:0,10-27:0.5@kinds=mlp:0.3 "
    "both:0.5@components=text_encoder:0.2@modules=blocks.*.mlp.*:0.1@steps=2-5,9-"
)


def written(kind: RecipeKind, shared: SharedStack, folder: Path) -> Path:
    path = folder / f"recipe{kind.suffix}"
    path.write_text(recipe_text(kind, shared, path, 0.0).text, encoding="utf-8")
    return path


def made_by(kind: RecipeKind, shared: SharedStack, folder: Path) -> Generation:
    return read_made(written(kind, shared, folder))


def content(entries: tuple[ResolvedEntry, ...]) -> list[tuple[str | None, str | None, Strength]]:
    return [(entry.sha256, entry.tensor_sha256, entry.strength) for entry in entries]


@pytest.mark.parametrize("kind", KINDS)
def test_another_machine_rebuilds_the_same_stack(
    kind: RecipeKind, mine: Machine, theirs: Machine, tmp_path: Path
) -> None:
    shared = mine.shared(STACK)
    found = find_ingredients(theirs.catalog, made_by(kind, shared, tmp_path))
    rebuilt = theirs.resolved(found.stack)
    assert content(rebuilt) == content(mine.resolved(shared.stack))
    assert [entry.name for entry in rebuilt] == ["tinte", "lavis", "zwei"]
    assert found.base == "grund"
    # `ink` and `wash` are other files there, which a person should know.
    assert len(found.remarks) == 2
    assert all("by its hash" in remark for remark in found.remarks)


@pytest.mark.parametrize("kind", KINDS)
def test_the_settings_come_along(kind: RecipeKind, mine: Machine, tmp_path: Path) -> None:
    made = made_by(kind, mine.shared("ink:0.8"), tmp_path)
    found = Settings(
        made.prompt, made.negative_prompt, made.width or 0, made.height or 0, made.steps or 0,
        made.cfg or 0.0, made.seed or 0, made.shift or 3.0,
    )  # fmt: skip
    assert found == SETTINGS
    assert made.left_out == ()


@pytest.mark.parametrize("kind", KINDS)
def test_another_shift_comes_along(kind: RecipeKind, tmp_path: Path) -> None:
    shared = in_memory(Strength(0.5))
    shared = SharedStack(shared.base, shared.entries, Settings("a sea", shift=4.5))
    assert made_by(kind, shared, tmp_path).shift == 4.5


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=50)
@given(strength=STRENGTHS, text=st.booleans())
def test_every_strength_survives(
    kind: RecipeKind, tmp_path_factory: Any, strength: Strength, text: bool
) -> None:
    shared = in_memory(strength, text=text)
    try:
        plain_strength(shared.entries[0])
    except BadUsage:
        # A vector for a model of another size, which cannot be fused either.
        assume(False)
    (used,) = made_by(kind, shared, tmp_path_factory.getbasetemp()).adapters
    assert stated_strength(used) == strength
    assert used.hashes[0] == shared.entries[0].sha256[: len(used.hashes[0])]


NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp", "Zs"]), min_size=1)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30)
@given(name=NAMES.filter(lambda n: "/" not in n and "\\" not in n and n.strip(". ") == n))
def test_no_name_is_too_odd(kind: RecipeKind, tmp_path_factory: Any, name: str) -> None:
    shared = in_memory(Strength.parse("0.5@kinds=mlp:0"), name=name)
    (used,) = made_by(kind, shared, tmp_path_factory.getbasetemp()).adapters
    assert shared.entries[0].sha256.startswith(used.hashes[0])
    assert stated_strength(used) == shared.entries[0].strength


def without_own(value: Any) -> Any:
    """A document as another program's would be: without what lorakit wrote for itself."""
    if isinstance(value, dict):
        return {k: without_own(v) for k, v in value.items() if k not in ("lorakit", "_meta")}
    return [without_own(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("kind", [k for k in KINDS if k is not RecipeKind.STACK])
def test_without_lorakits_own_words_the_plain_strengths_are_read(
    kind: RecipeKind, mine: Machine, tmp_path: Path
) -> None:
    path = written(kind, mine.shared(STACK), tmp_path)
    text = path.read_text(encoding="utf-8")
    if kind is RecipeKind.A1111:
        text, count = re.subn(r'lorakit: "(?:\\.|[^"\\])*", ', "", text)
        assert count == 1
    else:
        text = json.dumps(without_own(json.loads(text)))
    path.write_text(text, encoding="utf-8")
    found = find_ingredients(mine.catalog, read_made(path))
    strengths = [str(entry.strength) for entry in mine.resolved(found.stack)]
    # One number, or two where a program has one for the text encoder.
    clip = "@components=dit:0.5,llm_adapter:0.5,text_encoder:0.1"
    both = "0.5" if kind is RecipeKind.LORA_MANAGER else f"1{clip}"
    assert strengths == ["0.8", "-0.25", both]


@pytest.mark.parametrize("kind", KINDS)
def test_a_recipe_holds_no_weights_and_no_folders(
    kind: RecipeKind, mine: Machine, tmp_path: Path
) -> None:
    text = written(kind, mine.shared(STACK), tmp_path).read_text(encoding="utf-8")
    assert len(text) < 20_000
    assert str(tmp_path) not in text
    assert str(Path.home()) not in text
