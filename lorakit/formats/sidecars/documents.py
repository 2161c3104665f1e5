"""Reading the files beside a model's, each once, and replacing one whole."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable
from pathlib import Path
from typing import Any

MAX_BYTES = 32_000_000
_UTF_8 = "utf-8"

# Gives a file's JSON; raises `OSError`, `ValueError` and `RecursionError`.
JsonReader = Callable[[Path], Any]


def read_text(path: Path) -> str:
    """A file's text: UTF-8, or UTF-16 where a byte order mark says so.

    Raises `OSError`, and `ValueError` for one that is none or is too large.
    """
    return _decoded(_read(path))


def read_note(path: Path) -> str:
    """As `read_text`, of a text that a person wrote: what is no UTF-8 is in the code page of western Windows."""
    raw = _read(path)
    try:
        return _decoded(raw)
    except UnicodeDecodeError as error:
        # No text holds a zero; whatever does, and the few bytes that the code page lacks, tell a binary file.
        if error.encoding != _UTF_8 or 0 in raw:
            raise
        try:
            return raw.decode("cp1252")
        except UnicodeDecodeError:
            raise error from None


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES:,} bytes")
    return raw


def _decoded(raw: bytes) -> str:
    if raw.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        return raw.decode("utf-16")
    return raw.removeprefix(BOM_UTF8).decode(_UTF_8)


def read_json(path: Path) -> Any:  # noqa: ANN401 - JSON is anything
    """A file's JSON. Raises `OSError`, `ValueError` and `RecursionError`."""
    return json.loads(read_text(path))


def reading_once() -> JsonReader:
    """A `read_json` that reads a file once, however often it is asked, failures included."""
    known: dict[Path, Any] = {}

    def read(path: Path) -> Any:  # noqa: ANN401 - JSON is anything
        if path not in known:
            try:
                known[path] = read_json(path)
            except (OSError, ValueError, RecursionError) as error:
                known[path] = error
        found = known[path]
        if isinstance(found, Exception):
            raise found
        return found

    return read


def failure(path: Path, error: Exception) -> str:
    """The sentence on a file that could not be read."""
    return f"{path.name} cannot be read: {_reason(error)}."


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        begins = error.encoding != _UTF_8
        return "it begins as UTF-16 text, and is none" if begins else "it is not UTF-8 text"
    if isinstance(error, json.JSONDecodeError):
        return f"it is not JSON ({error.msg.rstrip('.')}, line {error.lineno})"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text[:200] or type(error).__name__


def replace_file(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all, with the permissions it had. Raises `OSError`."""
    part = path.with_name(f".lorakit-{secrets.token_hex(8)}.part")
    try:
        part.write_bytes(data)
        if path.exists():
            shutil.copymode(path, part)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
