"""Votes as they are given: `1=a 2=b 3==` on the command line, or a file that the page has made.

A and B are what was shown; which side that was follows from the comparison's order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Literal

from lorakit.errors import BadFile, BadUsage

Choice = Literal["first", "second", "same"]
FILE_SCHEMA = "lorakit/ab-votes/1"
_BALLOT = re.compile(r"(\d{1,6})\s*[=:]\s*(a|b|=|same)", re.IGNORECASE)


def second_is_a(order_seed: int, pairs: int, *, blind: bool) -> tuple[bool, ...]:
    """For each pair whether the second side is shown as A: in half of them, chosen by `order_seed`.

    Where nothing is hidden, A is the first side throughout.
    """
    if not blind:
        return (False,) * pairs
    by_lot = sorted(range(pairs), key=lambda n: sha256(f"{order_seed}:{n}".encode()).digest())
    chosen = set(by_lot[: pairs // 2 + (pairs % 2) * (order_seed % 2)])
    return tuple(number in chosen for number in range(pairs))


def parse_ballots(words: Iterable[str], pairs: int) -> dict[int, str]:
    """`1=a` as {1: "a"}; the choices are "a", "b" and "same". Raises `BadUsage`."""
    found: dict[int, str] = {}
    for word in words:
        match = _BALLOT.fullmatch(word.strip())
        if match is None:
            raise BadUsage(
                f"{word!r} is no vote.",
                hint="Write the number of the pair and a, b or =, such as 1=a 2=b 3==.",
            )
        found[int(match[1])] = _choice(match[2])
    return _checked(found, pairs)


def read_ballots(path: Path) -> tuple[str, dict[int, str]]:
    """The comparison's name and the votes in a file. Raises `BadFile` for a file that is none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["schema"] != FILE_SCHEMA:
            raise BadFile(f"{path} is of the kind {document['schema']!r}, not {FILE_SCHEMA}.")
        votes = {int(pair): _choice(choice) for pair, choice in document["votes"].items()}
        return str(document["comparison"]), votes
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadFile(
            f"{path} cannot be read as votes: {error}.", hint="The page of a comparison makes it."
        ) from error


def _checked(votes: Mapping[int, str], pairs: int) -> dict[int, str]:
    for pair in votes:
        if not 1 <= pair <= pairs:
            raise BadUsage(f"There is no pair {pair}.", hint=f"The pairs are 1 to {pairs}.")
    return dict(votes)


def choices(ballots: Mapping[int, str], order: Sequence[bool]) -> dict[int, Choice]:
    """Votes for A, B or the same as votes for a side. Raises `BadUsage` for a pair that is not there."""
    found: dict[int, Choice] = {}
    for pair, ballot in _checked(ballots, len(order)).items():
        if ballot == "same":
            found[pair] = "same"
        else:
            found[pair] = "second" if (ballot == "a") == order[pair - 1] else "first"
    return found


def _choice(text: str) -> str:
    plain = text.lower()
    if plain in ("a", "b"):
        return plain
    if plain in ("=", "same"):
        return "same"
    raise ValueError(f"{text!r} is neither a, b nor =")
