"""What a file was made from stays known: on another machine, under another name, and without its header."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from lorakit.adapters.loading import load_adapter
from lorakit.bases import choose_base
from lorakit.catalog import Catalog
from lorakit.errors import Refused
from lorakit.formats.ancestry import Ancestor, RecordedTerms, encode_ancestry, read_ancestry
from lorakit.formats.header import read_header
from lorakit.gate import export_checkpoint, judge_stack
from lorakit.licenses.terms import ShareMerges
from lorakit.stack import Stack, resolve_stack
from tests.gate.conftest import register
from tests.models import lora_file, random_lora, tiny_base_file, usual_names

RDBT = Ancestor("rdbt v0.6", "adapter", "a" * 64, "b" * 64, "rdbt-lora", "0.7")
FREE = Ancestor(
    "free", "adapter", "c" * 64, terms=RecordedTerms("CC0 1.0", "allow", "Yes.", "a page")
)


@pytest.fixture
def elsewhere(tmp_path: Path, new_catalog: Path) -> Iterator[Catalog]:
    """The catalog of another machine, with a base of its own."""
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(new_catalog, tmp_path / "elsewhere" / "catalog.db")
    with Catalog.open(tmp_path / "elsewhere" / "catalog.db") as opened:
        base = tiny_base_file(tmp_path / "elsewhere" / "anima.safetensors", seed=3)
        register(opened, base, "anima", "anima")
        yield opened


@pytest.fixture
def mix(tmp_path: Path) -> Path:
    """An adapter that was merged from RDBT's, under a name and a licence that say nothing of it."""
    metadata = {
        "modelspec.license": "CC0-1.0",
        **encode_ancestry([FREE, Ancestor("half", ancestors=(RDBT,))], "merged adapter"),
    }
    modules = random_lora(usual_names(3), 3, seed=11)
    return lora_file(tmp_path / "nice style.safetensors", modules, metadata=metadata)


def rewritten(path: Path, to: Path, metadata: Mapping[str, str] | None = None) -> Path:
    """The same tensors under another header."""
    to.parent.mkdir(exist_ok=True)
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    save_file(tensors, to, dict(metadata) if metadata else None)
    return to


def refusal(catalog: Catalog, name: Path | str, out: Path) -> str:
    stack = Stack.parse(f'"{name}"')
    with pytest.raises(Refused) as caught:
        export_checkpoint(catalog, None, stack, out / "merged.safetensors")
    assert list(out.iterdir()) == []
    return caught.value.message


def test_a_carried_file_is_known_by_its_header(
    elsewhere: Catalog, mix: Path, tmp_path: Path, out: Path
) -> None:
    carried = tmp_path / "elsewhere" / "renamed.safetensors"
    shutil.copy(mix, carried)
    said = refusal(elsewhere, carried, out)
    assert "rdbt v0.6" in said
    assert "Sharing merges using this model is not allowed" in said
    assert "lorakit.ingredients" in said


def test_an_edited_header_changes_nothing_for_a_content_that_was_seen(
    elsewhere: Catalog, mix: Path, tmp_path: Path, out: Path
) -> None:
    folder = tmp_path / "elsewhere" / "loras"
    folder.mkdir()
    carried = folder / "renamed.safetensors"
    shutil.copy(mix, carried)
    elsewhere.add([carried])
    # Nobody asked for its terms so far: adding it was enough.
    carried.unlink()
    stripped = rewritten(mix, folder / "stripped.safetensors", {"modelspec.license": "CC0-1.0"})
    elsewhere.add([stripped])
    assert "Sharing merges using this model is not allowed" in refusal(elsewhere, "stripped", out)
    assert "Sharing merges using this model is not allowed" in refusal(elsewhere, stripped, out)


def test_a_file_that_was_only_ever_named_by_its_path_is_remembered_too(
    elsewhere: Catalog, mix: Path, tmp_path: Path, out: Path
) -> None:
    refusal(elsewhere, mix, out)
    stripped = rewritten(
        mix, tmp_path / "x" / "stripped.safetensors", {"modelspec.license": "CC0-1.0"}
    )
    assert "Sharing merges using this model is not allowed" in refusal(elsewhere, stripped, out)


def test_a_header_edited_beforehand_is_seen_through_by_weights_alone(
    elsewhere: Catalog, mix: Path, tmp_path: Path, out: Path
) -> None:
    # The innocent half of this test: without RDBT's own adapter nothing tells, and the file is allowed.
    metadata = {"modelspec.license": "CC0-1.0"}
    modules = random_lora(usual_names(3), 3, seed=21)
    rdbt = lora_file(tmp_path / "rdbt_v0.6.safetensors", modules)
    copied = rewritten(rdbt, tmp_path / "x" / "copied.safetensors", metadata)
    export_checkpoint(elsewhere, None, Stack.parse(str(copied)), out / "merged.safetensors")
    for path in list(out.iterdir()):
        path.unlink()
    elsewhere.add([rdbt])
    # Another content, so that no hash helps: the same change in another layout.
    load_adapter(copied).save(tmp_path / "x" / "other.safetensors", layout="comfy")
    said = refusal(elsewhere, tmp_path / "x" / "other.safetensors", out)
    assert "recognised by its weights" in said


def test_an_allowed_file_may_be_built_on(
    catalog: Catalog, files: Path, elsewhere: Catalog, tmp_path: Path, out: Path
) -> None:
    done = export_checkpoint(catalog, "own", Stack.parse("free named"), out / "first.safetensors")
    # On another machine, which knows neither of its ingredients.
    register(elsewhere, done.path, "first", "other")
    style = lora_file(
        tmp_path / "style.safetensors",
        random_lora(usual_names(3), 3, seed=5),
        metadata={"modelspec.license": "CC0-1.0"},
    )
    second = export_checkpoint(
        elsewhere, "first", Stack.parse(f"{style}"), out / "second.safetensors"
    )
    assert "CC-BY-4.0" in read_header(second.path).metadata["modelspec.license"]
    first, _ = read_ancestry(read_header(second.path).metadata)
    assert {"own", "free", "named"} <= {one.name for one in first.everyone()}
    notice = second.notice.read_text(encoding="utf-8")
    assert catalog.resolve("named").file_sha256 in notice


def test_what_was_written_here_is_known_without_its_header(
    catalog: Catalog, files: Path, tmp_path: Path, out: Path
) -> None:
    done = export_checkpoint(catalog, "own", Stack.parse("named"), out / "merged.safetensors")
    bare = rewritten(done.path, tmp_path / "x" / "bare.safetensors")
    register(catalog, bare, "bare", "other")
    chosen = choose_base(catalog, "bare")
    assert chosen.content == done.content
    parts = judge_stack(catalog, chosen, ()).parts
    assert any("named" in part.name for part in parts)


def test_a_name_in_the_free_text_of_another_program_denies(
    elsewhere: Catalog, tmp_path: Path, out: Path
) -> None:
    metadata = {"modelspec.license": "CC0-1.0", "modelspec.merged_from": "ink, RDBT [Anima] LoRA"}
    modules = random_lora(usual_names(3), 3)
    path = lora_file(tmp_path / "m.safetensors", modules, metadata=metadata)
    assert "Sharing merges using this model is not allowed" in refusal(elsewhere, path, out)


@pytest.mark.parametrize("text", ["{", "[[[", '{"ingredients": "rdbt"}', '["\\ud800"]', "null "])
def test_a_record_that_cannot_be_read_denies_and_never_fails(
    elsewhere: Catalog, tmp_path: Path, out: Path, text: str
) -> None:
    metadata = {"modelspec.license": "CC0-1.0", "lorakit.ingredients": text}
    path = lora_file(tmp_path / "m.safetensors", random_lora(usual_names(3), 3), metadata=metadata)
    (entry,) = resolve_stack(Stack.parse(str(path)), elsewhere)
    verdict = judge_stack(elsewhere, choose_base(elsewhere, None), [entry])
    allowed = text == "null "
    assert verdict.allowed == allowed
    assert allowed or verdict.share_merges is ShareMerges.UNKNOWN


def test_another_layout_keeps_ancestry_licence_and_audit_as_they_are(
    mix: Path, tmp_path: Path
) -> None:
    before = read_header(mix).metadata
    assert {"lorakit.ingredients", "modelspec.merged_from", "modelspec.license"} <= before.keys()
    load_adapter(mix).save(tmp_path / "comfy.safetensors", layout="comfy")
    after = read_header(tmp_path / "comfy.safetensors").metadata
    assert {key: after[key] for key in before if key != "lorakit.version"} == {
        key: text for key, text in before.items() if key != "lorakit.version"
    }
    assert read_ancestry(after) == read_ancestry(before)
