"""`lorakit license`: what a person is told of terms, and what a person can say of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from lorakit.licenses.known import known
from tests.catalog.factories import write_adapter
from tests.cli.conftest import Cli
from tests.licenses.documents import CLOSED, OPEN, model_answer, version_answer
from tests.models import tiny_base_file

SOURCE = ("--source", "its author, by mail")


@pytest.fixture
def added(cli: Cli, folder: Path) -> Cli:
    """The command line with two adapters in its catalog: ink (CC0-1.0) and wash, which says nothing."""
    assert cli("add", folder).code == 0
    return cli


def answer(document: dict[str, Any], question: str) -> str:
    (found,) = [a for a in document["answers"] if a["question"] == question]
    return str(found["answer"])


def test_show_answers_the_four_questions_with_their_sources(added: Cli) -> None:
    ran = added("license", "show", "ink")
    assert (ran.code, ran.err) == (0, "")
    said = " ".join(ran.out.split())
    assert "render yes:" in said
    assert "share pictures yes:" in said
    assert "share merge allowed, with 5 obligations" in said
    assert "must include with the merge: Give a copy of the CircleStone Labs" in said
    assert "modelspec.license in the header of" in said
    assert "IN NO EVENT SHALL CIRCLESTONE LABS LLC" in said
    assert max(map(len, ran.lines)) <= 80


def test_show_as_json_and_quietly(added: Cli) -> None:
    document = added("license", "show", "ink", "--json").document
    assert document["schema"] == "lorakit/license-show/1"
    assert document["share_merges"] == "allow_with_obligations"
    assert document["allowed"] is True
    assert [claim["origin"] for claim in document["claims"]] == ["modelspec"]
    assert answer(document, "share merge") == "allowed, with 5 obligations"
    assert added("license", "show", "wash", "-q").out == "unknown\n"


def test_what_nobody_speaks_of_is_unknown_so_denied(added: Cli) -> None:
    said = " ".join(added("license", "show", "wash").out.split())
    assert "share merge unknown, so denied: wash (adapter, no licence named)" in said
    assert "Nothing is said of its terms" in said


def test_a_stack_a_file_a_base_and_a_model_of_the_table(stocked: Cli, models: Path) -> None:
    said = " ".join(stocked("license", "show", "ink wash", "--base", "own").out.split())
    assert "share merge allowed, with 6 obligations" in said
    document = stocked("license", "show", "ink:0.5", "--base", "own", "--json").document
    assert (document["stack"], document["base"]) == ("ink:0.5", "own")
    assert answer(document, "share merge") == "allowed, with 5 obligations"
    by_path = stocked("license", "show", models / "ink.safetensors", "--json").document
    by_name = stocked("license", "show", "ink", "--json").document
    assert by_path == by_name
    assert stocked("license", "show", "own", "-q").out == "allow_with_obligations\n"
    assert stocked("license", "show", "rdbt", "-q").out == "deny\n"
    assert stocked("license", "show", "animayume", "-q").out == "unknown\n"


def test_a_name_that_means_nothing_and_a_file_that_is_nothing(added: Cli, tmp_path: Path) -> None:
    added("license", "show", "oil").failed_with(1, "oil")
    (tmp_path / "x.safetensors").write_text("nothing")
    added("license", "show", tmp_path / "x.safetensors").failed_with(4, "x.safetensors")


def test_set_settles_what_is_unknown_and_withdraw_takes_it_back(added: Cli) -> None:
    ran = added("license", "set", "wash", "--share-merges", "allow", "--credit", *SOURCE)
    assert (ran.code, ran.err) == (0, "")
    assert "Credit the author of wash." in ran.out
    document = added("license", "show", "wash", "--json").document
    assert document["share_merges"] == "allow_with_obligations"
    (claim,) = document["claims"]
    assert (claim["origin"], claim["source"]) == ("user", "its author, by mail")
    assert claim["read_on"] is not None
    back = added("license", "withdraw", "wash")
    assert (back.code, back.err) == (0, "Withdrawn: 1 claim.\n")
    assert added("license", "show", "wash", "-q").out == "unknown\n"
    added("license", "withdraw", "wash").failed_with(1, "wash")


def test_set_follows_the_content_through_a_rename(added: Cli, folder: Path) -> None:
    added("license", "set", "wash", "--share-merges", "deny", *SOURCE)
    moved = (folder / "wash.safetensors").rename(folder / "gouache.safetensors")
    assert added("license", "show", moved, "-q").out == "deny\n"


def test_set_never_loosens(added: Cli, folder: Path) -> None:
    write_adapter(folder / "nd.safetensors", 9, {"modelspec.license": "CC-BY-ND-4.0"})
    added("add", folder)
    ran = added("license", "set", "nd", "--share-merges", "allow", *SOURCE)
    assert ran.code == 0
    said = " ".join(ran.out.split())
    assert "share merge denied: nd (adapter, CC BY-ND 4.0)" in said
    assert "says deny; the stricter holds." in said
    for name in ("rdbt", "rdbt-lora"):
        added("license", "set", name, "--share-merges", "allow", *SOURCE)
        assert added("license", "show", name, "-q").out == "deny\n"


def test_set_by_licence_and_as_a_known_model(added: Cli) -> None:
    ran = added("license", "set", "wash", "--license", "CC-BY-4.0", *SOURCE, "--json")
    assert ran.document["schema"] == "lorakit/license-set/1"
    assert ran.document["license"] == "CC-BY-4.0"
    assert "link the licence CC BY" in " ".join(ran.document["obligations"])
    assert added("license", "set", "wash", "--as", "rdbt-lora", *SOURCE, "-q").out == "deny\n"
    document = added("license", "show", "wash", "--json").document
    assert document["reasons"][0].count("Sharing merges using this model is not allowed.") == 1


def test_a_claim_that_makes_no_sense_is_a_usage_error(added: Cli) -> None:
    allow, deny = ("--share-merges", "allow"), ("--license", "CC-BY-ND-4.0")
    cases: list[tuple[tuple[str, ...], str]] = [
        (allow, "source"),
        ((*allow, "--source", " "), "source"),
        (SOURCE, "--share-merges"),
        ((*SOURCE, "--credit"), "--share-merges"),
        ((*SOURCE, "--license", "House rules"), "'House rules' is not known"),
        ((*SOURCE, "--share-merges", "maybe"), "maybe"),
        ((*SOURCE, "--share-merges", "allow_with_obligations"), "--obligation"),
        ((*SOURCE, *allow, *deny), "CC BY-ND 4.0"),
        ((*SOURCE, *allow, "--as", "rdbt"), "RDBT"),
        ((*SOURCE, "--as", "sdxl"), "anima-turbo-lora"),
        ((*SOURCE, "--from", "x.json", *allow), "--from"),
        (("--from", "nowhere.json"), "nowhere.json"),
    ]
    for words, said in cases:
        ran = added("license", "set", "wash", *words)
        assert (ran.code, ran.out) == (2, ""), words
        assert said in ran.err, words
    assert added("license", "show", "wash", "-q").out == "unknown\n"


def test_terms_from_a_saved_answer_or_card(added: Cli, tmp_path: Path) -> None:
    sha256 = added("inspect", "wash", "--json").document["adapters"][0]["hashes"]["file_sha256"]
    saved = tmp_path / "answer.json"
    others = [model_answer(CLOSED, number=1, sha256="00" * 32)]
    saved.write_text(json.dumps({"items": [*others, model_answer(OPEN, sha256=sha256)]}))
    document = added("license", "set", "wash", "--from", saved, "--json").document
    (claim,) = document["claims"]
    assert (claim["origin"], document["share_merges"]) == ("civitai", "allow_with_obligations")
    assert "model 77" in claim["found"]
    assert "answer.json" in claim["found"]
    assert added("license", "withdraw", "wash").code == 0
    card = tmp_path / "README.md"
    card.write_text("---\nlicense: cc-by-nd-4.0\n---\n")
    assert added("license", "set", "wash", "--from", card, "-q").out == "deny\n"


def test_an_answer_without_terms_is_refused(added: Cli, tmp_path: Path) -> None:
    saved = tmp_path / "answer.json"
    for text, word in (
        (json.dumps(version_answer()), "api/v1/models"),
        (json.dumps(model_answer(OPEN)), "another file"),
        ("[]", "says nothing"),
        ("{", "cannot be read"),
    ):
        saved.write_text(text)
        added("license", "set", "wash", "--from", saved).failed_with(4, word)
    assert added("license", "show", "wash", "-q").out == "unknown\n"


def test_adding_keeps_what_lies_beside(cli: Cli, folder: Path) -> None:
    answer = folder / "wash.civitai.info"
    answer.write_text(json.dumps({**model_answer(CLOSED), "modelVersions": []}))
    (folder / "ink.metadata.json").write_text("{")
    ran = cli("add", folder)
    assert ran.code == 0
    assert ran.err.startswith("Warning: ")
    assert "ink.metadata.json cannot be read" in ran.err
    answer.unlink()
    assert cli("license", "show", "wash", "-q").out == "deny\n"


def test_what_is_missing_is_still_known(added: Cli, folder: Path) -> None:
    (folder / "ink.safetensors").unlink()
    assert added("license", "show", "ink", "-q").out == "allow_with_obligations\n"


def test_a_base_and_an_adapter_of_one_name_must_be_told_apart(stocked: Cli, models: Path) -> None:
    stocked("base", "add", models / "base.safetensors", "--name", "ink")
    stocked("license", "show", "ink").failed_with(
        1, "Both a base and an adapter", "base.safetensors"
    )


def test_show_knows_a_base_by_its_weights(stocked: Cli, tmp_path: Path) -> None:
    denied = tiny_base_file(tmp_path / "denied.safetensors", seed=5)
    stocked("base", "add", denied, "--name", "denied", "--as", "rdbt")
    tensors = {key: value.bfloat16() for key, value in load_file(denied).items()}
    save_file(tensors, tmp_path / "fresh.safetensors")
    stocked("base", "add", tmp_path / "fresh.safetensors", "--as", "anima")
    said = " ".join(stocked("license", "show", "fresh").out.split())
    assert "share merge denied: fresh (base) is denied (RDBT [Anima]), recognised by its" in said


def test_the_plan_of_a_stack_has_the_same_lines(stocked: Cli, models: Path) -> None:
    said = " ".join(stocked("stack", "ink").out.split())
    for line in ("render yes:", "share pictures yes:", "share merge allowed, with 5 obligations"):
        assert line in said
    assert "must include with the merge:" in said
    document = stocked("stack", "ink", "--json").document
    assert answer(document, "share merge") == "allowed, with 5 obligations"
    stocked("license", "set", "own", "--as", "rdbt", *SOURCE)
    said = " ".join(stocked("stack", "ink").out.split())
    assert f"share merge denied: own (base, {known()['rdbt'].terms.title})" in said
    assert "must include with pictures: Credit reakaakasky" in said
