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
from lorakit.licenses.terms import ShareMerges

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
    hint = [
        "Nothing was written.",
        *_to_settle(verdict, subjects),
        *_instead(derived, subjects, output),
    ]
    require_allowed(verdict, f"Writing {output.name}, {derived.what},", hint="\n".join(hint))


def _to_settle(verdict: Verdict, subjects: Sequence[Subject]) -> list[str]:
    """How to put on record what nothing has said so far of an ingredient."""
    if verdict.share_merges is not ShareMerges.UNKNOWN:
        return []
    pairs = zip(verdict.ingredients, subjects, strict=True)
    silent = [sub for one, sub in pairs if one.terms.share_merges is ShareMerges.UNKNOWN]
    commands = list(dict.fromkeys(map(_to_record, silent)))
    return [_how_to_settle(silent), *commands] if commands else []


def _how_to_settle(silent: Sequence[Subject]) -> str:
    strangers = [sub.name for sub in silent if isinstance(sub, ChosenBase) and not sub.sha256]
    if len(strangers) < len(silent):
        return "If you know the terms, put them on record:"
    many = len(strangers) > 1
    return (
        f"{' and '.join(strangers)} {'are' if many else 'is'} not registered: say which model "
        f"{'each' if many else 'it'} is, so that {'their' if many else 'its'} terms are known:"
    )


def _to_record(subject: Subject) -> str:
    """The command that says whose terms hold for one ingredient."""
    if isinstance(subject, ChosenBase) and not subject.sha256:
        return f"  lorakit base add {_quoted(str(subject.path))} --as MODEL"
    return (
        f"  lorakit license set {_quoted(subject.name)} --share-merges ANSWER "
        "--source WHERE-IT-STANDS"
    )


def _instead(derived: Derived, subjects: Sequence[Subject], output: Path) -> list[str]:
    """The commands that share the same stack without its weights."""
    if not derived.stack:
        return [
            "What may be shared is how to make it: names and hashes of the models, and the steps."
        ]
    base = next((subject for subject in subjects if isinstance(subject, ChosenBase)), None)
    named = f" --base {_quoted(_name(base))}" if base else ""
    commands = [
        f"  lorakit export {_quoted(derived.stack, always=True)}{named} --recipe {kind} "
        f"-o {_quoted(output.stem + ending)}"
        for kind, ending in RECIPES.items()
    ]
    kept = [
        "Or keep the stack and fuse it whenever you render:",
        f"  lorakit stack {_quoted(derived.stack, always=True)}{named} --keep NAME",
    ]
    return [
        "A recipe may be shared; others rebuild the stack from their own files:",
        *commands,
        *(kept if derived.kind == "merged adapter" else []),
    ]


def _name(base: ChosenBase) -> str:
    """What the base is found by: its name where it is registered, else its path."""
    return base.name if base.sha256 else str(base.path)


def _quoted(text: str, *, always: bool = False) -> str:
    """`text` as one word of a command line."""
    if not _PLAIN.fullmatch(text):
        return shlex.quote(text)
    return f'"{text}"' if always or not re.fullmatch(r"[\w./-]+", text) else text
