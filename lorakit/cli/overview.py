"""The page that `lorakit` alone shows: the verbs by task.

Written here, in plain text, because Typer's own page takes most of a fifth of a second: it imports
every verb, pydantic and rich. `lorakit VERB --help` is Typer's.
"""

from __future__ import annotations

import os
import sys
import textwrap
from dataclasses import dataclass
from itertools import groupby

ABOUT = (
    "Collect style LoRAs for the Anima image model, stack them on a base, preview, and keep to the "
    "licences."
)
CLOSING = "`lorakit VERB --help` shows a verb's options and an example."
OPTIONS = (
    ("--version", "Show the version."),
    ("-h, --help", "Show this page."),
    ("--install-completion", "Install completion for the current shell."),
    ("--show-completion", "Show completion for the current shell."),
)
WIDTH = 80


@dataclass(frozen=True)
class Verb:
    """A verb, the task it belongs to, and what it does in one sentence.

    `lorakit/cli/<module>.py` holds a function `<module>_verb` and an `EXAMPLE`, or an `app` of sub-verbs.
    """

    task: str
    name: str
    summary: str

    @property
    def module(self) -> str:
        """The verb's name as Python takes it."""
        return self.name.replace("-", "_")


# The order here is the order on the page: by task, not by alphabet.
VERBS: tuple[Verb, ...] = (
    Verb("Collect", "add", "Add adapter files, and those in folders, to the catalog."),
    Verb(
        "Collect",
        "scan",
        "Look through the folders that were added again: new, moved, changed and missing files.",
    ),
    Verb(
        "Collect",
        "sync",
        "Ask Civitai, by hash, for names, trigger words and permissions of adapters.",
    ),
    Verb(
        "Collect",
        "doctor",
        "Check files and database: what is missing, changed or damaged, and what to do.",
    ),
    Verb("Collect", "ls", "List the adapters of the catalog; a missing file is listed as missing."),
    Verb("Collect", "tag", "Give tags to adapters and take them away, or show them."),
    Verb("Collect", "note", "Keep notes, a rating, a strength and more of adapters, or show them."),
    Verb("Collect", "collection", "Put adapters together under a name, by hand or by a query."),
    Verb("Collect", "forget", "Remove adapters from the catalog, never a file."),
    Verb("Collect", "undo", "Take back what a command changed in the catalog."),
    Verb("Look", "inspect", "Show layout, algorithm, rank, blocks, training facts and licence."),
    Verb(
        "Look",
        "similar",
        "List the adapters that are alike by weights: copies, resized, scaled, merged, parts.",
    ),
    Verb(
        "Look",
        "report",
        "Write a gallery of adapters as one HTML file, to look through or to show.",
    ),
    Verb(
        "Look", "strength", "Tell how strong adapters are, and which strengths suggest themselves."
    ),
    Verb("Look", "verify", "Tell whether a file holds what it says it was made from, to the bit."),
    Verb("Stack", "base", "Register and list the models that adapters are stacked on."),
    Verb("Stack", "stack", "Show what a stack would do: what each entry touches, and the licence."),
    Verb(
        "Stack",
        "check",
        "Tell what a stack will do, by weights: how strong, how alike, who fights whom, and what to do.",
    ),
    Verb("Stack", "preview", "Fuse a stack onto a base in memory and render pictures."),
    Verb(
        "Stack",
        "grid",
        "Render a grid of pictures over strengths, adapters, seeds, prompts and more.",
    ),
    Verb(
        "Stack",
        "ab",
        "Compare two bases or stacks on the same prompts and seeds, blind if asked, by votes.",
    ),
    Verb(
        "Make",
        "merge",
        "Merge adapters into one file, exactly or to a rank, if every licence allows it.",
    ),
    Verb(
        "Make",
        "resize",
        "Give adapters other ranks: a number, or what holds a share of the energy.",
    ),
    Verb(
        "Make",
        "convert",
        "Write an adapter in another layout or dtype, for a larger model, or a DoRA as a LoRA.",
    ),
    Verb(
        "Make",
        "prune",
        "Write an adapter without some of its components, blocks, kinds or modules.",
    ),
    Verb("Make", "extract", "Write what a checkpoint changed of its base as an adapter."),
    Verb(
        "Share",
        "license",
        "Show what may be shared and why; put terms on record, with their source.",
    ),
    Verb(
        "Share",
        "export",
        "Write a merged checkpoint, if the terms of all in it allow it; or a recipe.",
    ),
    Verb(
        "Share",
        "export-metadata",
        "Write notes, tags, strengths and more beside adapters, for another program to read.",
    ),
    Verb("Share", "trace", "Tell which known models a file holds, by its weights."),
    Verb("Learn", "demo", "Run the whole path on a small model: add, stack, preview, refuse."),
)


def overview() -> str:
    """The page, with bold headings on a terminal that shows them."""
    styled = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    styled = styled and os.environ.get("TERM") != "dumb"
    bold, plain = ("\x1b[1m", "\x1b[0m") if styled else ("", "")
    lines = ["Usage: lorakit VERB [ARGUMENTS] [OPTIONS]", "", *textwrap.wrap(ABOUT, WIDTH)]
    tasks = [(task, list(verbs)) for task, verbs in groupby(VERBS, lambda verb: verb.task)]
    sections = [(task, [(verb.name, verb.summary) for verb in verbs]) for task, verbs in tasks]
    for title, entries in [*sections, ("Options", list(OPTIONS))]:
        lines += ["", f"{bold}{title}{plain}", *_entries(entries)]
    return "\n".join([*lines, "", CLOSING])


def _entries(entries: list[tuple[str, str]]) -> list[str]:
    width = max(9, *(len(name) for name, _ in entries)) + 2
    found: list[str] = []
    for name, text in entries:
        first, *rest = textwrap.wrap(text, WIDTH - width - 2)
        found.append(f"  {name:<{width}}{first}")
        found += [" " * (width + 2) + line for line in rest]
    return found
