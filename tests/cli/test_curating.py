"""Tags, notes, collections, forgetting and undoing from the command line."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from lorakit.cli.note import read_strength
from lorakit.errors import BadUsage
from tests.catalog.factories import write_adapter
from tests.cli.conftest import Cli
from tests.cli.running import process


@pytest.fixture
def kept(cli: Cli, folder: Path) -> Cli:
    """The command line with ink and wash in its catalog."""
    assert cli("add", folder).code == 0
    return cli


def tags(kept: Cli, *names: str) -> dict[str, list[str]]:
    return {one["name"]: one["tags"] for one in kept("tag", *names, "--json").document["adapters"]}


def facts(kept: Cli, name: str) -> dict[str, Any]:
    (one,) = kept("note", name, "--json").document["adapters"]
    return {field: fact["value"] for field, fact in one["facts"].items()}


def test_tags_of_several_adapters(kept: Cli) -> None:
    changed = kept("tag", "ink", "wash", "--add", "Water  colour, 1930s", "--add", "wip", "--json")
    assert changed.document["step"] == 1
    everything = ["1930s", "Water colour", "wip"]
    assert tags(kept, "ink", "wash") == {"ink": everything, "wash": everything}
    # The case is kept as it was first typed, and makes no difference.
    assert "nothing to change" in kept("tag", "ink", "-a", "WIP").err
    assert kept("tag", "ink", "--remove", "water COLOUR,wip").code == 0
    assert tags(kept, "ink", "wash") == {"ink": ["1930s"], "wash": everything}
    tags_of_all = kept("tag", "--json").document
    # Another shape than the tags of adapters have.
    assert (tags_of_all["schema"], changed.document["schema"]) == (
        "lorakit/tag-list/1",
        "lorakit/tag/1",
    )
    listed = {one["tag"]: one["adapters"] for one in tags_of_all["tags"]}
    assert listed == {"1930s": 2, "Water colour": 1, "wip": 1}
    assert kept("tag", "-q").lines == ["1930s", "Water colour", "wip"]
    assert kept("tag").lines[1].split() == ["1930s", "2"]
    assert kept("tag", "wash").lines[1] == "wash  1930s, Water colour, wip"


def test_names_come_from_stdin(kept: Cli) -> None:
    assert kept("tag", "-", "--add", "x", stdin="ink\nwash\n\nink\n").code == 0
    assert tags(kept, "ink", "wash") == {"ink": ["x"], "wash": ["x"]}
    assert len(kept("undo", "--list", "-q").lines) == 1


def test_one_wrong_name_changes_nothing(kept: Cli) -> None:
    kept("tag", "ink", "nosuch", "--add", "x").failed_with(1, "nosuch")
    kept("note", "ink", "nosuch", "--rating", "3").failed_with(1, "nosuch")
    assert tags(kept, "ink") == {"ink": []}
    assert kept("undo", "--list", "-q").lines == []
    kept("undo").failed_with(1, "nothing to undo")


@pytest.mark.parametrize(
    "tag",
    [
        *("a\x1b[31m", "a\nb\x00", "x" * 101, "\u202ereversed", "\ud800"),
        *(
            "\u200d",
            "a\u200d",
            "\u200ca",
            "a\u200d b",
            "a\u200d\u200db",
            "a\u200eb",
            "a\u200d\x1bb",
        ),
    ],
)
def test_what_cannot_be_a_tag(kept: Cli, tag: str) -> None:
    kept("tag", "ink", "--add", tag).failed_with(2, "cannot be a tag")


@pytest.mark.parametrize(
    "word",
    ["\N{WOMAN}\u200d\N{ARTIST PALETTE}", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"],
)
def test_joiners_inside_a_word_are_kept_and_shown(kept: Cli, folder: Path, word: str) -> None:
    assert kept("tag", "ink", "--add", word).code == 0
    assert tags(kept, "ink") == {"ink": [word]}
    assert kept("ls", f"tag:{word}", "-q").lines == ["ink"]
    assert word in kept("tag", "ink").out
    assert kept("note", "ink", "--name", word).code == 0
    assert kept("collection", "new", word, word, "-q").lines == [word]
    assert kept("ls", f"collection:{word}", "-q").lines == [word]
    assert word in kept("undo").out
    # From the file of another program, too.
    record = {"sd version": "Other", "tags": [word, "a\u200e"]}
    (folder / "wash.metadata.json").write_text(json.dumps(record), encoding="utf-8")
    assert kept("scan").code == 0
    assert tags(kept, "wash") == {"wash": [word]}


def test_tags_and_words_that_make_no_sense(kept: Cli) -> None:
    kept("tag", "ink", "--add", "x", "--remove", "X").failed_with(2, "at once")
    kept("tag", "ink", "--add", " , ").failed_with(2, "no TAG")
    kept("tag", "--add", "x").failed_with(2, "no NAME")
    kept("note", "--rating", "3").failed_with(2, "no NAME")
    kept("note", "ink", "--rating", "6").failed_with(2, "from 1 to 5")
    kept("note", "ink", "--clear", "shoes").failed_with(2, "shoes", "rating")
    kept("forget").failed_with(2, "no NAME")
    kept("undo", "--list", "--dry-run").failed_with(2, "--list")
    kept("undo", "1", "--redo").failed_with(2, "--redo")
    kept("undo", "4").failed_with(1, "no step 4")
    assert kept("undo", "x").code == 2


def test_é_is_one_tag_however_it_is_typed(kept: Cli) -> None:
    assert kept("tag", "ink", "--add", "caf\u00e9").code == 0
    assert "nothing to change" in kept("tag", "ink", "--add", "cafe\u0301").err


def test_notes_and_the_like(kept: Cli) -> None:
    said = kept(
        *("note", "ink", "--rating", "4", "--favourite", "--strength", "0.8,0.6..1.1"),
        *("--trigger", "@ink, sumi", "--trigger", "wash", "--text", " Use with care.\n"),
    )
    assert said.code == 0
    assert "lorakit undo 1" in said.err
    assert facts(kept, "ink") == {
        "rating": 4,
        "favourite": True,
        "strength": {"value": 0.8, "min": 0.6, "max": 1.1},
        "trigger_words": ["@ink, sumi", "wash"],
        "notes": "Use with care.",
    }
    shown = " ".join(kept("note", "ink").out.split())
    assert "rating 4 of 5" in shown
    assert "strength 0.8 (0.6 to 1.1)" in shown
    assert kept("note", "ink", "wash", "--no-favourite", "--clear", "rating").code == 0
    assert facts(kept, "wash") == {"favourite": False}
    assert kept("note", "ink", "--clear", "all").code == 0
    assert facts(kept, "ink") == {}
    assert kept("undo").code == 0
    assert kept("undo").code == 0
    assert facts(kept, "ink")["rating"] == 4
    assert kept("note", "ink", "--text", "-", stdin="two\nlines\n").code == 0
    assert facts(kept, "ink")["notes"] == "two\nlines"
    kept("note", "-", "--text", "-").failed_with(2, "stdin")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
def test_notes_in_an_editor(kept: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    editor = tmp_path / "my editor"
    editor.write_text("#!/bin/sh\nprintf ' and more\\n' >> \"$2\"\n")
    editor.chmod(0o755)
    monkeypatch.setenv("VISUAL", f"'{editor}' --wait")
    assert kept("note", "ink", "--text", "First").code == 0
    assert kept("note", "ink", "--edit").code == 0
    assert facts(kept, "ink")["notes"] == "First and more"
    kept("note", "ink", "wash", "--edit").failed_with(2, "one NAME")
    monkeypatch.setenv("VISUAL", "false")
    kept("note", "ink", "--edit").failed_with(1, "false")
    monkeypatch.setenv("VISUAL", "no-such-editor")
    kept("note", "ink", "--edit").failed_with(1, "no-such-editor")
    monkeypatch.delenv("VISUAL")
    monkeypatch.delenv("EDITOR", raising=False)
    kept("note", "ink", "--edit").failed_with(2, "EDITOR")
    assert facts(kept, "ink")["notes"] == "First and more"


def test_strengths_as_they_are_typed() -> None:
    assert read_strength("-.5") == {"value": -0.5, "min": None, "max": None}
    assert read_strength("0.6..0.9") == {"value": 0.75, "min": 0.6, "max": 0.9}
    assert read_strength(" 0.8 , 0.6..0.9") == {"value": 0.8, "min": 0.6, "max": 0.9}
    for text in ("", "x", "1e3", "nan", "0.6..", "0.8,0.6"):
        with pytest.raises(BadUsage, match="no strength"):
            read_strength(text)


def test_a_strength_outside_its_own_range(kept: Cli) -> None:
    kept("note", "ink", "--strength", "2,0..1").failed_with(2, "outside its own range")
    kept("note", "ink", "--strength", "1..0").failed_with(2, "range ends before it begins: 1..0")


def test_dry_runs_tell_and_change_nothing(kept: Cli) -> None:
    tried = kept("tag", "ink", "--add", "x", "--dry-run")
    assert "the tag 'x' of ink: new" in tried.err
    tried = kept("note", "ink", "--rating", "3", "--dry-run", "--json")
    assert tried.document["would_change"] == ["the rating of ink: 3"]
    assert tried.document["step"] is None
    assert kept("collection", "new", "night", "ink", "--dry-run").code == 0
    assert kept("forget", "ink", "--dry-run", "-q").lines == ["ink"]
    assert kept("undo", "--list", "-q").lines == []
    assert kept("ls", "-q").lines == ["ink", "wash"]
    assert kept("tag", "ink", "--add", "x").code == 0
    assert "the tag 'x' of ink: removed" in kept("undo", "--dry-run").out
    assert tags(kept, "ink") == {"ink": ["x"]}


def test_collections(kept: Cli, folder: Path) -> None:
    assert kept("collection", "new", "Night", "wash", "--notes", "dark").code == 0
    kept("collection", "new", "night").failed_with(1, "'Night'")
    assert kept("collection", "add", "night", "ink", "wash").code == 0
    # In the order in which they were put in.
    assert kept("collection", "show", "ni", "-q").lines == ["wash", "ink"]
    (one,) = kept("collection", "ls", "--json").document["collections"]
    assert (one["name"], one["notes"], one["adapters"]) == ("Night", "dark", 2)
    assert kept("collection", "remove", "night", "wash").code == 0
    assert kept("collection", "show", "night", "-q").lines == ["ink"]
    tried = kept("collection", "rename", "night", "Evening", "--dry-run", "--json")
    assert (tried.document["step"], len(tried.document["would_change"]) > 0) == (None, True)
    assert kept("collection", "ls", "-q").lines == ["Night"]
    assert kept("collection", "rename", "night", "Evening").code == 0
    assert kept("collection", "ls", "-q").lines == ["Evening"]
    assert "Evening" in kept("note", "ink").out
    # A file that is forgotten is still one of it, and known again when it is added again.
    assert kept("forget", "ink").code == 0
    document = kept("collection", "show", "evening", "--json").document
    assert (document["adapters"], len(document["not_in_catalog"])) == ([], 1)
    assert kept("add", folder).code == 0
    assert kept("collection", "show", "evening", "-q").lines == ["ink"]
    assert kept("collection", "rm", "evening").code == 0
    kept("collection", "show", "evening").failed_with(1, "evening")
    assert kept("undo").code == 0
    assert kept("collection", "show", "evening", "-q").lines == ["ink"]
    for words in (("add", "nosuch", "ink"), ("rm", "nosuch"), ("show", "nosuch")):
        kept("collection", *words).failed_with(1, "nosuch", "Evening")


def test_a_collection_that_cannot_be_asked_hides_no_other(kept: Cli) -> None:
    for name, query in (("one", "collection:two"), ("two", "collection:one"), ("good", "ink")):
        assert kept("collection", "new", name, "--query", query).code == 0
    listed = kept("collection", "ls", "--json")
    sizes = {one["name"]: one["adapters"] for one in listed.document["collections"]}
    assert sizes == {"good": 1, "one": None, "two": None}
    assert "What two holds cannot be told" in kept("collection", "ls").err
    kept("collection", "show", "one").failed_with(2, "asks for itself")


def test_forgetting_the_missing_and_undoing_it(kept: Cli, folder: Path) -> None:
    before = kept("ls", "--json").document["adapters"]
    (folder / "wash.safetensors").rename(folder / "elsewhere")
    told = kept("forget", "--missing", "--json").document
    assert [one["name"] for one in told["forgotten"]] == ["wash"]
    assert kept("ls", "-q").lines == ["ink"]
    assert "No adapter is missing" in kept("forget", "--missing").out
    assert kept("undo").code == 0
    (folder / "elsewhere").rename(folder / "wash.safetensors")
    assert kept("ls", "--json").document["adapters"] == before
    assert (folder / "ink.safetensors").exists()


def test_what_is_said_outlasts_the_file(kept: Cli, folder: Path) -> None:
    assert kept("tag", "ink", "--add", "fine").code == 0
    assert kept("note", "ink", "--rating", "5").code == 0
    # Renamed and moved, with another header.
    (folder / "ink.safetensors").unlink()
    write_adapter(folder / "deep" / "sumi.safetensors", 1, {"modelspec.title": "Sumi"})
    assert kept("add", folder).code == 0
    assert tags(kept, "sumi") == {"sumi": ["fine"]}
    assert facts(kept, "sumi") == {"rating": 5, "title": "Sumi"}


def test_the_list_of_steps(kept: Cli) -> None:
    for number in range(4):
        assert kept("tag", "ink", "--add", f"t{number}").code == 0
    assert kept("undo", "2").code == 0
    table = kept("undo", "--list")
    assert re.search(r"^ +2  .* tag ink --add=t1 +1  undone by 5$", table.out, re.MULTILINE)
    assert max(map(len, table.lines)) <= 80
    document = kept("undo", "--list", "--limit", "2", "--json").document
    assert document["schema"] == "lorakit/undo-list/1"
    assert [(one["id"], one["undoes"]) for one in document["steps"]] == [(5, 2), (4, None)]
    assert kept("undo", "--redo").code == 0
    assert tags(kept, "ink") == {"ink": ["t0", "t1", "t2", "t3"]}
    kept("undo", "--redo").failed_with(1, "brought back")


def test_undoing_what_was_built_upon_names_the_step(kept: Cli) -> None:
    assert kept("note", "ink", "--rating", "3").code == 0
    assert kept("note", "ink", "--rating", "4").code == 0
    kept("undo", "1").failed_with(1, "the rating of ink", "step 2", "lorakit undo 2")


def test_another_name(kept: Cli) -> None:
    assert kept("note", "ink", "--name", "sumi-e", "--rating", "4").code == 0
    assert kept("ls", "-q").lines == ["sumi-e", "wash"]
    kept("note", "wash", "--name", "sumi-e").failed_with(1, "'sumi-e'")
    kept("note", "wash", "sumi-e", "--name", "x").failed_with(2, "one NAME")
    kept("note", "wash", "--name", " ").failed_with(2, "cannot be a name")
    tried = kept("undo", "--dry-run", "--json").document
    assert tried["changes"] == [
        "the rating of sumi-e: removed, was 4",
        "the adapter sumi-e: called ink",
    ]
    assert kept("undo").code == 0
    assert kept("ls", "-q").lines == ["ink", "wash"]


def test_what_reads_as_something_else_is_no_name(kept: Cli) -> None:
    for name, reading in (
        ("-", "an option"),
        ("-ink", "an option"),
        ("sha256:ab", "a hash"),
        ("/abs", "a file"),
        ("a.safetensors", "a file"),
        ("*", "a pattern"),
        ("<lora:a:1>", "a prompt's tag"),
        ('"ink"', "a quoted text"),
        ("stack:evening", "a stack"),
        ("tag:ink", "a condition"),
        ("^rank:8", "a condition"),
        ("ink:0.8", "a name and its strength"),
    ):
        tried = kept("note", "ink", f"--name={name}")
        tried.failed_with(2, "cannot be the name", f"reads as {reading}")
    assert kept("ls", "-q").lines == ["ink", "wash"]


def test_a_name_that_is_given_is_found_again(kept: Cli) -> None:
    before = "ink"
    for name in ("Style: ink", "a-b_c.1", "v2 (final), 3:2 b", "墨", " ink 2 "):
        assert kept("note", before, "--name", name).code == 0
        before = name.strip()
        assert kept("note", before, "-q").lines == [before]
    assert kept("note", "-", "-q", stdin=f"{name}\n").lines == [before]


def test_a_smart_collection_holds_what_its_query_finds(kept: Cli) -> None:
    assert kept("collection", "new", "good", "--query", "rating:4..").code == 0
    assert kept("collection", "show", "good", "-q").lines == []
    assert kept("note", "wash", "--rating", "5").code == 0
    assert kept("collection", "show", "good", "-q").lines == ["wash"]
    (one,) = kept("collection", "ls", "--json").document["collections"]
    assert (one["query"], one["adapters"]) == ("rating:4..", 1)
    kept("collection", "add", "good", "ink").failed_with(2, "query")
    kept("collection", "remove", "good", "wash").failed_with(2, "query")
    kept("collection", "new", "bad", "--query", "rating:x").failed_with(2)
    kept("collection", "new", "bad", "ink", "--query", "ink").failed_with(2)
    assert kept("collection", "ls", "-q").lines == ["good"]


def test_a_query_names_a_collection_by_its_new_name(kept: Cli) -> None:
    assert kept("collection", "new", "night", "ink").code == 0
    for name, query in (
        ("both", 'collection:NIGHT, collection:"night" wash sort:rank'),
        ("not", "-collection:night"),
        ("part", "collection:nig*"),
        ("other", "collection:nightly night"),
    ):
        assert kept("collection", "new", name, "--query", query).code == 0
    renamed = kept("collection", "rename", "night", 'Late "evening"', "--json")
    assert renamed.document["queries_changed"] == ["both", "not"]
    assert renamed.document["queries_without_it"] == ["part"]
    assert "The query of part found night by a pattern" in renamed.err
    listed = kept("collection", "ls", "--json").document["collections"]
    assert {one["name"]: (one["query"], one["adapters"]) for one in listed} == {
        "both": (r'collection:"Late \"evening\"", collection:"Late \"evening\"" wash sort:rank', 1),
        'Late "evening"': (None, 1),
        "not": (r'-collection:"Late \"evening\""', 1),
        "other": ("collection:nightly night", 0),
        "part": ("collection:nig*", 0),
    }
    assert kept("undo").code == 0
    listed = kept("collection", "ls", "--json").document["collections"]
    assert {one["name"]: one["adapters"] for one in listed}["both"] == 1
    assert "also in the queries of both, not." in kept("collection", "rename", "night", "day").err


def test_a_query_that_means_two_collections_keeps_its_words(kept: Cli) -> None:
    assert kept("collection", "new", "café", "ink").code == 0
    assert kept("collection", "new", "cafe", "wash").code == 0
    assert kept("collection", "new", "both", "--query", "collection:cafe").code == 0
    assert "Warning" not in kept("collection", "rm", "cafe", "--dry-run").err
    assert "another collection has" in kept("collection", "rename", "café", "tea").err.replace(
        "\n", " "
    )
    assert kept("collection", "show", "both", "-q").lines == ["wash"]


def test_removing_a_collection_warns_of_those_that_ask_for_it(kept: Cli) -> None:
    assert kept("collection", "new", "night", "ink").code == 0
    assert kept("collection", "new", "best", "--query", "collection:night").code == 0
    removed = kept("collection", "rm", "night", "--json")
    assert removed.document["queries_that_name_it"] == ["best"]
    assert "Warning: The query of best still asks for night" in removed.err
    assert "Warning" not in kept("collection", "rm", "best").err


def test_a_smart_collection_is_given_another_query(kept: Cli) -> None:
    assert kept("collection", "new", "best", "--query", "ink", "--notes", "x").code == 0
    assert kept("collection", "change", "BEST", "--query", "wash").code == 0
    assert kept("collection", "show", "best", "-q").lines == ["wash"]
    assert kept("collection", "change", "best", "--notes", "calm").code == 0
    (one,) = kept("collection", "ls", "--json").document["collections"]
    assert (one["query"], one["notes"]) == ("wash", "calm")
    assert kept("undo", "2").code == 0
    assert kept("collection", "show", "best", "-q").lines == ["ink"]
    kept("collection", "change", "best").failed_with(2, "nothing to change")
    kept("collection", "change", "best", "--query", "rank:x").failed_with(2, "rank")
    kept("collection", "change", "best", "--query", " ").failed_with(2, "empty")
    itself = kept("collection", "change", "best", "--query", "collection:best")
    assert (itself.code, "asks for itself" in itself.err) == (0, True)
    assert kept("collection", "new", "night", "ink").code == 0
    kept("collection", "change", "night", "--query", "ink").failed_with(2, "by hand")
    kept("collection", "remove", "best", "ink").failed_with(2, "collection change best --query")


def test_inspect_shows_what_is_said(kept: Cli, folder: Path) -> None:
    assert kept("tag", "ink", "--add", "fine").code == 0
    assert kept("note", "ink", "--rating", "4").code == 0
    (one,) = kept("inspect", "ink", "--json").document["adapters"]
    assert one["yours"]["tags"] == ["fine"]
    assert one["yours"]["facts"]["rating"] == {
        "value": 4,
        "source": "user",
        "place": "",
        "others": [],
    }
    shown = kept("inspect", "ink").out
    assert re.search(r"^Yours$", shown, re.MULTILINE)
    assert "4 of 5" in shown
    assert "Yours" not in kept("inspect", "wash").out
    # A path is looked at as it is, without the catalog.
    (one,) = kept("inspect", folder / "ink.safetensors", "--json").document["adapters"]
    assert one["yours"] is None


def test_undo_across_processes(home: Path, folder: Path) -> None:
    assert process(home, "add", folder).code == 0
    assert process(home, "tag", "ink", "--add", "x").code == 0
    assert process(home, "undo").code == 0
    found = json.loads(process(home, "tag", "ink", "--json").out)
    assert found["adapters"][0]["tags"] == []


def test_terms_on_record_can_be_taken_back(kept: Cli, tmp_path: Path) -> None:
    words = ("--share-merges", "allow", "--source", "told me")
    assert kept("license", "set", "wash", *words).code == 0
    assert kept("undo", "--list").lines[1].split()[3:6] == ["license", "set", "wash"]
    assert kept("license", "withdraw", "wash").code == 0
    assert kept("undo").code == 0
    assert kept("undo").code == 0
    kept("license", "withdraw", "wash").failed_with(1, "wash")
    # What a person takes from a card is a step like any other, and does not wait for itself.
    card = tmp_path / "card.md"
    card.write_text("---\nlicense: apache-2.0\n---\n# Wash\n")
    assert kept("license", "set", "wash", "--from", card).code == 0
    assert kept("undo").code == 0
    kept("license", "withdraw", "wash").failed_with(1, "wash")


def test_a_wide_terminal_has_room_for_ratings_and_tags(
    kept: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    assert "tags" not in kept("ls").lines[0]
    assert kept("tag", "ink", "--add", "fine").code == 0
    assert "tags" in kept("ls").lines[0]
    assert "rating" not in kept("ls").lines[0]
    assert kept("ls").lines[1].endswith("fine")
    monkeypatch.setenv("COLUMNS", "80")
    assert "tags" not in kept("ls").lines[0]
    assert kept("ls", "--format", "name,tags").lines[0].split() == ["name", "tags"]


@pytest.mark.parametrize(
    "words",
    [
        ["forget", "ink"],
        ["forget", "wash", "INK"],
        ["tag", "ink", "--add", "x"],
        ["note", "ink", "--rating", "5"],
        ["note", "ink", "--name", "sumi"],
        ["collection", "new", "night", "ink"],
        ["collection", "add", "best", "ink"],
        ["export-metadata", "ink", "--to", "a1111"],
        ["license", "set", "ink", "--share-merges", "allow", "--source", "its author"],
    ],
    ids=" ".join,
)
def test_what_changes_something_takes_no_beginning_of_a_name(
    kept: Cli, folder: Path, words: list[str]
) -> None:
    write_adapter(folder / "ink-2.safetensors", 3)
    assert kept("add", folder).code == 0
    assert kept("collection", "new", "best", "wash").code == 0
    assert kept("forget", "ink").code == 0
    # What is read is found by its beginning, and changes nothing.
    assert kept("tag", "ink", "-q").lines == ["ink-2"]
    assert kept("note", "ink", "-q").lines == ["ink-2"]
    kept(*words).failed_with(1, "called '", "Did you mean ink-2?")
    assert kept("ls", "-q").lines == ["ink-2", "wash"]
    assert len(kept("undo", "--list", "-q").lines) == 2
    assert kept("forget", "INK-2", "--dry-run", "-q").lines == ["ink-2"]
    assert kept("forget", folder / "ink-2.safetensors", "-q").lines == ["ink-2"]


def test_a_collection_is_changed_by_its_whole_name(kept: Cli) -> None:
    assert kept("collection", "new", "nightly", "ink").code == 0
    assert kept("collection", "show", "night", "-q").lines == ["ink"]
    for words in (["rm", "night"], ["rename", "night", "day"], ["add", "night", "wash"]):
        kept("collection", *words).failed_with(
            1, "No collection is called 'night'", "Did you mean nightly?"
        )
    assert kept("collection", "rm", "NIGHTLY", "-q").lines == ["nightly"]


def test_what_others_say_stands_under_their_names(kept: Cli, folder: Path) -> None:
    sidecar = {"notes": "good for fog", "usage_tips": '{"strength": 0.7}', "tags": ["fog"]}
    (folder / "ink.metadata.json").write_text(json.dumps(sidecar))
    assert kept("scan").code == 0
    assert kept("tag", "ink", "--add", "mine").code == 0
    for verb in ("inspect", "note"):
        yours, others = kept(verb, "ink").out.split("From others")
        assert "mine" in yours
        assert "fog" not in yours
        assert "good for fog (LoRA Manager)" in others
        assert "fog (LoRA Manager)" in others
        assert "mine" not in others
    assert "LoRA Manager says 0.7." in kept("strength", "ink").out
    assert kept("strength").lines[1].split() == ["ink", "0.7", "LoRA", "Manager"]
    # What one says oneself goes first, and is no longer anybody else's.
    assert kept("note", "ink", "--text", "mine").code == 0
    assert "good for fog" not in kept("note", "ink").out


def test_what_is_undone_is_told_from_the_words_round_it(kept: Cli) -> None:
    assert kept("note", "ink", "--text", "was here", "--strength", "0.6..1").code == 0
    assert kept("note", "ink", "--text", "and gone").code == 0
    assert kept("collection", "new", "night", "ink").code == 0
    assert kept("undo").code == 0
    assert kept("undo", "--json").document["changes"] == [
        'the notes of ink: "was here", was "and gone"'
    ]
    assert kept("undo", "--dry-run", "--json").document["changes"] == [
        "the strength of ink: removed, was 0.8 (0.6..1)",
        'the notes of ink: removed, was "was here"',
    ]
