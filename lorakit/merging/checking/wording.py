"""The sentences of advice and the limits they go by, as data: a page that follows its sliders uses the same.

What stands in braces is filled in as text.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

SENTENCES: Mapping[str, str] = MappingProxyType(
    {
        "refused": "{entry} cannot be stacked: {why}",
        "same": "{b} is {nearly}{a} again (cosine {cosine} at strength 1): together they {together}.",
        "scaled": "{b} is {nearly}{a} again, {ratio} times its size (cosine {cosine} at strength 1): together "
        "they {together}.",
        "nearly": "nearly ",
        "alone": "are {a}:{alone} alone",
        "cancel": "cancel out",
        "relative": "{b} is much the same change as {a} (cosine {cosine} at strength 1): resized, trained "
        "further or a merge of it. {together}",
        "doubled": "Both together do little that one of them does not do alone.",
        "taken_back": "With strengths of opposite signs, one takes back most of what the other does.",
        "uneven": "{strong} is {times} times as strong as {weak}{beside}: {strong}:{even} balances "
        "them{many}.",
        "beside": " ({strong} % and {weak} % of the base)",
        "many": ", and --balance all of them",
        "meeting": "{a} and {b} {doing} in {place} (cosine {cosine}, strangers ±{chance}): their sum there "
        "is {effect} % {than} than that of two with nothing in common.",
        "held": " {entry}:{strength}@{where}:0.5 would hold {entry} back there.",
        "more": "There are {count} more places where two entries {doing} (--json lists all).",
        "apart": "pull against one another",
        "together": "pull the same way",
        "smaller": "smaller",
        "larger": "larger",
        "rounding": "{entry} is small beside the base: rounding to {dtype} will put {lost} % of its change "
        "wrong{instead} (predicted).",
        "finer": "; fp16 would put {lost} % wrong",
        "range": "{entry} stands at {strength}; {usual} suggests itself.{because}",
        "sum": "Together they are {sum} times the strongest; with nothing in common they would be {apart} "
        "times.",
    }
)

# From `uneven` times the size on one entry is said to drown another. A meeting is worth a word from
# `effect` on, and where it is `nearly` as much as the pair's strongest; no more than `meetings` of them.
# What rounding puts wrong is worth one from `rough` of the change on. A strength that is `nothing` is none.
# Casts to 16 bits leave a cosine of `the_same`; below it more than the format differs.
LIMITS: Mapping[str, float] = MappingProxyType(
    {
        "uneven": 1.5,
        "effect": 0.02,
        "nearly": 0.5,
        "meetings": 3,
        "rough": 0.1,
        "nothing": 0.005,
        "the_same": 0.9999,
    }
)


def filled(name: str, **values: str) -> str:
    """The sentence `name` with its blanks filled in."""
    return SENTENCES[name].format_map(values)


def figure(value: float, digits: int) -> str:
    """A number with so many digits behind the point, halves to even.

    It is brought to seven digits first, so that another order of additions gives the same text.
    """
    return f"{float(f'{value:.7g}'):.{digits}f}"
