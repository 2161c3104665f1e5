"""The errors lorakit raises on purpose, each with the exit code the command line gives for it.

A message is a sentence that says what happened and to which file or key; the hint says what to do
next. Anything else that escapes is a bug.
"""

from __future__ import annotations

from typing import ClassVar


class LorakitError(Exception):
    """A known failure. `hint` says what to do next."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class NotFound(LorakitError):
    """A name, file or row that does not exist."""


class Ambiguous(LorakitError):
    """A name that fits several things; the hint lists them."""


class NotFusable(LorakitError):
    """An adapter that cannot be applied to this base, or not by this version of lorakit."""


class MissingComponent(LorakitError):
    """A part that a preview needs (text encoder, VAE, tokenizer, package) is not to be found."""


class CatalogError(LorakitError):
    """The catalog's database cannot be opened or does not fit this version of lorakit."""


class UnwritableCatalog(CatalogError):
    """The catalog was to be written, and can only be read."""


class Unreachable(LorakitError):
    """A server that must not or cannot be asked, or whose answer makes no sense."""


class BadUsage(LorakitError):
    """The words given to a command or function make no sense together."""

    exit_code = 2


class Refused(LorakitError):
    """A licence does not allow what was asked for."""

    exit_code = 3


class BadFile(LorakitError):
    """A file that is not what it should be, or cannot be read."""

    exit_code = 4
