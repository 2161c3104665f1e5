"""What other programs say of adapters: kept under each name, by precedence, never in the person's place."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from time import sleep
from typing import Any

import pytest

from lorakit.catalog import Catalog
from lorakit.errors import BadFile
from lorakit.formats.sidecars.said import SidecarFacts
from lorakit.licenses.adding import TakenIn, take_in
from tests import sidecars
from tests.catalog.factories import write_adapter


def scan(catalog: Catalog, folder: Path, *, again: bool = False) -> TakenIn:
    return take_in(catalog, catalog.add([folder]), "scan", again=again)


@pytest.fixture
def ink(folder: Path) -> Path:
    return write_adapter(folder / "ink.safetensors", 1, {"modelspec.author": "header-author"})


def opened(path: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(path))


def stock(catalog: Catalog, ink: Path) -> tuple[str, dict[str, Path]]:
    """Add `ink` alone, then put every kind of file beside it."""
    catalog.add([ink])
    record = catalog.resolve("ink")
    return record.tensor_sha256, sidecars.write_all(ink, record.file_sha256)


def shown(catalog: Catalog, content: str) -> dict[str, tuple[Any, str]]:
    return {
        field: (records[0].value, records[0].source)
        for field, records in catalog.facts(content).items()
    }


def sources(catalog: Catalog, content: str, field: str) -> list[str]:
    return [record.source for record in catalog.facts(content).get(field, [])]


def states(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


def test_all_kinds_at_once_by_precedence(catalog: Catalog, ink: Path) -> None:
    content, paths = stock(catalog, ink)
    before = states(ink.parent)
    assert scan(catalog, ink.parent).problems == ()
    assert states(ink.parent) == before
    found = shown(catalog, content)
    assert found["title"] == ("Ink by LoRA Manager", "lora-manager")
    assert found["strength"] == ({"value": 0.7, "min": 0.5, "max": 0.9}, "lora-manager")
    assert found["trigger_words"] == (["inkstyle", "sumi"], "lora-manager")
    assert sources(catalog, content, "trigger_words") == [
        "lora-manager",
        "a1111",
        "civitai-helper",
        "stability-matrix",
        "swarmui",
        "rgthree",
    ]
    assert sources(catalog, content, "author")[-1] == "header"
    places = {record.source: record.place for record in catalog.facts(content)["notes"]}
    assert places["a1111"] == str(paths[".json"])
    assert catalog.tags(content) == ("ink", "style", "monochrome", "brush")
    catalog.set_fact(content, "title", "My ink")
    catalog.tag([content], add=["mine"])
    os.utime(paths[".metadata.json"])
    scan(catalog, ink.parent)
    assert shown(catalog, content)["title"] == ("My ink", "user")
    assert catalog.tags(content)[0] == "mine"


def test_a_program_replaces_its_own_words_and_no_others(catalog: Catalog, ink: Path) -> None:
    content, paths = stock(catalog, ink)
    scan(catalog, ink.parent)
    document = json.loads(paths[".metadata.json"].read_text())
    del document["notes"]
    document |= {"favorite": False, "tags": ["ink", "new"], "model_name": "Renamed"}
    paths[".metadata.json"].write_text(json.dumps(document))
    assert scan(catalog, ink.parent).changed == 1
    assert shown(catalog, content)["title"] == ("Renamed", "lora-manager")
    assert sources(catalog, content, "notes") == ["a1111", "rgthree"]
    assert "favourite" not in catalog.facts(content)
    assert set(catalog.tags(content)) == {"ink", "new", "monochrome", "style", "brush"}


def test_a_file_that_is_gone_or_broken_keeps_its_word(catalog: Catalog, ink: Path) -> None:
    content, paths = stock(catalog, ink)
    scan(catalog, ink.parent)
    before = catalog.facts(content), catalog.tags(content)
    paths[".metadata.json"].unlink()
    paths[".json"].write_text("{")
    taken = scan(catalog, ink.parent)
    assert (catalog.facts(content), catalog.tags(content)) == before
    assert taken.changed == 0
    assert "ink.json cannot be read" in taken.problems[0]


def test_a_scan_without_changes_reads_nothing(
    catalog: Catalog, ink: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, paths = stock(catalog, ink)
    assert scan(catalog, ink.parent).read == 1
    monkeypatch.setattr("lorakit.licenses.adding.read_beside", None)
    assert scan(catalog, ink.parent) == TakenIn()
    monkeypatch.undo()
    os.utime(paths[".txt"], ns=(5, 5))
    assert scan(catalog, ink.parent) == TakenIn(1, 0, ())
    assert scan(catalog, ink.parent, again=True).read == 1


def test_an_import_is_one_step_and_undone_for_good(catalog: Catalog, ink: Path) -> None:
    content, paths = stock(catalog, ink)
    write_adapter(ink.with_name("wash.safetensors"), 2, {"modelspec.author": "w"})
    scan(catalog, ink.parent)
    assert [step.command for step in catalog.steps()] == ["scan"]
    catalog.undo()
    assert (catalog.facts(content), catalog.tags(content)) == ({}, ())
    scan(catalog, ink.parent)
    assert catalog.facts(content) == {}
    os.utime(paths[".json"])
    scan(catalog, ink.parent)
    assert catalog.facts(content) != {}


def test_many_adapters_are_several_steps_and_whoever_is_interrupted_goes_on(
    catalog: Catalog, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(1, 6):
        path = write_adapter(folder / f"{seed}.safetensors", seed)
        path.with_suffix(".json").write_text(json.dumps({"sd version": "", "notes": f"n{seed}"}))
    monkeypatch.setattr("lorakit.licenses.adding.BATCH", 2)
    result, keep = catalog.add([folder]), catalog.keep_said

    def interrupted(command: str, *words: Any) -> int:
        if "3 of 3" in command:
            raise KeyboardInterrupt
        return keep(command, *words)

    monkeypatch.setattr(catalog, "keep_said", interrupted)
    with pytest.raises(KeyboardInterrupt):
        take_in(catalog, result, "scan")
    monkeypatch.setattr(catalog, "keep_said", keep)
    assert [step.command for step in catalog.steps()] == ["scan (2 of 3)", "scan (1 of 3)"]
    assert scan(catalog, folder) == TakenIn(1, 1, ())
    notes = {facts["notes"][0].value for facts in catalog.all_facts().values()}
    assert notes == {"n1", "n2", "n3", "n4", "n5"}


def test_two_that_take_over_the_same_at_once_get_along(
    catalog: Catalog, ink: Path, tmp_path: Path
) -> None:
    content, _ = stock(catalog, ink)
    said = {content: [SidecarFacts("a1111", "/x.json", {"notes": "same"}, ("t",))]}

    def late() -> int:
        with Catalog.open(tmp_path / "home" / "catalog.db") as other:
            return other.keep_said("late", said)

    with ThreadPoolExecutor() as pool:
        with catalog.step("early") as recording:
            recording.session.connection()
            answer = pool.submit(late)
            # The other one plans now, and then waits for the lock.
            sleep(0.5)
            catalog.set_fact(content, "notes", "same", "a1111", "/x.json")
            catalog.tag([content], ["t"], source="a1111")
        assert answer.result() == 0
    assert [step.command for step in catalog.steps()] == ["early"]


def test_a_tag_that_a_person_took_away_stays_away(catalog: Catalog, ink: Path) -> None:
    content, _ = stock(catalog, ink)
    scan(catalog, ink.parent)
    catalog.tag([content], remove=["BRUSH"])
    catalog.tag([content], remove=["style"])
    first = catalog.steps()[1].id
    # Its program writes the file anew, and the note of what was read is lost.
    record = ink.with_name("ink.swarm.json")
    record.write_text(json.dumps({**sidecars.swarm(), "modelspec.tags": "brush, style, new"}))
    for again in (False, True):
        scan(catalog, ink.parent, again=again)
        assert not {"brush", "style"} & set(catalog.tags(content))
    assert "new" in catalog.tags(content)
    # Each is undone by itself, and what a person gives others may give again.
    catalog.undo(first)
    assert {"brush", "style"} & set(catalog.tags(content)) == {"brush"}
    catalog.tag([content], add=["Style"])
    scan(catalog, ink.parent, again=True)
    # The person's row, and one for each program that gives it.
    assert catalog.tag([content], remove=["style"]) == 4


def test_a_catalog_that_was_put_back_is_told_all_again(
    catalog: Catalog, ink: Path, tmp_path: Path
) -> None:
    catalog.add([ink])
    before = tmp_path / "before.db"
    with opened(before) as copy, opened(tmp_path / "home" / "catalog.db") as own:
        own.backup(copy)
    content, _ = stock(catalog, ink)
    scan(catalog, ink.parent)
    catalog.undo()
    # What was undone stays so.
    assert scan(catalog, ink.parent).changed == 0
    with opened(before) as copy, opened(tmp_path / "home" / "catalog.db") as own:
        copy.backup(own)
    assert "author" not in catalog.facts(content)
    assert scan(catalog, ink.parent).changed == 1
    assert "author" in catalog.facts(content)


def test_undoing_says_whose_word_goes(catalog: Catalog, ink: Path) -> None:
    content, _ = stock(catalog, ink)
    catalog.set_fact(content, "rating", 3)
    scan(catalog, ink.parent)
    lines = catalog.undo(dry_run=True).changes
    for line in (
        "the strength of ink (A1111): removed, was 0.6",
        "the tag 'brush' of ink (SwarmUI): removed",
    ):
        assert line in lines
    catalog.undo()
    assert catalog.undo(dry_run=True).changes == ("the rating of ink: removed, was 3",)


def test_what_lies_beside_a_copy_counts_too(catalog: Catalog, ink: Path) -> None:
    content, _ = stock(catalog, ink)
    scan(catalog, ink.parent)
    copy = ink.with_name("copy.safetensors")
    copy.write_bytes(ink.read_bytes())
    copy.with_name("copy.metadata.json").write_text(
        json.dumps({"model_name": "Of the copy", "tags": ["copied"]})
    )
    scan(catalog, ink.parent)
    # Paths in order: the copy's comes first, and both give their tags.
    assert shown(catalog, content)["title"] == ("Of the copy", "lora-manager")
    assert {"copied", "ink"} <= set(catalog.tags(content))
    assert shown(catalog, content)["notes"] == ("LM notes", "lora-manager")


def test_moving_a_file_keeps_what_was_said(catalog: Catalog, ink: Path) -> None:
    content, _ = stock(catalog, ink)
    scan(catalog, ink.parent)
    before = shown(catalog, content)
    (ink.parent / "sub").mkdir()
    ink.rename(ink.parent / "sub" / "renamed.safetensors")
    assert scan(catalog, ink.parent).problems == ()
    assert shown(catalog, content) == before


def test_other_bytes_under_the_name_are_another_file(catalog: Catalog, ink: Path) -> None:
    old, _ = stock(catalog, ink)
    scan(catalog, ink.parent)
    write_adapter(ink, 9)
    problems = scan(catalog, ink.parent).problems
    assert any("ink.metadata.json describes another file" in problem for problem in problems)
    new = catalog.resolve("ink").tensor_sha256
    assert new != old
    assert shown(catalog, new)["notes"] == ("LM notes", "lora-manager")
    assert shown(catalog, old)["notes"] == ("LM notes", "lora-manager")


def test_folders_are_remembered_and_told_from_adapters_without_the_list(
    catalog: Catalog, folder: Path, tmp_path: Path
) -> None:
    write_adapter(folder / "a" / "b" / "ink.safetensors", 1)
    catalog.add([folder])
    assert catalog.folders() == [str(folder / "a" / "b")]
    catalog.remember_folders([folder, tmp_path / "other", folder / "a"])
    assert catalog.folders() == [str(folder), str(tmp_path / "other")]
    assert catalog.drop_folders([tmp_path / "other"]) == [str(tmp_path / "other")]
    assert catalog.folders() == [str(folder)]
    (tmp_path / "home" / "catalog.folders.json").write_text("broken")
    assert catalog.folders() == [str(folder / "a" / "b")]


@contextmanager
def cache(path: Path, rows: list[dict[str, Any]], *, log: bool = False) -> Iterator[Path]:
    """LoRA Manager's cache; with a log, while that runs and has not brought its log into the file."""
    connection = sqlite3.connect(path)
    if log:
        connection.execute("PRAGMA journal_mode=WAL")
    columns = sorted({name for row in rows for name in row} | {"model_type"})
    connection.execute(f"CREATE TABLE models ({', '.join(columns)})")
    connection.execute("CREATE TABLE model_tags (model_type, file_path, tag)")
    for row in rows:
        values = [row.get(name, "lora" if name == "model_type" else None) for name in columns]
        connection.execute(f"INSERT INTO models VALUES ({', '.join('?' * len(columns))})", values)
        connection.execute(
            "INSERT INTO model_tags VALUES ('lora', ?, 'cached')", [row["file_path"]]
        )
    connection.commit()
    if not log:
        connection.close()
    yield path
    connection.close()


@pytest.mark.parametrize("log", [False, True])
def test_lora_managers_cache(catalog: Catalog, ink: Path, tmp_path: Path, log: bool) -> None:
    write_adapter(ink.with_name("wash.safetensors"), 2)
    content, _ = stock(catalog, ink)
    scan(catalog, ink.parent)
    wash = catalog.resolve("wash")
    tips = json.dumps({"strength": 0.3})
    common = {"usage_tips": tips, "favorite": 1, "trained_words": '["w"]', "notes": "cached"}
    rows = [
        {"file_path": "C:\\loras\\wash.safetensors", "sha256": wash.file_sha256, **common},
        {"file_path": str(ink), "sha256": "", **common},
        {"file_path": "/gone.safetensors", "sha256": "cd" * 32, **common},
        # The file was replaced since: the path alone proves nothing.
        {"file_path": str(wash.path), "sha256": "ef" * 32, **common},
    ]
    (tmp_path / "lm").mkdir()
    with cache(tmp_path / "lm" / "default.sqlite", rows, log=log) as path:
        assert path.with_name(f"{path.name}-wal").exists() == log
        before = states(path.parent)
        taken = catalog.keep_cache("scan", path)
        assert states(path.parent) == before
    assert (taken.models, taken.known, taken.changed) == (4, 2, 1)
    assert shown(catalog, wash.tensor_sha256)["notes"] == ("cached", "lora-manager")
    assert shown(catalog, wash.tensor_sha256)["favourite"] == (True, "lora-manager")
    assert catalog.tags(wash.tensor_sha256) == ("cached",)
    # LoRA Manager's own file beside the adapter goes before its cache.
    assert shown(catalog, content)["notes"] == ("LM notes", "lora-manager")
    assert catalog.keep_cache("scan", path).changed == 0


def test_how_often_lora_manager_saw_an_adapter_used(catalog: Catalog, tmp_path: Path) -> None:
    path = write_adapter(tmp_path / "wash.safetensors", 2)
    catalog.add([path])
    wash = catalog.resolve("wash")
    folder = tmp_path / "lm" / "cache" / "model"
    folder.mkdir(parents=True)
    rows = [{"file_path": str(path), "sha256": wash.file_sha256}]
    with cache(folder / "default.sqlite", rows) as stored:
        pass
    stats = tmp_path / "lm" / "stats" / "lora_manager_stats.json"
    stats.parent.mkdir()
    for text in ("not JSON", "[]", '{"loras": {"' + wash.file_sha256 + '": {"total": "many"}}}'):
        stats.write_text(text)
        catalog.keep_cache("scan", stored)
        assert "used" not in shown(catalog, wash.tensor_sha256)
    history = {"2026-08-30": 2, "2026-09-01": 39}
    used = {wash.file_sha256.upper(): {"total": 41, "history": history}, "odd": 1}
    stats.write_text(json.dumps({"loras": used}))
    catalog.keep_cache("scan", stored)
    counted = {"count": 41, "last": "2026-09-01"}
    assert shown(catalog, wash.tensor_sha256)["used"] == (counted, "lora-manager")


def test_what_is_no_cache_is_refused(catalog: Catalog, tmp_path: Path) -> None:
    bad = tmp_path / "bad.sqlite"
    bad.write_bytes(b"not a database at all, but long enough to be taken for one" * 20)
    empty = tmp_path / "empty.sqlite"
    sqlite3.connect(empty).close()
    for path in (bad, empty, tmp_path / "missing.sqlite"):
        with pytest.raises(BadFile, match=path.name):
            catalog.keep_cache("scan", path)
