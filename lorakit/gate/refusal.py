"""A refusal that says what can be done instead."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from lorakit.bases import ChosenBase
from lorakit.gate.derived import Derived
from lorakit.gate.subjects import Subject
from lorakit.licenses.policy import Verdict, require_allowed
from lorakit.stack import Entry, ResolvedEntry, Stack

# Recipes that hold names, strengths and hashes, and no weight; the file that each is written to.
RECIPES = {
    "stack": ".toml",
    "comfyui": ".json",
    "a1111": ".txt",
    "lora-manager": ".recipe.json",
}
# What every shell takes between double quotes as it stands.
_PLAIN = re.compile(r"[\w :.,@=<>()\[\]+/-]*")


def require_writable(
    verdict: Verdict, derived: Derived, subjects: Sequence[Subject], output: Path
) -> None:
    """Raise `Refused` unless `verdict` allows the file."""
    what = f"Writing {output.name}, {derived.what},"
    require_allowed(verdict, what, hint=f"Nothing was written. {_instead(subjects, output)}")


def _instead(subjects: Sequence[Subject], output: Path) -> str:
    """The commands that share the same stack without its weights."""
    entries = [s for s in subjects if isinstance(s, ResolvedEntry)]
    if not entries:
        return "What may be shared is how to make it: the names and hashes of the models, and the steps."
    stack = str(Stack(tuple(Entry(entry.name, entry.strength) for entry in entries)))
    base = next((s.name for s in subjects if isinstance(s, ChosenBase)), None)
    named = f" --base {_quoted(base)}" if base else ""
    lines = [
        f"  lorakit export {_quoted(stack, always=True)}{named} --recipe {kind} "
        f"-o {_quoted(output.stem + ending)}"
        for kind, ending in RECIPES.items()
    ]
    return "\n".join(
        ["A recipe may be shared: others rebuild the stack from their own files.", *lines]
    )


def _quoted(text: str, *, always: bool = False) -> str:
    """`text` as one word of a command line."""
    if not _PLAIN.fullmatch(text):
        return shlex.quote(text)
    return f'"{text}"' if always or not re.fullmatch(r"[\w.-]+", text) else text
