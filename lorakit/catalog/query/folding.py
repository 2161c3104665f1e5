"""Text as it is searched: without regard to case, accents and width."""

from __future__ import annotations

import re
import unicodedata

# Diacritics of Latin, Greek and Cyrillic; the marks of other scripts make other letters.
_ACCENTS = re.compile("[\u0300-\u036f]")
_CONTROL = dict.fromkeys([*range(32), *range(127, 160), 0x2028, 0x2029], " ")


def fold(text: str) -> str:
    """`text` in one line, in lower case and without accents; equal for what a search takes for equal.

    No control character is left in it, so they may separate folded texts.
    """
    if text.isascii():
        lower = text.lower()
        return lower if lower.isprintable() else lower.translate(_CONTROL)
    # Case folding may compose anew, and decomposing may give capitals.
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    whole = _ACCENTS.sub("", plain).casefold().translate(_CONTROL)
    # Halves of characters, which no database holds, come from file names that are not Unicode.
    return whole.encode("utf-8", "replace").decode()
