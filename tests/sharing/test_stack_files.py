"""Stack files: what they hold, where their paths start, and older ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorakit.cli.stack_argument import read_made
from lorakit.errors import BadFile
from lorakit.formats.stack_file import (
    FileEntry,
    Named,
    StackFile,
    read_stack_file,
    write_stack_file,
)
from lorakit.sharing.finding import find_ingredients
from lorakit.sharing.stack_file import stack_file_text
from lorakit.stack import Stack
from tests.sharing.machines import Machine, write_lora
from tests.stack.strategies import STRENGTHS

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
HASHES = st.just("") | st.text("0123456789abcdef", min_size=64, max_size=64).filter(
    lambda digest: not digest.startswith("e3b0c442")
)
NAMED = st.builds(Named, TEXTS.filter(bool), HASHES, HASHES)
PICTURES = st.fixed_dictionaries(
    {},
    optional={
        "prompt": TEXTS,
        "negative_prompt": TEXTS,
        "steps": st.integers(1, 100),
        "seed": st.integers(0, 2**63 - 1),
        "cfg": st.floats(1, 100),
    },
)


@given(st.lists(NAMED, max_size=3), STRENGTHS, st.just(Named()) | NAMED, PICTURES)
def test_what_is_written_is_read_back(
    tmp_path_factory: Any, names: list[Named], strength: Any, base: Named, picture: dict[str, Any]
) -> None:
    from lorakit.strengths.fields import to_fields

    entries = tuple(FileEntry(name, strength.base, to_fields(strength)) for name in names)
    saved = StackFile(entries, base, picture)
    path = tmp_path_factory.getbasetemp() / "mine.toml"
    path.write_text(write_stack_file(saved), encoding="utf-8")
    assert read_stack_file(path) == saved


def test_a_relative_path_starts_at_the_stack_files_folder(
    mine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_lora(tmp_path / "project" / "loras" / "ink.safetensors", 5)
    (tmp_path / "project" / "stacks").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    text = stack_file_text(mine.shared("loras/ink.safetensors:0.8", None), Path("stacks"))
    (tmp_path / "project" / "stacks" / "mine.toml").write_text(text)
    assert 'name = "../loras/ink.safetensors"' in text
    # The project is moved, and the file read from a third folder.
    (tmp_path / "project").rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    (entry,) = Stack.parse("moved/stacks/mine.toml")
    assert Path(entry.name).samefile(tmp_path / "moved" / "loras" / "ink.safetensors")
    found = find_ingredients(mine.catalog, read_made(Path("moved/stacks/mine.toml")))
    (resolved,) = mine.resolved(found.stack)
    assert resolved.path.samefile(tmp_path / "moved" / "loras" / "ink.safetensors")
    assert found.remarks == ()


def test_another_file_at_the_path_is_told(mine: Machine, tmp_path: Path) -> None:
    path = write_lora(tmp_path / "ink.safetensors", 5)
    (tmp_path / "mine.toml").write_text(stack_file_text(mine.shared(f"{path}:0.8", None), tmp_path))
    write_lora(path, 6)
    found = find_ingredients(mine.catalog, read_made(tmp_path / "mine.toml"))
    assert "another file" in found.remarks[0]


def test_an_older_stack_file_has_names_alone(mine: Machine, tmp_path: Path) -> None:
    path = tmp_path / "old.toml"
    # A name may be the beginning of one, as where it is typed.
    path.write_text('format = "lorakit/stack/1"\n[[entry]]\nname = "wa"\nstrength = 0.5\n')
    found = find_ingredients(mine.catalog, read_made(path))
    assert (str(found.stack), found.base, found.remarks) == ("wash:0.5", None, ())


def test_an_older_stack_file_has_paths_from_where_it_was_typed(
    mine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_lora(tmp_path / "loras" / "ink.safetensors", 5)
    (tmp_path / "stacks").mkdir()
    path = tmp_path / "stacks" / "old.toml"
    path.write_text('format = "lorakit/stack/1"\n[[entry]]\nname = "loras/ink.safetensors"\n')
    monkeypatch.chdir(tmp_path)
    assert str(Stack.parse(str(path))) == "loras/ink.safetensors:1"


@pytest.mark.parametrize(
    "text",
    [
        "base = 3",
        "[base]\nsha256 = 'ab'",
        "[base]\nname = 'x'\nsha256 = 'no hash'",
        "[picture]\nprompt = 3",
        "[picture]\nsteps = 'many'",
        "[picture]\nwhatever = 1",
        "picture = 1",
        "[[entry]]\nname = 'a'\nsha256 = 3",
        "[[entry]]\nname = 'a'\ntensors = 'zz'",
    ],
)
def test_a_broken_stack_file_is_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f'format = "lorakit/stack/1"\n{text}\n')
    with pytest.raises(BadFile, match=r"mine\.toml"):
        Stack.parse(str(path))
