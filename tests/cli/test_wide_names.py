"""Long names, wide letters and emoji: nothing is cut off, nothing is wider than the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.cells import cell_len

from tests.cli.conftest import Cli
from tests.models import lora_file, random_lora, tiny_base_file, usual_names

WIDE = "水墨画の夜景と月明かり_アニメ風スタイル_第二版_高品質_完全版_エピック"
LONG = "🌊🎨_a_very_long_name_of_a_watercolour_style_with_many_words_in_it_final_2"


@pytest.fixture
def wide(cli: Cli, tmp_path: Path) -> Cli:
    """A catalog of two adapters with such names, in a folder of such a name, and a base."""
    folder = tmp_path / f"ComfyUI-{WIDE}"
    loras = folder / "models" / "loras"
    loras.mkdir(parents=True)
    (folder / "custom_nodes").mkdir()
    for seed, name in enumerate((WIDE, LONG)):
        lora_file(loras / f"{name}.safetensors", random_lora(usual_names(2), 2, seed=seed))
    base = tiny_base_file(tmp_path / "base.safetensors", 2)
    assert cli("base", "add", base, "--as", "anima").code == 0
    assert cli("add", loras).code == 0
    assert cli("collection", "new", LONG, WIDE).code == 0
    return cli


READING = [
    ("ls",),
    ("similar", WIDE),
    ("collection", "ls"),
    ("collection", "show", LONG),
    ("stack", f"{WIDE}:0.8 {LONG}"),
    ("check", f"{WIDE}:0.8 {LONG}"),
    ("strength",),
    ("undo", "--list"),
    ("scan", "--discover", "."),
]


def test_all_of_a_name_is_there_and_no_line_is_too_wide(
    wide: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in READING:
        ran = wide(*words)
        assert ran.code == 0, ran.err
        assert [line for line in ran.lines if cell_len(line) > 80] == [], words
        # A folded name goes on below, perhaps beside other columns.
        first, last = (WIDE[:4], WIDE[-4:]) if WIDE[:4] in ran.out else (LONG[:8], LONG[-1:])
        assert first in ran.out, words
        assert last in ran.out, words
    (tmp_path / f"ComfyUI-{WIDE}" / "models" / "loras" / f"{LONG}.safetensors").unlink()
    ran = wide("doctor")
    assert "1 problem" in ran.out
    assert [line for line in ran.lines if cell_len(line) > 80] == []


def test_a_bar_is_not_folded(wide: Cli) -> None:
    ran = wide("check", f"{WIDE}:0.8 {LONG}")
    bars = [line for line in ran.lines if "█" in line]
    assert bars
    assert [line for line in bars if not any(map(str.isdigit, line))] == []


def test_a_narrow_terminal(wide: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    listed = wide("ls").lines
    assert listed[0].split() == ["name", "algo", "rank", "size"]
    assert [line for line in listed if cell_len(line) > 40] == []
    # More columns than fit: the heading is as wide as the rows, in one line above them.
    titles = ["name", "algo", "rank", "blocks", "layout", "size", "modules", "added", "hash"]
    heading, *body = wide("ls", "--format", ",".join(titles)).lines
    assert heading.split() == titles
    assert cell_len(heading) > 40
    (first,) = [line for line in body if " lora " in line and WIDE[0] in line]
    assert cell_len(first[: first.index("lora")]) == heading.index("algo")
