"""The index that queries are answered from follows the catalog, and is nothing that can be lost."""

from __future__ import annotations

import multiprocessing
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from random import Random
from typing import Any

import pytest

from lorakit.catalog import Catalog
from lorakit.catalog.facts import NewFact
from lorakit.catalog.query import refreshing
from lorakit.catalog.query.changing import rows_of
from lorakit.catalog.query.index import FILE_NAME, NUMBERS, TEXTS, Index
from lorakit.catalog.query.pages import Page, pages
from lorakit.catalog.query.refreshing import refresh
from lorakit.catalog.query.searching import Search
from lorakit.catalog.query.sieves import marks_of, words_of
from lorakit.db.curation import Collection
from lorakit.db.store import Store
from lorakit.errors import BadUsage
from tests.catalog.collected import make, say, store
from tests.catalog.factories import write_adapter

CONTENTS = [f"{number:064x}" for number in range(8)]


@pytest.fixture
def filled(catalog: Catalog) -> Catalog:
    random = Random(3)
    made = [make(random, number, CONTENTS) for number in range(1, 13)]
    store(catalog, made)
    say(catalog, random, made)
    return catalog


def dumped(index: Index) -> dict[str, list[tuple[object, ...]]]:
    """What an index holds, without the numbers that it gives to shared rows."""
    return {
        "items": sorted(_items(index)),
        "collected": sorted(index.read("SELECT * FROM collected")),
        "files": sorted(
            index.read("SELECT item, stored_name, name, file_sha256, content, places FROM file")
        ),
    }


def _items(index: Index) -> list[tuple[Any, ...]]:
    shared = {
        table: {number: values for number, *values in index.read(f"SELECT * FROM {table}")}
        for table in ("facet", "terms", "touch")
    }
    found: list[tuple[Any, ...]] = []
    for page in pages(index):
        check_derived(page)
        for row in rows_of(page):
            named = dict(zip((*TEXTS, *NUMBERS), row, strict=True))
            told = [known[named.pop(table)] for table, known in shared.items()]
            # NaN differs from itself.
            found.append((named["id"], repr(named), *told))
    return found


def check_derived(page: Page) -> None:
    """What a page keeps for a quick look agrees with its rows."""
    texts = ["".join(row[:5]) for row in rows_of(page)]
    assert page.values("text") == texts
    tags = [set(column.split("\x1f")) - {""} for column in page.values("tag")]
    assert set(page.tags()) == set().union(*tags)
    for tag in page.tags():
        assert page.tagged([tag]) == sum(1 << 8 * n for n, one in enumerate(tags) if tag in one)
    for column, values in (("text", texts), ("path", page.values("path"))):
        signed = page.stored(f"{column}_signature")
        for text in values:
            assert all(word in page.stored(f"{column}_words") for word in words_of(text))
            assert all(signed[at] & bit for at, bit in marks_of(text))


def in_step(catalog: Catalog) -> bool:
    """Whether the file's index holds what one that is made anew does."""
    with catalog.searching() as search:
        search.ids("block:0")
        found = dumped(search._index)
    fresh = Index(None)
    refresh(fresh, catalog._store)
    expected = dumped(fresh)
    fresh.close()
    assert found == expected
    return bool(found["items"])


def test_whatever_people_say_is_followed(filled: Catalog) -> None:
    first, second, third = CONTENTS[:3]
    assert in_step(filled)
    filled.tag([first, second], ["new one"])
    assert in_step(filled)
    assert {one.tensor_sha256 for one in filled.find("tag:'new one'")} <= {first, second}
    filled.tag([first], remove=["new one"])
    assert in_step(filled)
    filled.set_facts([NewFact(first, "title", "A Title"), NewFact(third, "rating", 5)])
    filled.set_fact(first, "title", "Another")
    assert in_step(filled)
    filled.new_collection("some")
    filled.collect("some", [first, third])
    assert in_step(filled)
    filled.rename_collection("some", "others")
    assert in_step(filled)
    filled.drop_collection("others")
    assert in_step(filled)
    for _ in range(5):
        filled.undo()
        assert in_step(filled)
    filled.forget([1, 2])
    assert in_step(filled)
    filled.undo()
    assert in_step(filled)


def test_a_catalog_that_nobody_wrote_to_is_not_read_again(
    filled: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What was written just now may be written again without the file's time telling.
    time.sleep(0.15)
    filled.find("")
    looks: list[Store] = []
    figures = refreshing._figures

    def counted(store: Store, before: dict[str, Any]) -> dict[str, Any]:
        looks.append(store)
        return figures(store, before)

    monkeypatch.setattr(refreshing, "_figures", counted)
    assert len(filled.find("rank:..")) < len(filled.find("")) == 12
    assert looks == []
    filled.tag([CONTENTS[0]], ["fresh"])
    assert in_step(filled)
    assert looks


def test_claims_are_followed(filled: Catalog) -> None:
    content = CONTENTS[0]
    in_step(filled)
    number = filled.record_claim(
        content, origin="card", source="there", terms={"share_merges": "deny"}
    )
    in_step(filled)
    assert {one.tensor_sha256 for one in filled.find("license:deny")} >= {content}
    filled.record_claim(content, origin="card", source="there", terms={"share_merges": "allow"})
    in_step(filled)
    filled.withdraw_claim(number)
    in_step(filled)


def test_files_are_followed(catalog: Catalog, folder: Path) -> None:
    ink = write_adapter(folder / "ink.safetensors", 1, {"modelspec.title": "First"})
    catalog.add([ink])
    assert in_step(catalog)
    write_adapter(ink, 1, {"modelspec.title": "Second"})
    catalog.add([ink])
    assert in_step(catalog)
    assert [one.name for one in catalog.find("title:second")] == ["ink"]
    write_adapter(ink, 2)
    write_adapter(folder / "copy.safetensors", 2)
    catalog.add([folder])
    assert in_step(catalog)
    (both,) = catalog.find("duplicate:yes missing:no")
    assert len(both.locations) == 2
    ink.rename(folder / "moved\nfar.safetensors")
    (folder / "copy.safetensors").unlink()
    catalog.add([folder])
    assert in_step(catalog)


def test_missing_is_what_was_seen_and_of_those_shown_what_is(
    catalog: Catalog, folder: Path
) -> None:
    for number, name in enumerate(("a", "b", "c"), start=1):
        write_adapter(folder / f"{name}.safetensors", number)
    catalog.add([folder])
    assert catalog.find("missing:yes") == []
    (folder / "b.safetensors").unlink()
    assert [one.name for one in catalog.find("missing:no", limit=2)] == ["a", "c"]
    assert [one.name for one in catalog.find("missing:yes")] == ["b"]
    with catalog.searching() as search:
        assert not search._correct(search.records(""))
    write_adapter(folder / "b.safetensors", 2)
    assert catalog.find("missing:yes") == []
    assert len(catalog.find("missing:no")) == 3


def test_another_process_sees_what_this_one_said(filled: Catalog) -> None:
    in_step(filled)
    path = filled._store.target.path
    assert path is not None
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.starmap(_tag_and_ask, [(path, f"tag {number}") for number in range(2)])
    assert in_step(filled)
    assert all(filled.find(f"tag:'tag {number}'") for number in range(2))


def _tag_and_ask(path: Path, tag: str) -> None:
    with Catalog.open(path) as catalog:
        catalog.tag([CONTENTS[0]], [tag])
        assert catalog.find(f'tag:"{tag}"') or not catalog.find(f"hash:{CONTENTS[0]}")


@pytest.mark.parametrize("bytes_", [b"", b"no database at all" * 300, b"SQLite format 3\0" * 300])
def test_a_damaged_index_is_made_anew(filled: Catalog, bytes_: bytes) -> None:
    expected = [one.name for one in filled.find("sort:rank")]
    path = filled._store.target.path
    assert path is not None
    file = path.with_name(FILE_NAME)
    file.write_bytes(bytes_)
    for name in ("-wal", "-shm"):
        file.with_name(FILE_NAME + name).unlink(missing_ok=True)
    assert [one.name for one in filled.find("sort:rank")] == expected
    with closing(sqlite3.connect(file)) as connection, connection:
        assert connection.execute("SELECT sum(count) FROM page").fetchone() == (len(expected),)


def test_an_index_damaged_within_is_made_anew(filled: Catalog) -> None:
    expected = [one.name for one in filled.find("")]
    path = filled._store.target.path
    assert path is not None
    file = path.with_name(FILE_NAME)
    content = bytearray(file.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    file.write_bytes(bytes(content))
    assert [one.name for one in filled.find("")] == expected


@pytest.mark.parametrize("is_changed", [False, True])
@pytest.mark.parametrize(
    "spoilt",
    [
        *("tags = '{'", "numbers = x'00'", "name = ''", "numbers = substr(numbers, 1, 90)"),
        "text_signature = x''",
    ],
)
def test_a_page_that_says_nonsense_is_made_anew(
    filled: Catalog, spoilt: str, is_changed: bool
) -> None:
    query = "name:n -tag:nothing sort:rank"
    expected = [one.name for one in filled.find(query)]
    path = filled._store.target.path
    assert expected
    assert path is not None
    with closing(sqlite3.connect(path.with_name(FILE_NAME))) as connection, connection:
        connection.execute(f"UPDATE page SET {spoilt}")
    # One of its adapters is to be changed before anything is asked.
    if is_changed:
        filled.tag([CONTENTS[0]], ["new"])
    assert [one.name for one in filled.find(query)] == expected


def test_an_index_of_another_version_is_made_anew(filled: Catalog) -> None:
    expected = filled.find("")
    path = filled._store.target.path
    assert path is not None
    with closing(sqlite3.connect(path.with_name(FILE_NAME))) as connection, connection:
        connection.execute("DROP TABLE page")
        connection.execute("CREATE TABLE page (other TEXT)")
        connection.execute("PRAGMA user_version = 99")
    assert filled.find("") == expected


def test_where_no_index_can_be_written_queries_are_answered(filled: Catalog) -> None:
    path = filled._store.target.path
    assert path is not None
    # A folder in its place cannot be opened by anybody, not even by an administrator.
    path.with_name(FILE_NAME).mkdir()
    assert len(filled.find("")) == 12
    assert filled.find("name:zzz") == []


def test_a_catalog_at_an_address_is_searched_too(filled: Catalog) -> None:
    path = filled._store.target.path
    with Catalog.open(f"sqlite:///{path}?timeout=5") as catalog:
        assert catalog._store.target.path is None
        query = "ink , rank:8.. -tag:ink sort:rating-"
        assert [one.id for one in catalog.find(query)] == [one.id for one in filled.find(query)]


def test_collections_that_ask_for_each_other_are_refused(filled: Catalog) -> None:
    filled.new_collection("one", query="collection:two")
    filled.new_collection("two", query="rank:8 , collection:one")
    with pytest.raises(BadUsage, match="asks for itself"):
        filled.find("collection:one")
    filled.new_collection("bad", query="rank:8")
    with filled._store.writing() as session:
        session.get_one(Collection, 3).query = "rank:x"
    with pytest.raises(BadUsage, match="'bad' has a query that cannot be read"):
        filled.find("collection:bad")


def test_days_are_those_of_the_person(filled: Catalog) -> None:
    random = Random(1)
    made = replace(make(random, 99, CONTENTS), added=datetime(2020, 5, 31, 23, 30, tzinfo=UTC))
    store(filled, [made])
    east = datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=9)))
    for now, day in ((east, "2020-06-01"), (east.astimezone(UTC), "2020-05-31")):
        search = Search(filled._store, now=now)
        assert search.ids(f"added:{day}") == [99]
        search.close()
