"""Completion in the shell: names, tags, collections, and the fields of queries with their values.

A shell asks at every press of the key: nothing is made, and whatever goes wrong is an empty answer.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lorakit.catalog.query.suggesting import Suggested
    from lorakit.db.store import Store

# Set by the script that `lorakit --show-completion` prints, to `complete_bash` and the like.
VARIABLE = "_LORAKIT_COMPLETE"
_BASH = "complete_bash"


def answer() -> int:
    """Print what the word under the cursor may become; the exit code."""
    if os.environ.get(VARIABLE) == _BASH:
        return _answer_bash()
    line = _split(os.environ.get("_TYPER_COMPLETE_ARGS", ""))
    return _ask_typer(line[1:2])


def complete_query(incomplete: str) -> list[str]:
    """A condition of a query: its field, the field's value, or a name."""
    return _complete(incomplete, _in_query)


def complete_subjects(incomplete: str) -> list[str]:
    """As `complete_query`, for verbs that take names or a query: a name alone stays as it is."""
    return _complete(incomplete, str)


def completer(*kinds: Suggested) -> Callable[[str], list[str]]:
    """A completion of one word by the catalog's names, tags or whatever else `kinds` says."""

    def complete(incomplete: str) -> list[str]:
        from lorakit.catalog.query.suggesting import asked, suggest

        return asked(lambda store: [t for kind in kinds for t in suggest(store, kind, incomplete)])

    return complete


complete_names = completer("name")
complete_bases = completer("base")
complete_models = completer("name", "base")
complete_tags = completer("tag")
complete_collections = completer("collection")
complete_stacks = completer("stack", "name")


def as_items(texts: Sequence[str]) -> list[Any]:
    """Completions as a command's own `shell_complete` gives them."""
    from typer.core import CompletionItem  # type: ignore[attr-defined]

    return [CompletionItem(text) for text in texts]


def _complete(incomplete: str, spelt: Callable[[str], str]) -> list[str]:
    from lorakit.catalog.query.suggesting import asked

    sign = incomplete[:1] if incomplete[:1] in ("^", "-") else ""
    field, colon, beginning = incomplete[len(sign) :].partition(":")
    if colon:
        return asked(lambda store: _conditions(store, sign, field, beginning))
    return asked(lambda store: _fields_and_names(store, sign, field, _in_query if sign else spelt))


def _fields_and_names(
    store: Store, sign: str, beginning: str, spelt: Callable[[str], str]
) -> list[str]:
    from lorakit.catalog.query.suggesting import suggest, suggest_fields

    fields, names = suggest_fields(beginning), suggest(store, "name", beginning)
    if len(fields) == 1 and not names:
        # A single answer would be followed by a space.
        return _conditions(store, sign, fields[0][:-1], "") or [sign + fields[0]]
    return [*(sign + field for field in fields), *(sign + spelt(name) for name in names)]


def _conditions(store: Store, sign: str, field: str, beginning: str) -> list[str]:
    from lorakit.catalog.query.suggesting import suggest_values

    values = suggest_values(store, field.lower(), beginning)
    return [f"{sign}{field}:{_in_query(value)}" for value in values]


def _in_query(text: str) -> str:
    """`text` as one word of a query, which begins as it does: `?` is any character."""
    return re.sub(r"[\s\"':,]", "?", text)


def _answer_bash() -> int:
    """As for the other shells, which unlike bash quote by themselves and know where a word begins.

    For bash a colon is a word, and what comes after it another, which alone is to be answered.
    """
    from contextlib import redirect_stdout
    from io import StringIO

    given = os.environ.get("COMP_CWORD", "")
    words = _split(os.environ.get("COMP_WORDS", ""))[
        : int(given) + 1 if given.isdecimal() else None
    ]
    words += [""] * (int(given) + 1 - len(words) if given.isdecimal() else 0)
    words = _with_colons(words)
    if re.match(r"-[A-Za-z][\w-]+:", words[-1]):
        # Not an option but a negated condition; what comes after the colon is the same.
        words[-1] = f"^{words[-1][1:]}"
    os.environ |= {"COMP_WORDS": shlex.join(words), "COMP_CWORD": str(len(words) - 1)}
    known = words[-1][: words[-1].rfind(":") + 1]
    with redirect_stdout(StringIO()) as said:
        code = _ask_typer(words[1:2])
    for line in filter(None, said.getvalue().splitlines()):
        rest = line.removeprefix(known)
        # A query is often left unquoted, and its signs are safe at the end of a word.
        safe = re.fullmatch(r"[\w@%+=:,./^-]*", rest)
        print(rest if safe else shlex.quote(rest))  # noqa: T201 - for the shell, as Typer does it
    return code


def _with_colons(words: Sequence[str]) -> list[str]:
    """The words with those that were parted at a colon in one piece again."""
    found: list[str] = []
    for word in words:
        begun = found and re.fullmatch(r"[\^-]?[A-Za-z][\w-]*:?", found[-1])
        if begun and (word.startswith(":") or found[-1].endswith(":")):
            found[-1] += word
        else:
            found.append(word)
    return found


def _ask_typer(called: Sequence[str]) -> int:
    from lorakit.cli.app import build_app

    try:
        build_app(*called)([], prog_name="lorakit", complete_var=VARIABLE)
    except SystemExit as done:
        return int(done.code or 0)
    return 0


def _split(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:
        # A quote that is still open.
        return line.split()
