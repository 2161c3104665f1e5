"""Stacks: which adapters, at which strength, as text, as a file, and resolved to files.

Text: `ink:0.8 wash:0.5`, or `<lora:ink:0.8>` as in A1111 prompts (strengths/tags.py). A name without a
strength has 1. Refinements follow: `ink:0.8@blocks=0-9:0,10-27:1@steps=0-8` (strengths/text.py).
Quote a name that holds spaces, or an @ before a word and an equals sign: `"my ink.safetensors":0.8`.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lorakit.errors import BadFile, BadUsage, NotFound
from lorakit.formats.generation import Generation, UsedAdapter
from lorakit.formats.inspection import AdapterReport, inspect
from lorakit.formats.peft_folder import adapter_file, called, is_adapter_file
from lorakit.formats.stack_file import (
    FileEntry,
    Named,
    StackFile,
    parse_stack_file,
    read_stack_file,
    write_stack_file,
)
from lorakit.licenses.dossier import Dossier
from lorakit.licenses.gathering import adapter_dossier
from lorakit.paths import expanded, is_file
from lorakit.strengths import MAX_STRENGTH, Strength, as_strength
from lorakit.strengths.fields import FIELDS, from_fields, to_fields
from lorakit.strengths.tags import parse_tag
from lorakit.strengths.text import NUMBER, parse_parts

if TYPE_CHECKING:
    # The catalog pulls in the database, which a stack of plain paths does not need.
    from lorakit.catalog import Catalog

__all__ = ["MAX_STRENGTH", "Entry", "ResolvedEntry", "Stack", "Strength", "resolve_stack"]

# A tag, a quoted name, or a word; names hold apostrophes, so only double quotes quote.
_PARTS = r"(?:@[A-Za-z_]+=\S*)?"
_WORD = re.compile(
    rf"""\s*(?:
        <lora:(?P<tag>[^<>:]+)(?P<tag_arguments>(?::[^<>:]*)*)>(?P<tag_parts>{_PARTS})
      | "(?P<quoted>(?:[^"\\]|\\.)+)"(?::(?P<quoted_strength>{NUMBER}))?(?P<quoted_parts>{_PARTS})(?!\S)
      | (?P<bare>[^\s<"](?:(?!@[A-Za-z_]+=)\S)*?)
        (?::(?P<bare_strength>{NUMBER}))?(?P<bare_parts>{_PARTS})(?!\S)
    )\s*""",
    re.VERBOSE,
)
_NOT_FINITE = re.compile(r".+:[+-]?(?:nan|inf(?:inity)?)", re.IGNORECASE)
_HALF_REFINED = re.compile(rf":{NUMBER}@")
_RECIPES = (".json", ".txt")
_SAID = ("trigger_words", "strength")
_PLAIN_NAME = re.compile(r'(?!sha256$)[^\s<"@][^\s@]*')


@dataclass(frozen=True)
class Entry:
    """One adapter of a stack: a name (path, catalog name, sha256:PREFIX) and its strength.

    A number given as the strength becomes a `Strength`. Raises `BadUsage` for one out of range.
    """

    name: str
    strength: Strength

    def __init__(self, name: str, strength: float | Strength = 1.0) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "strength", as_strength(strength))

    def __str__(self) -> str:
        if _PLAIN_NAME.fullmatch(self.name):
            return f"{self.name}:{self.strength}"
        escaped = self.name.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}":{self.strength}'


@dataclass(frozen=True)
class Stack:
    """Adapters with strengths. The order does not change the result."""

    entries: tuple[Entry, ...] = ()

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __str__(self) -> str:
        return " ".join(map(str, self.entries))

    @classmethod
    def parse(cls, text: str) -> Stack:
        """Read a stack from its text form, or from the file that `text` names.

        That may be a stack file (.toml), whose relative paths start at its own folder, or a recipe of
        another program (.json, .txt), whose adapters are named by their hash where it states one. An
        empty text is the empty stack. Raises `BadUsage` for text that is no stack, `NotFound` and
        `BadFile` for a file that is missing or broken.
        """
        path = expanded(text.strip())
        if text.strip().endswith(".toml"):
            return stack_of(read_saved(path))
        if path.suffix.lower() in _RECIPES and is_file(path):
            # Most stacks are text, which needs none of the readers of other programs' files.
            from lorakit.formats.recipe_files import read_recipe

            return cls(tuple(_entry_of(u, _by_hash(u)) for u in read_recipe(path).adapters))
        return cls(tuple(_read_text(text)))

    def to_toml(self) -> str:
        """The stack as a file, which `parse` reads back."""
        return write_stack_file(
            StackFile(
                tuple(
                    FileEntry(Named(entry.name), entry.strength.base, to_fields(entry.strength))
                    for entry in self.entries
                )
            )
        )


@dataclass(frozen=True)
class ResolvedEntry:
    """An entry with its file found and its header read; its hashes where the catalog knows them.

    `trigger_words` are what the catalog has in place of the file's own, None where it has nothing;
    `usual` is the range of strengths in which it is said to work.
    """

    name: str
    strength: Strength
    path: Path
    report: AdapterReport
    sha256: str | None
    tensor_sha256: str | None = None
    trigger_words: tuple[str, ...] | None = None
    usual: tuple[float, float] | None = None

    def dossier(self, catalog: Catalog | None = None) -> Dossier:
        """Everything known of the entry's terms; what its files say is kept in `catalog`."""
        return adapter_dossier(
            catalog, self.path, self.report, self.name, self.tensor_sha256, self.sha256
        )


def resolve_stack(stack: Iterable[Entry], catalog: Catalog | None) -> tuple[ResolvedEntry, ...]:
    """Find the file of every entry, by path or in `catalog`, and read its header.

    Raises `NotFound` or `Ambiguous` for a name, `BadFile` for a file that is not valid.
    """
    return tuple(_resolve(entry, catalog) for entry in stack)


def _resolve(entry: Entry, catalog: Catalog | None) -> ResolvedEntry:
    direct = adapter_file(expanded(entry.name))
    if catalog is None or is_file(direct):
        if not is_file(direct):
            raise NotFound(f"There is no file {entry.name}.")
        return ResolvedEntry(
            called(direct), entry.strength, direct, inspect(direct, hashes=False), None
        )
    record = catalog.resolve(entry.name)
    path = record.existing_path()
    report = inspect(path, hashes=False)
    content = record.tensor_sha256
    said = catalog.all_facts([content], _SAID).get(content, {})
    words, strength = (said[name][0].value if name in said else None for name in _SAID)
    return ResolvedEntry(
        record.name,
        entry.strength,
        path,
        report,
        record.file_sha256,
        content,
        tuple(words) if words else None,
        _span(strength),
    )


def _span(strength: Mapping[str, float | None] | None) -> tuple[float, float] | None:
    """The range of a strength that is on record; None where it has no range."""
    if strength is None or (strength["min"] is None and strength["max"] is None):
        return None
    low, high = strength["min"], strength["max"]
    return (-math.inf if low is None else low, math.inf if high is None else high)


def _read_text(text: str) -> Iterator[Entry]:
    at = len(text) - len(text.lstrip())
    while at < len(text):
        match = _WORD.match(text, at)
        if match is None or (match["bare"] and _HALF_REFINED.search(match["bare"])):
            raise BadUsage(
                f"{_shown(text[at:].split()[0])} is not an entry lorakit understands.",
                hint="Write NAME:STRENGTH, NAME:STRENGTH@blocks=0-9:0 or <lora:NAME:STRENGTH>, and a "
                "name with spaces in double quotes.",
            )
        yield _entry(match)
        at = match.end()


def _entry(match: re.Match[str]) -> Entry:
    kind = next(kind for kind in ("tag", "quoted", "bare") if match[kind] is not None)
    name = match[kind]
    parts = match[f"{kind}_parts"].split("@")[1:]
    try:
        if kind == "tag":
            return Entry(name, parse_tag(match["tag_arguments"].split(":")[1:], parts))
        strength = match[f"{kind}_strength"]
        if kind == "bare" and strength is None and _NOT_FINITE.fullmatch(name):
            raise BadUsage(
                "A strength must be a finite number.",
                hint=f'A name that ends so is written in double quotes: "{name}".',
            )
        if kind == "quoted":
            name = re.sub(r"\\(.)", r"\1", name, flags=re.DOTALL)
        elif name == "sha256" and strength is not None:
            # `sha256:1234` is a name whose prefix happens to be a number.
            name, strength = f"sha256:{strength}", None
        return Entry(name, from_fields(float(strength or 1.0), parse_parts(parts)))
    except BadUsage as error:
        raise BadUsage(
            f"In {_shown(match[0].strip())}: {error.message}", hint=error.hint
        ) from error


def _shown(text: str, most: int = 120) -> str:
    return repr(text if len(text) <= most else f"{text[: most - 3]}...")


def read_saved(path: Path) -> Generation:
    """The stack file at `path`, with everything it states: hashes, base, and the picture's settings.

    Raises `NotFound` when there is none, and `BadFile` for one that cannot be read or is none.
    """
    return _generation(read_stack_file(path), path)


def read_kept(document: str, name: str) -> Generation:
    """As `read_saved`, of the text of a stack file that the catalog keeps as `name`."""
    path = Path(name).absolute()
    return _generation(parse_stack_file(document, path), path)


def stack_of(made: Generation) -> Stack:
    """The stack that a record states, its adapters by name. Raises `BadUsage` for a strength."""
    return Stack(tuple(_entry_of(used, used.name) for used in made.adapters))


def _generation(saved: StackFile, path: Path) -> Generation:
    return Generation(
        program="lorakit",
        base_name=saved.base.name,
        base_hash=saved.base.sha256,
        base_tensors=saved.base.tensors,
        adapters=tuple(_saved_adapter(path, entry) for entry in saved.entries),
        **saved.picture,
    )


def stated_strength(used: UsedAdapter) -> Strength | None:
    """The strength that a record states of an adapter; None where it states none.

    Raises `BadUsage` for one that lorakit does not know.
    """
    try:
        if used.strength is not None:
            return Strength.parse(used.strength)
        return parse_tag(used.arguments) if used.arguments else None
    except BadUsage as error:
        stated = used.strength or ":".join(used.arguments)
        raise BadUsage(
            f"The strength of {used.name}, {stated!r}, is not one that lorakit knows: "
            f"{error.message}",
            hint="Give the stack yourself, as text.",
        ) from error


def _saved_adapter(path: Path, entry: FileEntry) -> UsedAdapter:
    name = entry.what.name
    if not entry.fields.keys() <= set(FIELDS):
        raise BadFile(
            f"{path}: the entry {name!r} may have strength, sha256, tensors, {', '.join(FIELDS)}, but "
            f"has {', '.join(entry.fields)}."
        )
    try:
        strength = from_fields(entry.strength, entry.fields)
    except BadUsage as error:
        raise BadFile(f"{path}: in the entry {name!r}: {error.message}", hint=error.hint) from error
    placed = _placed(name, path.parent)
    hashes = tuple(filter(None, (entry.what.sha256, entry.what.tensors)))
    is_path = placed if is_adapter_file(expanded(placed)) else ""
    return UsedAdapter(placed, hashes, strength=str(strength), path=is_path, typed=True)


def _placed(name: str, folder: Path) -> str:
    """A relative path as seen from here, when it leads from `folder` to a file; else the name as it is.

    Stack files once held paths as they were typed, wherever the file was saved to.
    """
    is_path = any(sign in name for sign in {"/", os.sep}) or name.endswith((".safetensors", ".sft"))
    return str(folder / name) if is_path and is_adapter_file(folder / name) else name


def _entry_of(used: UsedAdapter, name: str) -> Entry:
    strength = stated_strength(used)
    return Entry(name, Strength() if strength is None else strength)


def _by_hash(used: UsedAdapter) -> str:
    """The adapter's hash as a catalog looks it up; the name where none is stated."""
    return f"sha256:{used.hashes[0]}" if used.hashes else used.name
