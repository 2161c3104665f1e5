"""Changes that cannot be computed with, and those of different models."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import NoReturn

from lorakit.errors import BadFile, NotFusable
from lorakit.merging.checking.changes import Form, inner, shape_of
from lorakit.merging.checking.pairing import Part


def require_alike(parts: Sequence[Part], forms: Sequence[Form | None], module: str) -> None:
    """Raise `NotFusable` where two entries change the same module in different sizes."""
    first: tuple[Part, tuple[int, int]] | None = None
    for part, form in zip(parts, forms, strict=True):
        if form is None:
            continue
        first = first or (part, shape_of(form))
        if shape_of(form) != first[1]:
            raise NotFusable(
                f"{part.label} changes {module} as a weight of {list(shape_of(form))}, {first[0].label} as "
                f"one of {list(first[1])}: they are of different models.",
                hint="Leave one of them out, or name the --base they are meant for.",
            )


def refuse_values(parts: Sequence[Part], forms: Sequence[Form | None], module: str) -> NoReturn:
    """Raise `BadFile` for the entry that makes inner products not finite."""
    for part, form in zip(parts, forms, strict=True):
        if form is not None and not isfinite(inner(form, form)):
            raise BadFile(
                f"{part.adapter.path} holds values in {module} that are not finite, or too large to compute "
                "with.",
                hint="Its training has failed, or the file is damaged; leave it out of the stack.",
            )
    raise BadFile(f"What the adapters change in {module} is too large to compute with.")
