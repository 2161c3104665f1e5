"""Stack files (.toml): entries with their strengths and hashes, and the base and picture they were for.

format = "lorakit/stack/1"

[base]                      # optional
name = "rdbt"
sha256 = "..."              # of the file
tensors = "..."             # of the bytes after its header: survives an edit of the metadata

[picture]                   # optional: prompt, negative_prompt, width, height, steps, cfg, seed, shift
prompt = "a lighthouse"

[[entry]]
name = "ink"                # a catalog's name, or a path: a relative one starts at this file's folder
strength = 0.8
blocks = {"0-9" = 0.0}      # refinements: strengths/fields.py
sha256 = "..."              # optional, as of the base
tensors = "..."
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lorakit.errors import BadFile, NotFound
from lorakit.formats.generation import hex_hashes, real, whole

FORMAT = "lorakit/stack/1"
Value = str | float | Sequence[float] | Mapping[str, float]
_NUMBERS = {
    "cfg": real,
    "shift": real,
    "width": whole,
    "height": whole,
    "steps": whole,
    "seed": whole,
}
_TEXTS = ("prompt", "negative_prompt")


@dataclass(frozen=True)
class Named:
    """What a file names: by name, and by the hashes that are stated (lower-case hex), "" for none."""

    name: str = ""
    sha256: str = ""
    tensors: str = ""


@dataclass(frozen=True)
class FileEntry:
    """One entry as it stands in the file. `fields` are the strength's refinements, not yet checked."""

    what: Named
    strength: Any = 1.0
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StackFile:
    """A stack file's content."""

    entries: tuple[FileEntry, ...] = ()
    base: Named = Named()
    picture: Mapping[str, Any] = field(default_factory=dict)


def read_stack_file(path: Path) -> StackFile:
    """Read the stack file at `path`.

    Raises `NotFound` when there is none, and `BadFile` for one that cannot be read or is none.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NotFound(f"There is no stack file {path}.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile(f"The stack file {path} cannot be read: {error}.") from error
    return parse_stack_file(text, path)


def parse_stack_file(text: str, path: Path) -> StackFile:
    """The stack file whose text is `text`; `path` is what errors call it. Raises `BadFile`."""
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadFile(f"The stack file {path} cannot be read: {error}.") from error
    if document.get("format") != FORMAT:
        raise BadFile(f'{path} is not a stack file: it lacks format = "{FORMAT}".')
    entries = document.get("entry", [])
    if not isinstance(entries, list):
        raise BadFile(f"{path}: `entry` must be a list of tables, written [[entry]].")
    base = _table(path, document, "base")
    return StackFile(
        tuple(_entry(path, entry) for entry in entries),
        _named(path, "base", base) if base else Named(),
        _picture(path, _table(path, document, "picture")),
    )


def write_stack_file(stack: StackFile) -> str:
    """The text that `read_stack_file` reads back to an equal value."""
    lines = [f'format = "{FORMAT}"']
    if stack.base.name:
        lines += ["", "[base]", *_named_lines(stack.base)]
    if stack.picture:
        lines += ["", "[picture]"]
        lines += [f"{key} = {_toml(value)}" for key, value in stack.picture.items()]
    for entry in stack.entries:
        name, *hashes = _named_lines(entry.what)
        lines += ["", "[[entry]]", name, f"strength = {entry.strength!r}"]
        lines += [f"{key} = {_toml(value)}" for key, value in entry.fields.items()]
        lines += hashes
    return "\n".join(lines) + "\n"


def _table(path: Path, document: Mapping[str, Any], name: str) -> dict[str, Any]:
    table = document.get(name, {})
    if not isinstance(table, dict):
        raise BadFile(f"{path}: `{name}` must be a table, written [{name}].")
    return table


def _entry(path: Path, entry: Any) -> FileEntry:  # noqa: ANN401 - parsed TOML
    if not isinstance(entry, dict):
        raise BadFile(f"{path}: an entry must be a table, but is {entry!r}.")
    fields = dict(entry)
    what = _named(
        path, "entry", {key: fields.pop(key, "") for key in ("name", "sha256", "tensors")}
    )
    return FileEntry(what, fields.pop("strength", 1.0), fields)


def _named(path: Path, where: str, table: Mapping[str, Any]) -> Named:
    name = table.get("name")
    if not isinstance(name, str) or not name:
        raise BadFile(f"{path}: the {where} {dict(table)!r} needs a name.")
    return Named(name, *(_hash(path, name, table.get(key, "")) for key in ("sha256", "tensors")))


def _hash(path: Path, name: str, value: object) -> str:
    if value == "":
        return ""
    found = hex_hashes(value)
    if not found:
        raise BadFile(f"{path}: {value!r} is no SHA-256 of {name}.", hint="Leave the line out.")
    return found[0]


def _picture(path: Path, table: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in table.items():
        number = _NUMBERS[key](value) if key in _NUMBERS else None
        if key in _TEXTS and isinstance(value, str):
            found[key] = value
        elif number is not None and not isinstance(value, str):
            found[key] = number
        else:
            raise BadFile(
                f"{path}: [picture] cannot have {key} = {value!r}.",
                hint=f"It may have {', '.join((*_TEXTS, *_NUMBERS))}.",
            )
    return found


def _named_lines(what: Named) -> list[str]:
    hashes = (("sha256", what.sha256), ("tensors", what.tensors))
    return [f"name = {_toml(what.name)}"] + [f"{key} = {_toml(v)}" for key, v in hashes if v]


def _toml(value: Value) -> str:
    """A value as TOML writes it on one line."""
    if isinstance(value, str):
        plain = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda m: f"\\u{ord(m[0]):04x}", plain) + '"'
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return repr(value) if isinstance(value, int) else repr(float(value))
