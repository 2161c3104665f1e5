"""The columns that `lorakit ls` can show, and the table of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from lorakit.errors import BadUsage

if TYPE_CHECKING:
    from rich.console import Console

    from lorakit.catalog import AdapterRecord, Catalog

USUAL = ("name", "algo", "rank", "blocks", "layout", "license", "size", "missing")
# Shown as well where there is room, and where any adapter has them.
_ROOMY = ("rating", "tags")
_ROOM = 100
# All that there is room for in a narrow terminal.
_NARROW = ("name", "algo", "rank", "size", "missing")
_NARROWER_THAN = 60
_RIGHT = ("rank", "blocks", "size", "modules", "rating", "strength")
# What the marks in the last column mean.
STATES: Mapping[str, str] = MappingProxyType(
    {
        "missing": "no file of it is there now; what you said of it stays.",
        "changed": "its file has another size or time than when it was read: lorakit scan",
        "header only": "its file was not read whole yet: lorakit scan",
    }
)
# Columns of what is said of a content, by the field of the fact.
_FACTS: Mapping[str, str] = MappingProxyType(
    {
        "title": "title",
        "notes": "notes",
        "rating": "rating",
        "favourite": "favourite",
        "strength": "strength",
        "triggers": "trigger_words",
        "base": "base_model",
        "author": "author",
    }
)


@dataclass(frozen=True)
class Columns:
    """Some columns by name, in order."""

    names: tuple[str, ...]

    def cells(self, catalog: Catalog, records: Sequence[AdapterRecord]) -> list[tuple[str, ...]]:
        """The rows of the table."""
        from lorakit.catalog.facts import with_header

        contents = [record.tensor_sha256 for record in records]
        fields = [_FACTS[name] for name in self.names if name in _FACTS]
        facts = catalog.all_facts(contents, fields) if fields else {}
        tags = catalog.all_tags(contents) if "tags" in self.names else {}
        found = []
        for record in records:
            said = with_header(record, facts.get(record.tensor_sha256, {}))
            values = {field: records[0].value for field, records in said.items()}
            values["tags"] = tags.get(record.tensor_sha256, ())
            found.append(tuple(_cell(name, record, values) for name in self.names))
        return found

    def without_empty(
        self, body: Sequence[tuple[str, ...]]
    ) -> tuple[Columns, list[tuple[str, ...]]]:
        """The columns and their cells, without ratings and tags where there are none."""
        kept = [
            place
            for place, name in enumerate(self.names)
            if name not in _ROOMY or any(row[place] for row in body)
        ]
        names = tuple(self.names[place] for place in kept)
        return Columns(names), [tuple(row[place] for place in kept) for row in body]

    def show(
        self, console: Console, body: Sequence[tuple[str, ...]], query: str, total: int
    ) -> None:
        """The table for a person; `total` is how many there are with those that are not shown."""
        from lorakit.cli.render import rows

        if not body:
            from lorakit.catalog.home import default_catalog
            from lorakit.cli.queries import as_typed

            # A folder that is not mounted holds a catalog too, as soon as one is looked for there.
            empty = f"The catalog {default_catalog()} is empty."
            what = f"No adapter fits {as_typed(query)!r}." if query else empty
            console.print(what, style="dim", soft_wrap=True)
            if not query:
                console.print("`lorakit add FOLDER` adds what is in a folder.", style="dim")
            return
        titles = tuple({"license": "licence", "missing": ""}.get(n, n) for n in self.names)
        rows(console, titles, body, right=_RIGHT)
        marks = (
            {row[self.names.index("missing")] for row in body} if "missing" in self.names else ()
        )
        for state in STATES:
            if state in marks:
                console.print(f"{state}: {STATES[state]}", style="dim")
        if total > len(body):
            rest = f"Shown: {len(body):,} of {total:,}; --limit 0 shows all."
            console.print(rest, style="dim")


def usual_columns(width: int) -> Columns:
    """The columns for a terminal of `width` characters, when none are asked for."""
    if width < _NARROWER_THAN:
        return Columns(_NARROW)
    *first, last = USUAL
    return Columns((*first, *_ROOMY, last)) if width >= _ROOM else Columns(USUAL)


def chosen_columns(text: str | None) -> Columns:
    """The columns that `--format` names, with commas between. Raises `BadUsage`."""
    if text is None:
        return Columns(USUAL)
    names = tuple(filter(None, (part.strip().lower() for part in text.split(","))))
    unknown = [name for name in names if name not in _CELLS and name not in (*_FACTS, "tags")]
    if unknown or not names:
        known = ", ".join(dict.fromkeys((*_CELLS, *_FACTS, "tags")))
        what = f"There is no column {unknown[0]!r}." if unknown else "--format names no column."
        raise BadUsage(what, hint=f"There are: {known}.")
    return Columns(names)


def _cell(name: str, record: AdapterRecord, values: Mapping[str, Any]) -> str:
    if name == "tags":
        return ", ".join(values["tags"])
    if name not in _FACTS:
        return _CELLS[name](record)
    value = values.get(_FACTS[name])
    if isinstance(value, dict):
        value = value.get("value")
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(value)
    return "" if value is None else " ".join(str(value).split())


def _rank(record: AdapterRecord) -> str:
    if record.rank_min is None:
        return ""
    same = record.rank_min == record.rank_max
    return str(record.rank_min) if same else f"{record.rank_min}-{record.rank_max}"


def _size(record: AdapterRecord) -> str:
    from lorakit.cli.render import size

    return size(record.file_size)


def state_of(record: AdapterRecord) -> str:
    """What is to be known of the file: it is missing, changed, or was not read whole; mostly ""."""
    if record.missing:
        return "missing"
    if record.changed:
        return "changed"
    return "header only" if record.pending else ""


_CELLS: Mapping[str, Callable[[AdapterRecord], str]] = MappingProxyType(
    {
        "name": lambda record: record.name,
        "algo": lambda record: record.algo or "",
        "rank": _rank,
        "blocks": lambda record: str(record.model_blocks or ""),
        "layout": lambda record: record.layout or "",
        "dtype": lambda record: record.dtype,
        "license": lambda record: record.license or "none named",
        "size": _size,
        "modules": lambda record: str(record.module_count),
        "components": lambda record: ", ".join(record.components),
        "added": lambda record: f"{record.added_at.astimezone():%Y-%m-%d}",
        "path": lambda record: str(record.path or ""),
        "hash": lambda record: "" if record.pending else record.file_sha256,
        "missing": state_of,
    }
)
