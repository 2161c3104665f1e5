"""A catalog of many adapters, put into its tables directly: what `lorakit add` would have stored."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

from lorakit.catalog import Catalog
from lorakit.catalog.query.touching import touched
from lorakit.catalog.reports import _pack
from lorakit.db.times import to_text
from lorakit.formats.anima import BLOCK_LINEARS, Kind

WORDS = (
    *("ink", "wash", "sumi", "oil", "water", "colour", "flat", "anime", "line", "art", "film"),
    *("grain", "noir", "pastel", "retro", "neon", "pixel", "clay", "paper", "gouache", "sketch"),
    *("comic", "poster", "vintage", "soft", "glow", "marker", "chalk", "etching", "mosaic"),
)
_LICENSES = (None, None, None, "CC0-1.0", "CC-BY-4.0", "CreativeML-OpenRAIL-M", "openrail++")
_KINDS: tuple[Kind, ...] = ("self_attn", "cross_attn", "mlp")
_BASES = ("anima-base-v1.0.safetensors", "rdbt-anima-v2.safetensors", None)
# Beside each other in a folder, as people have them.
_PER_FOLDER = 500


def fill(path: Path, files: Path, count: int) -> None:
    """Make the catalog at `path` hold `count` adapters, whose (empty) files lie under `files`."""
    with Catalog.open(path) as catalog:
        catalog.new_collection("best")
    random = Random(count)
    packed = [_modules(random) for _ in range(40)]
    told = [touched(modules) for modules in packed]
    rows = [_Row(random, number, files) for number in range(1, count + 1)]
    for row in rows:
        row.path.parent.mkdir(parents=True, exist_ok=True)
        row.path.touch()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA synchronous = OFF")
        touches = ((told[row.number % len(told)], row) for row in rows)
        adapters = ((*row.adapter(), blocks, " ".join(kinds)) for (blocks, kinds), row in touches)
        _insert(connection, "adapter", adapters)
        _insert(
            connection,
            "report",
            ((row.number, "{}", row.header(), packed[row.number % len(packed)]) for row in rows),
        )
        _insert(connection, "location", (row.location() for row in rows))
        _insert(connection, "tag", (tag for row in rows for tag in row.tags()))
        _insert(connection, "fact", (fact for row in rows for fact in row.facts()))
        _insert(connection, "claim", (claim for row in rows for claim in row.claims()))
        members = ((None, "best", row.content, row.number) for row in rows[::20])
        _insert(connection, "member", members)


def _insert(connection: sqlite3.Connection, table: str, rows: Iterator[tuple[Any, ...]]) -> None:
    columns = len(connection.execute(f"SELECT * FROM {table} LIMIT 0").description)
    marks = ", ".join("?" * columns)
    connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)


class _Row:
    """One adapter's rows."""

    def __init__(self, random: Random, number: int, files: Path) -> None:
        self.number = number
        self._random = random
        self.name = f"{self._some(2, '_')}_{number:06}_v{random.randint(1, 4)}"
        self.sha = sha256(f"file {number}".encode()).hexdigest()
        # One in a hundred is another file with the tensors of the one before.
        twin = number - 1 if number % 100 == 0 else number
        self.content = sha256(f"tensors {twin}".encode()).hexdigest()
        self.path = files / f"{number // _PER_FOLDER:04}" / f"{self.name}.safetensors"
        self.added = datetime(2026, 11, 1, tzinfo=UTC) - timedelta(hours=number % 20_000)

    def adapter(self) -> tuple[Any, ...]:
        random, rank = self._random, self._random.choice((4, 8, 16, 16, 32, 64))
        algo = random.choice(("lora",) * 6 + ("lokr", "loha"))
        components = ["dit"] if self.number % 5 else ["dit", "text_encoder"]
        size = rank * 2_900_000 + self.number
        title = self._some(3) if self.number % 2 else None
        triggers = json.dumps([self._some(1)] if self.number % 3 else [])
        layout, dtype = random.choice(("kohya", "diffusers")), random.choice(("BF16", "F16"))
        return (
            *(self.number, self.sha, self.content, self.name, size, layout, algo),
            *(min(rank, 8) if self.number % 9 == 0 else rank, rank, 280, 28),
            *(json.dumps(components), random.choice(_BASES), dtype, title, triggers),
            *(random.choice(_LICENSES), to_text(self.added)),
        )

    def header(self) -> str:
        tags = {self._some(2): self._random.randint(1, 50) for _ in range(30)}
        return json.dumps({"ss_tag_frequency": json.dumps({"set": tags}), "ss_network_dim": "16"})

    def location(self) -> tuple[Any, ...]:
        state = "missing" if self.number % 50 == 0 else "present"
        if state == "missing":
            self.path.unlink()
        return (
            *(self.number, self.number, str(self.path), 46_000_000, self.number, self.number),
            *(1, state, to_text(self.added)),
        )

    def tags(self) -> Iterator[tuple[Any, ...]]:
        if self.number % 100:
            for word in self._random.sample(WORDS, self.number % 5):
                yield None, self.content, word, "user" if self.number % 2 else "civitai"

    def facts(self) -> Iterator[tuple[Any, ...]]:
        said: dict[str, Any] = {}
        if self.number % 10 == 1:
            said = {"rating": self.number % 5 + 1, "notes": self._some(12)}
        if self.number % 20 == 1:
            said |= {"favourite": True, "strength": {"value": 0.8, "min": None, "max": None}}
        for field, value in said.items():
            text = json.dumps(value)
            yield None, self.content, field, "user", text, "", to_text(self.added)

    def claims(self) -> Iterator[tuple[Any, ...]]:
        if self.number % 10 == 3:
            share = self._random.choice(("allow", "deny", "unknown"))
            terms = {"share_merges": share, "license": None, "statement": self._some(30)}
            text = json.dumps(terms, separators=(",", ":"))
            yield None, self.content, "civitai", "model page", None, text, to_text(self.added)

    def _some(self, count: int, joint: str = " ") -> str:
        return joint.join(self._random.choice(WORDS) for _ in range(count))


def _modules(random: Random) -> bytes:
    """The packed modules of an adapter; some leave out blocks or kinds."""
    first = random.choice((0, 0, 0, 10, 20))
    without = random.choice((None, None, "mlp", "cross_attn"))
    names = [
        f"blocks.{block}.{name}"
        for kind in _KINDS
        for block in range(first, 28)
        for name in BLOCK_LINEARS[kind]
        if kind != without
    ]
    shape = [2048, 2048]
    rank = random.choice((4, 8, 16))
    table = {"algo": "lora", "rank": rank, "alpha": 16.0, "scale": 1.0, "shape": shape}
    return _pack([{"name": name, **table, "dtype": "BF16"} for name in names])
