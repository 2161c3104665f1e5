"""Stacks: which adapters, at which strength, as text, as a file, and resolved to files.

Text: `ink:0.8 wash:0.5`, or `<lora:ink:0.8>` as in A1111 prompts. A name without a strength has 1.
Quote a name that holds spaces: `"my ink.safetensors":0.8`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorakit.errors import BadFile, BadUsage, NotFound
from lorakit.formats.inspection import AdapterReport, inspect
from lorakit.licenses.policy import Ingredient
from lorakit.licenses.terms import claimed_terms

if TYPE_CHECKING:
    # The catalog pulls in the database, which a stack of plain paths does not need.
    from lorakit.catalog import Catalog

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
# A tag, a quoted name, or a word; names hold apostrophes, so only double quotes quote.
_WORD = re.compile(
    rf"""\s*(?:
        <lora:(?P<tag>[^<>:]+)(?::(?P<tag_strength>{_NUMBER}))?>
      | "(?P<quoted>(?:[^"\\]|\\.)+)"(?::(?P<quoted_strength>{_NUMBER}))?(?!\S)
      | (?P<bare>[^\s<"]\S*?)(?::(?P<bare_strength>{_NUMBER}))?(?!\S)
    )\s*""",
    re.VERBOSE,
)
_BLOCKS = re.compile(rf":{_NUMBER}@")
_FILE_FORMAT = "lorakit/stack/1"
MAX_STRENGTH = 100.0


@dataclass(frozen=True)
class Entry:
    """One adapter of a stack: a name (path, catalog name, sha256:PREFIX) and its strength."""

    name: str
    strength: float = 1.0

    def __str__(self) -> str:
        if re.fullmatch(r'[^\s<"]\S*', self.name):
            return f"{self.name}:{self.strength:g}"
        escaped = self.name.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}":{self.strength:g}'


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
        """Read a stack from its text form, or from the stack file that `text` names.

        An empty text is the empty stack. Raises `BadUsage` for text that is no stack, `NotFound` and
        `BadFile` for a stack file that is missing or broken.
        """
        if text.strip().endswith(".toml"):
            return _read_file(Path(text.strip()))
        return cls(tuple(_read_text(text)))

    def to_toml(self) -> str:
        """The stack as a file, which `parse` reads back."""
        lines = [f'format = "{_FILE_FORMAT}"']
        for entry in self.entries:
            lines += [
                "",
                "[[entry]]",
                f"name = {_quote(entry.name)}",
                f"strength = {entry.strength!r}",
            ]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class ResolvedEntry:
    """An entry with its file found and its header read."""

    name: str
    strength: float
    path: Path
    report: AdapterReport
    sha256: str | None

    def ingredient(self) -> Ingredient:
        """The entry as the policy sees it: its terms are what its own header claims."""
        claim = self.report.info.license
        terms = claimed_terms(claim, f"modelspec.license in the header of {self.path.name}")
        return Ingredient(self.name, "adapter", terms, self.sha256)


def resolve_stack(stack: Iterable[Entry], catalog: Catalog | None) -> tuple[ResolvedEntry, ...]:
    """Find the file of every entry, by path or in `catalog`, and read its header.

    Raises `NotFound` or `Ambiguous` for a name, `BadFile` for a file that is not valid.
    """
    return tuple(_resolve(entry, catalog) for entry in stack)


def _resolve(entry: Entry, catalog: Catalog | None) -> ResolvedEntry:
    direct = Path(entry.name).expanduser()
    if catalog is None or direct.is_file():
        if not direct.is_file():
            raise NotFound(f"There is no file {entry.name}.")
        return ResolvedEntry(
            direct.stem, entry.strength, direct, inspect(direct, hashes=False), None
        )
    record = catalog.resolve(entry.name)
    path = record.existing_path()
    report = inspect(path, hashes=False)
    return ResolvedEntry(record.name, entry.strength, path, report, record.file_sha256)


def _read_text(text: str) -> Iterator[Entry]:
    at = len(text) - len(text.lstrip())
    while at < len(text):
        match = _WORD.match(text, at)
        if match is None or (match["bare"] and _BLOCKS.search(match["bare"])):
            raise BadUsage(
                f"{text[at:].split()[0]!r} is not an entry lorakit understands.",
                hint="Write NAME:STRENGTH or <lora:NAME:STRENGTH>, with one number for the strength, "
                "and a name with spaces in double quotes.",
            )
        yield _entry(match)
        at = match.end()


def _entry(match: re.Match[str]) -> Entry:
    kind = str(match.lastgroup).removesuffix("_strength")
    name, strength = match[kind], match[f"{kind}_strength"]
    if kind == "quoted":
        name = re.sub(r"\\(.)", r"\1", name, flags=re.DOTALL)
    if name == "sha256" and strength is not None:
        # `sha256:1234` is a name whose prefix happens to be a number.
        name, strength = f"sha256:{strength}", None
    return Entry(name, _strength(float(strength) if strength else 1.0, match[0].strip()))


def _strength(value: float, where: str) -> float:
    if not isfinite(value) or abs(value) > MAX_STRENGTH:
        raise BadUsage(f"{where!r} has a strength outside -{MAX_STRENGTH:g} to {MAX_STRENGTH:g}.")
    return value


def _read_file(path: Path) -> Stack:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NotFound(f"There is no stack file {path}.") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadFile(f"The stack file {path} cannot be read: {error}.") from error
    if document.get("format") != _FILE_FORMAT:
        raise BadFile(f'{path} is not a stack file: it lacks format = "{_FILE_FORMAT}".')
    entries = document.get("entry", [])
    if not isinstance(entries, list):
        raise BadFile(f"{path}: `entry` must be a list of tables, written [[entry]].")
    return Stack(tuple(_file_entry(path, entry) for entry in entries))


def _file_entry(path: Path, entry: Any) -> Entry:  # noqa: ANN401 - parsed TOML
    fields = entry if isinstance(entry, dict) and entry.keys() <= {"name", "strength"} else {}
    name, strength = fields.get("name"), fields.get("strength", 1.0)
    is_number = isinstance(strength, int | float) and not isinstance(strength, bool)
    if not isinstance(name, str) or not name or not is_number:
        raise BadFile(f"{path}: an entry needs a name and may have a strength, but is {entry!r}.")
    return Entry(name, _strength(float(strength), name))


def _quote(text: str) -> str:
    """A TOML basic string."""
    plain = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda m: f"\\u{ord(m[0]):04x}", plain) + '"'
