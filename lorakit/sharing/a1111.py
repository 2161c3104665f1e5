"""A stack as A1111's text: a prompt with tags, and settings with hashes, as it and Forge paste them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

from lorakit import __version__
from lorakit.catalog.naming import free_name
from lorakit.errors import BadUsage
from lorakit.formats.infotext import (
    OWN_KEY,
    Infotext,
    civitai_hashes,
    lora_hashes,
    lora_tag,
    write_infotext,
)
from lorakit.formats.variants import SIZES
from lorakit.sharing.shared import (
    Settings,
    SharedEntry,
    SharedStack,
    entry_record,
    plain_strength,
    weighted_words,
)
from lorakit.strengths import Strength
from lorakit.strengths.tags import parse_tag
from lorakit.strengths.text import number


def a1111_text(shared: SharedStack) -> tuple[str, list[str]]:
    """The text, and sentences on what A1111 does not read of it.

    What tags cannot say stands as lorakit's own record under `lorakit`, which A1111 passes over.
    """
    settings = shared.settings or Settings()
    names = file_names(shared.entries)
    tags = [tag_arguments(entry) for entry in shared.entries]
    values = {
        "Steps": str(settings.steps),
        "Sampler": "Euler",
        "Schedule type": "Simple",
        "CFG scale": number(settings.cfg),
        "Seed": str(settings.seed),
        "Size": f"{settings.width}x{settings.height}",
        "Model hash": shared.base.sha256[:10],
        "Model": shared.base.path.stem,
        "Shift": number(settings.shift),
        "Lora hashes": lora_hashes(
            (name, e.tensor_sha256[:12]) for name, e in zip(names, shared.entries, strict=True)
        ),
        OWN_KEY: _own(shared, names, tags),
        "Version": f"lorakit {__version__}",
    }
    text = write_infotext(
        Infotext(
            settings.prompt,
            settings.negative_prompt,
            {key: value for key, value in values.items() if value},
        ),
        [lora_tag(name, *tag) for name, tag in zip(names, tags, strict=True)],
    )
    hashes = civitai_hashes(
        shared.base.sha256[:10],
        ((name, e.sha256[:10]) for name, e in zip(names, shared.entries, strict=True)),
    )
    lost = [
        sentence
        for entry, name, tag in zip(shared.entries, names, tags, strict=True)
        for sentence in _lost(entry, name, tag)
    ]
    return f"{text}, Hashes: {hashes}\n", [*lost, *weighted_words(settings, "A1111", "()[]")]


def file_names(entries: Iterable[SharedEntry]) -> list[str]:
    """What A1111 calls the adapters: their file names, without signs that part tags and hashes.

    Two files of one name get different ones, so that each keeps its hash.
    """
    taken: dict[str, str] = {}
    found = []
    for entry in entries:
        name = re.sub(r"[<>:,{}\"\\]", "", entry.path.stem).strip() or "adapter"
        others = {known for known, digest in taken.items() if digest != entry.sha256}
        name = free_name(name, others)
        taken[name] = entry.sha256
        found.append(name)
    return found


def tag_arguments(entry: SharedEntry) -> tuple[str, ...]:
    """What stands after the name in the entry's tag: as much of its strength as a tag can say.

    One number, or one for the text encoder and one for the rest; factors by block as `lbw=`, and one
    range of steps as `start=` and `stop=`, in the words of the LoRA Block Weight extension.
    """
    plain = plain_strength(entry)
    numbers = _numbers(entry, plain.model, plain.clip)
    if plain.exact:
        return numbers
    strength = entry.strength
    factors = dict(strength.components)
    whole = _numbers(entry, strength.headline, strength.base * factors.get("text_encoder", 1.0))
    tag = (*whole, *_lbw(entry), *_steps(strength))
    return tag if says_all(entry, tag) else numbers


def says_all(entry: SharedEntry, tag: Sequence[str]) -> bool:
    """Whether the arguments of a tag give every module of the adapter the strength that it has."""
    try:
        read = parse_tag(tag)
    except BadUsage:
        return False
    blocks = entry.model_blocks or 28
    return read.steps == entry.strength.steps and all(
        read.for_module(name, blocks) == entry.strength.for_module(name, blocks)
        for name in entry.modules
    )


def _numbers(entry: SharedEntry, model: float, clip: float) -> tuple[str, ...]:
    if not entry.has_text_encoder or model == clip:
        return (number(model),)
    return (f"te={number(clip)}", f"unet={number(model)}")


def _lbw(entry: SharedEntry) -> tuple[str, ...]:
    """The factors by block as one vector, BASE first; a preset by its name."""
    strength, blocks = entry.strength, entry.model_blocks
    if isinstance(strength.lbw, str):
        return () if strength.blocks else (f"lbw={strength.lbw}",)
    if blocks not in SIZES or not (strength.blocks or strength.lbw):
        return ()
    given = strength.lbw or (1.0,) * blocks
    base, vector = given[: len(given) - blocks] or (1.0,), given[-blocks:]
    by_span = [
        factor * next((by for span, by in strength.blocks if block in span), 1.0)
        for block, factor in enumerate(vector)
    ]
    return (f"lbw={','.join(map(number, (*base, *by_span)))}",)


def _steps(strength: Strength) -> tuple[str, ...]:
    if len(strength.steps) != 1:
        return ()
    (span,) = strength.steps
    return (f"start={span.first}", *(() if span.last is None else (f"stop={span.last + 1}",)))


def _own(shared: SharedStack, names: Sequence[str], tags: Sequence[tuple[str, ...]]) -> str:
    """lorakit's own record of the entries whose strength reads back otherwise; "" where none does."""
    entries = [
        {**entry_record(entry), "name": name, "tag": list(tag)}
        for entry, name, tag in zip(shared.entries, names, tags, strict=True)
        if parse_tag(tag) != entry.strength
    ]
    return json.dumps({"entries": entries}, ensure_ascii=False) if entries else ""


def _lost(entry: SharedEntry, name: str, tag: tuple[str, ...]) -> list[str]:
    found = []
    if name != entry.path.stem:
        found.append(f"{entry.path.name} is called {name} in the tag, and A1111 looks for that.")
    if not says_all(entry, tag):
        found.append(
            f"A1111 applies {entry.name} at {', '.join(tag)} throughout: its tags cannot say "
            f"{entry.strength}."
        )
    elif any("=" in part and not part.startswith(("te=", "unet=")) for part in tag):
        found.append(
            f"A1111 needs the extension LoRA Block Weight for {entry.name}, whose strength differs by "
            "block or step."
        )
    return found
