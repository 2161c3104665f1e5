"""The page of a collection: cards to search and sort out, and a page for each adapter."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lorakit.counting import counted_rows
from lorakit.report.drawings import block_map, placeholder, plot
from lorakit.report.exhibits import Exhibit
from lorakit.report.pages import data_url, fill_page
from lorakit.report.stacks import ShownStack

# Verdict -> words on a card, and what the colour means.
VERDICTS: Mapping[str, str] = {
    "allow": "may be merged and shared",
    "allow_with_obligations": "may be shared, with conditions",
    "unknown": "terms unknown",
    "deny": "merges not to be shared",
}
_COMPONENTS = {"dit": "transformer", "llm_adapter": "text adapter", "text_encoder": "text encoder"}
_QUESTIONS = {
    "render": "Render with it",
    "share pictures": "Share pictures",
    "share merge": "Share a merge",
    "must include": "What must go along",
}
_KINDS = {
    "self_attn": "self-attention",
    "cross_attn": "cross-attention",
    "mlp": "MLP",
    "adaln": "adaln",
}


def gallery_page(
    exhibits: Sequence[Exhibit],
    *,
    title: str = "Adapters",
    private: bool = False,
    ordered: bool = False,
    stacks: Sequence[ShownStack] = (),
) -> str:
    """The page as HTML, complete in itself.

    `private` adds what only its owner is to see: where files lie, and the notes. `ordered` says that the
    order of the exhibits means something; otherwise they are shown by name. `stacks` are shown below.
    """
    anchors = anchors_of([one.record.name for one in exhibits])
    shown = [_shown(one, anchors, private) for one in exhibits]
    return fill_page(
        "gallery.html.j2",
        ("page.css", "gallery.css"),
        ("gallery.js",),
        title=title,
        adapters=shown,
        total=_size(sum(one.record.file_size for one in exhibits)),
        verdicts=VERDICTS,
        legend=[verdict for verdict in VERDICTS if any(one["verdict"] == verdict for one in shown)],
        ordered=ordered,
        stacks=[_stack(one, anchors, private) for one in stacks],
        data=[
            {
                "id": one["anchor"],
                "name": one["name"],
                "search": one["search"],
                "facets": one["facets"],
                "sort": one["sort"],
            }
            for one in shown
        ],
    )


def _stack(one: ShownStack, anchors: Mapping[str, str], private: bool) -> dict[str, Any]:
    return {
        "name": one.name,
        "text": one.text,
        "base": one.base,
        "notes": one.notes if private else "",
        "adapters": [(name, anchors[name]) for name in one.adapters],
        "pictures": [data_url(picture, "image/webp") for picture in one.pictures],
    }


def anchors_of(names: Sequence[str]) -> dict[str, str]:
    """A word for an address for each name, different for each."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        stem = re.sub(r"[^\w.-]+", "-", name).strip("-") or "adapter"
        anchor, number = stem, 1
        while anchor in taken:
            number += 1
            anchor = f"{stem}-{number}"
        taken.add(anchor)
        found[name] = anchor
    return found


def _shown(one: Exhibit, anchors: Mapping[str, str], private: bool) -> dict[str, Any]:
    """One adapter as the template and the script take it."""
    record, rating, title = one.record, one.said("rating"), one.said("title")
    triggers = list(one.said("trigger_words") or ())
    blocks = record.model_blocks or 0
    base = one.said("base_model")
    return {
        "anchor": anchors[record.name],
        "name": record.name,
        "title": title if title and title != record.name else "",
        "author": one.said("author"),
        "line": _line(one),
        "cover": data_url(one.cover, "image/webp") if one.cover else None,
        "placeholder": placeholder(record.name, record.tensor_sha256, one.portrait.sizes),
        "hidden": bool(one.said("nsfw")),
        "missing": record.missing,
        "changed": record.changed,
        "favourite": bool(one.said("favourite")),
        "rating": rating or 0,
        "tags": one.tags,
        "triggers": triggers,
        "description": one.said("description"),
        "notes": one.said("notes") if private else None,
        "page": one.said("page"),
        "verdict": one.share_merges,
        "licence": record.license,
        "answers": [(_QUESTIONS.get(a.question, a.question), a) for a in one.answers],
        "map": block_map(one.modules, one.portrait.sizes, blocks),
        "plot": plot(one.portrait.curves),
        "curves": [(_KINDS.get(c.kind, c.kind), c) for c in one.portrait.curves],
        "curve_blocks": ", ".join(map(str, one.portrait.blocks)),
        "stack": _stack_text(record.name, one.said("strength")),
        "strength": _strength(one.said("strength")),
        "suggested": one.suggestion.text,
        "evidence": _evidence(one, private),
        "facts": _facts(one, triggers, private),
        "sources": _sources(one),
        "near": [
            (near.record.name, anchors.get(near.record.name), near.likeness) for near in one.near
        ],
        "remarks": (*one.document["problems"], *one.document["notes"]),
        "search": _search(one, triggers),
        "facets": {
            "tag": list(one.tags),
            "algorithm": [_algo(record.algo)],
            "rank": [str(record.rank_max)] if record.rank_max else ["none"],
            "touches": [_COMPONENTS.get(name, name) for name in record.components],
            "licence": [VERDICTS[one.share_merges]],
            "base": [Path(base).name[:60] if base else "not named"],
            "rating": [f"{rating} of 5" if rating else "not rated"],
        },
        "sort": {
            "rating": rating or 0,
            "added": record.added_at.timestamp(),
            "rank": record.rank_max or 0,
            "size": record.file_size,
        },
    }


def _evidence(one: Exhibit, private: bool) -> list[str]:
    """What speaks for its strength; on a page for others, nothing of what its owner did."""
    public = ("program", "size")
    return [e.text for e in one.suggestion.evidence if private or e.kind in public]


def _line(one: Exhibit) -> str:
    """What the file is, in one line that breaks between its parts alone."""
    parts = (_algo(one.record.algo), _rank(one), _size(one.record.file_size))
    return " · ".join(part.replace(" ", "\N{NO-BREAK SPACE}") for part in parts if part)


def _facts(one: Exhibit, triggers: Sequence[str], private: bool) -> list[tuple[str, str]]:
    """What is in the file, for the list on its own page."""
    record, info = one.record, one.document["info"]
    ranks = one.document["ranks"]
    components = one.document["components"].items()
    blocks = record.model_blocks
    pairs = [
        ("Algorithm", ", ".join(map(_algo, one.document["algos"]))),
        ("Rank", ", ".join(ranks) if ranks else ""),
        ("Changes", ", ".join(f"{n} in the {_COMPONENTS.get(c, c)}" for c, n in components)),
        ("Made for", f"Anima of {counted_rows(blocks, 'block')}" if blocks else ""),
        ("Base named", one.said("base_model") or ""),
        ("Trainer", info.get("trainer") or ""),
        ("Licence named", record.license or ""),
        ("Made from", info.get("merged_from") or ""),
        ("Layout, numbers", f"{', '.join(one.document['layouts'])}, {record.dtype}"),
        ("Size", _size(record.file_size)),
        ("Added", record.added_at.date().isoformat()),
        ("SHA-256", record.file_sha256),
    ]
    if private:
        pairs.append(("Lies at", "\n".join(map(_place, record.locations)) or "nowhere now"))
    return [(name, value) for name, value in pairs if value]


def _sources(one: Exhibit) -> dict[str, str]:
    """Who says what is shown, where it is not the person."""
    fields = ("title", "description", "trigger_words", "strength", "author", "page")
    return {field: f"from {one.source(field)}" if one.source(field) else "" for field in fields}


def _search(one: Exhibit, triggers: Sequence[str]) -> str:
    parts = (one.record.name, one.said("title"), one.said("author"), *one.tags, *triggers)
    return " ".join(filter(None, parts)).casefold()


def _stack_text(name: str, strength: Mapping[str, float] | None) -> str:
    """How to name it in a stack."""
    plain = re.fullmatch(r'(?!sha256$)[^\s<"@:]+', name)
    quoted = name if plain else f'"{name}"'
    return f"{quoted}:{strength['value']:g}" if strength else quoted


def _strength(strength: Mapping[str, float | None] | None) -> str:
    if not strength:
        return ""
    low, high = strength.get("min"), strength.get("max")
    span = f", from {low:g} to {high:g}" if low is not None and high is not None else ""
    return f"{strength['value']:g}{span}"


def _algo(algo: str) -> str:
    return {"lora": "LoRA", "loha": "LoHa", "lokr": "LoKr", "dora": "DoRA"}.get(algo, algo)


def _rank(one: Exhibit) -> str:
    low, high = one.record.rank_min, one.record.rank_max
    if not high:
        return ""
    return f"rank {high}" if low == high else f"rank {low}–{high}"


def _size(count: int) -> str:
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if value >= 10 or unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.2f} GB"


def _place(path: Path) -> str:
    """A path without the name of whoever's home it lies in."""
    try:
        return f"~/{path.relative_to(Path.home()).as_posix()}"
    except (ValueError, RuntimeError):
        return str(path)
