"""Queries on the command line: `lorakit ls`, wherever adapters are named, and completion."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer._completion_shared import get_completion_script

from lorakit.catalog.query.fields import FIELDS
from lorakit.cli.main import run
from tests.catalog.factories import write_adapter
from tests.cli.conftest import Cli
from tests.cli.running import environment

# What finds `ink` alone among the three, at least once for every field.
FINDS_INK = (
    ("ink",),
    ("name:in*",),
    ("title:'old ink'",),
    ("OLD", "ink"),
    ("tag:sumi",),
    ("tag:su*",),
    ("note:hands",),
    ("trigger:brush",),
    ("rating:4..",),
    ("favourite:yes",),
    ("strength:0.7..",),
    ("rank:..4",),
    ("rank:4", "algo:lora", "layout:kohya", "dtype:f16", "block:1", "missing:no"),
    ("-rank:5..", "all-blocks:0..1", "only-blocks:0..27", "component:dit", "kind:mlp"),
    ("base:RDBT",),
    ("size:..3kB", "modules:2", "added:-2d", "rank:..4"),
    ("license:allow",),
    ("license:cc0-1.0",),
    ("path:/ink.",),
    ("collection:best",),
    ("hash:{hash}",),
    ("duplicate:no", "^name:wash", "-name:étude"),
    ("name:zzz", ",", "tag:sumi"),
    ("name:zzz,", "tag:sumi"),
    ("sort:rank-", "rating:.."),
)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog of three adapters, much being said of one."""
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("loras")
    facts = {"modelspec.license": "CC0-1.0", "modelspec.title": "Old Ink"}
    facts |= {"modelspec.trigger_phrase": "brush", "ss_sd_model_name": "RDBT-anima"}
    write_adapter(folder / "ink.safetensors", 1, facts)
    write_adapter(folder / "wash one.safetensors", 2, rank=8)
    write_adapter(folder / "étude.safetensors", 3, rank=32)
    said = ("--rating", "4", "--favourite", "--strength", "0.8", "--text", "mind the hands")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LORAKIT_HOME", str(home))
        assert run(["add", str(folder), "-q"]) == 0
        assert run(["tag", "ink", "--add", "sumi", "-q"]) == 0
        assert run(["note", "ink", "-q", *said]) == 0
        assert run(["collection", "new", "best", "ink", "-q"]) == 0
    return home


@pytest.fixture
def three(cli: Cli, home: Path, stored: Path) -> Cli:
    """The command line with a copy of that catalog."""
    shutil.copytree(stored, home)
    return cli


def test_every_field_finds_what_it_names(three: Cli) -> None:
    digest = three("ls", "--json", "ink").document["adapters"][0]["file_sha256"]
    for words in FINDS_INK:
        ran = three("ls", "-q", *(word.format(hash=digest[:9]) for word in words))
        assert (ran.out, ran.err) == ("ink\n", ""), words
    text = " ".join(word for words in FINDS_INK for word in words)
    assert {field.name for field in FIELDS if f"{field.name}:" not in text} == set()


def test_words_that_begin_with_a_minus_are_no_options(three: Cli) -> None:
    assert three("ls", "-ink", "-q").lines == ["étude", "wash one"]
    assert three("ls", "-q", "-tag:q").lines == ["étude", "ink", "wash one"]
    assert three("tag", "-name:ink", "-aplain").code == 0
    assert three("ls", "-q", "tag:plain").lines == ["étude", "wash one"]
    ran = three("ls", "--limt")
    assert (ran.code, ran.out) == (2, "")


def test_the_order_the_page_and_the_columns(three: Cli) -> None:
    assert three("ls", "-q", "sort:rank-").lines == ["étude", "wash one", "ink"]
    ran = three("ls", "--limit", "2", "sort:rank-")
    assert [line.split()[0] for line in ran.lines[1:3]] == ["étude", "wash"]
    assert "2 of 3" in ran.lines[-1]
    assert three("ls", "-q", "--limit", "1").lines == ["étude"]
    ran = three("ls", "ink", "--format", "name,tags,rating,favourite,strength,title,triggers")
    assert ran.lines[1].split() == ["ink", "sumi", "4", "yes", "0.8", "Old", "Ink", "brush"]
    three("ls", "--format", "nme").failed_with(2, "'nme'", "name")
    (found,) = three("ls", "--json", "tag:sumi").document["adapters"]
    assert found["tags"] == ["sumi"]
    assert found["facts"]["rating"] == {"value": 4, "source": "user"}
    assert found["facts"]["title"] == {"value": "Old Ink", "source": "header"}


def test_what_is_no_query_is_a_usage_error(three: Cli) -> None:
    three("ls", "rnk:8").failed_with(2, "'rnk'", "Did you mean rank:?", "character 1")
    three("ls", "ink", "rank:x").failed_with(2, "'x'", "character 10", "rank:8..32")
    assert "No adapter fits 'zzz'" in three("ls", "zzz").out
    assert "No adapter fits 'zzz -tag:x'" in three("ls", "zzz", "-tag:x").out


def test_the_fields_are_listed_with_an_example_each(cli: Cli) -> None:
    ran = cli("ls", "--fields")
    for field in FIELDS:
        assert field.example in ran.out
    assert max(map(len, ran.lines)) <= 80
    listed = cli("ls", "--fields", "--json").document
    assert listed["schema"] == "lorakit/ls-fields/1"
    assert [field["name"] for field in listed["fields"]] == cli("ls", "--fields", "-q").lines


def test_wherever_adapters_are_named_a_query_will_do(three: Cli) -> None:
    assert three("tag", "rank:8..", "--add", "wide").code == 0
    assert three("ls", "-q", "tag:wide").lines == ["étude", "wash one"]
    three("tag", "rank:100..", "--add", "x").failed_with(1, "No adapter fits", "rank:100..")
    three("tag", "rnk:8", "--add", "x").failed_with(2, "'rnk'", "rank:")
    # Without a condition a word stays a name.
    three("tag", "ink", "zzz", "--add", "x").failed_with(1, "'zzz'")
    assert three("ls", "-q", "tag:x").out == ""


def test_an_adapter_that_is_called_like_a_condition_can_be_named(
    three: Cli, tmp_path: Path
) -> None:
    path = write_adapter(tmp_path / "rank:9.safetensors", 9)
    assert three("add", path).code == 0
    assert three("tag", "rank:9", "--add", "named").code == 0
    assert three("ls", "-q", "tag:named").lines == ["rank:9"]


def test_a_smart_collection_holds_what_its_query_finds(three: Cli) -> None:
    assert three("collection", "new", "large", "--query", "rank:8.. sort:rank-").code == 0
    assert three("collection", "show", "large", "-q").lines == ["étude", "wash one"]
    assert three("ls", "-q", "collection:large", "-étude").lines == ["wash one"]
    three("collection", "new", "bad", "--query", "rank:x").failed_with(2, "'x'")


# Completion ------------------------------------------------------------------------------------


def offered(cli: Cli, monkeypatch: pytest.MonkeyPatch, shell: str, *words: str) -> list[str]:
    """What `shell` is offered for the last of `words`, as the script that Typer prints asks it."""
    with monkeypatch.context() as patch:
        patch.setenv("_LORAKIT_COMPLETE", f"complete_{shell}")
        patch.setenv("COMP_WORDS", " ".join(("lorakit", *words)))
        patch.setenv("COMP_CWORD", str(len(words)))
        patch.setenv("_TYPER_COMPLETE_ARGS", " ".join(("lorakit", *words)))
        patch.setenv("_TYPER_COMPLETE_WORD_TO_COMPLETE", words[-1])
        patch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
        ran = cli()
    assert (ran.code, ran.err) == (0, "")
    return ran.lines


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("l",), {"ls", "license"}),
        (("ls", "wa"), {"'wash?one'"}),
        (("ls", "ra"), {"rating:", "rank:"}),
        (("ls", "lic"), {"license:allow", "license:deny", "license:unknown"}),
        (("ls", "^fav"), {"^favourite:yes", "^favourite:no"}),
        # bash makes three words of one with a colon, and replaces the last of them.
        (("ls", "tag", ":"), {"sumi"}),
        (("ls", "tag", ":", "su"), {"sumi"}),
        (("ls", "component", ":", "t"), {"text_encoder"}),
        (("ls", "-tag", ":", "su"), {"sumi"}),
        (("ls", "sort", ":", "si"), {"size", "size-"}),
        (("tag", "collection", ":", "b"), {"best"}),
        (("tag", "ink", "--add", "su"), {"sumi"}),
        (("collection", "show", "b"), {"best"}),
        *(
            ((*verb, "wa"), {"'wash one'"})
            for verb in (["inspect"], ["license", "show"], ["stack"], ["ab", "run"], ["trace"])
        ),
        # A word alone stays a name there, and a pattern would name nothing.
        *(
            ((*verb, begun), {"'wash one'"})
            for verb in (["export-metadata"], ["tag"], ["forget"], ["doctor"])
            for begun in ("wa", "wash\\ o")
        ),
        (("tag", "^wa"), {"'^wash?one'"}),
        (("ls", "zzz"), set()),
    ],
)
def test_bash_completes(
    three: Cli, monkeypatch: pytest.MonkeyPatch, words: Sequence[str], expected: set[str]
) -> None:
    assert set(offered(three, monkeypatch, "bash", *words)) == expected


@pytest.mark.parametrize("shell", ["zsh", "fish", "powershell"])
def test_other_shells_complete(three: Cli, monkeypatch: pytest.MonkeyPatch, shell: str) -> None:
    found = "\n".join(offered(three, monkeypatch, shell, "ls", "tag:s")).replace("\\", "")
    assert "tag:sumi" in found
    assert "wash?one" in "\n".join(offered(three, monkeypatch, shell, "ls", "wa"))


def test_completion_makes_no_catalog(cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert offered(cli, monkeypatch, "bash", "ls", "nam") == []
    assert not home.exists()


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_the_script_for_bash_asks_as_it_is_answered(three: Cli, home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "lorakit"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m lorakit "$@"\n')
    program.chmod(0o755)
    script = get_completion_script(
        prog_name="lorakit", complete_var="_LORAKIT_COMPLETE", shell="bash"
    )
    ask = (
        "COMP_WORDS=(lorakit ls tag : su); COMP_CWORD=4; _lorakit_completion lorakit su :; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    path = environment(home)["PATH"]
    done = subprocess.run(
        ["bash", "--norc", "-c", f"{script}\n{ask}"],
        env=environment(home, {"PATH": f"{folder}:{path}"}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("sumi\n", "")
