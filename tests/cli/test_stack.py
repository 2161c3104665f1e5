from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.models import lora_file, random_lora, tiny_base_file, usual_names


def test_the_plan_shows_entries_ranks_and_the_verdict(stocked: Cli) -> None:
    ran = stocked("stack", "ink:0.8 wash:0.5")
    assert (ran.code, ran.err) == (0, "")
    rows = {line.split()[0]: line.split() for line in ran.lines if line.strip()}
    assert rows["ink"][1:5] == ["0.8", "lora", "4", "30"]
    assert rows["wash"][1:5] == ["0.5", "lora", "8", "30"]
    assert rows["self_attn"][1] == "███"
    said = " ".join(ran.out.split())
    assert "total rank 12 a module" in said
    assert "adaln; llm_adapter" in said
    assert "share merge allowed, with 6 obligations" in said
    assert max(map(len, ran.lines)) <= 80


def test_the_plan_as_json(stocked: Cli) -> None:
    document = stocked("stack", "ink:0.8 wash:-0.5", "--json").document
    assert document["schema"] == "lorakit/stack/1"
    assert document["stack"] == "ink:0.8 wash:-0.5"
    assert document["verdict"]["share_merges"] == "allow_with_obligations"
    assert stocked("stack", "ink wash", "-q").out == "ink\nwash\n"


def test_a_base_whose_terms_deny_makes_the_verdict_denied(stocked: Cli, models: Path) -> None:
    stocked("base", "add", models / "base.safetensors", "--name", "rdbt", "--as", "rdbt")
    said = " ".join(stocked("stack", "ink", "--base", "rdbt").out.split())
    assert "share merge denied: rdbt" in said
    assert "Sharing merges using this model is not allowed." in said
    said = " ".join(stocked("stack", "ink", "--base", models / "base.safetensors").out.split())
    assert "share merge denied: own" in said
    # A copy has no terms on record, but it has RDBT's weights.
    copy = shutil.copyfile(models / "base.safetensors", models / "copy.safetensors")
    said = " ".join(stocked("stack", "ink", "--base", copy).out.split())
    assert "share merge denied: copy (base) is rdbt" in said
    assert "recognised by its weights" in said


def test_which_base_must_be_clear(cli: Cli, models: Path) -> None:
    cli("add", models / "ink.safetensors")
    cli("stack", "ink").failed_with(2, "lorakit base add")
    for name in ("one", "two"):
        cli("base", "add", models / "base.safetensors", "--name", name)
    cli("stack", "ink").failed_with(2, "--base", "one, two")
    cli("stack", "ink", "--base", "three").failed_with(1, "three", "one, two")
    assert cli("stack", "ink", "--base", "tw").code == 0


def test_a_stack_file_holds_the_stack(stocked: Cli, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    saved = stocked("stack", 'ink:0.8 "wash":-0.25', "--save", file)
    assert saved.code == 0
    assert saved.err == f"Saved as {file}.\n"
    first = stocked("stack", "ink:0.8 wash:-0.25", "--json").document
    assert stocked("stack", file, "--json").document == first


def test_a_stack_file_is_not_overwritten_unasked(stocked: Cli, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    stocked("stack", "ink", "--save", file)
    before = file.read_text()
    stocked("stack", "wash", "--save", file).failed_with(2, "mine.toml", "--overwrite")
    assert file.read_text() == before
    assert stocked("stack", "wash", "--save", file, "--overwrite").code == 0
    assert "wash" in file.read_text()


def test_a_stack_file_needs_a_name_and_a_folder(stocked: Cli, tmp_path: Path) -> None:
    stocked("stack", "ink", "--save", tmp_path / "mine.txt").failed_with(2, ".toml")
    stocked("stack", "ink", "--save", tmp_path / "no" / "mine.toml").failed_with(1, "mine.toml")
    stocked("stack", tmp_path / "absent.toml").failed_with(1, "absent.toml")
    (tmp_path / "broken.toml").write_text("format =")
    stocked("stack", tmp_path / "broken.toml").failed_with(4, "broken.toml")


@pytest.mark.parametrize(
    ("text", "code"), [("ink:0.8:0.5@", 2), ("oil", 1), ("ink:1e9", 2), ("<lora:ink", 2)]
)
def test_a_text_that_is_no_stack_is_refused(stocked: Cli, text: str, code: int) -> None:
    stocked("stack", text).failed_with(code)


def test_an_empty_stack_changes_nothing(stocked: Cli) -> None:
    ran = stocked("stack", "")
    assert ran.code == 0
    assert "The stack is empty" in ran.out
    assert stocked("stack", "", "--json").document["stack"] == ""


def test_what_a_person_should_know_is_noted(stocked: Cli) -> None:
    assert "! ink has strength 0" in stocked("stack", "ink:0").out


def test_an_adapter_for_more_blocks_than_the_base_has_is_refused(
    stocked: Cli, models: Path
) -> None:
    bigger = random_lora(usual_names(40), 40)
    lora_file(models / "big.safetensors", bigger)
    tiny_base_file(models / "small.safetensors", 28)
    ran = stocked("stack", models / "big.safetensors", "--base", models / "small.safetensors")
    ran.failed_with(1, "big", "39", "28")


def test_a_dtype_asks_for_the_measurement_by_itself(stocked: Cli) -> None:
    plain = stocked("stack", "ink:0.8", "--json").document
    assert "sizes" not in plain
    measured = stocked("stack", "ink:0.8", "--dtype", "fp16", "--json").document
    assert measured["sizes_dtype"] == "fp16"
    assert 0 < measured["sizes"][0]["lost"] < 1
    assert stocked("stack", "ink:0.8", "--dtype", "int8").code == 2
