"""Reading the files beside a model's, each once, and replacing one whole."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

MAX_BYTES = 32_000_000

# Gives a file's JSON; raises `OSError`, `ValueError` and `RecursionError`.
JsonReader = Callable[[Path], Any]


def read_text(path: Path) -> str:
    """A file's text. Raises `OSError`, and `ValueError` for one that is none or is too large."""
    with path.open("rb") as file:
        raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES:,} bytes")
    return raw.decode("utf-8-sig")


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
        return "it is not UTF-8 text"
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
