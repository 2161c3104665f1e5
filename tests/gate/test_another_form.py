"""One adapter in another form: nothing is merged, so silence does not stop it; everything else holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from lorakit.adapters.loading import load_adapter
from lorakit.bases import choose_base
from lorakit.catalog import Catalog
from lorakit.errors import Refused
from lorakit.formats.ancestry import Ancestor, encode_ancestry, read_ancestry
from lorakit.formats.header import read_header
from lorakit.gate import Derived, Written, judge_stack, write_derived
from lorakit.licenses.terms import ShareMerges
from lorakit.licenses.user_claims import Saying, record, say
from lorakit.stack import ResolvedEntry, Stack, resolve_stack
from tests.gate.test_kinds import derived, lazily
from tests.models import lora_file, random_lora, tiny_base_file, usual_names


@pytest.fixture
def home(catalog: Catalog, files: Path) -> Catalog:
    """The catalog of `files`."""
    return catalog


def entry(catalog: Catalog, name: str | Path) -> ResolvedEntry:
    (found,) = resolve_stack(Stack.parse(f'"{name}"'), catalog)
    return found


def in_another_form(catalog: Catalog, name: str | Path, to: Path) -> Written:
    found = entry(catalog, name)
    tensors = load_file(found.path)
    what = Derived("re-encoded adapter", "a test", lambda: lazily(tensors), found.report.metadata)
    return write_derived(catalog, what, [found], to)


def share(catalog: Catalog, name: str | Path) -> ShareMerges:
    return judge_stack(catalog, choose_base(catalog, "own"), [entry(catalog, name)]).share_merges


def named(path: Path, seed: int, **metadata: str) -> Path:
    return lora_file(path, random_lora(usual_names(3), 3, seed=seed), metadata=metadata)


def test_silence_does_not_stop_it_and_stays_silence(home: Catalog, out: Path) -> None:
    done = in_another_form(home, "silent", out / "again.safetensors")
    metadata = read_header(done.path).metadata
    assert "modelspec.license" not in metadata
    assert "modelspec.merged_from" not in metadata
    (ancestor,) = read_ancestry(metadata)
    assert (ancestor.name, ancestor.terms.share_merges) == ("silent", "unknown")
    assert ancestor.content == home.resolve("silent").tensor_sha256
    assert "Licence: not known" in done.notice.read_text(encoding="utf-8")
    # It can be written again and again, and never merged.
    for number in range(3):
        done = in_another_form(home, done.path, out / f"{number}.safetensors")
    assert share(home, done.path) is ShareMerges.UNKNOWN
    alone = [entry(home, done.path)]
    with pytest.raises(Refused, match="unknown denies"):
        write_derived(home, derived("merged adapter"), alone, out / "merge.safetensors")


def test_terms_that_are_known_are_carried_over(home: Catalog, out: Path) -> None:
    done = in_another_form(home, "named", out / "again.safetensors")
    assert "CC-BY-4.0" in read_header(done.path).metadata["modelspec.license"]
    assert share(home, done.path) is ShareMerges.ALLOW_WITH_OBLIGATIONS
    assert "named" in done.notice.read_text(encoding="utf-8")


def test_what_its_owner_says_of_the_new_file_settles_the_old_one(home: Catalog, out: Path) -> None:
    done = in_another_form(home, "silent", out / "again.safetensors")
    home.add([done.path])
    assert share(home, "again") is ShareMerges.UNKNOWN
    saying = Saying("its author, by mail", ShareMerges.ALLOW)
    record(home, home.resolve("again").tensor_sha256, [say("again", saying)])
    assert share(home, "again") in (ShareMerges.ALLOW, ShareMerges.ALLOW_WITH_OBLIGATIONS)


@pytest.mark.parametrize("name", ["closed", "rdbt"])
def test_a_refusal_holds_in_every_form(home: Catalog, files: Path, out: Path, name: str) -> None:
    if name == "rdbt":
        half = Ancestor("half", ancestors=(Ancestor("rdbt v0.6", model="rdbt-lora"),))
        name = str(named(out.parent / "mix.safetensors", 9, **encode_ancestry([half], "x")))
    with pytest.raises(Refused):
        in_another_form(home, name, out / "again.safetensors")
    assert list(out.iterdir()) == []


def test_a_merge_with_something_unknown_in_it_stays_a_merge(home: Catalog, out: Path) -> None:
    parts = {"modelspec.license": "CC0-1.0", "modelspec.merged_from": "ink, somebody's wash"}
    mix = named(out.parent / "mix.safetensors", 9, **parts)
    with pytest.raises(Refused, match="unknown denies"):
        in_another_form(home, mix, out / "again.safetensors")


def test_several_ingredients_and_bases_are_judged_as_a_merge(home: Catalog, out: Path) -> None:
    what = Derived("re-encoded adapter", "a test", derived("merged adapter").open)
    several = [entry(home, "free"), entry(home, "silent")]
    base = choose_base(home, str(tiny_base_file(out.parent / "other.safetensors", seed=5)))
    for ingredients in (several, [base]):
        with pytest.raises(Refused, match="unknown denies"):
            write_derived(home, what, ingredients, out / "new.safetensors")
    assert list(out.iterdir()) == []


def test_the_title_is_the_works_and_not_the_files(home: Catalog, out: Path) -> None:
    path = named(out.parent / "t.safetensors", 9, **{"modelspec.title": "Harbour"})
    done = in_another_form(home, path, out / "again.safetensors")
    assert read_header(done.path).metadata["modelspec.title"] == "Harbour"


def test_the_same_bytes_under_another_name_and_header_are_what_they_are(
    home: Catalog, out: Path
) -> None:
    """Denied by its published name alone; another layout and another header leave the bytes as they are."""
    rdbt = named(out.parent / "rdbt_v0.6.safetensors", 21)
    home.add([rdbt])
    copied = out.parent / "style.safetensors"
    load_adapter(rdbt).save(copied, layout="comfy")
    save_file(load_file(copied), copied, {"modelspec.license": "CC0-1.0"})
    with pytest.raises(Refused, match="recognised by its weights"):
        in_another_form(home, copied, out / "again.safetensors")
