"""A catalog of adapters that differ in everything a query can ask, put into its tables directly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from random import Random
from typing import Any

import pytest

from lorakit.catalog import Catalog
from lorakit.catalog.claims import NewClaim
from lorakit.catalog.facts import NewFact
from lorakit.catalog.query import changing, numbers, rows
from lorakit.catalog.query.touching import touched
from lorakit.catalog.reports import _pack
from lorakit.db.models import Adapter, Location, Report

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
WORDS = ("Ink", "wash", "Été", "墨絵", "it's", "50%", "a_b", "[x]", "straße", "ink*", "two words")
TAGS = ("ink", "Été", "ink wash", "墨絵", "a*b", "x_y")
KINDS = ("self_attn.q_proj", "cross_attn.k_proj", "mlp.layer1", "adaln_modulation_mlp.1")
KIND_NAMES = {"self_attn.q_proj": "self_attn", "cross_attn.k_proj": "cross_attn"}
KIND_NAMES |= {"mlp.layer1": "mlp", "adaln_modulation_mlp.1": "adaln"}
LICENSES = (None, "CC0-1.0", "cc-by-4.0", "made-up", "CreativeML-OpenRAIL-M")


@dataclass
class Made:
    """One adapter as the oracle knows it."""

    id: int
    name: str
    sha: str
    content: str
    size: int
    algo: str
    rank: tuple[int, int] | None
    modules: int
    components: tuple[str, ...]
    blocks: frozenset[int]
    kinds: frozenset[str]
    base: str
    title: str
    triggers: tuple[str, ...]
    license: str | None
    added: datetime
    places: tuple[tuple[str, bool], ...]
    notes: str = ""
    rating: int | None = None
    favourite: bool = False
    strength: float | None = None
    tags: tuple[str, ...] = ()
    collections: tuple[str, ...] = ()
    claims: tuple[tuple[str, str], ...] = ()
    layout: str = "kohya"
    dtype: str = "BF16"
    extra: dict[str, Any] = field(default_factory=dict)


@contextmanager
def small_pages() -> Iterator[None]:
    """Pages of few adapters, so that there are several, and columns of numbers of both forms on them."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (changing, rows):
            patch.setattr(module, "USUAL", 9)
        patch.setattr(changing, "MOST", 12)
        patch.setattr(numbers, "_MOST_KINDS", 3)
        yield


def make(random: Random, number: int, contents: Sequence[str]) -> Made:
    """An adapter whose every property is drawn."""

    def some(values: Sequence[Any], most: int) -> tuple[Any, ...]:
        return tuple(random.sample(values, random.randint(0, most)))

    low = random.choice((2, 4, 8, 16))
    blocks = frozenset(random.sample(range(6), random.randint(0, 6)))
    return Made(
        id=number,
        name=f"{random.choice(WORDS)} {random.choice(WORDS)} {number}",
        sha=sha256(f"file {number} {random.random()}".encode()).hexdigest(),
        content=random.choice(contents),
        size=random.choice((10, 1_000, 2_500_000, 46_000_000)),
        algo=random.choice(("lora", "lokr", "loha")),
        rank=random.choice((None, (low, low), (low, 32))),
        modules=random.choice((2, 200, 280)),
        components=some(("dit", "llm_adapter", "text_encoder"), 3),
        blocks=blocks,
        kinds=frozenset(random.sample(KINDS, random.randint(1, 4))) if blocks else frozenset(),
        base=random.choice(("", "anima-base-v1", "RDBT Anima")),
        title=random.choice(("", *WORDS)),
        triggers=some(WORDS, 2),
        license=random.choice(LICENSES),
        added=NOW - timedelta(days=random.choice((0, 1, 20, 45, 400)), hours=random.randint(0, 9)),
        places=tuple(
            (f"/loras/{random.choice(WORDS)}/{number}-{i}.safetensors", random.random() < 0.3)
            for i in range(random.choice((0, 1, 1, 1, 2)))
        ),
    )


def store(catalog: Catalog, all_made: Sequence[Made]) -> None:
    """Put adapters into the tables, without anything that is said of them."""
    with catalog._store.writing() as session:
        for made in all_made:
            blocks, kinds = touched(_packed(made))
            # Rows that are older than these columns have nothing in them.
            old = made.id % 2 == 0
            session.add(
                Adapter(
                    id=made.id,
                    name=made.name,
                    file_sha256=made.sha,
                    tensor_sha256=made.content,
                    file_size=made.size,
                    layout=made.layout,
                    algo=made.algo,
                    dtype=made.dtype,
                    rank_min=made.rank and made.rank[0],
                    rank_max=made.rank and made.rank[1],
                    module_count=made.modules,
                    model_blocks=28,
                    components=list(made.components),
                    base_model=made.base or None,
                    title=made.title or None,
                    trigger_words=list(made.triggers),
                    license=made.license,
                    added_at=made.added,
                    blocks=None if old else blocks,
                    kinds=None if old else " ".join(kinds),
                    report=Report(document={}, header={}, modules=_packed(made)),
                    locations=[
                        Location(
                            path=path,
                            size=made.size,
                            mtime_ns=1,
                            inode=1,
                            device=1,
                            state="missing" if missing else "present",
                        )
                        for path, missing in made.places
                    ],
                )
            )


def say(catalog: Catalog, random: Random, all_made: Sequence[Made]) -> None:
    """Say things of every content, in the catalog and to the oracle alike."""
    by_content: dict[str, list[Made]] = {}
    for made in all_made:
        by_content.setdefault(made.content, []).append(made)
    facts: list[NewFact] = []
    claims: list[NewClaim] = []
    tags: dict[str, list[str]] = {tag: [] for tag in TAGS}
    for content, group in by_content.items():
        said: dict[str, Any] = {}
        for name, value in (
            ("notes", random.choice(WORDS)),
            ("title", random.choice(WORDS)),
            ("rating", random.randint(1, 5)),
            ("favourite", random.random() < 0.5),
            ("strength", random.choice((-0.5, 0.5, 0.8, 1.0))),
            ("triggers", tuple(random.sample(WORDS, 2))),
            ("base", "another Base"),
        ):
            if random.random() < 0.4:
                said[name] = value
        facts += [NewFact(content, *_fact(name, value)) for name, value in said.items()]
        # A source that comes after the person's own word changes nothing where that is.
        if "title" in said:
            facts.append(NewFact(content, "title", "Nobody sees this", "civitai"))
        said["tags"] = tuple(random.sample(TAGS, random.randint(0, 3)))
        for tag in said["tags"]:
            tags[tag].append(content)
        said["claims"] = tuple(
            (origin, random.choice(("allow", "deny", "unknown", "allow_with_obligations")))
            for origin in ("user", "card")
            if random.random() < 0.3
        )
        claims += [
            NewClaim(content, origin, "somewhere", {"share_merges": share, "license": "MIT"})
            for origin, share in said["claims"]
        ]
        for made in group:
            for name, value in said.items():
                setattr(made, name, value)
    catalog.set_facts(facts)
    for tag, contents in tags.items():
        if contents:
            catalog.tag(contents, [tag])
    catalog.record_claims(claims)


def _fact(name: str, value: Any) -> tuple[str, Any]:
    if name == "strength":
        return name, {"value": value, "min": None, "max": None}
    names = {"triggers": "trigger_words", "base": "base_model"}
    return names.get(name, name), list(value) if isinstance(value, tuple) else value


def _packed(made: Made) -> bytes:
    names = [f"blocks.{block}.{kind}" for block in sorted(made.blocks) for kind in made.kinds]
    # What is not in a block of the transformer has names that look like it.
    names += ["llm_adapter.blocks.5.self_attn.q_proj", "text_encoder.layers.3.mlp.up_proj"]
    return _pack([{"name": name, "algo": "lora", "rank": 4} for name in names])
