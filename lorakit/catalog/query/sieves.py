"""What tells that a text is nowhere on a page without a look at the page's texts.

A sieve is a list of words. Before it comes a signature: a bit for each two, three and four letters in a
row that some word has, so that most words that are not there cost a look at one byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from zlib import crc32

# A power of two; a page has some thousand different runs of four letters.
_BITS = 1 << 15
_WORD = re.compile(r"[^\W_]+")
# Where a bit is in a signature.
Mark = tuple[int, int]


def words_of(text: str) -> list[str]:
    """Runs of letters and digits."""
    return _WORD.findall(text)


def sieved(text: str) -> dict[str, None]:
    """Each word of a text once: whatever `words_of` finds in a part of it is in one of them."""
    # Edges and ends of lines are white space too. This is a third of the time of an expression.
    return dict.fromkeys(text.replace("_", " ").replace("/", " ").split())


def signature(words: Iterable[str], before: bytes = bytes(_BITS // 8)) -> bytes:
    """The signature of words, together with those that another one is of."""
    found = bytearray(before)
    for at, bit in _marks(_letters(words)):
        found[at] |= bit
    return bytes(found)


def marks_of(text: str) -> Sequence[Mark]:
    """The bits that the signature of every page has that holds a text."""
    return _marks(_letters(words_of(text)))


def _letters(words: Iterable[str]) -> list[str]:
    """The runs of four letters in words, then those of three and of two; all of a shorter word."""
    # The last ones of a word are shorter.
    fours = {word[at : at + 4] for word in words for at in range(len(word) - 1)}
    threes = {four[at : at + 3] for four in fours for at in range(len(four) - 1)}
    twos = {three[at : at + 2] for three in threes for at in range(len(three) - 1)}
    return list(dict.fromkeys((*fours, *threes, *twos)))


def _marks(letters: Iterable[str]) -> list[Mark]:
    bits = [crc32(some.encode()) % _BITS for some in letters]
    return [(bit >> 3, 1 << (bit & 7)) for bit in bits]
