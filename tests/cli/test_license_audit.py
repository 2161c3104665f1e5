"""`lorakit license audit`: what was decided, for people and programs, and whether the record is whole."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import Cli


@pytest.fixture
def decided(stocked: Cli, models: Path, tmp_path: Path) -> Cli:
    """One refusal and one allowed export, in that order."""
    rdbt = ("base", "add", models / "base.safetensors", "--name", "unnamed", "--as", "other")
    assert stocked(*rdbt).code == 0
    copy = shutil.copyfile(models / "base.safetensors", tmp_path / "copy.safetensors")
    refused = stocked("export", "ink", "--base", copy, "-o", "m.safetensors")
    assert refused.code == 3
    out = tmp_path / "merged.safetensors"
    assert stocked("export", "ink:0.8 wash", "--base", "own", "-o", out).code == 0
    return stocked


def edit(home: Path, statement: str) -> None:
    with closing(sqlite3.connect(home / "catalog.db")) as connection, connection:
        connection.execute("DROP TRIGGER audit_no_update")
        connection.execute("DROP TRIGGER audit_no_delete")
        connection.execute(statement)


def test_decisions_are_listed_within_80_columns(decided: Cli) -> None:
    ran = decided("license", "audit")
    assert (ran.code, ran.err) == (0, "")
    text = " ".join(ran.out.split())
    for word in ("refused", "allowed", "ink:0.8 wash:1 merged", "decided by"):
        assert word in text
    assert max(map(len, ran.lines)) <= 80


def test_one_decision_in_full_names_ingredients_hashes_terms_and_sources(decided: Cli) -> None:
    ran = decided("license", "audit", "--show", "2")
    assert ran.code == 0
    text = " ".join(ran.out.split())
    for word in ("ink at strength 0.8", "CC BY", "CircleStone", "sha256", "content"):
        assert word in text
    assert max(map(len, ran.lines)) <= 80
    decided("license", "audit", "--show", "9").failed_with(1, "no decision 9")


def test_programs_get_the_whole_record(decided: Cli) -> None:
    document = decided("license", "audit", "--json").document
    assert document["schema"] == "lorakit/license-audit/1"
    refused, allowed = document["decisions"]
    assert (refused["verdict"], allowed["verdict"]) == ("refused", "allowed")
    assert allowed["subject"]["kind"] == "checkpoint"
    ink = allowed["subject"]["ingredients"][1]
    assert (ink["name"], ink["strength"], len(ink["content"])) == ("ink", "0.8", 64)
    assert ink["source"]
    assert refused["subject"]["reasons"]
    assert decided("license", "audit", "-q").lines == ["1", "2"]


def test_a_whole_record_is_confirmed_with_its_count_and_head(decided: Cli) -> None:
    head = decided("license", "audit", "--json").document["decisions"][-1]["hash"]
    ran = decided("license", "audit", "--verify")
    assert ran.code == 0
    assert "2 decisions" in ran.out
    assert head in ran.out
    check = decided("license", "audit", "--verify", "--json").document["check"]
    assert check == {"count": 2, "head": head, "broken": None, "reason": None}
    assert decided("license", "audit", "--verify", "-q").lines == [head]


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE audit SET verdict = 'allowed' WHERE id = 1", "decision 1 was changed"),
        ("UPDATE audit SET subject = 'x' WHERE id = 2", "decision 2 was changed"),
        ("DELETE FROM audit WHERE id = 1", "decision 1 is gone"),
        ("DELETE FROM audit WHERE id = 2", "decision 2 is gone from the end"),
    ],
)
def test_an_edited_record_is_a_failure_that_names_the_first_broken_decision(
    decided: Cli, home: Path, statement: str, words: str
) -> None:
    edit(home, statement)
    for flags in ((), ("--json",), ("-q",)):
        decided("license", "audit", "--verify", *flags).failed_with(1, words)


def test_the_file_carries_the_hash_of_its_decision(decided: Cli, tmp_path: Path) -> None:
    raw = (tmp_path / "merged.safetensors").read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    decisions = decided("license", "audit", "--json").document["decisions"]
    assert header["__metadata__"]["lorakit.audit"] == decisions[-1]["hash"]


def test_before_the_first_decision_it_says_so(cli: Cli) -> None:
    assert "No decision yet" in cli("license", "audit").out
    assert "0 decisions" in cli("license", "audit", "--verify").out
