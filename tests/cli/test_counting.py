"""One of a thing is said in the singular, wherever things are counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorakit.counting import counted_rows
from tests.cli.conftest import Cli
from tests.models import lora_file, random_lora, tiny_base_file


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 modules"), (1, "1 module"), (2, "2 modules"), (1500, "1,500 modules")],
)
def test_a_count_is_said(count: int, said: str) -> None:
    assert counted_rows(count, "module") == said


def test_one_adapter_of_one_module_for_one_block(cli: Cli, tmp_path: Path) -> None:
    name = "blocks.0.self_attn.q_proj"
    tiny_base_file(tmp_path / "base.safetensors", 1)
    lora_file(tmp_path / "ink.safetensors", random_lora([name], 1))
    assert cli("base", "add", tmp_path / "base.safetensors", "--as", "anima").code == 0
    assert cli("add", tmp_path / "ink.safetensors").code == 0
    page = tmp_path / "check.html"
    assert cli("check", "ink", "--html", page).code == 0
    assert "1 adapter, 1 matrix changed, 1 block, F32." in page.read_text(encoding="utf-8")
