"""The metadata of a fingerprint, which may come from anybody."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lorakit.errors import BadFile
from lorakit.formats import anima, strict_json

_CONTENT = re.compile(r"[0-9a-f]{64}")
_MOST_TEXT = 2000


@dataclass(frozen=True)
class Fields:
    """The metadata of a fingerprint, each field checked when it is asked for."""

    label: str
    metadata: Mapping[str, str]

    def text(self, name: str) -> str | None:
        """One line of visible characters; None where there is nothing to see."""
        found = self.metadata.get(f"lorakit.{name}", "")[:_MOST_TEXT]
        # It ends up in terminals, and its author may be anybody.
        return "".join(c if c.isprintable() else "_" for c in found).strip() or None

    def content(self, name: str) -> str | None:
        """A hash of tensors."""
        found = self.metadata.get(f"lorakit.{name}")
        if found is not None and not _CONTENT.fullmatch(found):
            raise self._bad(name, found)
        return found

    def one_of(self, name: str, allowed: Iterable[str]) -> str:
        """One of several words."""
        found = self.metadata.get(f"lorakit.{name}", "")
        if found not in allowed:
            raise self._bad(name, found)
        return found

    def number(self, name: str) -> int:
        """A small whole number."""
        found = self.metadata.get(f"lorakit.{name}", "")
        if not re.fullmatch(r"[0-9]{1,4}", found, re.ASCII):
            raise self._bad(name, found)
        return int(found)

    def names(self, name: str) -> tuple[str, ...]:
        """A list of modules."""
        found = self.metadata.get(f"lorakit.{name}", "[]")
        try:
            listed = strict_json.loads(found)
        except (ValueError, RecursionError) as error:
            raise self._bad(name, found) from error
        if not isinstance(listed, list) or not all(
            isinstance(module, str) and anima.is_module(module) for module in listed
        ):
            raise self._bad(name, found)
        return tuple(listed)

    def _bad(self, name: str, found: str) -> BadFile:
        return BadFile(f"{self.label} is a damaged fingerprint: its {name} is {found[:80]!r}.")
