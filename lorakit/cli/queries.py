"""Queries on the command line: the words of one, and what the command line adds to the language."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from lorakit.cli.complete import complete_query

QueryWords = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="QUERY",
        help="Words and field:value conditions; `lorakit ls --fields` lists the fields.",
        show_default=False,
        autocompletion=complete_query,
    ),
]
_CONDITION = re.compile(r"[-^]?([A-Za-z][\w-]+):(?!\\)")


class QueryCommand(TyperCommand):
    """A command whose words may begin with a minus, as `-tag:nsfw` does, and are then no options."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - private to Typer
        """As every command does, with negated words told from options first."""
        short = {name[1]: p for p in self.params for name in p.opts if re.fullmatch("-[^-]", name)}
        valued = {name for name, p in short.items() if not getattr(p, "is_flag", False)}
        # -h is nobody's parameter.
        return super().parse_args(ctx, list(_negations(args, {*short, "h"} - valued, valued)))


def _negations(args: Sequence[str], flags: set[str], valued: set[str]) -> Iterator[str]:
    """The words, with `^` for the minus of those that are no options; `^` negates as well.

    `flags` are the options of one letter, `valued` those that a value may follow without a space.
    """
    for number, arg in enumerate(args):
        if arg == "--":
            yield from args[number:]
            return
        letters = arg[1:]
        option = arg[1:2] in valued or set(letters) <= flags or letters.isdecimal()
        is_word = re.match(r"-[^-].", arg) and (is_condition(arg) or not option)
        yield f"^{letters}" if is_word else arg


def query_text(words: Sequence[str]) -> str:
    """The query that the words of a command line are together."""
    return " ".join(words)


def as_typed(query: str) -> str:
    """`query` with a minus where `_negations` put a `^`, for messages."""
    return re.sub(r"(?<!\S)\^", "-", query)


def is_condition(word: str) -> bool:
    """Whether a word can only be a condition such as `rank:8..`, and no adapter's name or file."""
    found = _CONDITION.match(word)
    return found is not None and not word.startswith("sha256:")


def header_share(named: str) -> str:
    """Whether the licence that a header names lets merges be shared: allow, deny or unknown."""
    # Only queries by licence need the table.
    from lorakit.licenses.spdx import license_terms

    return str(license_terms(named, "the header").share_merges).partition("_")[0]
