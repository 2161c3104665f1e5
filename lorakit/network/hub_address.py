"""The address of an adapter on Hugging Face: `hf:OWNER/REPO[/FILE][@REVISION]`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lorakit.errors import BadUsage

SCHEME = "hf:"
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_ADDRESS = re.compile(rf"(?P<repository>{_NAME}/{_NAME})(?:/(?P<file>.+))?")
_HINT = "It is written hf:OWNER/REPO, hf:OWNER/REPO/FILE.safetensors, or either with @REVISION."


@dataclass(frozen=True, slots=True)
class HubAddress:
    """A repository, a file in it (None: whatever adapters it holds), and a revision (None: the newest)."""

    repository: str
    file: str | None = None
    revision: str | None = None

    def __str__(self) -> str:
        file = f"/{self.file}" if self.file else ""
        revision = f"@{self.revision}" if self.revision else ""
        return f"{SCHEME}{self.repository}{file}{revision}"


def is_address(text: str) -> bool:
    """Whether a word on the command line means something on Hugging Face."""
    return text.startswith(SCHEME)


def parse_address(text: str) -> HubAddress:
    """The address that `text` is. Raises `BadUsage`.

    A revision is a branch, tag or commit and may hold slashes, as in `refs/pr/1`; a file may hold an @.
    """
    rest, at, revision = text.removeprefix(SCHEME).rpartition("@")
    if not at or revision.endswith(".safetensors"):
        rest, at, revision = text.removeprefix(SCHEME), "", ""
    found = _ADDRESS.fullmatch(rest)
    if found is None or (at and not revision) or not text.isprintable():
        raise BadUsage(f"{text!r} is no address of an adapter on Hugging Face.", hint=_HINT)
    file = found["file"]
    if file is not None and any(part in ("", ".", "..") for part in file.split("/")):
        raise BadUsage(f"{file!r} is no file of a repository.", hint=_HINT)
    return HubAddress(found["repository"], file, revision or None)
