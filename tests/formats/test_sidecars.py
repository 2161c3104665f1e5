"""What is read from the files of other programs: each by its own schema, and nothing of broken ones."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lorakit.catalog.fields import check_fact
from lorakit.formats.sidecars.beside import RECORDS, files_beside, signatures
from lorakit.formats.sidecars.modelspec import header_facts
from lorakit.formats.sidecars.reading import read_beside
from lorakit.formats.sidecars.said import SidecarFacts
from tests import sidecars

SHA = "ab" * 32
KINDS = {
    ".metadata.json": sidecars.lora_manager("ink", SHA),
    ".json": sidecars.a1111(),
    ".civitai.info": sidecars.civitai_info(SHA),
    ".cm-info.json": sidecars.cm_info(SHA),
    ".swarm.json": sidecars.swarm(),
    ".safetensors.rgthree-info.json": sidecars.rgthree(SHA),
}


def read(folder: Path, hashes: tuple[str, ...] = ()) -> tuple[list[SidecarFacts], tuple[str, ...]]:
    model = str(folder / "ink.safetensors")
    found = read_beside(model, files_beside([model]).get(model, ()), hashes)
    return list(found.facts), found.problems


def one(folder: Path, ending: str, content: object) -> SidecarFacts:
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / f"ink{ending}").write_text(text, encoding="utf-8")
    facts, problems = read(folder)
    assert problems == ()
    (only,) = facts
    return only


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        # As Notepad saves "ANSI", and PowerShell's Out-File whatever it is given.
        (b"caf\xe9 \x96 5 \x80\r\n", "caf\u00e9 \u2013 5 \u20ac"),
        (b"\xff\xfec\x00a\x00f\x00\xe9\x00\r\x00\n\x00", "caf\u00e9"),
        (b"\xfe\xff\x00c\x00a\x00f\x00\xe9", "caf\u00e9"),
        (b"\xef\xbb\xbfcaf\xc3\xa9", "caf\u00e9"),
        (b"caf\xc3\xa9", "caf\u00e9"),
    ],
)
def test_notes_in_the_encodings_of_windows(tmp_path: Path, raw: bytes, text: str) -> None:
    (tmp_path / "ink.txt").write_bytes(raw)
    (only,), problems = read(tmp_path)
    assert (only.fields, problems) == ({"description": text}, ())


@pytest.mark.parametrize(
    ("ending", "raw", "reason"),
    [
        (".txt", b"caf\xe9\x00", "it is not UTF-8 text"),
        (".txt", b"caf\xe9 \x81", "it is not UTF-8 text"),
        (".txt", b"\xff\xfec\x00a", "it begins as UTF-16 text"),
        (".json", b'{"sd version": "Other", "notes": "caf\xe9"}', "it is not UTF-8 text"),
        (".json", b"\xff\xfe{\x00}", "it begins as UTF-16 text"),
    ],
)
def test_bytes_that_are_no_text_say_nothing(
    tmp_path: Path, ending: str, raw: bytes, reason: str
) -> None:
    (tmp_path / f"ink{ending}").write_bytes(raw)
    facts, (problem,) = read(tmp_path)
    assert (facts, f"ink{ending} cannot be read: {reason}" in problem) == ([], True)


def test_a_record_in_utf_16(tmp_path: Path) -> None:
    text = json.dumps({"sd version": "Other", "notes": "caf\u00e9"}, ensure_ascii=False)
    (tmp_path / "ink.json").write_bytes(b"\xff\xfe" + text.encode("utf-16-le"))
    (only,), problems = read(tmp_path)
    assert (only.fields["notes"], problems) == ("caf\u00e9", ())


def test_lora_manager(tmp_path: Path) -> None:
    found = one(tmp_path, ".metadata.json", KINDS[".metadata.json"])
    assert found.source == "lora-manager"
    assert found.fields == {
        "title": "Ink by LoRA Manager",
        "notes": "LM notes",
        "description": "Black ink & water\n\n- one",
        "favourite": True,
        "strength": {"value": 0.7, "min": 0.5, "max": 0.9},
        "trigger_words": ["inkstyle", "sumi"],
        "base_model": "Anima",
        "author": "inker",
        "page": "https://civitai.com/models/77?modelVersionId=6",
        "nsfw": False,
    }
    assert found.tags == ("ink", "style")
    assert found.hashes == (SHA,)
    assert found.others["hash_status"] == "completed"


def test_a_record_of_lora_manager_that_nobody_filled_in_says_nothing(tmp_path: Path) -> None:
    bare = {"file_name": "ink", "model_name": "ink", "base_model": "Unknown", "favorite": False}
    found = one(tmp_path, ".metadata.json", {**bare, "tags": [], "usage_tips": "{}", "civitai": {}})
    assert (found.fields, found.tags) == ({}, ())


@pytest.mark.parametrize(
    ("tips", "wanted"),
    [
        ({"strength": 0.8}, {"value": 0.8, "min": None, "max": None}),
        ('{"strength_range": "0.4-0.8"}', {"value": 0.6, "min": 0.4, "max": 0.8}),
        ('{"strength_min": 0.9, "strength_max": 0.5}', {"value": 0.7, "min": 0.5, "max": 0.9}),
        ('{"strength": 2, "strength_max": 1}', {"value": 2.0, "min": None, "max": None}),
        ('{"strength": "NaN"}', None),
        ("no json", None),
        ("[" * 5000, None),
    ],
)
def test_usage_tips_are_the_text_of_an_object(tmp_path: Path, tips: object, wanted: object) -> None:
    found = one(tmp_path, ".metadata.json", {"usage_tips": tips})
    assert found.fields.get("strength") == wanted


def test_a1111(tmp_path: Path) -> None:
    found = one(tmp_path, ".json", KINDS[".json"])
    assert found.source == "a1111"
    assert found.fields == {
        "notes": "A1111 notes",
        "description": "A1111 description",
        "strength": {"value": 0.6, "min": None, "max": None},
        "trigger_words": ["ink wash", "brush"],
    }
    assert found.tags is None
    assert found.others == {"negative text": "photo"}


def test_a_preferred_weight_of_0_is_none(tmp_path: Path) -> None:
    assert one(tmp_path, ".json", {"preferred weight": 0, "notes": "x"}).fields == {"notes": "x"}


def test_a_json_that_is_not_a1111s_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "ink.json").write_text('{"description": "a config of something else", "lr": 1}')
    assert read(tmp_path) == ([], ())


def test_civitai_info(tmp_path: Path) -> None:
    found = one(tmp_path, ".civitai.info", KINDS[".civitai.info"])
    assert found.source == "civitai-helper"
    assert found.fields == {
        "title": "Ink by Civitai",
        "description": "Second version",
        "trigger_words": ["civitaiword"],
        "base_model": "Anima",
        "page": "https://civitai.com/models/77?modelVersionId=6",
        "nsfw": True,
    }
    assert "extensions" in found.others


def test_an_answer_about_a_model_speaks_of_the_version_that_the_file_is(tmp_path: Path) -> None:
    versions = [
        {"id": 5, "trainedWords": ["old"], "files": [{"hashes": {"SHA256": "CD" * 32}}]},
        {"id": 6, "trainedWords": ["new"], "files": [{"hashes": {"SHA256": SHA.upper()}}]},
    ]
    document = {"id": 77, "name": "Ink", "tags": ["style"], "modelVersions": versions}
    (tmp_path / "ink.api_info.json").write_text(json.dumps(document))
    facts, problems = read(tmp_path, (SHA,))
    assert (facts[0].source, problems) == ("civitai", ())
    assert facts[0].fields["trigger_words"] == ["new"]
    facts, problems = read(tmp_path, ("ef" * 32,))
    assert "trigger_words" not in facts[0].fields
    assert "ink.api_info.json describes another file" in problems[0]


def test_stability_matrix_and_swarmui_and_rgthree(tmp_path: Path) -> None:
    for folder in ("sm", "swarm", "rg"):
        (tmp_path / folder).mkdir()
    matrix = one(tmp_path / "sm", ".cm-info.json", KINDS[".cm-info.json"])
    assert (matrix.source, matrix.fields["author"]) == ("stability-matrix", "sm-author")
    assert matrix.fields["title"] == "Ink by Stability Matrix"
    assert (matrix.tags, matrix.hashes) == (("monochrome", "style"), (SHA,))
    swarmui = one(tmp_path / "swarm", ".swarm.json", KINDS[".swarm.json"])
    assert (swarmui.source, swarmui.tags) == ("swarmui", ("brush", "style"))
    assert swarmui.fields["strength"] == {"value": 0.4, "min": None, "max": None}
    assert "notes" not in swarmui.fields
    ending = ".safetensors.rgthree-info.json"
    rg = one(tmp_path / "rg", ending, KINDS[ending])
    assert rg.fields["trigger_words"] == ["rgword"]
    assert rg.fields["strength"] == {"value": 0.4, "min": 0.2, "max": 0.6}
    assert rg.fields["page"] == "https://civitai.com/models/77?modelVersionId=6"


def test_header_fields_beside_those_that_the_adapter_has() -> None:
    found = header_facts(
        {
            "modelspec.title": "Ink",
            "modelspec.author": "a",
            "ssmd_rating": "4",
            "ssmd_tags": "ink, brush",
            "modelspec.lora_default_weight": "0.5",
            "modelspec.description": "None",
        }
    )
    assert found is not None
    assert found.fields == {
        "author": "a",
        "rating": 4,
        "strength": {"value": 0.5, "min": None, "max": None},
    }
    assert found.tags == ("ink", "brush")
    assert header_facts({"modelspec.title": "Ink", "ssmd_rating": ""}) is None


def test_a_bad_file_is_a_problem_and_the_others_are_read(tmp_path: Path) -> None:
    sidecars.write_all(tmp_path / "ink.safetensors", SHA)
    (tmp_path / "ink.json").write_text('{"notes": "cut o')
    (tmp_path / "ink.cm-info.json").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "ink.swarm.json").write_text("[]")
    facts, problems = read(tmp_path, (SHA,))
    assert {one.source for one in facts} == {"lora-manager", "a1111", "civitai-helper", "rgthree"}
    assert [problem.split(" ")[0] for problem in problems] == [
        "ink.json",
        "ink.cm-info.json",
        "ink.swarm.json",
    ]


def test_a_record_of_another_file_is_named(tmp_path: Path) -> None:
    sidecars.write_all(tmp_path / "ink.safetensors", SHA)
    assert read(tmp_path, (SHA, "12" * 32))[1] == ()
    named = [problem.split(" ")[0] for problem in read(tmp_path, ("12" * 32,))[1]]
    assert set(named) == {
        "ink.metadata.json",
        "ink.civitai.info",
        "ink.cm-info.json",
        "ink.safetensors.rgthree-info.json",
        "ink.sha256",
    }


def test_files_belong_to_the_longest_stem(tmp_path: Path) -> None:
    names = ("ink.safetensors", "ink.preview.safetensors", "ink.preview.png", "ink.PREVIEW.JPG")
    for name in (*names, "ink.v2.json", "other.json", "INK.json"):
        (tmp_path / name).write_bytes(b"x")
    models = [str(tmp_path / name) for name in names[:2]]
    found = {
        Path(model).name: [Path(file.path).name for file in files]
        for model, files in files_beside(models).items()
    }
    assert found == {
        "ink.safetensors": ["ink.PREVIEW.JPG"],
        "ink.preview.safetensors": ["ink.preview.png"],
    }


def test_the_cover_is_lora_managers_choice_and_the_first_by_name(tmp_path: Path) -> None:
    paths = sidecars.write_all(tmp_path / "ink.safetensors", SHA)
    covers = {one.source: one.fields["cover"] for one in read(tmp_path)[0] if "cover" in one.fields}
    assert covers == {"lora-manager": str(paths[".preview.png"]), "a1111": str(paths[".webp"])}


def test_a_signature_tells_that_something_changed(tmp_path: Path) -> None:
    model = str(tmp_path / "ink.safetensors")
    path = tmp_path / "ink.json"
    assert signatures([model]) == {model: 0}
    path.write_text("{}")
    before = signatures([model])
    assert before != {model: 0}
    assert signatures([model]) == before
    os.utime(path, ns=(1, 1))
    assert signatures([model]) != before
    path.unlink()
    assert signatures([model, str(tmp_path / "none" / "a.sft")]) == {
        model: 0,
        str(tmp_path / "none" / "a.sft"): 0,
    }


@pytest.mark.parametrize("ending", [".preview.png", ".metadata.json", ".TXT"])
def test_a_file_counts_for_the_longest_stem_that_it_lies_beside(
    tmp_path: Path, ending: str
) -> None:
    models = [str(tmp_path / f"{stem}.safetensors") for stem in ("ink", "ink.preview", "wash")]
    bare = dict.fromkeys(models, 0)
    for stem, model in zip(("ink", "ink.preview", "wash"), models, strict=True):
        path = tmp_path / f"{stem}{ending}"
        path.write_text("{}")
        told = signatures(models)
        assert [one for one in models if told[one] != bare[one]] == list(files_beside(models))
        assert (told[model] != 0) == (model in files_beside(models))
        path.unlink()
    assert signatures(models) == bare


def test_a_picture_counts_by_its_name(tmp_path: Path) -> None:
    model = str(tmp_path / "ink.safetensors")
    (tmp_path / "ink.png").mkdir()
    assert signatures([model]) == {model: 0}
    (tmp_path / "ink.jpg").write_bytes(b"one")
    before = signatures([model])
    assert before != {model: 0}
    (tmp_path / "ink.jpg").rename(tmp_path / "ink.JPG")
    assert signatures([model]) not in (before, {model: 0})


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["\ud800", "NaN", "1e999", "0x" + SHA, "<p>", "a,b", "\x00", " "]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*{key for kind in KINDS.values() for key in kind}, "word", "username"])
            | st.text(max_size=4),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    ending=st.sampled_from(RECORDS),
    base=st.sampled_from(list(KINDS)),
    changes=st.dictionaries(
        st.sampled_from(sorted({key for kind in KINDS.values() for key in kind})), JSON, max_size=6
    ),
    raw=st.none() | st.binary(max_size=40) | JSON,
)
def test_whatever_stands_there_is_kept_or_left(
    tmp_path: Path, ending: str, base: str, changes: dict[str, Any], raw: object
) -> None:
    for old in tmp_path.iterdir():
        old.unlink()
    if isinstance(raw, bytes):
        content = raw
    else:
        content = json.dumps({**KINDS[base], **changes} if raw is None else raw).encode()
    (tmp_path / f"ink{ending}").write_bytes(content)
    facts, _ = read(tmp_path, (SHA,))
    for found in facts:
        for field, value in found.fields.items():
            # The catalog takes it as it is, and no database refuses it.
            assert check_fact(field, value, "lora-manager") == value
            json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
        for tag in found.tags or ():
            assert tag == tag.strip()
            assert "," not in tag
            assert tag.isprintable()
