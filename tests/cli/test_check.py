from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.cli.conftest import Cli
from tests.cli.running import Ran
from tests.models import lora_file, random_lora, tiny_base_file, usual_names

NAMES = usual_names(3)


def test_a_stack_is_checked_at_eighty_columns(stocked: Cli) -> None:
    for words in ((), ("--by", "blocks"), ("--balance",)):
        ran = stocked("check", "ink:0.8", "wash:0.5", *words)
        assert (ran.code, ran.err) == (0, "")
        assert max(map(len, ran.lines)) <= 80
    rows = {line.split()[0]: line for line in ran.lines if line.strip()}
    assert rows["ink"].split()[1] == "0.8"
    assert " % " in rows["ink"]
    assert "█" in rows["together"]
    assert rows["ink,"].split()[1] == "wash"
    assert "Balanced" in ran.out


def test_the_document_lets_any_strengths_be_tried(stocked: Cli) -> None:
    first = stocked("check", "ink:0.8 wash:-0.5", "--json").document
    assert first["schema"] == "lorakit/check/1"
    assert first["stack"] == "ink:0.8 wash:-0.5"
    assert first["base"]["blocks"] == 3
    gram = first["groups"]["all"][0]["gram"]
    other = stocked("check", "ink:0.3", "wash:0.2", "--json").document
    assert other["groups"]["all"][0]["gram"] == gram
    energy = sum(gram[i][j] * (0.3, 0.2)[i] * (0.3, 0.2)[j] for i in (0, 1) for j in (0, 1))
    assert other["sum"]["size"] == pytest.approx(energy**0.5)
    assert other["sum"]["relative"] == pytest.approx(energy**0.5 / other["base"]["size"])
    assert [one["name"] for one in first["groups"]["blocks"]] == ["0", "1", "2"]
    assert {one["name"] for one in first["groups"]["kinds"]} == {"self_attn", "cross_attn", "mlp"}


def test_the_balanced_stack_can_be_checked_again(stocked: Cli) -> None:
    text = stocked("check", "ink:0.8@blocks=0:0.5", "wash:2", "--balance", "-q").out.strip()
    assert re.fullmatch(r"ink:[\d.]+@blocks=0:0\.5 wash:[\d.]+", text)
    again = stocked("check", text, "--json").document
    sizes = [one["size"] for one in again["entries"]]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.05)
    assert stocked("check", "ink", "wash", "-q").out == "ink\nwash\n"
    alone = stocked("check", "ink", "--balance")
    assert "nothing to balance" in alone.out


def test_the_sizes_of_a_base_are_read_once(stocked: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    first = stocked("check", "ink", "wash", "--json").document

    def never(*_: object) -> None:
        raise AssertionError("the base is read again")

    monkeypatch.setattr("lorakit.sketches.norms.base_norms", never)
    monkeypatch.setattr("lorakit.merging.checking.ground.base_norms", never)
    again = stocked("check", "ink", "wash", "--json").document
    assert again == first


def test_without_a_base_sizes_are_relative_and_that_is_said(cli: Cli, models: Path) -> None:
    ink, wash = models / "ink.safetensors", models / "wash.safetensors"
    ran = cli("check", f"{ink}:0.8", wash)
    assert (ran.code, ran.err) == (0, "")
    assert "relative to the strongest" in ran.out
    assert "100.00 %" in ran.out
    assert cli("check", ink, wash, "--json").document["base"] is None
    cli("base", "add", models / "base.safetensors", "--name", "one")
    tiny_base_file(models / "other.safetensors", seed=3)
    cli("base", "add", models / "other.safetensors", "--name", "two")
    unsure = cli("check", ink, wash)
    assert "--base" in unsure.err
    assert "one, two" in unsure.err
    assert "Check on two" in cli("check", ink, wash, "--base", "two").out


def test_a_base_that_is_gone_is_missed_only_where_it_was_named(stocked: Cli, models: Path) -> None:
    (models / "base.safetensors").unlink()
    ran = stocked("check", "ink", "wash")
    assert ran.code == 0
    assert ran.err.startswith("Warning: The file of the base own is missing")
    stocked("check", "ink", "--base", "own").failed_with(1, "missing")


def test_queries_kept_stacks_files_and_paths_with_spaces(
    stocked: Cli, models: Path, tmp_path: Path
) -> None:
    stocked("note", "ink", "--strength", "0.7")
    found = stocked("check", "rank:4..", "--json").document
    assert {one["name"]: one["strength"] for one in found["entries"]} == {"ink": 0.7, "wash": 1.0}
    stocked("stack", "ink:0.4 wash:0.2", "--keep", "evening")
    assert stocked("check", "evening", "--json").document["stack"] == "ink:0.4 wash:0.2"
    spaced = tmp_path / "my ink.safetensors"
    shutil.copy(models / "ink.safetensors", spaced)
    ran = stocked("check", f"{spaced}:0.3", "wash", "--json").document
    assert ran["entries"][0]["strength"] == 0.3
    assert ran["stack"].startswith(f'"{spaced}":0.3')
    alone = stocked("check", f"{spaced}:0.3", "--json").document
    assert alone["entries"][0]["strength"] == 0.3
    stocked("stack", "ink:0.4 wash:0.2", "--save", tmp_path / "mine.toml")
    filed = stocked("check", tmp_path / "mine.toml", "--json").document
    assert [one["strength"] for one in filed["entries"]] == [0.4, 0.2]
    assert filed["base_name"] == "own"


def test_what_the_catalog_says_of_a_strength_is_held_against_it(stocked: Cli) -> None:
    stocked("note", "ink", "--strength", "0.7,0.5..0.9")
    stocked("stack", "ink:1.2 wash:0.4", "--keep", "evening")
    said = {
        one["name"]: one
        for one in stocked("strength", "ink", "wash", "--json").document["adapters"]
    }
    ran = stocked("check", "ink:1.4", "wash", "--json").document
    for entry in ran["entries"]:
        there, usual = said[entry["name"]], entry["usual"]
        assert [usual[key] for key in ("value", "low", "high", "by")] == [
            there[key] for key in ("value", "low", "high", "by")
        ]
        assert sorted(usual["because"]) == sorted(one["text"] for one in there["evidence"])
    assert [one["text"] for one in ran["advice"] if one["kind"] == "range"] == [
        "ink stands at 1.4; 0.7 (0.5 to 0.9) suggests itself. You set 0.7, from 0.5 to 0.9."
    ]


def test_cosines_are_at_the_strengths_given_and_at_one(stocked: Cli) -> None:
    plain, turned = (
        stocked("check", f"ink:0.8 wash:{w}", "--json").document for w in ("0.5", "-0.5")
    )
    for document, sign in ((plain, 1), (turned, -1)):
        (pair,) = document["pairs"]
        assert pair["cosine_at_1"] == plain["pairs"][0]["cosine"]
        assert pair["cosine"] == sign * pair["cosine_at_1"]
        for group in (*document["groups"]["all"], *document["groups"]["blocks"]):
            gram, cosine = group["gram"], group["cosines"][0][1]
            assert cosine * sign == pytest.approx(
                gram[0][1] / (gram[0][0] * gram[1][1]) ** 0.5, abs=1e-9
            )
    shown = stocked("check", "ink:0.8 wash:-0.5").out
    assert f"{turned['pairs'][0]['cosine']:+.3f}" in shown
    assert "Cosine at these strengths" in shown


def test_what_cannot_be_stacked_is_named_and_fails(stocked: Cli, models: Path) -> None:
    lora_file(models / "large.safetensors", random_lora(usual_names(9), 9))
    ran = stocked("check", "ink", "wash", models / "large.safetensors", "--json")
    assert ran.code == 1
    document = json.loads(ran.out)
    assert [one["name"] for one in document["refused"]] == ["large"]
    assert [one["name"] for one in document["entries"]] == ["ink", "wash"]
    assert document["advice"][0]["kind"] == "refused"


def test_mistakes_are_told_in_a_sentence(stocked: Cli, models: Path, tmp_path: Path) -> None:
    stocked("check").failed_with(2, "STACK")
    stocked("check", "nothing:0.5").failed_with(1, "nothing")
    stocked("check", "ink:nan").failed_with(2, "finite")
    stocked("check", "ink", "--by", "colour").failed_with(2, "kinds, blocks")
    stocked("check", "ink", "--base", "none").failed_with(1, "none")
    bad = models / "bad.safetensors"
    bad.write_bytes(b"\0" * 20)
    stocked("check", "ink", bad).failed_with(4, "bad.safetensors")
    page = tmp_path / "page.html"
    page.write_text("mine")
    stocked("check", "ink", "wash", "--html", page).failed_with(2, "--overwrite")
    assert page.read_text() == "mine"


def test_the_page_is_written_beside_the_result(stocked: Cli, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    ran = stocked("check", "ink", "wash", "--html", page, "--json")
    assert ran.document["html"] == str(page)
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def text_encoder(path: Path) -> Path:
    """An adapter for the text encoder alone."""
    stem = "lora_te_layers_0_self_attn_q_proj"
    draw = torch.Generator().manual_seed(0)
    tensors = {
        f"{stem}.lora_down.weight": torch.randn(2, 1024, generator=draw),
        f"{stem}.lora_up.weight": torch.randn(2048, 2, generator=draw),
    }
    save_file(tensors, path)
    return path


def told(ran: Ran) -> str:
    return " ".join(ran.out.split())


def test_one_for_the_text_encoder_is_told_apart(stocked: Cli, tmp_path: Path) -> None:
    path = text_encoder(tmp_path / "te.safetensors")
    alone = stocked("check", path, "--balance")
    assert alone.code == 0
    assert "100.00 %" in alone.out
    assert "They change the text encoder alone" in told(alone)
    both = stocked("check", path, "ink")
    assert "te: 1 module is of the text encoder, which is no part of the base" in told(both)
    assert next(line for line in both.lines if line.startswith("te ")).split() == ["te", "1", "–"]
    assert "no module in common" in both.out
    (pair,) = stocked("check", path, "ink", "--json").document["pairs"]
    assert (pair["common_modules"], pair["cosine"], pair["relation"]) == (0, None, "nothing")


def test_the_same_twice_with_opposite_strengths_is_nothing(stocked: Cli, models: Path) -> None:
    copy = models / "copy.safetensors"
    shutil.copy(models / "ink.safetensors", copy)
    ran = stocked("check", "ink:0.8", f"{copy}:-0.8", "--balance")
    assert "the same change, opposed" in ran.out
    assert "ink again (cosine 1.0000 at strength 1): together they cancel out." in told(ran)
    assert "They cannot be balanced" in ran.out
    assert next(line for line in ran.lines if line.startswith("together")).split()[1:3] == [
        "0.00",
        "%",
    ]
    document = stocked("check", "ink:0.8", f"{copy}:-0.8", "--json").document
    assert document["pairs"][0]["cosine"] == pytest.approx(-1.0)
    assert document["balance"] is None
    assert document["sum"]["size"] == pytest.approx(0, abs=1e-3)
    for mode in ("-q", "--json"):
        ran = stocked("check", "ink:0.8", f"{copy}:-0.8", "--balance", mode)
        assert "They cannot be balanced" in " ".join(ran.err.split())
    more = stocked("check", "ink:0.8", f"{copy}:0.3")
    assert "together they are ink:1.1 alone." in told(more)


def test_a_file_that_is_cut_short_is_named_and_for_another_model_too(
    stocked: Cli, models: Path
) -> None:
    whole = (models / "wash.safetensors").read_bytes()
    (models / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    stocked("check", "ink", models / "cut.safetensors").failed_with(4, "cut short")
    names = [f"blocks.{n}.self_attn.q_proj" for n in (0, 39)]
    factors = {name: random_lora(usual_names(1), 1)["blocks.0.self_attn.q_proj"] for name in names}
    lora_file(models / "forty.safetensors", factors)
    ran = stocked("check", "ink", models / "forty.safetensors")
    assert ran.code == 1
    assert "forty cannot be stacked" in told(ran)
    assert "larger model" in told(ran)


def test_what_differs_by_more_than_a_cast_is_nearly_the_same(stocked: Cli, tmp_path: Path) -> None:
    """One module of thirty at three quarters of its size."""
    modules = random_lora(usual_names(3), 3)
    first = next(iter(modules))
    modules[first] = replace(modules[first], scale=0.75 * modules[first].scale)
    path = lora_file(tmp_path / "other.safetensors", modules)
    ran = stocked("check", "ink", path)
    assert "nearly the same change" in ran.out
    (pair,) = stocked("check", "ink", path, "--json").document["pairs"]
    assert pair["relation"] == "same"
