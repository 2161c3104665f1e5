from __future__ import annotations

import os
from pathlib import Path

import pytest

from lorakit.licenses.terms import known_models
from tests.cli.conftest import Cli
from tests.factories import USUAL_SHAPES, lora_tensors, write_safetensors
from tests.models import tiny_base, tiny_base_file


def test_a_base_is_registered_under_the_terms_of_its_model(cli: Cli, models: Path) -> None:
    ran = cli("base", "add", models / "base.safetensors", "--name", "mine", "--as", "rdbt")
    assert (ran.code, ran.err) == (0, "")
    assert known_models()["rdbt"].statement in " ".join(ran.out.split())
    listed = cli("base", "ls")
    assert "mine" in listed.out
    assert "deny" in listed.out
    assert max(map(len, ran.lines + listed.lines)) <= 80


def test_json_and_quiet(cli: Cli, models: Path) -> None:
    ran = cli("base", "add", models / "base.safetensors", "--as", "anima", "--json")
    assert ran.document["schema"] == "lorakit/base-add/1"
    assert len(ran.document["base"]["file_sha256"]) == 64
    ran = cli("base", "ls", "--json")
    assert ran.document["schema"] == "lorakit/base-ls/1"
    assert [base["name"] for base in ran.document["bases"]] == ["base"]
    assert cli("base", "ls", "-q").out == "base\n"


def test_without_a_base_the_list_says_how_to_add_one(cli: Cli) -> None:
    assert "lorakit base add" in cli("base", "ls").out


def test_an_unknown_model_lists_the_known(cli: Cli, models: Path) -> None:
    ran = cli("base", "add", models / "base.safetensors", "--as", "rbdt")
    ran.failed_with(2, "rbdt", *known_models())
    assert cli("base", "ls", "-q").out == ""


def test_what_is_no_base_is_refused(cli: Cli, tmp_path: Path) -> None:
    cli("base", "add", tmp_path / "nowhere.safetensors").failed_with(1, "nowhere.safetensors")
    cli("base", "add", tmp_path).failed_with(4, str(tmp_path), "no safetensors file")
    (tmp_path / "old.ckpt").write_bytes(b"\x80\x02")
    cli("base", "add", tmp_path / "old.ckpt").failed_with(4, "pickle", "save_file")
    (tmp_path / "bad.safetensors").write_bytes(b"\xff" * 40)
    cli("base", "add", tmp_path / "bad.safetensors").failed_with(4, "bad.safetensors")
    adapter = lora_tensors("kohya", dict(list(USUAL_SHAPES.items())[:2]), 4)
    write_safetensors(tmp_path / "style.safetensors", adapter)
    cli("base", "add", tmp_path / "style.safetensors").failed_with(4, "style.safetensors")
    assert cli("base", "ls", "-q").out == ""


def test_a_base_without_text_adapter_brings_a_warning(cli: Cli, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    tensors = {key: t for key, t in tiny_base().items() if "llm_adapter" not in key}
    save_file(tensors, tmp_path / "bare.safetensors")
    ran = cli("base", "add", tmp_path / "bare.safetensors")
    assert ran.code == 0
    assert ran.err.startswith("Warning: bare.safetensors")


def test_a_base_that_was_replaced_is_refused(stocked: Cli, models: Path) -> None:
    path = tiny_base_file(models / "base.safetensors", seed=9)
    os.utime(path, ns=(1, 1))
    for words in (("stack", "ink"), ("export", "ink", "-o", models / "out.safetensors")):
        ran = stocked(*words)
        ran.failed_with(4, "base.safetensors")
    assert not (models / "out.safetensors").exists()


def test_a_base_that_has_gone_is_named(stocked: Cli, models: Path) -> None:
    (models / "base.safetensors").unlink()
    stocked("stack", "ink").failed_with(1, "base.safetensors")


def test_the_terms_of_known_content_cannot_be_loosened(cli: Cli, models: Path) -> None:
    base = models / "base.safetensors"
    assert cli("base", "add", base, "--name", "one", "--as", "rdbt").code == 0
    for name in ("one", "two"):
        cli("base", "add", base, "--name", name, "--as", "anima").failed_with(
            3, "RDBT", "strictest"
        )
    assert cli("base", "ls", "-q").out == "one\n"
    # Added again without a word, it stays what it was.
    assert cli("base", "add", base, "--name", "one").code == 0
    assert cli("base", "ls", "--json").document["bases"][0]["model"] == "rdbt"


def test_a_base_that_has_moved_is_registered_where_it_is_now(cli: Cli, models: Path) -> None:
    assert (
        cli("base", "add", models / "base.safetensors", "--name", "mine", "--as", "rdbt").code == 0
    )
    moved = (models / "base.safetensors").rename(models / "moved.safetensors")
    cli("stack", "", "--base", "mine").failed_with(1, "lorakit base add")
    assert cli("base", "add", moved, "--name", "mine").code == 0
    assert cli("stack", "", "--base", "mine").code == 0


@pytest.mark.parametrize(
    "words", [("stack", "~nosuch/ink:1"), ("stack", "ink", "--base", "~nosuch")]
)
def test_the_home_of_nobody_is_no_traceback(cli: Cli, models: Path, words: tuple[str, ...]) -> None:
    assert cli("base", "add", models / "base.safetensors", "--as", "anima").code == 0
    cli(*words).failed_with(1, "~nosuch" if "--base" not in words else "nosuch")


def test_the_list_has_the_terms_that_everything_known_comes_to(cli: Cli, tmp_path: Path) -> None:
    base = tiny_base_file(tmp_path / "mine.safetensors")
    assert cli("base", "add", base, "--as", "anima").code == 0
    before = cli("base", "ls", "--json").document["bases"][0]["terms"]
    assert before["share_merges"] == known_models()["anima"].share_merges
    words = ("--share-merges", "deny", "--source", "https://example.org/word")
    said = cli("license", "set", "mine", *words)
    assert said.code == 0, said.err
    after = cli("base", "ls", "--json").document["bases"][0]["terms"]
    assert after["share_merges"] == "deny"


def test_of_several_bases_a_recipe_takes_the_one_of_the_kept_stack(
    stocked: Cli, tmp_path: Path
) -> None:
    other = tiny_base_file(tmp_path / "other.safetensors", seed=9)
    assert stocked("base", "add", other, "--as", "anima").code == 0
    out = tmp_path / "out.json"
    words = ("--recipe", "comfyui", "-o", out, "--json")
    # What would do stands in the message.
    stocked("export", "ink:0.8", *words).failed_with(2, "other, own", "--base other", "--keep NEW")
    assert stocked("export", "ink:0.8", *words, "--base", "other").document["base"] == "other"
    assert stocked("stack", "ink:0.8", "--base", "own", "--keep", "evening").code == 0
    assert stocked("export", "evening", *words, "--overwrite").document["base"] == "own"
