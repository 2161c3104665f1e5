"""From an exception to a sentence and an exit code."""

from __future__ import annotations

import errno
import logging
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from lorakit import errors
from lorakit.catalog import Catalog
from tests.cli.conftest import Cli
from tests.factories import write_safetensors, zeros

CODES = {
    errors.LorakitError: 1,
    errors.NotFound: 1,
    errors.Ambiguous: 1,
    errors.NotFusable: 1,
    errors.MissingComponent: 1,
    errors.CatalogError: 1,
    errors.UnwritableCatalog: 1,
    errors.Unreachable: 1,
    errors.BadUsage: 2,
    errors.Refused: 3,
    errors.BadFile: 4,
}


@pytest.fixture(autouse=True)
def no_handlers_stay() -> Iterator[None]:
    yield
    logging.getLogger("lorakit").handlers.clear()


def failing(error: BaseException) -> classmethod[Catalog, ..., Catalog]:
    def open_catalog(cls: type[Catalog], url: object = None) -> Catalog:
        raise error

    return classmethod(open_catalog)


def test_a_command_that_is_offered_runs_as_it_stands(
    cli: Cli, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    file = (models / "wash.safetensors").rename(models / "the second wash.safetensors")
    assert cli("add", models / "ink.safetensors").code == 0
    base = models / "base.safetensors"
    added = cli("base", "add", base, "--name", "my own", "--as", "rdbt")

    def offered(said: str, verb: str) -> list[str]:
        found = re.search(rf"lorakit ({verb} ('[^']+'|[^'\s]+))", said)
        assert found is not None, said
        return shlex.split(found[1])

    unknown = cli("tag", file, "--add", "x")
    unknown.failed_with(1, "is not in the catalog")
    assert cli(*offered(unknown.err, "add")).code == 0
    assert cli(*offered(added.out, "license show")).code == 0
    assert cli(*offered(cli("inspect", "the second wash").out, "similar")).code == 0
    pruned = cli("prune", file, "--blocks", "0-27", "-o", models / "rest.safetensors")
    pruned.failed_with(1, "nothing would be left")
    assert cli(*offered(pruned.err, "inspect")).code == 0
    other = models / "another model.safetensors"
    write_safetensors(other, {"foo.bar": zeros("F32", (2,))})
    no_adapter = cli("check", other)
    no_adapter.failed_with(4, "holds no Anima adapter")
    assert cli(*offered(no_adapter.err, "inspect")).code == 0


@pytest.mark.parametrize("kind", CODES, ids=lambda kind: kind.__name__)
def test_every_known_failure_has_its_exit_code(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, kind: type[errors.LorakitError]
) -> None:
    monkeypatch.setattr(Catalog, "open", failing(kind("It went wrong.", hint="Do that.")))
    ran = cli("ls")
    assert (ran.code, ran.out, ran.err) == (CODES[kind], "", "Error: It went wrong.\nDo that.\n")


def test_reasons_and_commands_keep_lines_of_their_own(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason, command = "- " + "very long " * 10 + "reason", "  lorakit " + "word " * 20 + "end"
    error = errors.BadFile(
        f"It is refused:\n{reason}\n- another", hint=f"Say so:\n{command}\nOr not."
    )
    monkeypatch.setattr(Catalog, "open", failing(error))
    monkeypatch.setenv("COLUMNS", "80")
    lines = cli("ls").err.splitlines()
    assert lines[0] == "Error: It is refused:"
    assert " ".join(line.strip() for line in lines[1:3]) == reason
    assert lines[2].startswith("  ")
    assert lines[3:] == ["- another", "Say so:", command, "Or not."]


def test_no_error_is_left_out_of_the_table() -> None:
    kinds = {value for value in vars(errors).values() if isinstance(value, type)}
    assert {kind for kind in kinds if issubclass(kind, errors.LorakitError)} == set(CODES)


def test_ctrl_c_is_130(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Catalog, "open", failing(KeyboardInterrupt()))
    ran = cli("ls")
    assert (ran.code, ran.out, ran.err) == (130, "", "")


def test_a_failure_of_the_system_is_one_sentence(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "/data/x")
    monkeypatch.setattr(Catalog, "open", failing(full))
    cli("ls").failed_with(1, "/data/x: No space left on device.")


def test_a_bug_is_not_hidden(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Catalog, "open", failing(ZeroDivisionError("a bug")))
    with pytest.raises(ZeroDivisionError):
        cli("ls")


def test_the_traceback_is_shown_when_asked_for(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORAKIT_DEBUG", "1")
    ran = cli("inspect", "nothing-of-that-name")
    assert ran.code == 1
    assert "Traceback" in ran.err
    assert "lorakit.errors.NotFound" in ran.err
    assert "Error: No adapter" in ran.err


def test_a_catalog_that_cannot_be_opened_is_one_sentence(
    cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.write_text("a file, where a folder should be")
    cli("ls").failed_with(1, str(home))
    monkeypatch.setenv("LORAKIT_HOME", str(home.with_name("other")))
    home.with_name("other").mkdir()
    (home.with_name("other") / "catalog.db").write_text("no database at all, but long enough" * 9)
    cli("ls").failed_with(1, "catalog.db")


def test_what_the_catalog_warns_of_reaches_the_person_once(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Catalog.open.__func__  # type: ignore[attr-defined]

    def warning(cls: type[Catalog], url: object = None) -> Catalog:
        logging.getLogger("lorakit").warning("The disk is %s.", "slow")
        opened: Catalog = original(cls, url)
        return opened

    monkeypatch.setattr(Catalog, "open", classmethod(warning))
    for _ in range(2):
        ran = cli("ls", "--json")
        assert ran.err == "Warning: The disk is slow.\n"
        assert ran.document["adapters"] == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["export-metadata", "ink", "--to", "nope"], "'nope' is not one of 'lora-manager'"),
        (["undo", "x"], "'x' is no whole number"),
        (["note", "ink", "--rating", "1.5"], "'1.5' is no whole number"),
        (["ls", "--limit", "-1"], "it must be 0 or more, not -1"),
        (["preview", "ink", "--cfg", "x"], "'x' is no number"),
        (["license", "set", "ink", "--share-merges", "maybe"], "'maybe' is not one of 'allow'"),
    ],
)
def test_a_value_that_cannot_be_taken_is_told_in_plain_words(
    cli: Cli, words: list[str], told: str
) -> None:
    ran = cli(*words)
    assert (ran.code, ran.out) == (2, "")
    said = " ".join(ran.err.replace("│", " ").split())
    assert told in said
    # Typer passes on what a library says to programmers.
    assert "Value error" not in said
    assert "Input should" not in said
