"""What Typer says of a value that it cannot take, in words for people: it passes on those of a library."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup


class PlainGroup(TyperGroup):
    """A group of commands whose usage errors are in plain words."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - private to Typer
        """As every group does."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = plain(error)
            raise


def plain(error: typer.BadParameter) -> str:
    """The message of `error`, told from the fault that the library found; its own where it found none."""
    details = getattr(error.__cause__, "errors", None)
    if not callable(details) or not (found := details()):
        return error.message
    first = found[0]
    given, limits = repr(first["input"]), first.get("ctx", {})
    told = {
        "int_parsing": f"{given} is no whole number.",
        "int_from_float": f"{given} is no whole number.",
        "int_parsing_size": f"{given} is too long a number.",
        "float_parsing": f"{given} is no number.",
        "bool_parsing": f"{given} is neither yes nor no.",
        "greater_than_equal": f"it must be {limits.get('ge')} or more, not {first['input']}.",
        "greater_than": f"it must be more than {limits.get('gt')}, not {first['input']}.",
        "less_than_equal": f"it must be {limits.get('le')} or less, not {first['input']}.",
        "less_than": f"it must be less than {limits.get('lt')}, not {first['input']}.",
    }
    return told.get(first["type"], str(first["msg"]).removeprefix("Value error, "))
