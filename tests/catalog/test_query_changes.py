"""Whatever happens to a catalog, in whatever order: a query then finds what a plain filter finds."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lorakit.catalog import Catalog
from lorakit.catalog.facts import FactRecord, NewFact
from lorakit.catalog.records import AdapterRecord
from lorakit.errors import LorakitError
from tests.catalog.collected import small_pages
from tests.catalog.factories import write_adapter

WORDS = ("ink", "wash", "oil")


@dataclass
class Life:
    """A catalog that one process writes and another asks, with the folder that its files lie in."""

    writer: Catalog
    asker: Catalog
    folder: Path
    made: int = 0
    files: list[Path] = field(default_factory=list)

    def file(self, number: int) -> Path | None:
        there = [path for path in self.files if path.exists()]
        return there[number % len(there)] if there else None

    def one(self, number: int) -> AdapterRecord | None:
        records = self.writer.adapters()
        return records[number % len(records)] if records else None

    def new_file(self, number: int) -> None:
        self.made += 1
        path = self.folder / f"{WORDS[number % 3]} {self.made}.safetensors"
        # Every third has the tensors of another.
        write_adapter(path, number % 5, {"modelspec.title": WORDS[self.made % 3]}, rank=4 + number)
        self.files.append(path)
        self.writer.add([self.folder])

    def many_files(self, number: int) -> None:
        for count in range(4):
            self.new_file(number + count)

    def move(self, number: int) -> None:
        if path := self.file(number):
            self.made += 1
            self.files.append(path.rename(self.folder / f"moved {self.made}.safetensors"))
            self.writer.add([self.folder])

    def delete(self, number: int) -> None:
        if path := self.file(number):
            path.unlink()
            self.writer.add([self.folder])

    def rewrite(self, number: int) -> None:
        if path := self.file(number):
            self.made += 1
            write_adapter(path, number % 5, {"modelspec.title": f"new {self.made}"})
            self.writer.add([self.folder])

    def tag(self, number: int) -> None:
        if one := self.one(number):
            self.writer.tag([one.tensor_sha256], [WORDS[number % 3]])

    def untag(self, number: int) -> None:
        if one := self.one(number):
            self.writer.tag([one.tensor_sha256], remove=[WORDS[number % 3]])

    def say(self, number: int) -> None:
        if one := self.one(number):
            note = NewFact(one.tensor_sha256, "notes", f"{WORDS[number % 3]} {number}")
            self.writer.set_facts([note, NewFact(one.tensor_sha256, "rating", number % 5 + 1)])

    def rename(self, number: int) -> None:
        if one := self.one(number):
            self.made += 1
            self.writer.rename(one.id, f"{WORDS[number % 3]} renamed {self.made}")

    def forget(self, number: int) -> None:
        if one := self.one(number):
            self.writer.forget([one.id])

    def collect(self, number: int) -> None:
        if one := self.one(number):
            self.writer.collect("best", [one.tensor_sha256])

    def claim(self, number: int) -> None:
        if one := self.one(number):
            share = ("allow", "deny")[number % 2]
            self.writer.record_claim(
                one.tensor_sha256, origin="card", source="there", terms={"share_merges": share}
            )

    def undo(self, number: int) -> None:
        self.writer.undo()


ACTIONS: tuple[Callable[[Life, int], None], ...] = (
    *(Life.new_file, Life.many_files, Life.move, Life.delete, Life.rewrite, Life.tag, Life.untag),
    *(Life.say, Life.rename, Life.forget, Life.collect, Life.claim, Life.undo),
)
actions = st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 9)), min_size=1, max_size=10)


@dataclass(frozen=True)
class Known:
    """What the catalog says of one adapter, asked without the index."""

    record: AdapterRecord
    tags: Sequence[str]
    facts: Mapping[str, Sequence[FactRecord]]
    collected: bool
    shares: Sequence[object]
    twins: int

    def said(self, name: str) -> object:
        return self.facts[name][0].value if name in self.facts else None

    @property
    def texts(self) -> tuple[str, ...]:
        title = self.said("title") or self.record.title or ""
        return (self.record.name, str(title), str(self.said("notes") or ""), *self.tags)


QUERIES: Mapping[str, Callable[[Known], bool]] = {
    "": lambda one: True,
    "ink": lambda one: any("ink" in text for text in one.texts),
    "w*h": lambda one: any(text[:1] + text[-1:] == "wh" and len(text) > 1 for text in one.texts),
    "tag:ink": lambda one: "ink" in one.tags,
    "-tag:o*": lambda one: "oil" not in one.tags,
    "note:wash": lambda one: "wash" in str(one.said("notes")),
    "rating:3..": lambda one: int(str(one.said("rating") or 0)) >= 3,
    "rank:5..": lambda one: (one.record.rank_max or 0) >= 5,
    "missing:yes": lambda one: one.record.missing,
    "path:moved": lambda one: any("moved" in path.name for path in one.record.locations),
    "collection:best": lambda one: one.collected,
    "license:deny": lambda one: "deny" in one.shares,
    "duplicate:yes": lambda one: one.twins > 1 or len(one.record.locations) > 1,
    "tag:ink , tag:wash -missing:yes": lambda one: (
        "ink" in one.tags or ("wash" in one.tags and not one.record.missing)
    ),
}


def known(catalog: Catalog) -> list[Known]:
    records = sorted(catalog.adapters(), key=lambda record: (record.name, record.id))
    contents = [record.tensor_sha256 for record in records]
    facts, tags = catalog.all_facts(), catalog.all_tags()
    best = catalog._store.read("SELECT content FROM member WHERE collection = 'best'")
    return [
        Known(
            record=record,
            tags=tags.get(record.tensor_sha256, ()),
            facts=facts.get(record.tensor_sha256, {}),
            collected=(record.tensor_sha256,) in best,
            shares=[one.terms["share_merges"] for one in catalog.claims(record.tensor_sha256)],
            twins=contents.count(record.tensor_sha256),
        )
        for record in records
    ]


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@example([(Life.many_files, 1), (Life.many_files, 2), (Life.forget, 3), (Life.undo, 0)])
@given(actions=actions)
def test_a_query_follows_whatever_happens(
    empty_catalog: Path, actions: list[tuple[Callable[[Life, int], None], int]]
) -> None:
    with TemporaryDirectory() as name, small_pages():
        path = Path(name) / "catalog.db"
        folder = Path(name) / "loras"
        folder.mkdir()
        shutil.copy(empty_catalog, path)
        with Catalog.open(path) as writer, Catalog.open(path) as asker:
            writer.new_collection("best")
            life = Life(writer, asker, folder)
            life.many_files(0)
            for act, number in actions:
                # What cannot be undone, say, changes nothing.
                with suppress(LorakitError):
                    act(life, number)
                check(asker)


def check(catalog: Catalog) -> None:
    everything = known(catalog)
    with catalog.searching() as search:
        for query, fits in QUERIES.items():
            expected = [one.record.id for one in everything if fits(one)]
            assert search.ids(query) == expected, query
