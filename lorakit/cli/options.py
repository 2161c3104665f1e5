"""Options that several verbs share, and how names given on the command line are read."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from lorakit.cli.complete import complete_bases, complete_names, complete_stacks
from lorakit.formats.peft_folder import is_adapter_file
from lorakit.paths import expanded

Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Nothing but ids, one a line.")]
AdapterName = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="An adapter of the catalog, or a file.",
        show_default=False,
        autocompletion=complete_names,
    ),
]
BaseName = Annotated[
    str | None,
    typer.Option(
        "--base",
        "-b",
        help="A base by name. Left out, the only registered one.",
        autocompletion=complete_bases,
    ),
]
StackText = Annotated[
    str,
    typer.Argument(
        metavar="STACK",
        help='Adapters with strengths, "ink:0.8 wash:0.5"; a kept stack by name; or a stack file, recipe '
        "or picture.",
        show_default=False,
        autocompletion=complete_stacks,
    ),
]
Force = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]


def read_names(names: Sequence[str]) -> list[str]:
    """The names, with `-` replaced by the lines of standard input."""
    found: list[str] = []
    for name in names:
        found += [line.strip() for line in sys.stdin if line.strip()] if name == "-" else [name]
    return found


def looks_like_path(name: str) -> bool:
    """Whether a name on the command line means a file rather than an entry of the catalog."""
    path = expanded(name)
    return (
        len(path.parts) > 1
        or path.suffix.lower() in {".safetensors", ".sft", ".pt", ".ckpt"}
        or is_adapter_file(path)
    )
