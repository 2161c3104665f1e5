"""Dossiers: what lies in a file, beside it, in the table and in the catalog, and what stays known."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lorakit.catalog import Catalog
from lorakit.formats.ancestry import Ancestor, encode_ancestry
from lorakit.formats.inspection import inspect
from lorakit.licenses.adding import take_in
from lorakit.licenses.dossier import Dossier
from lorakit.licenses.gathering import adapter_dossier, base_dossier, recorded_dossier
from lorakit.licenses.keeping import kept
from lorakit.licenses.known import known
from lorakit.licenses.policy import judge
from lorakit.licenses.terms import ShareMerges, Terms, strictest
from tests.catalog.factories import write_adapter, write_checkpoint
from tests.licenses.documents import (
    CLOSED,
    OPEN,
    lora_manager,
    model_answer,
    version_answer,
)

# An adapter for a model of no published size, which does not derive from Anima.
SMALL = {"lorakit.base_blocks": "3"}


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty catalog to copy: making one takes longer than these tests."""
    path = tmp_path_factory.mktemp("empty") / "catalog.db"
    Catalog.open(path).close()
    return path


@pytest.fixture
def catalog(tmp_path: Path, empty: Path) -> Iterator[Catalog]:
    shutil.copy(empty, tmp_path / "catalog.db")
    with Catalog.open(tmp_path / "catalog.db") as opened:
        yield opened


def gathered(path: Path, catalog: Catalog | None = None) -> Dossier:
    report = inspect(path)
    assert report.hashes is not None
    hashes = report.hashes
    return adapter_dossier(
        catalog, path, report, path.stem, hashes.tensor_sha256, hashes.file_sha256
    )


def share(path: Path, catalog: Catalog | None = None) -> ShareMerges:
    return gathered(path, catalog).terms.share_merges


def ink(folder: Path, metadata: Mapping[str, str] | None = None, seed: int = 1) -> Path:
    return write_adapter(folder / "ink.safetensors", seed, metadata)


def beside(path: Path, ending: str, document: object) -> Path:
    """A file beside the adapter at `path`, which it is made to be about."""
    report = inspect(path)
    assert report.hashes is not None
    text = json.dumps(document).replace("AB" * 32, report.hashes.file_sha256.upper())
    other = path.with_name(path.stem + ending)
    other.write_text(text)
    return other


# --- What each source says -----------------------------------------------------------------------


def test_a_file_that_nobody_speaks_of_is_unknown(tmp_path: Path) -> None:
    dossier = gathered(ink(tmp_path))
    assert dossier.claims == ()
    assert dossier.terms.share_merges is ShareMerges.UNKNOWN


@pytest.mark.parametrize("ending", [".civitai.info", ".metadata.json", ".api_info.json"])
@pytest.mark.parametrize("wrap", [model_answer, lora_manager])
def test_permissions_beside_a_file_are_read(tmp_path: Path, ending: str, wrap: Any) -> None:
    path = ink(tmp_path, SMALL)
    beside(path, ending, wrap(OPEN))
    assert share(path) is ShareMerges.ALLOW
    beside(path, ending, wrap(CLOSED))
    dossier = gathered(path)
    assert dossier.terms.share_merges is ShareMerges.DENY
    (claim,) = dossier.claims
    assert claim.origin == "civitai"
    assert f"ink{ending}" in claim.terms.source
    assert claim.terms.read_on is not None


def test_an_answer_about_a_version_claims_nothing(tmp_path: Path) -> None:
    path = ink(tmp_path)
    beside(path, ".civitai.info", version_answer())
    assert gathered(path).claims == ()


def test_defaults_that_lora_manager_made_up_claim_nothing_and_are_noted(tmp_path: Path) -> None:
    path = ink(tmp_path)
    beside(path, ".metadata.json", lora_manager({**OPEN, "allowCommercialUse": ["Sell"]}))
    dossier = gathered(path)
    assert dossier.claims == ()
    assert "LoRA Manager" in " ".join(dossier.notes)


def test_an_answer_about_another_file_permits_nothing_and_still_denies(tmp_path: Path) -> None:
    path = ink(tmp_path, SMALL)
    other = path.with_name("ink.civitai.info")
    other.write_text(json.dumps(model_answer(OPEN)))
    dossier = gathered(path)
    assert dossier.claims == ()
    assert "another file" in " ".join(dossier.problems)
    other.write_text(json.dumps(model_answer(CLOSED)))
    assert share(path) is ShareMerges.DENY


@pytest.mark.parametrize("number", [2356447, 2364703])
def test_rdbt_is_known_by_its_page_on_civitai(tmp_path: Path, number: int) -> None:
    path = ink(tmp_path, {"modelspec.license": "MIT"})
    beside(path, ".civitai.info", version_answer(number=number))
    dossier = gathered(path)
    assert dossier.terms.statement == "Sharing merges using this model is not allowed."
    assert "2356447" in dossier.terms.source
    assert any("allow with obligations" in said for said in dossier.conflicts)


@pytest.mark.parametrize("text", ["{", "[1, 2", "\udcff", '"text"', "[]", "nul", "9" * 5000])
def test_a_broken_file_beside_is_a_problem_at_most(tmp_path: Path, text: str) -> None:
    path = ink(tmp_path)
    path.with_name("ink.metadata.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    path.with_name("ink.md").write_bytes(b"---\nlicense: [mit\n---\n")
    dossier = gathered(path)
    assert dossier.claims == ()
    assert any("ink.md cannot be read" in problem for problem in dossier.problems)


def test_a_model_card_beside_a_file(tmp_path: Path) -> None:
    path = ink(tmp_path, SMALL)
    path.with_name("ink.md").write_text("---\nlicense: cc0-1.0\n---\n")
    assert share(path) is ShareMerges.ALLOW
    (claim,) = gathered(path).claims
    assert claim.origin == "card"


def test_a_readme_speaks_for_a_repository_and_not_for_a_folder_of_downloads(tmp_path: Path) -> None:
    readme = "---\nlicense: cc0-1.0\n---\n"
    loose = ink(tmp_path / "loras", SMALL)
    loose.with_name("README.md").write_text(readme)
    assert share(loose) is ShareMerges.ALLOW  # the only model there
    write_adapter(loose.with_name("wash.safetensors"), 2)
    assert share(loose) is ShareMerges.UNKNOWN
    snapshot = tmp_path / "models--a--b" / "snapshots" / "0f" / "split" / "loras"
    path = ink(snapshot, SMALL)
    write_adapter(path.with_name("wash.safetensors"), 2)
    (snapshot.parent.parent / "README.md").write_text(readme)
    assert share(path) is ShareMerges.ALLOW


def test_a_published_file_is_known_by_its_hash(tmp_path: Path) -> None:
    turbo = known()["anima-turbo-lora"]
    path = ink(tmp_path)
    dossier = adapter_dossier(None, path, inspect(path, hashes=False), "ink", None, turbo.sha256[0])
    (claim,) = dossier.claims
    assert (claim.origin, claim.model) == ("table", "anima-turbo-lora")
    assert dossier.terms.share_merges is ShareMerges.ALLOW_WITH_OBLIGATIONS


# --- What a file was made from -------------------------------------------------------------------


def test_an_adapter_for_anima_inherits_animas_obligations(tmp_path: Path) -> None:
    terms = gathered(ink(tmp_path, {"modelspec.license": "CC0-1.0"})).terms
    assert terms.share_merges is ShareMerges.ALLOW_WITH_OBLIGATIONS
    assert terms.obligations == known()["anima"].terms.obligations
    small = gathered(ink(tmp_path, {"modelspec.license": "CC0-1.0", **SMALL})).terms
    assert (small.share_merges, small.obligations) == (ShareMerges.ALLOW, ())


def test_what_was_merged_from_rdbt_is_denied_whatever_it_claims(tmp_path: Path) -> None:
    metadata = {"modelspec.license": "CC0-1.0", "modelspec.merged_from": "ink, rdbt_v0.32"}
    dossier = gathered(ink(tmp_path, metadata))
    assert dossier.terms.share_merges is ShareMerges.DENY
    (why,) = dossier.verdict.reasons
    assert why.startswith("ink (adapter) was merged from rdbt_v0.32 (modelspec.merged_from in")
    assert "Sharing merges using this model is not allowed." in why


def test_what_was_merged_from_others_is_unknown_until_somebody_says(
    tmp_path: Path, catalog: Catalog
) -> None:
    metadata = {"modelspec.license": "CC0-1.0", "modelspec.merged_from": "one, two", **SMALL}
    path = ink(tmp_path, metadata)
    assert share(path, catalog) is ShareMerges.UNKNOWN
    say(catalog, path, ShareMerges.ALLOW)
    assert share(path, catalog) is ShareMerges.ALLOW


def test_an_adapter_trained_on_rdbt_is_not_denied_for_that(tmp_path: Path) -> None:
    path = ink(tmp_path)
    path.with_name("ink.md").write_text(
        "---\nlicense: cc0-1.0\nbase_model: https://civitai.com/models/2356447\n"
        "base_model_relation: adapter\n---\n"
    )
    dossier = gathered(path)
    assert dossier.terms.share_merges is ShareMerges.ALLOW_WITH_OBLIGATIONS
    assert "trained on RDBT [Anima]" in " ".join(dossier.notes)
    path.with_name("ink.md").write_text(
        '---\nlicense: cc0-1.0\nbase_model: "RDBT [Anima]"\nbase_model_relation: merge\n---\n'
    )
    assert share(path) is ShareMerges.DENY


def test_a_title_that_only_mentions_rdbt_leaves_a_question(
    tmp_path: Path, catalog: Catalog
) -> None:
    path = ink(tmp_path, {"modelspec.license": "MIT", "modelspec.title": "Ink for RDBT", **SMALL})
    assert share(path, catalog) is ShareMerges.UNKNOWN
    say(catalog, path, ShareMerges.ALLOW)
    assert share(path, catalog) is ShareMerges.ALLOW_WITH_OBLIGATIONS


@pytest.mark.parametrize("key", ["rdbt", "rdbt-lora"])
def test_rdbt_denies_and_keeps_animas_obligations(tmp_path: Path, key: str) -> None:
    path = write_checkpoint(tmp_path / "base.safetensors")
    terms = base_dossier(None, "base", path, (key,), None, None).terms
    assert terms.share_merges is ShareMerges.DENY
    assert set(known()["anima"].terms.obligations) < set(terms.obligations)


def test_a_base_is_denied_by_its_name_its_header_and_its_neighbours(tmp_path: Path) -> None:
    def terms(path: Path) -> ShareMerges:
        return base_dossier(None, "x", path, ("anima",), None, None).terms.share_merges

    path = write_checkpoint(tmp_path / "own.safetensors")
    assert terms(path) is ShareMerges.ALLOW_WITH_OBLIGATIONS
    beside(path, ".civitai.info", model_answer(CLOSED))
    assert terms(path) is ShareMerges.DENY
    assert terms(path.rename(tmp_path / "rdbt_v0.32.safetensors")) is ShareMerges.DENY
    assert terms(tmp_path / "gone.safetensors") is ShareMerges.ALLOW_WITH_OBLIGATIONS


def test_a_card_that_goes_back_beyond_a_known_model_adds_nothing(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "own.safetensors")
    path.with_name("own.md").write_text("---\nbase_model: [nvidia/Cosmos-Old, a/b]\n---\n")
    known_one = base_dossier(None, "own", path, ("anima",), None, None)
    assert known_one.terms.share_merges is ShareMerges.ALLOW_WITH_OBLIGATIONS
    assert base_dossier(None, "own", path, (), None, None).terms.share_merges is (
        ShareMerges.UNKNOWN
    )


# --- The truth table -----------------------------------------------------------------------------

BASES = {
    ShareMerges.ALLOW: ("other", ShareMerges.ALLOW),
    ShareMerges.ALLOW_WITH_OBLIGATIONS: ("anima", None),
    ShareMerges.UNKNOWN: ("other", None),
    ShareMerges.DENY: ("rdbt", None),
}
ENTRIES = {
    ShareMerges.ALLOW: "CC0-1.0",
    ShareMerges.ALLOW_WITH_OBLIGATIONS: "CC-BY-4.0",
    ShareMerges.UNKNOWN: "House rules",
    ShareMerges.DENY: "CC-BY-ND-4.0",
}


@pytest.mark.parametrize("base", BASES)
def test_a_stack_is_as_strict_as_its_strictest_part(
    tmp_path: Path, catalog: Catalog, base: ShareMerges
) -> None:
    model, said = BASES[base]
    path = write_checkpoint(tmp_path / "base.safetensors")
    if said is not None:
        terms = Terms("x", said, "s", "its author", None)
        catalog.record_claim("c" * 64, origin="user", source="mail", terms=terms.to_dict())
    below = base_dossier(catalog, "base", path, (model,), "c" * 64, None)
    assert below.terms.share_merges is base
    for one, named in ENTRIES.items():
        for other, second in ENTRIES.items():
            stack = [
                gathered(ink(tmp_path / "a", {"modelspec.license": named, **SMALL})),
                gathered(ink(tmp_path / "b", {"modelspec.license": second, **SMALL}, seed=2)),
            ]
            verdict = judge([d.ingredient() for d in (below, *stack)])
            assert verdict.share_merges is strictest([base, one, other])
            assert verdict.allowed == (
                not {base, one, other} & {ShareMerges.UNKNOWN, ShareMerges.DENY}
            )


# --- What stays known ----------------------------------------------------------------------------


def say(catalog: Catalog, path: Path, share: ShareMerges, *duties: str) -> None:
    hashes = inspect(path).hashes
    assert hashes is not None
    terms = Terms("x", share, "As its author says.", "a mail", None, obligations=duties)
    catalog.record_claim(
        hashes.tensor_sha256, origin="user", source="a mail", terms=terms.to_dict()
    )


def test_claims_outlive_the_file_that_held_them_and_a_rename(
    tmp_path: Path, catalog: Catalog
) -> None:
    path = ink(tmp_path, SMALL)
    answer = beside(path, ".civitai.info", model_answer(CLOSED))
    assert share(path, catalog) is ShareMerges.DENY
    answer.unlink()
    moved = path.rename(tmp_path / "other.safetensors")
    assert share(moved, catalog) is ShareMerges.DENY
    assert share(moved) is ShareMerges.UNKNOWN  # another catalog has not seen it


def test_what_a_source_says_later_replaces_what_it_said(tmp_path: Path, catalog: Catalog) -> None:
    path = ink(tmp_path, SMALL)
    for flags, expected in ((CLOSED, ShareMerges.DENY), (OPEN, ShareMerges.ALLOW)):
        beside(path, ".civitai.info", model_answer(flags))
        assert share(path, catalog) is expected
    content = gathered(path).content
    assert content is not None
    assert len(catalog.claims(content)) == 1


def test_ancestors_outlive_the_header_that_named_them(tmp_path: Path, catalog: Catalog) -> None:
    path = ink(tmp_path, {"modelspec.merged_from": "rdbt_v0.32", "modelspec.license": "MIT"})
    assert share(path, catalog) is ShareMerges.DENY
    dossier = gathered(ink(tmp_path, {"modelspec.license": "MIT"}), catalog)
    assert dossier.terms.share_merges is ShareMerges.DENY
    assert "was merged from rdbt_v0.32" in dossier.verdict.reasons[0]


def test_what_an_adapter_was_made_for_was_not_merged_into_it(
    tmp_path: Path, catalog: Catalog
) -> None:
    made_for = Ancestor(
        "A model", "base", relation="was made for A model, and so on; is another form"
    )
    header = encode_ancestry([Ancestor("ink", ancestors=(made_for,))], "merged adapter")
    path = ink(tmp_path, {**header, **SMALL})
    where = f"(lorakit.ingredients in the header of {path.name})"
    (above,) = gathered(path).ancestors
    (below,) = above.ancestors
    assert above.relation == f"was merged from ink {where}"
    # No more of the sentence than is known: what follows is the file's own claim.
    assert below.relation == f"was made for A model {where}"
    # A catalog of before kept it as merged; what it says now takes the place of that.
    assert below.content is None
    content = gathered(path).content
    assert content is not None
    before = {**below.own_terms.to_dict(), "name": "A model", "role": "base"}
    key = f"was merged from A model {where}"
    catalog.record_claim(content, origin="ancestor", source=key, terms=before)
    gathered(path, catalog)
    rows = [row for row in catalog.claims(content) if row.terms["name"] == "A model"]
    assert [row.source for row in rows] == [key]
    assert kept(catalog, content)[1][0].relation == f"was made for A model {where}"
    # And nothing is written twice for it.
    gathered(path, catalog)
    assert [row for row in catalog.claims(content) if row.terms["name"] == "A model"] == rows


def test_gathering_again_writes_nothing(tmp_path: Path, catalog: Catalog) -> None:
    path = ink(tmp_path, {"modelspec.license": "MIT", "modelspec.merged_from": "rdbt, x"})
    beside(path, ".civitai.info", model_answer(CLOSED))
    first = gathered(path, catalog)
    assert first.content is not None
    rows = catalog.claims(first.content)
    second = gathered(path, catalog)
    assert catalog.claims(first.content) == rows
    assert second.terms == first.terms
    assert len(second.claims) == len(first.claims)
    assert [a.relation for a in second.ancestors] == [a.relation for a in first.ancestors]


def test_a_rename_says_nothing_twice(tmp_path: Path, catalog: Catalog) -> None:
    path = ink(tmp_path, {"modelspec.license": "MIT", "modelspec.merged_from": "rdbt, x"})
    first = gathered(path, catalog)
    second = gathered(path.rename(tmp_path / "other.safetensors"), catalog)
    assert [claim.origin for claim in second.claims] == ["modelspec"]
    assert "other.safetensors" in second.claims[0].where
    assert [one.name for one in second.ancestors] == [one.name for one in first.ancestors]


def test_a_person_never_loosens_a_refusal(tmp_path: Path, catalog: Catalog) -> None:
    path = ink(tmp_path, {"modelspec.license": "CC-BY-ND-4.0"})
    say(catalog, path, ShareMerges.ALLOW)
    assert share(path, catalog) is ShareMerges.DENY
    open_one = ink(tmp_path / "2", {"modelspec.license": "CC-BY-4.0", **SMALL}, seed=2)
    say(catalog, open_one, ShareMerges.ALLOW)
    terms = gathered(open_one, catalog).terms
    assert terms.share_merges is ShareMerges.ALLOW_WITH_OBLIGATIONS
    assert terms.obligations


def test_what_is_said_of_a_known_model_holds_for_every_file_that_is_it(
    tmp_path: Path, catalog: Catalog
) -> None:
    path = write_checkpoint(tmp_path / "base.safetensors")

    def terms() -> Terms:
        return base_dossier(catalog, "b", path, ("animayume",), "d" * 64, None).terms

    assert terms().share_merges is ShareMerges.UNKNOWN
    mine = Terms("x", ShareMerges.ALLOW, "Its author allows it.", "a mail", None)
    catalog.record_claim("model:animayume", origin="user", source="mail", terms=mine.to_dict())
    assert terms().share_merges is ShareMerges.ALLOW_WITH_OBLIGATIONS
    for key in ("rdbt", "rdbt-lora"):
        catalog.record_claim(f"model:{key}", origin="user", source="mail", terms=mine.to_dict())
        one = base_dossier(catalog, "b", path, (key,), "e" * 64, None)
        assert one.terms.share_merges is ShareMerges.DENY


def test_an_adapter_whose_drive_is_unplugged_is_known_by_its_stored_header(
    tmp_path: Path, catalog: Catalog
) -> None:
    path = ink(tmp_path, {"modelspec.license": "CC-BY-ND-4.0"})
    catalog.add([path])
    path.unlink()
    dossier = recorded_dossier(catalog, catalog.resolve("ink"))
    assert dossier.terms.share_merges is ShareMerges.DENY
    assert "Anima" in " ".join(one.name for one in dossier.ancestors)


def test_a_row_that_cannot_be_read_is_unknown_and_no_error(
    tmp_path: Path, catalog: Catalog
) -> None:
    path = ink(tmp_path, {"modelspec.license": "CC0-1.0", **SMALL})
    content = gathered(path).content
    assert content is not None
    catalog.record_claim(content, origin="card", source="old", terms={"share_merges": "sure"})
    dossier = gathered(path, catalog)
    assert dossier.terms.share_merges is ShareMerges.UNKNOWN
    assert replace(dossier, claims=()).terms.share_merges is ShareMerges.UNKNOWN


def test_what_a_header_says_it_was_made_from_is_kept_when_it_is_added(
    catalog: Catalog, tmp_path: Path
) -> None:
    said = {"modelspec.merged_from": "RDBT [Anima] v0.32, my own style"}
    path = write_adapter(tmp_path / "mix.safetensors", 1, metadata=said)
    plain = write_adapter(tmp_path / "plain.safetensors", 2)
    take_in(catalog, catalog.add([tmp_path]), "add")
    kept = {claim.origin for claim in catalog.claims(catalog.resolve("mix").tensor_sha256)}
    assert "ancestor" in kept
    assert catalog.claims(catalog.resolve("plain").tensor_sha256) == []
    # The header may be edited, and the file go, before anybody asks.
    path.unlink()
    plain.unlink()
    found = recorded_dossier(catalog, catalog.resolve("mix"))
    assert found.verdict.share_merges == ShareMerges.DENY
