"""`lorakit add hf:...` against a server that speaks as Hugging Face does."""

from __future__ import annotations

import contextlib
import io
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from lorakit.catalog import Catalog
from lorakit.cli.main import run
from lorakit.errors import BadUsage
from lorakit.licenses.claims import joined
from lorakit.licenses.keeping import kept
from lorakit.network.hub_address import HubAddress, parse_address
from tests.catalog.factories import write_adapter, write_checkpoint
from tests.cli.running import Ran, process
from tests.network.hub import Hub
from tests.network.server import LocalServer, Reply, serving

CARD = """---
license: cc-by-nc-4.0
base_model: circlestone-labs/Anima
base_model_relation: adapter
instance_prompt: sumi-e brush
tags: [lora, diffusers, ink, 'template:sd-lora', not-for-all-audiences]
---
<Gallery />

# Sumi Ink for Anima

Brush.
"""


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    ink = write_adapter(tmp_path / "made" / "a.safetensors", 1).read_bytes()
    wash = write_adapter(tmp_path / "made" / "b.safetensors", 2).read_bytes()
    base = write_checkpoint(tmp_path / "made" / "c.safetensors").read_bytes()
    card = CARD.encode()
    return Hub(
        {
            "inker/sumi": {
                "README.md": card,
                "base.safetensors": base,
                "styles/ink.safetensors": ink,
            },
            "inker/both": {"README.md": card, "ink.safetensors": ink, "wash.safetensors": wash},
            "inker/plain": {"pytorch_lora_weights.safetensors": wash},
            "inker/base": {"model.safetensors": base},
        }
    )


@pytest.fixture
def local(hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LocalServer]:
    from huggingface_hub import constants

    with serving(hub) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.address)
        # The library reads these when it is imported, which an earlier test may have done.
        monkeypatch.setattr(constants, "ENDPOINT", running.address)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "the hub" / "hub"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "hub" / "token"))
        template = running.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield running


def add(*words: str) -> Ran:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(["add", *words])
    return Ran(code, out.getvalue(), err.getvalue())


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("hf:a/b", HubAddress("a/b")),
        ("hf:a/b@v1", HubAddress("a/b", None, "v1")),
        ("hf:a/b@refs/pr/1", HubAddress("a/b", None, "refs/pr/1")),
        ("hf:a/b/c/d.safetensors@main", HubAddress("a/b", "c/d.safetensors", "main")),
        ("hf:a/b/at@0.8.safetensors", HubAddress("a/b", "at@0.8.safetensors")),
    ],
)
def test_an_address_is_read_and_written(text: str, wanted: HubAddress) -> None:
    assert parse_address(text) == wanted
    assert str(wanted) == text


@pytest.mark.parametrize(
    "text",
    ["hf:", "hf:a", "hf:a/", "hf:/a", "hf:a/b/", "hf:a/b@", "hf:a/b/../c", "hf:a b/c", "hf:a//b"],
)
def test_what_is_no_address_is_a_usage_error(text: str) -> None:
    with pytest.raises(BadUsage):
        parse_address(text)


def test_the_only_adapter_is_added_with_what_its_card_says(hub: Hub, local: LocalServer) -> None:
    ran = add("hf:inker/sumi", "--json")
    assert (ran.code, ran.err) == (0, "")
    (fetched,) = ran.document["fetched"]
    commit = hub.commit("inker/sumi")
    assert fetched["name"] == "ink"
    assert (fetched["repository"], fetched["revision"]) == ("inker/sumi", commit)
    assert fetched["file"] == "styles/ink.safetensors"
    with Catalog.open() as catalog:
        ink = catalog.resolve("ink")
        facts = catalog.facts(ink.tensor_sha256)
        said = {field: one[0].value for field, one in facts.items()}
        assert said == {
            "title": "Sumi Ink for Anima",
            "author": "inker",
            "base_model": "circlestone-labs/Anima",
            "trigger_words": ["sumi-e brush"],
            "page": f"{local.address}/inker/sumi",
            "nsfw": True,
        }
        places = {(one.source, one.place) for records in facts.values() for one in records}
        assert places == {("card", f"hf:inker/sumi/styles/ink.safetensors@{commit}")}
        assert catalog.tags(ink.tensor_sha256) == ("ink",)
        claims, _ = kept(catalog, ink.tensor_sha256)
        assert [one.where for one in claims] == ["the model card of inker/sumi"]
        assert joined(claims).license == "CC-BY-NC-4.0"
        assert [one.command for one in catalog.steps()] == ["add hf:inker/sumi"]
    # The checkpoint beside it was looked at and not fetched.
    base = [one for one in local.asked if one.path.endswith("base.safetensors")]
    assert base
    assert all(one.method == "HEAD" or "range" in one.headers for one in base)


def test_several_adapters_are_listed_until_one_is_named_or_all_are_wanted(
    hub: Hub, local: LocalServer
) -> None:
    add("hf:inker/both").failed_with(
        1, "2 adapters", "ink.safetensors", "wash.safetensors", "--all"
    )
    with Catalog.open() as catalog:
        assert catalog.adapters() == []
    assert add("hf:inker/both/wash.safetensors", "-q").lines == ["wash"]
    assert add("hf:inker/both", "--all", "-q").lines == ["ink"]
    with Catalog.open() as catalog:
        # The heading of a card of many is the title of none; of the file that came alone it may be.
        assert "title" not in catalog.facts(catalog.resolve("ink").tensor_sha256)


def test_a_header_that_cannot_be_read_is_not_counted_as_an_adapter(
    hub: Hub, local: LocalServer
) -> None:
    hub.repositories["inker/both"]["wash.safetensors"] = b"\xff" * 64
    said = "holds 1 adapter, and 1 file whose header cannot be read (wash.safetensors)."
    add("hf:inker/both").failed_with(1, said, "hf:inker/both/ink.safetensors", "--all")
    hub.repositories["inker/both"]["ink.safetensors"] = b"\xff" * 64
    said = (
        "no adapters, and 2 files whose headers cannot be read (ink.safetensors, wash.safetensors)"
    )
    add("hf:inker/both").failed_with(1, said)
    # One that is named is fetched, and what is wrong with it said.
    ran = add("hf:inker/both/ink.safetensors", "-q")
    assert (ran.code, ran.lines) == (4, [])
    assert "ink.safetensors" in ran.err


def test_what_can_run_code_is_not_fetched(hub: Hub, local: LocalServer) -> None:
    hub.repositories["inker/both"]["old.ckpt"] = b"\x80\x02anything"
    said = "nothing was downloaded", "It holds: ink.safetensors, wash.safetensors."
    add("hf:inker/both/old.ckpt").failed_with(4, "can run code", *said)
    assert not any("old.ckpt" in one.path for one in local.asked)


def test_what_was_not_looked_at_is_not_counted(hub: Hub, local: LocalServer) -> None:
    base = hub.repositories["inker/base"]["model.safetensors"]
    ink = hub.repositories["inker/both"]["ink.safetensors"]
    wash = hub.repositories["inker/both"]["wash.safetensors"]
    bases = {f"{number:02}.safetensors": base for number in range(39)}
    hub.repositories["inker/many"] = {**bases, "ink.safetensors": ink, "wash.safetensors": wash}
    add("hf:inker/many").failed_with(
        1,
        "holds 1 adapter among the first 40 files; 1 more file was not looked at.",
        "hf:inker/many/ink.safetensors",
        "It holds: ink.safetensors, wash.safetensors.",
    )
    hub.repositories["inker/many"]["38b.safetensors"] = base
    hub.repositories["inker/many"] = dict(sorted(hub.repositories["inker/many"].items()))
    said = "holds no adapters among the first 40 files; 2 more files were not looked at."
    add("hf:inker/many").failed_with(1, said, "hf:inker/many/ink.safetensors")
    assert add("hf:inker/many/wash.safetensors", "-q").lines == ["wash"]
    assert add("hf:inker/many", "--all", "-q").lines == ["ink"]


def test_all_takes_what_can_be_read_and_names_the_rest(hub: Hub, local: LocalServer) -> None:
    hub.repositories["inker/both"]["wash.safetensors"] = b"\xff" * 64
    ran = add("hf:inker/both", "--all", "-q")
    assert (ran.code, ran.lines) == (4, ["ink"])
    assert "wash.safetensors" in ran.err


def test_a_file_that_is_there_is_not_fetched_again(
    hub: Hub, local: LocalServer, tmp_path: Path
) -> None:
    mine = tmp_path / "mine" / "own-name.safetensors"
    mine.parent.mkdir()
    mine.write_bytes(hub.repositories["inker/sumi"]["styles/ink.safetensors"])
    assert add(str(mine)).code == 0
    ran = add("hf:inker/sumi", "--json")
    assert [one["path"] for one in ran.document["fetched"]] == [str(mine)]
    assert [Path(one["path"]) for one in ran.document["known"]] == [mine]
    asked = [one for one in local.asked if one.path.endswith("ink.safetensors")]
    assert all("range" in one.headers for one in asked)
    with Catalog.open() as catalog:
        content = catalog.resolve("own-name").tensor_sha256
        assert catalog.facts(content)["author"][0].value == "inker"


def test_a_file_that_is_called_as_all_are_gets_the_name_of_its_repository(
    hub: Hub, local: LocalServer
) -> None:
    assert add("hf:inker/plain", "-q").lines == ["plain"]
    with Catalog.open() as catalog:
        record = catalog.resolve("plain")
        catalog.add([record.existing_path()], name="mine")
    # A name that a person gave stays.
    assert add("hf:inker/plain", "-q").lines == []
    with Catalog.open() as catalog:
        assert [one.name for one in catalog.adapters()] == ["mine"]


def test_a_revision_is_taken_at_its_word(hub: Hub, local: LocalServer) -> None:
    hub.branches = ("main", "v1")
    assert add("hf:inker/sumi@v1").code == 0
    assert local.asked[0].path == "/api/models/inker/sumi/revision/v1"
    # On the server that was asked, which need not be huggingface.co.
    add("hf:inker/sumi@v2").failed_with(
        1, "no revision 'v2'", f"{local.address}/inker/sumi/tree/main"
    )


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("hf:inker/nothing", ["no repository inker/nothing"]),
        ("hf:inker/sumi/no.safetensors", ["no file 'no.safetensors'", "styles/ink.safetensors"]),
        ("hf:inker/base", ["no adapter", "nothing was downloaded"]),
        ("hf:inker/sumi/base.safetensors", ["no adapter", "nothing was downloaded"]),
    ],
)
def test_what_is_not_there_is_one_sentence(
    local: LocalServer, address: str, words: list[str]
) -> None:
    add(address).failed_with(1, *words)
    with Catalog.open() as catalog:
        assert catalog.adapters() == []


def test_terms_that_are_not_accepted_are_said(hub: Hub, local: LocalServer) -> None:
    hub.gated = {"inker/sumi"}
    add("hf:inker/sumi").failed_with(1, "accepted its terms", "hf auth login", local.address)


def test_a_download_that_breaks_off_adds_nothing(hub: Hub, local: LocalServer) -> None:
    data = hub.repositories["inker/plain"]["pytorch_lora_weights.safetensors"]
    whole = local.rule

    def cut(asked):
        reply = whole(asked)
        if asked.method == "GET" and asked.path.endswith("weights.safetensors"):
            if asked.headers.get("range", "").startswith("bytes=0-1"):
                return reply  # the look at the header
            return Reply(200, data[:50], reply.headers, length=50)
        return reply

    local.rule = cut
    ran = add("hf:inker/plain")
    ran.failed_with(1, "cannot be fetched", "goes on")
    with Catalog.open() as catalog:
        assert catalog.adapters() == []
    local.rule = whole
    assert add("hf:inker/plain", "-q").lines == ["plain"]


def test_a_file_that_is_not_what_it_is_said_to_be_is_named(hub: Hub, local: LocalServer) -> None:
    hub.wrong_hashes = True
    ran = add("hf:inker/plain")
    ran.failed_with(4, "is not what the server states", "Nothing was added", "lorakit add '/")
    with Catalog.open() as catalog:
        assert catalog.adapters() == []
        assert catalog.steps() == []
    # Both ways that are named lead on: the file as it is, and one that is fetched anew.
    hint = shlex.split(ran.err.splitlines()[-1])
    stored, kept_at = hint[hint.index("Delete") + 1], hint[-1]
    assert add(kept_at, "-q").code == 0
    Path(stored).unlink()
    hub.wrong_hashes = False
    assert add("hf:inker/plain").code == 0
    assert Path(stored).exists()


def test_one_wrong_file_of_several_adds_none(hub: Hub, local: LocalServer) -> None:
    hub.wrong_hashes = True
    add("hf:inker/both", "--all").failed_with(4, "ink.safetensors", "Nothing was added")
    with Catalog.open() as catalog:
        assert catalog.adapters() == []


def test_a_card_that_cannot_be_read_is_a_warning(hub: Hub, local: LocalServer) -> None:
    hub.repositories["inker/sumi"]["README.md"] = b"---\nlicense: [\n---\n# Ink\n"
    ran = add("hf:inker/sumi", "-q")
    assert (ran.code, ran.lines) == (0, ["ink"])
    assert "README.md cannot be read" in ran.err


@pytest.mark.parametrize("name", ["LORAKIT_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_is_a_refusal_and_sends_nothing(
    local: LocalServer, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "1")
    add("hf:inker/sumi").failed_with(1, name, "nothing was sent")
    assert local.asked == []


def test_all_is_for_repositories(tmp_path: Path) -> None:
    add(str(tmp_path), "--all").failed_with(2, "--all")


def test_a_process_adds_files_from_both_places(local: LocalServer, tmp_path: Path) -> None:
    own = write_adapter(tmp_path / "own.safetensors", 5)
    ran = process(tmp_path / "home", "add", own, "hf:inker/sumi", "-q")
    assert (ran.code, ran.err) == (0, "")
    assert sorted(ran.lines) == ["ink", "own"]
    assert (tmp_path / "hub" / "hub" / "models--inker--sumi").is_dir()
    # Nothing but this repository was asked for, and the program says no more of itself than it must.
    assert {one.path.split("/resolve/")[0] for one in local.asked} == {
        "/api/models/inker/sumi",
        "/inker/sumi",
    }
    agents = [one.headers["user-agent"] for one in local.asked]
    assert not any("torch" in agent for agent in agents)
