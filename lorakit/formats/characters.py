"""Which characters stand in one line that people read."""

from __future__ import annotations

import re

# They join letters and signs to one, in Persian words and in emoji of several signs, or keep letters
# apart. Elsewhere nobody sees them.
_INSIDE = re.compile(r"(?<=[^\s\u200c\u200d])[\u200c\u200d](?=[^\s\u200c\u200d])")


def is_one_line(text: str) -> bool:
    """Whether `text` is one line of visible characters: no control, no mark of direction.

    The joiners U+200C and U+200D may stand inside a word, one at a time.
    """
    return _INSIDE.sub("", text).isprintable()
