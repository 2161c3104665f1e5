"""Writing other programs' records: merged, in their own style, with a backup, and never by halves."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lorakit.catalog import Catalog
from lorakit.catalog.exporting import Program, plan_export, write_export
from lorakit.errors import BadFile, LorakitError, NotFound
from lorakit.formats.sidecars.beside import files_beside
from lorakit.formats.sidecars.merging import ModelFile, Word, merge_lora_manager
from lorakit.formats.sidecars.reading import read_beside
from lorakit.formats.sidecars.text import compose, parse
from lorakit.licenses.adding import take_in
from tests import sidecars
from tests.catalog.factories import write_adapter

NOW = datetime(2026, 1, 2, 3, 4, 5)
WORDS = {
    "title": "My ink",
    "notes": "Line one\nund zwei: ä",
    "description": "A < B",
    "favourite": True,
    "strength": {"value": 0.75, "min": 0.5, "max": 1.0},
    "trigger_words": ["my ink", "brush"],
}
# What each program has room for.
KEPT = {
    Program.LORA_MANAGER: tuple(WORDS),
    Program.A1111: ("notes", "description", "strength", "trigger_words"),
    Program.CIVITAI_HELPER: ("title", "description", "trigger_words"),
    Program.SWARMUI: ("title", "notes", "description", "strength", "trigger_words"),
}
ENDINGS = {
    Program.LORA_MANAGER: ".metadata.json",
    Program.A1111: ".json",
    Program.CIVITAI_HELPER: ".civitai.info",
    Program.SWARMUI: ".swarm.json",
}


@pytest.fixture
def ink(catalog: Catalog, folder: Path) -> Path:
    path = write_adapter(folder / "ink.safetensors", 1)
    catalog.add([path])
    return path


def say(catalog: Catalog, **words: object) -> str:
    content = catalog.resolve("ink").tensor_sha256
    for field, value in words.items():
        catalog.set_fact(content, field, value)
    return content


def export(catalog: Catalog, program: Program) -> tuple[Path, Path | None]:
    (one,) = plan_export(catalog, catalog.resolve("ink"), program)
    return one.path, write_export(one, NOW)


def read_back(ink: Path) -> tuple[dict[str, Any], tuple[str, ...] | None]:
    (found,) = read_beside(ink, files_beside([str(ink)])[str(ink)]).facts
    return dict(found.fields), found.tags


@pytest.mark.parametrize("program", Program)
def test_what_is_written_is_read_back(catalog: Catalog, ink: Path, program: Program) -> None:
    content = say(catalog, **WORDS)
    catalog.tag([content], add=["ink", "brush"])
    path, backup = export(catalog, program)
    assert backup is None
    fields, tags = read_back(ink)
    wanted: dict[str, Any] = {name: WORDS[name] for name in KEPT[program]}
    if program in (Program.A1111, Program.SWARMUI):
        wanted["strength"] = {"value": 0.75, "min": None, "max": None}
    if program in (Program.LORA_MANAGER, Program.CIVITAI_HELPER):
        wanted["base_model"] = "Anima"
    assert fields == wanted
    if program is not Program.A1111:
        assert tags == ("brush", "ink")
    before = path.stat()
    assert export(catalog, program) == (path, None)
    assert path.stat() == before


def test_a_new_record_of_a1111_has_all_its_keys_and_is_not_made_for_nothing(
    catalog: Catalog, ink: Path
) -> None:
    path, _ = export(catalog, Program.A1111)
    assert not path.exists()
    say(catalog, notes="mine")
    export(catalog, Program.A1111)
    assert json.loads(path.read_text()) == {
        "description": "",
        "sd version": "Unknown",
        "activation text": "",
        "preferred weight": 0,
        "negative text": "",
        "notes": "mine",
    }
    assert read_back(ink) == ({"notes": "mine"}, None)


def test_a_new_record_of_civitai_helper_is_that_of_a_file_civitai_does_not_know(
    catalog: Catalog, ink: Path
) -> None:
    path, _ = export(catalog, Program.CIVITAI_HELPER)
    assert not path.exists()
    say(catalog, trigger_words=["sumi"], notes="no place for these")
    export(catalog, Program.CIVITAI_HELPER)
    found = json.loads(path.read_text())
    assert path.name == "ink.civitai.info"
    assert (found["trainedWords"], found["baseModel"]) == (["sumi"], "Anima")
    assert found["files"][0]["hashes"]["SHA256"].lower() == catalog.resolve("ink").file_sha256
    assert found["extensions"]["sd_civitai_helper"] == {"skeleton_file": True}
    assert "no place" not in path.read_text()


def test_what_civitai_says_of_a_version_stays_but_for_your_words(
    catalog: Catalog, ink: Path
) -> None:
    path = ink.with_name("ink.civitai.info")
    said = {
        "id": 7,
        "modelId": 8,
        "trainedWords": ["theirs"],
        "description": "theirs",
        "baseModel": "Anima",
        "model": {"name": "Their ink", "type": "LORA", "nsfw": False, "tags": ["style"]},
        "creator": {"username": "somebody"},
        "images": [{"url": "https://example.org/a.png"}],
    }
    path.write_text(json.dumps(said))
    content = say(catalog, trigger_words=["mine"], author="me")
    catalog.tag([content], add=["sumi"])
    export(catalog, Program.CIVITAI_HELPER)
    wanted = {**said, "trainedWords": ["mine"]}
    wanted["model"] = {**said["model"], "tags": ["style", "sumi"]}  # type: ignore[dict-item]
    assert json.loads(path.read_text()) == wanted


def test_a_new_record_of_lora_manager_has_what_it_asks_for(catalog: Catalog, ink: Path) -> None:
    path, _ = export(catalog, Program.LORA_MANAGER)
    record = catalog.resolve("ink")
    assert json.loads(path.read_text()) == {
        "file_name": "ink",
        "model_name": "ink",
        "file_path": str(ink),
        "size": record.file_size,
        "modified": ink.stat().st_mtime,
        "sha256": record.file_sha256,
        "base_model": "Anima",
    }


@pytest.mark.parametrize("program", Program)
def test_unknown_fields_and_order_stay_and_a_backup_is_kept(
    catalog: Catalog, ink: Path, program: Program
) -> None:
    paths = sidecars.write_all(ink, catalog.resolve("ink").file_sha256)
    take_in(catalog, catalog.add([ink.parent]), "scan")
    say(catalog, notes="mine", trigger_words=["mine"])
    ending = ENDINGS[program]
    before = {path: path.read_bytes() for path in paths.values()}
    old = json.loads(before[paths[ending]])
    old["odd key"] = {"deep": [1, None, "ü"]}
    paths[ending].write_text(json.dumps({"first": 1, **old}, indent=4, ensure_ascii=False) + "\n")
    kept = paths[ending].read_bytes()
    path, backup = export(catalog, program)
    assert path == paths[ending]
    assert backup == path.with_name(f"{path.name}.bak-20260102-030405")
    assert backup.read_bytes() == kept
    text = path.read_text(encoding="utf-8")
    new = json.loads(text)
    assert list(new)[: len(old) + 1] == ["first", *old]
    assert new["odd key"] == old["odd key"]
    assert text.startswith('{\n    "first"')
    assert text.endswith("}\n")
    assert "ü" in text
    changed = {key for key in old if new[key] != old[key]}
    assert changed <= {
        "notes",
        "activation text",
        "trainedWords",
        "civitai",
        "tags",
        "modelspec.usage_hint",
        "modelspec.trigger_phrase",
        "modelspec.tags",
    }
    others = [one for one in paths.values() if one != path]
    assert [one.read_bytes() for one in others] == [before[one] for one in others]


def test_what_another_program_said_only_fills_what_is_empty(catalog: Catalog, ink: Path) -> None:
    sidecars.write_all(ink, catalog.resolve("ink").file_sha256)
    a1111 = ink.with_name("ink.json")
    a1111.write_text(json.dumps({"notes": "typed here", "preferred weight": 0, "description": ""}))
    take_in(catalog, catalog.add([ink.parent]), "scan")
    export(catalog, Program.A1111)
    found = json.loads(a1111.read_text())
    assert found["notes"] == "typed here"
    assert found["preferred weight"] == 0.7
    assert found["description"] == "Black ink & water\n\n- one"


def test_usage_tips_keep_their_other_keys_and_stay_text(catalog: Catalog, ink: Path) -> None:
    path = ink.with_name("ink.metadata.json")
    tips = '{"clip_skip": 2, "strength": 1, "strength_range": "0.2-0.4"}'
    path.write_text(json.dumps({"usage_tips": tips, "civitai": {"id": 5, "trainedWords": ["x"]}}))
    say(catalog, strength={"value": 0.5, "min": None, "max": 0.8})
    export(catalog, Program.LORA_MANAGER)
    found = json.loads(path.read_text())
    assert json.loads(found["usage_tips"]) == {
        "clip_skip": 2,
        "strength": 0.5,
        "strength_max": 0.8,
        "strength_range": "0.2-0.4",
    }
    assert found["civitai"] == {"id": 5, "trainedWords": ["x"]}


@pytest.mark.parametrize("text", ["{", "[]", '{"notes": 1, "notes": 2}', "\xff", "", "[" * 9999])
def test_a_record_that_cannot_be_read_is_left_alone(catalog: Catalog, ink: Path, text: str) -> None:
    path = ink.with_name("ink.json")
    path.write_text(text, encoding="latin-1")
    say(catalog, notes="mine")
    with pytest.raises(BadFile, match=r"ink\.json cannot be read"):
        plan_export(catalog, catalog.resolve("ink"), Program.A1111)
    assert path.read_text(encoding="latin-1") == text
    assert [one.name for one in ink.parent.iterdir() if "bak" in one.name] == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_a_pipe_in_the_place_of_a_record_is_not_waited_for(catalog: Catalog, ink: Path) -> None:
    os.mkfifo(ink.with_name("ink.json"))
    say(catalog, notes="mine")
    with pytest.raises(BadFile, match=r"ink\.json cannot be read: it is not an ordinary file"):
        plan_export(catalog, catalog.resolve("ink"), Program.A1111)


def test_a_record_that_changed_meanwhile_is_not_overwritten(catalog: Catalog, ink: Path) -> None:
    path = ink.with_name("ink.json")
    path.write_text('{"notes": "before"}')
    say(catalog, notes="mine")
    (one,) = plan_export(catalog, catalog.resolve("ink"), Program.A1111)
    path.write_text('{"notes": "meanwhile"}')
    with pytest.raises(LorakitError, match="changed meanwhile"):
        write_export(one, NOW)
    assert path.read_text() == '{"notes": "meanwhile"}'


def test_backups_do_not_replace_each_other_and_links_stay(catalog: Catalog, ink: Path) -> None:
    real = ink.parent / "real"
    real.mkdir()
    (real / "record").write_text('{"notes": "1"}')
    link = ink.with_name("ink.json")
    link.symlink_to(real / "record")
    backups = []
    for notes in ("2", "3"):
        say(catalog, notes=notes)
        backups.append(export(catalog, Program.A1111)[1])
    assert link.is_symlink()
    assert json.loads(link.read_text()) == {"notes": "3"}
    assert [json.loads(one.read_text())["notes"] for one in backups if one] == ["1", "2"]
    assert len(list(real.iterdir())) == 3


def test_every_copy_gets_its_record_and_a_missing_file_none(catalog: Catalog, ink: Path) -> None:
    (ink.parent / "b").mkdir()
    (ink.parent / "b" / "ink.safetensors").write_bytes(ink.read_bytes())
    catalog.add([ink.parent])
    planned = plan_export(catalog, catalog.resolve("ink"), Program.LORA_MANAGER)
    assert {one.path.parent.name for one in planned} == {"loras", "b"}
    for path in ink.parent.rglob("*.safetensors"):
        path.unlink()
    with pytest.raises(NotFound):
        plan_export(catalog, catalog.resolve("ink"), Program.LORA_MANAGER)


DOCUMENTS = st.dictionaries(
    st.sampled_from(sorted(sidecars.lora_manager("ink", "a"))) | st.text(max_size=5),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=6,
    ),
    max_size=6,
)


@settings(max_examples=80, deadline=None)
@given(document=DOCUMENTS, indent=st.sampled_from([None, 2, 4, "\t"]), ascii_only=st.booleans())
def test_whatever_a_record_holds_is_kept(
    document: dict[str, Any], indent: int | str | None, ascii_only: bool
) -> None:
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only)
    parsed, style = parse(text)
    assert json.loads(compose(parsed, style)) == document
    words = {name: Word(value, True) for name, value in WORDS.items()}
    merged = merge_lora_manager(parsed, words, ["t"], ModelFile("ink", "/ink", 1, 2.0, "ab"))
    json.loads(compose(merged, style))
    touched = {
        *("base_model", "civitai", "favorite", "model_name", "modelDescription", "notes"),
        *("tags", "usage_tips"),
    }
    assert {k: v for k, v in merged.items() if k in document and k not in touched} == {
        k: v for k, v in document.items() if k not in touched
    }


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.text(alphabet='{}[]":,\\ud8n \r\n1e.é\ufeff', max_size=30))
def test_text_that_parses_is_composed_to_the_same(text: str) -> None:
    try:
        document, style = parse(text)
    except (ValueError, RecursionError):
        return
    assert parse(compose(document, style))[0] == document
