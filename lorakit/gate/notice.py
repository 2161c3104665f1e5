"""The notice beside a file that may be shared: what it is made of, under which licences, and what they ask."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from lorakit import __version__
from lorakit.gate.derived import Derived, Kind
from lorakit.gate.header import is_licensed, license_expression, licensed, strength
from lorakit.gate.subjects import Subject
from lorakit.licenses.known import known
from lorakit.licenses.policy import Ingredient, Verdict
from lorakit.licenses.spdx import identifier

_MADE: dict[Kind, str] = {
    "checkpoint": "a merge: the weights of the base were modified by the adapters below",
    "merged adapter": "a merge of the adapters below, modified and joined into one",
    "extracted adapter": "the difference of the checkpoints below, modified to be an adapter",
    "dora conversion": "an adapter that was modified to another form, computed with a base's weights",
    "re-encoded adapter": "the adapter below, modified to another form, with nothing merged into it",
}
# An obligation that begins so holds texts, in quotes, that are to be shown as they stand.
_SHOW = re.compile(r"^Show\b")
_QUOTED = re.compile(r'"([^"]+)"')


def notice_text(
    derived: Derived, subjects: Sequence[Subject], verdict: Verdict, output: Path, audit: str
) -> str:
    """The whole notice."""
    parts = verdict.parts
    sections = [
        _opening(derived, output, verdict),
        ["It is made of:", *_ingredients(subjects, verdict)],
        ["The licences of its parts:", *dict.fromkeys(map(_licence, licensed(verdict)))],
    ]
    if notices := list(dict.fromkeys(text for part in parts for text in _notices(part))):
        sections.append(["Notices:", *(f"\n{text}" for text in notices)])
    if verdict.obligations:
        sections.append(["Whoever shares it must:", *(f"- {one}" for one in verdict.obligations)])
    sections.append([f"The decision that allowed this file is {audit} in its maker's audit."])
    return "\n\n".join("\n".join(lines) for lines in sections) + "\n"


def _opening(derived: Derived, output: Path, verdict: Verdict) -> list[str]:
    today = datetime.now(UTC).date()
    return [
        f"{output.name} is {_MADE[derived.kind]}. It was made with lorakit {__version__} on {today}.",
        "THIS IS A MODIFIED VERSION of the models named below, and none of their authors endorses it.",
        f"Licence: {license_expression(verdict)}"
        if is_licensed(verdict)
        else "Licence: not known of all parts. Whoever wants to share it has to find out first.",
    ]


def _ingredients(subjects: Sequence[Subject], verdict: Verdict) -> Iterator[str]:
    for subject, ingredient in zip(subjects, verdict.ingredients, strict=True):
        at = strength(subject)
        yield from _described(ingredient, f" at strength {at}" if at is not None else "")


def _described(part: Ingredient, at: str = "", depth: int = 0) -> Iterator[str]:
    indent = "  " * depth
    name = f"it {part.relation}" if depth and part.relation else f"{part.name}{at}"
    yield f"{indent}- {name} ({part.role}, {part.terms.title})"
    if part.sha256 or part.content:
        yield f"{indent}  SHA-256 of the file: {part.sha256 or 'not known'}"
        yield f"{indent}  SHA-256 of its tensors: {part.content or 'not known'}"
    yield f'{indent}  "{part.terms.statement}" [{part.terms.cited}]'
    for ancestor in part.ancestors:
        yield from _described(ancestor, depth=depth + 1)


def _licence(part: Ingredient) -> str:
    """The identifier of a part's licence, and where its text stands."""
    expression, title = identifier(part.terms), part.terms.title
    names = re.findall(r"[A-Za-z0-9][A-Za-z0-9.+-]*", expression)
    listed = [
        n for n in names if n not in ("AND", "OR", "WITH") and not n.startswith("LicenseRef-")
    ]
    if listed:
        links = (f"https://spdx.org/licenses/{n.rstrip('+')}.html" for n in dict.fromkeys(listed))
        return f"- {expression}: {' '.join(links)}"
    keys = [claim.model for claim in part.claims if claim.model in known()]
    places = [place for key in keys if key for place in known()[key].repositories[:1]]
    where = f"https://huggingface.co/{places[0]}" if places else part.terms.cited
    return f"- {expression}: {title}; its text stands at {where}"


def _notices(part: Ingredient) -> Iterator[str]:
    for obligation in part.terms.obligations:
        if _SHOW.match(obligation):
            yield from _QUOTED.findall(obligation)
