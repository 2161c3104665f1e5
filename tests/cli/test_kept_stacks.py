"""Stacks kept by name, and their names wherever a stack is asked for."""

from pathlib import Path

from tests.cli.conftest import Cli


def test_a_kept_stack_is_used_by_its_name(stocked: Cli, tmp_path: Path) -> None:
    said = stocked("stack", "ink:0.8 wash:0.5", "--keep", "evening", "--note", "calm")
    assert said.code == 0
    assert "Kept as evening" in said.err
    by_text = stocked("stack", "ink:0.8 wash:0.5", "--json").document
    by_name = stocked("stack", "Evening", "--json").document
    assert by_name == by_text
    listed = stocked("stack", "--list", "--json").document
    (one,) = listed["stacks"]
    assert (one["name"], one["stack"], one["base"], one["notes"]) == (
        "evening",
        "ink:0.8 wash:0.5",
        "own",
        "calm",
    )
    assert "evening" in stocked("stack", "--list").out
    assert stocked("stack", "--list", "-q").lines == ["evening"]
    # Other verbs take it too.
    ways = (
        stocked("license", "show", way, "--base", "own", "--json")
        for way in ("evening", "ink wash")
    )
    by_name, by_words = ({**ran.document, "stack": ""} for ran in ways)
    assert by_name == by_words
    assert stocked("export", "evening", "--recipe", "stack", "-o", tmp_path / "s.toml").code == 0
    assert stocked("stack", tmp_path / "s.toml", "--json").document == by_text


def test_a_kept_stack_follows_its_files(stocked: Cli, models: Path) -> None:
    assert stocked("stack", "ink:0.8", "--keep", "evening").code == 0
    before = stocked("stack", "evening", "--json").document["plan"]
    (models / "ink.safetensors").rename(models / "sumi.safetensors")
    (models / "ink.safetensors").write_bytes((models / "wash.safetensors").read_bytes())
    assert stocked("add", models).code == 0
    again = stocked("stack", "evening", "--json")
    assert again.code == 0
    # By its hash, whatever is called ink by now.
    (entry,) = again.document["plan"]["entries"]
    assert entry["path"].endswith("sumi.safetensors")
    assert entry["ranks"] == before["entries"][0]["ranks"]


def test_an_adapter_by_path_is_kept_by_its_whole_path(
    stocked: Cli, models: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(models)
    assert stocked("stack", "./ink.safetensors:0.8", "--keep", "evening").code == 0
    monkeypatch.chdir(tmp_path)
    assert stocked("stack", "evening", "-q").lines == ["ink"]


def test_names_that_cannot_be_kept(stocked: Cli) -> None:
    for name in ("two words", "a:1", "x.toml", "", "7", "ink.safetensors"):
        stocked("stack", "ink", "--keep", name).failed_with(2)
    stocked("stack", "wash", "--keep", "ink").failed_with(2, "adapter is called 'ink'")
    stocked("stack", "ink", "--note", "x").failed_with(2, "--keep")
    assert stocked("stack", "--list", "-q").lines == []


def test_replacing_dropping_and_taking_it_back(stocked: Cli) -> None:
    assert stocked("stack", "ink", "--keep", "evening").code == 0
    stocked("stack", "wash", "--keep", "Evening").failed_with(1, "--overwrite", "'evening'")
    assert stocked("stack", "wash", "--keep", "evening", "--overwrite").code == 0
    assert stocked("stack", "evening", "-q").lines == ["wash"]
    assert stocked("undo").code == 0
    assert stocked("stack", "evening", "-q").lines == ["ink"]
    assert stocked("stack", "--drop", "evening").code == 0
    stocked("stack", "evening").failed_with(1, "'evening'")
    stocked("stack", "--drop", "evenin").failed_with(1)
    assert stocked("undo").code == 0
    assert stocked("stack", "evening", "-q").lines == ["ink"]


def test_a_name_that_an_adapter_has_too_is_asked_about(
    stocked: Cli, models: Path, tmp_path: Path
) -> None:
    assert stocked("stack", "wash", "--keep", "evening").code == 0
    (tmp_path / "evening.safetensors").write_bytes(
        (models / "ink.safetensors").read_bytes()[:-1] + b"x"
    )
    assert stocked("add", tmp_path / "evening.safetensors").code == 0
    stocked("stack", "evening").failed_with(1, "evening:1", "stack:evening")
    assert stocked("stack", "evening:1", "-q").lines == ["evening"]
    assert stocked("stack", "stack:evening", "-q").lines == ["wash"]
