"""The journal holds every change, and undoing leaves the tables as they were."""

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, update

import lorakit
from lorakit.catalog import Catalog
from lorakit.catalog.facts import NewFact
from lorakit.catalog.journal import KEYS
from lorakit.db.curation import Fact, Tag
from lorakit.errors import CatalogError, LorakitError, NotFound
from tests.catalog.factories import write_adapter

TABLES = sorted(model.__tablename__ for model in KEYS)
INK, WASH = "a" * 64, "b" * 64


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "catalog.db"


@pytest.fixture
def adapters(catalog: Catalog, folder: Path) -> list[Path]:
    """Three adapters in the catalog, one of which lies in two places."""
    files = [
        write_adapter(folder / "ink.safetensors", 1),
        write_adapter(folder / "ink copy.safetensors", 1),
        write_adapter(folder / "wash.safetensors", 2),
        write_adapter(folder / "pen.safetensors", 3),
    ]
    catalog.add([folder])
    return files


def contents(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table that the journal is about."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        return {
            table: sorted(connection.execute(f"SELECT * FROM {table}").fetchall())
            for table in TABLES
        }


def watch(path: Path) -> None:
    """Have SQLite itself note which rows change, by triggers that know nothing of the journal."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE seen (kind TEXT, name TEXT, number INTEGER)")
        for table in TABLES:
            for kind, row in (("INSERT", "new"), ("UPDATE", "new"), ("DELETE", "old")):
                connection.execute(
                    f"CREATE TRIGGER watch_{kind}_{table} AFTER {kind} ON {table} BEGIN "
                    f"INSERT INTO seen VALUES ('{kind}', '{table}', {row}.rowid); END"
                )


def seen(path: Path) -> set[tuple[str, str, int]]:
    with closing(sqlite3.connect(path)) as connection, connection:
        found = set(connection.execute("SELECT kind, name, number FROM seen").fetchall())
        connection.execute("DELETE FROM seen")
        return found


def journalled(path: Path, step: int) -> set[tuple[str, str, int]]:
    """The changes of a step, as the triggers would name them."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT before, after, table_name, row_id FROM change WHERE step_id = ?", (step,)
        ).fetchall()
    return {
        ("INSERT" if not before else "DELETE" if not after else "UPDATE", table, number)
        for before, after, table, number in rows
    }


Edit = Callable[[Catalog], object]
EDITS: dict[str, Edit] = {
    "a fact": lambda c: c.set_fact(INK, "rating", 4),
    "another value": lambda c: c.set_fact(INK, "rating", 5),
    "several facts": lambda c: c.set_facts(
        [NewFact(INK, "notes", "n"), NewFact(WASH, "strength", {"value": 0.8})]
    ),
    "a fact of a program": lambda c: c.set_fact(INK, "title", "Ink", "civitai", "ink.civitai.info"),
    "no fact": lambda c: c.set_fact(INK, "rating", None),
    "tags": lambda c: c.tag([INK, WASH], add=["wip", "Pen"]),
    "other tags": lambda c: c.tag([WASH], add=["new"], remove=["WIP"]),
    "a collection": lambda c: c.new_collection("night", notes="x"),
    "members": lambda c: c.collect("night", [WASH, INK]),
    "one less": lambda c: c.uncollect("night", [WASH]),
    "a smart one": lambda c: c.new_collection("blue", query="tag:blue"),
    "no collection": lambda c: c.drop_collection("night"),
    "a stack": lambda c: c.keep_stack("evening", "one"),
    "another stack": lambda c: c.keep_stack("evening", "two", replace=True, notes="n"),
    "no stack": lambda c: c.drop_stack("Evening"),
    "terms": lambda c: c.record_claim(INK, origin="user", source="me", terms={"a": 1}),
    "other terms": lambda c: c.record_claim(INK, origin="user", source="me", terms={"a": 2}),
    "no terms": lambda c: c.withdraw_claim(*[claim.id for claim in c.claims(INK)]),
    "a name": lambda c: c.rename(c.resolve("wash").id, "lavis"),
    "forgetting": lambda c: c.forget(
        [record.id for record in c.adapters() if record.name != "pen"]
    ),
}


def test_every_change_of_every_table_is_written_down_and_taken_back(
    catalog: Catalog, adapters: list[Path], path: Path
) -> None:
    watch(path)
    states = [contents(path)]
    touched = set()
    for step, edit in enumerate(EDITS.values(), start=1):
        edit(catalog)
        changes = seen(path)
        assert changes
        assert journalled(path, step) == changes
        touched |= {table for _, table, _ in changes}
        states.append(contents(path))
    assert touched == set(TABLES)
    assert [step.id for step in catalog.steps()] == list(range(len(EDITS), 0, -1))
    for before in states[-2::-1]:
        undone = catalog.undo()
        assert contents(path) == before
        assert journalled(path, undone.number or 0) == seen(path)
    with pytest.raises(NotFound, match="nothing to undo"):
        catalog.undo()
    for after in states[1:]:
        catalog.undo(catalog.last_undo())
        assert contents(path) == after
    with pytest.raises(NotFound, match="brought back"):
        catalog.last_undo()


def test_undo_goes_on_in_another_run(path: Path) -> None:
    for rating in (1, 2, 3):
        with Catalog.open(path) as catalog:
            catalog.set_fact(INK, "rating", rating)
    for rating in (2, 1):
        with Catalog.open(path) as catalog:
            catalog.undo()
            assert catalog.facts(INK)["rating"][0].value == rating


def test_a_step_that_changes_nothing_is_not_kept(catalog: Catalog) -> None:
    catalog.set_fact(INK, "rating", 4)
    assert catalog.set_fact(INK, "rating", 4) == 0
    with catalog.step("to and fro"):
        catalog.tag([INK], add=["x"])
        catalog.tag([INK], remove=["x"])
        catalog.set_fact(INK, "rating", 5)
        catalog.set_fact(INK, "rating", 5)
    assert [(step.command, step.tables) for step in catalog.steps()] == [
        ("to and fro", {"fact": 1}),
        ("set rating", {"fact": 1}),
    ]
    catalog.undo()
    assert catalog.facts(INK)["rating"][0].value == 4


def test_all_of_a_step_is_kept_or_nothing(catalog: Catalog, path: Path) -> None:
    before = contents(path)

    def two_things() -> None:
        with catalog.step("two things"):
            catalog.set_fact(INK, "rating", 4)
            catalog.set_fact(INK, "rating", 9)

    with pytest.raises(LorakitError, match="from 1 to 5"):
        two_things()
    with catalog.step("a rehearsal", dry_run=True):
        assert catalog.tag([INK], add=["x"]) == 1
    assert contents(path) == before
    assert catalog.steps() == []


def test_statements_that_would_pass_the_journal_by_are_refused(catalog: Catalog) -> None:
    catalog.tag([INK], add=["x"])
    for statement in (update(Tag).values(tag="y"), delete(Fact)):
        with pytest.raises(RuntimeError, match="journal"), catalog.step("bulk") as step:
            step.session.execute(statement)
    assert catalog.tags(INK) == ("x",)


def refusals() -> Iterator[tuple[list[Edit], int, str, int]]:
    """Edits, the step that cannot be undone then, why, and the step that stands in the way."""
    rate: Callable[[int], Edit] = lambda rating: lambda c: c.set_fact(INK, "rating", rating)  # noqa: E731
    yield [rate(4), rate(5)], 1, "the rating of aaaaaaaaaaaa", 2
    yield [rate(4), EDITS["no fact"]], 1, "the rating of", 2
    yield [rate(4), EDITS["no fact"], rate(3)], 2, "the rating of", 3
    yield [EDITS["tags"], lambda c: c.tag([INK], remove=["wip"])], 1, "the tag 'wip' of", 2
    # The row of the collection is as it was, but what refers to it is not.
    yield [EDITS["a collection"], EDITS["members"]], 1, "the collection 'night'", 2
    yield (
        [EDITS["a collection"], EDITS["members"], EDITS["one less"], EDITS["no collection"]],
        3,
        "the collection 'night'",
        4,
    )
    yield [EDITS["a stack"], EDITS["another stack"]], 1, "the stack 'evening'", 2


@pytest.mark.parametrize(("edits", "step", "what", "by"), list(refusals()))
def test_what_a_later_step_has_changed_is_not_taken_back(
    catalog: Catalog, path: Path, edits: list[Edit], step: int, what: str, by: int
) -> None:
    for edit in edits:
        edit(catalog)
    before = contents(path)
    with pytest.raises(LorakitError, match=what) as caught:
        catalog.undo(step)
    assert f"by step {by} (" in caught.value.message
    assert f"lorakit undo {by}" in (caught.value.hint or "")
    assert contents(path) == before
    # Doing as the hint says makes way.
    catalog.undo(by)
    if by == step + 1:
        catalog.undo(step)


def test_other_rows_of_the_same_table_are_no_hindrance(catalog: Catalog) -> None:
    catalog.tag([INK], add=["one"])
    catalog.tag([INK], remove=["one"])
    # SQLite gives the new row the number of the one that went.
    catalog.tag([WASH], add=["two"])
    catalog.undo(2)
    assert (catalog.tags(INK), catalog.tags(WASH)) == (("one",), ("two",))


def test_a_change_past_the_journal_stands_in_the_way(catalog: Catalog, path: Path) -> None:
    catalog.set_fact(INK, "rating", 4)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE fact SET value = '2'")
    with pytest.raises(LorakitError, match="outside the journal"):
        catalog.undo()


def test_undoing_twice_and_what_is_not_there(catalog: Catalog) -> None:
    catalog.set_fact(INK, "rating", 4)
    assert catalog.undo(dry_run=True).number is None
    assert catalog.facts(INK)["rating"][0].value == 4
    assert catalog.undo(1).number == 2
    with pytest.raises(LorakitError, match="undone already, by step 2"):
        catalog.undo(1)
    with pytest.raises(NotFound, match="no step 7"):
        catalog.undo(7)
    assert catalog.undo(2).number == 3
    # Step 1 stands again, and so it can be undone again.
    assert catalog.undo().step == 1
    marks = {step.id: step.undone_by for step in catalog.steps()}
    assert marks == {1: 4, 2: 3, 3: None, 4: None}
    catalog.undo(4)
    # A chain: 3 brought 1 back, and taking that back leaves it undone.
    catalog.undo(5)
    marks = {step.id: step.undone_by for step in catalog.steps()}
    assert marks == {1: 4, 2: 3, 3: None, 4: None, 5: 6, 6: None}
    assert catalog.facts(INK) == {}


def test_undoing_a_forget_after_the_file_was_added_again(
    catalog: Catalog, adapters: list[Path]
) -> None:
    (ink,) = [one for one in catalog.adapters() if len(one.locations) == 2]
    catalog.forget([ink.id])
    adapters[1].unlink()
    catalog.add([adapters[0]])
    undone = catalog.undo()
    again = catalog.resolve(str(adapters[0]))
    # The row that was added stays, and the place that was forgotten is known again.
    assert again.file_sha256 == ink.file_sha256
    assert set(again.locations) == set(ink.locations)
    assert "added again" in undone.notes[0]
    catalog.undo(undone.number)
    assert catalog.resolve(str(adapters[0])).locations == (adapters[0],)


def test_undoing_a_forget_brings_the_old_name_back_where_it_is_free(
    catalog: Catalog, folder: Path, adapters: list[Path]
) -> None:
    pen = catalog.resolve("pen")
    catalog.rename(pen.id, "my pen")
    catalog.forget([pen.id])
    catalog.add([adapters[3]])
    assert catalog.resolve("pen").file_sha256 == pen.file_sha256
    undone = catalog.undo()
    assert catalog.resolve("my pen").file_sha256 == pen.file_sha256
    assert "it is called my pen" in undone.notes[0]
    catalog.undo(undone.number)
    assert catalog.resolve("pen").name == "pen"
    # Where another has it by now, the name stays with that one.
    catalog.rename(catalog.resolve("wash").id, "my pen")
    with pytest.raises(LorakitError, match="nothing left") as caught:
        catalog.undo(undone.step)
    assert "lorakit undo NUMBER" in (caught.value.hint or "")
    assert catalog.resolve("my pen").file_sha256 != pen.file_sha256
    assert catalog.resolve("pen").file_sha256 == pen.file_sha256


def test_undoing_a_forget_when_its_name_and_number_are_taken(
    catalog: Catalog, folder: Path, adapters: list[Path]
) -> None:
    pen = catalog.resolve("pen")
    last = max(catalog.adapters(), key=lambda record: record.id)
    catalog.forget([pen.id, last.id])
    adapters[3].unlink()
    other = write_adapter(folder / "more" / "pen.safetensors", 9)
    catalog.add([other])
    undone = catalog.undo()
    names = {record.name: record for record in catalog.adapters()}
    assert names["pen"].locations == (other,)
    assert names["pen-2"].file_sha256 == pen.file_sha256
    assert catalog.report(names["pen-2"])["modules"]
    assert any("pen-2" in note for note in undone.notes)


def test_what_is_said_of_a_content_outlasts_forgetting(
    catalog: Catalog, adapters: list[Path]
) -> None:
    pen = catalog.resolve("pen")
    catalog.tag([pen.tensor_sha256], add=["fine"])
    assert catalog.forget([pen.id]) == 1
    assert adapters[3].exists()
    with pytest.raises(NotFound):
        catalog.resolve("pen")
    catalog.add([adapters[3]])
    assert catalog.tags(catalog.resolve("pen").tensor_sha256) == ("fine",)


def test_the_steps_come_with_what_they_changed(catalog: Catalog) -> None:
    with catalog.step("tag ink --add x"):
        catalog.tag([INK, WASH], add=["x"])
        catalog.set_fact(INK, "notes", "n")
    catalog.undo()
    second, first = catalog.steps()
    assert (first.command, first.rows, first.tables) == (
        "tag ink --add x",
        3,
        {"fact": 1, "tag": 2},
    )
    assert (first.undone_by, second.undoes, second.command) == (2, 1, "undo 1")
    assert [step.id for step in catalog.steps(limit=1)] == [2]


def test_the_journal_holds_plain_json(catalog: Catalog, adapters: list[Path], path: Path) -> None:
    catalog.forget([catalog.resolve("pen").id])
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT table_name, before, after FROM change").fetchall()
    assert sorted(table for table, _, _ in rows) == ["adapter", "location", "report"]
    for table, before, after in rows:
        assert after is None
        with closing(sqlite3.connect(path)) as connection:
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        assert list(json.loads(before)) == columns


def test_names_that_are_taken(catalog: Catalog) -> None:
    catalog.new_collection("Night")
    catalog.keep_stack("evening", "x")
    with pytest.raises(CatalogError, match="'Night'"):
        catalog.new_collection("night")
    with pytest.raises(CatalogError, match="'evening'"):
        catalog.keep_stack("EVENING", "y")
    catalog.rename_collection("Night", "night")
    assert catalog.collection("NI").name == "night"
    catalog.collect("night", [INK])
    catalog.rename_collection("night", "day")
    assert catalog.collection("day").contents == (INK,)
    catalog.undo()
    assert catalog.collection("night").contents == (INK,)


def test_naming_a_known_file_anew_can_be_undone(catalog: Catalog, adapters: list[Path]) -> None:
    catalog.add([adapters[3]], name="quill")
    assert catalog.resolve("quill").locations == (adapters[3],)
    assert catalog.steps()[0].tables == {"adapter": 1}
    # What else has changed since is left as it is.
    write_adapter(adapters[3], 3, {"modelspec.title": "Quill"})
    catalog.add([adapters[3]])
    catalog.undo()
    pen = catalog.resolve("pen")
    assert (pen.title, pen.locations) == ("Quill", (adapters[3],))


def test_nothing_in_the_program_writes_many_rows_past_the_journal() -> None:
    kept = "Fact|Tag|Collection|Member|KeptStack"
    # `Recording.insert` writes down what it makes.
    by_model = re.compile(rf"(?<!recording\.)\b(?:update|delete|insert)\(({kept})\b")
    by_text = re.compile(
        r"(?:INSERT INTO|UPDATE|DELETE FROM) (?:fact|tag|collection|member|kept_stack)\b"
    )
    package = Path(lorakit.__file__).parent
    for file in sorted(package.rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        assert not by_model.search(text), file
        # The index of queries has tables of its own.
        assert file.parent.name == "query" or not by_text.search(text), file
