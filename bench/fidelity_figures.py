"""What the fidelity page measures, and what a tool is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from bench.fidelity_cases import Case, Deltas

_MOST_SAID = 130


class Refused(Exception):
    """A tool does not do a case; the text says what it said, or what it lacks."""


@dataclass(frozen=True)
class Figures:
    """A result beside the exact sum, all matrices of a case taken as one vector.

    `error` is ||made - exact|| / ||exact||, `gain` <made, exact> / ||exact||² and `cosine` that of the
    angle between them.
    """

    error: float
    gain: float
    cosine: float


@dataclass(frozen=True)
class Tool:
    """One way of merging: `run` gives the change that it makes, in float64 and by module.

    `run` takes a case and a folder for its files, and raises `Refused` with what stands in the way.
    """

    name: str
    run: Callable[[Case, Path], Deltas]


def compare(made: Deltas, exact: Deltas) -> Figures:
    """The figures of one result; a module that it leaves out counts as unchanged."""
    square = {"difference": 0.0, "made": 0.0, "exact": 0.0}
    product = 0.0
    for module, wanted in exact.items():
        found = made[module].double() if module in made else torch.zeros_like(wanted)
        square["difference"] += float((found - wanted).square().sum())
        square["made"] += float(found.square().sum())
        square["exact"] += float(wanted.square().sum())
        product += float((found * wanted).sum())
    both = (square["made"] * square["exact"]) ** 0.5
    return Figures(
        (square["difference"] / square["exact"]) ** 0.5,
        product / square["exact"],
        product / both if both else 0.0,
    )


@contextmanager
def refusals(*kinds: type[Exception]) -> Iterator[None]:
    """Turn what a tool raises into `Refused` with the first sentence of its text."""
    try:
        yield
    except Exception as error:
        if isinstance(error, Refused) or not isinstance(error, kinds or Exception):
            raise
        text = " ".join(str(error).split()) or "no reason given"
        short = text if len(text) <= _MOST_SAID else f"{text[:_MOST_SAID].rsplit(' ', 1)[0]} …"
        raise Refused(f"{type(error).__name__}: {short}") from error
