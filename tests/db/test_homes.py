"""Homes that earlier versions made, as they were left by the program of that time.

Each was made in the last commit that had the schema it is called after, with the verbs which that had: four
adapters added, a base, an export that was refused and a cover; from 0002 on votes; from 0003 on a claim of
the person's; from 0004 on tags, notes, collections, a kept stack, and an adapter forgotten and brought back.
"""

import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from lorakit.catalog import Catalog
from lorakit.catalog.covers import all_covers
from lorakit.db.revisions import HEAD, REVISIONS
from tests.catalog.factories import write_adapter
from tests.db.test_upgrading import rows, version

HOMES = Path(__file__).parent / "homes"


@pytest.fixture(params=REVISIONS)
def revision(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def home(revision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with tarfile.open(HOMES / f"{revision}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.setenv("LORAKIT_HOME", str(tmp_path / "lorakit"))
    assert version(tmp_path / "lorakit" / "catalog.db") == revision
    return tmp_path / "lorakit"


def test_all_that_was_in_it_is_in_it(home: Path, revision: str) -> None:
    before = rows(home / "catalog.db")
    with Catalog.open() as catalog:
        summer = "summer" if revision >= "0004" else "été"
        assert [one.name for one in catalog.adapters()] == sorted(["ink", "pen", summer, "wash"])
        assert all(one.missing for one in catalog.adapters())
        ink = catalog.resolve("ink")
        assert (ink.title, ink.license) == ("Ink", "CC0-1.0")
        assert [one.name for one in ink.locations] == ["ink.safetensors"]
        assert list(all_covers()) == [ink.tensor_sha256]
        base = catalog.base("home")
        assert (base.model, base.blocks, base.missing) == ("rdbt", 3, True)
        (decision,) = catalog.decisions()
        assert (decision.action, decision.verdict) == ("export", "refused")
        assert catalog.check_audit().broken is None
        # What queries need was not kept from the first.
        assert {one.name for one in catalog.find("block:1")} == {"ink", summer, "wash"}
        if revision >= "0002":
            assert catalog.comparison("ab-0001").votes == {1: "first", 2: "same"}
        if revision >= "0003":
            said = [one for one in catalog.claims(ink.tensor_sha256) if one.origin == "user"]
            assert [one.source for one in said] == ["https://example.org/ink"]
            assert [one.name for one in catalog.sketches("base")] == ["home"]
    after = rows(home / "catalog.db")
    assert version(home / "catalog.db") == HEAD
    for table, found in before.items():
        kept = [{name: now[name] for name in found[0]} for now in after[table]]
        assert [row for row in kept if row in found] == found


def test_the_copy_from_before_opens_in_its_place(home: Path, revision: str) -> None:
    before = rows(home / "catalog.db")
    Catalog.open().close()
    copies = list(home.glob("catalog.db.bak-*"))
    assert [one.name.split("-")[1] for one in copies] == [revision] * (revision != HEAD)
    for copy in copies:
        assert (version(copy), rows(copy)) == (revision, before)
        copy.replace(home / "catalog.db")
        with Catalog.open() as catalog:
            assert catalog.resolve("ink").title == "Ink"


def test_files_that_come_back_are_the_adapters_they_were(
    home: Path, revision: str, tmp_path: Path
) -> None:
    folder = tmp_path / "loras"
    ink = write_adapter(
        folder / "sumi.safetensors", 1, {"modelspec.title": "Ink", "modelspec.license": "CC0-1.0"}
    )
    write_adapter(folder / "deep" / "wash.safetensors", 2)
    with Catalog.open() as catalog:
        numbers = {one.name: one.id for one in catalog.adapters()}
        result = catalog.add([folder])
        assert {one.name: one.adapter_id for one in result.moved} == {
            name: numbers[name] for name in ("ink", "wash")
        }
        assert catalog.resolve("ink").existing_path() == ink
        catalog.tag([catalog.resolve("wash").tensor_sha256], add=["found"])
        assert [one.name for one in catalog.find("tag:found")] == ["wash"]
        catalog.undo()
        assert catalog.find("tag:found") == []


@pytest.mark.parametrize("revision", [one for one in REVISIONS if one >= "0004"])
def test_what_was_said_is_said_and_can_be_taken_back(home: Path, revision: str) -> None:
    with Catalog.open() as catalog:
        content = catalog.resolve("ink").tensor_sha256
        facts = {field: said[0].value for field, said in catalog.facts(content).items()}
        assert (facts["notes"], facts["rating"], facts["favourite"]) == ("Best under 0.9.", 4, True)
        assert facts["trigger_words"] == ["@ink, sumi"]
        assert facts["strength"] == {"value": 0.8, "min": 0.6, "max": 1.0}
        assert catalog.tags(content) == ("墨",)
        assert {one.name: one.query for one in catalog.collections()} == {
            "best": "rating:4.. missing:no",
            "night": None,
        }
        assert [one.name for one in catalog.find("collection:night")] == ["ink", "pen"]
        (stack,) = catalog.kept_stacks()
        assert (stack.name, stack.notes, 'name = "pen"' in stack.document) == (
            "evening",
            "calm",
            True,
        )
        commands = [one.command for one in catalog.steps()]
        assert len(commands) == 10
        # Every step of the earlier program, the latest first; of those that are undone already none.
        while any(one.undone_by is None and one.undoes is None for one in catalog.steps()):
            catalog.undo()
        assert (catalog.kept_stacks(), catalog.collections()) == ([], [])
        assert (catalog.tags(content), catalog.facts(content).get("rating")) == ((), None)
        assert [one.name for one in catalog.adapters()] == ["ink", "pen", "wash", "été"]


def test_a_home_that_was_left_in_the_middle_of_a_write_is_whole(home: Path) -> None:
    """Killed, a program leaves its last changes in the log beside the file."""
    path = home / "catalog.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("UPDATE adapter SET title = 'in the log' WHERE name = 'wash'")
        log = path.with_name("catalog.db-wal").read_bytes()
        data = path.read_bytes()
    path.write_bytes(data)
    path.with_name("catalog.db-wal").write_bytes(log)
    with Catalog.open() as catalog:
        assert catalog.resolve("wash").title == "in the log"
    for copy in home.glob("catalog.db.bak-*"):
        with closing(sqlite3.connect(copy)) as connection:
            found = connection.execute("SELECT title FROM adapter WHERE name = 'wash'").fetchone()
        assert found == ("in the log",)
