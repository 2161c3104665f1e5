"""Values of other programs' files as the catalog's fields take them; what makes no sense is nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from html.parser import HTMLParser
from typing import Any

from lorakit.formats.characters import is_one_line
from lorakit.formats.generation import hex_hashes, real

_MAX_TEXT = 100_000
_MAX_LINE = 500
_MAX_ITEMS = 500
_MAX_TAG = 100
_UNKNOWN = {"", "unknown", "none", "null", "n/a", "other"}
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
_BREAKS = {"br", "p", "div", "li", "ul", "ol", "h1", "h2", "h3", "h4", "tr", "hr", "pre"}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def prose(value: object) -> str | None:
    """Text of several lines; HTML, in which Civitai's descriptions are, becomes plain text."""
    if not isinstance(value, str):
        return None
    text = _clean(value[:_MAX_TEXT])
    if _TAG.search(text):
        text = _without_markup(text)
    return text.strip() or None


def line(value: object) -> str | None:
    """Text of one line."""
    if not isinstance(value, str):
        return None
    return " ".join(_clean(value[:_MAX_LINE]).split()) or None


def known_line(value: object) -> str | None:
    """As `line`, but None for the words that programs write where they know nothing."""
    text = line(value)
    return None if text is None or text.lower() in _UNKNOWN else text


def words(value: object) -> list[str] | None:
    """The texts of a list, or of one text with commas between; each once."""
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list):
        return None
    found = (line(item) for item in value[:_MAX_ITEMS])
    kept = (text.strip(", ") for text in found if text)
    return list(dict.fromkeys(text for text in kept if text)) or None


def tags(value: object) -> tuple[str, ...]:
    """Tags from a list or a text with commas between; those that cannot be one are left out."""
    if isinstance(value, str):
        value = value.split(",")
    texts = [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
    parts = (line(part) for text in texts[:_MAX_ITEMS] for part in text.split(","))
    return tuple(dict.fromkeys(p for p in parts if p and len(p) <= _MAX_TAG and is_one_line(p)))


def flag(value: object) -> bool | None:
    """A yes or no, also as text or as 0 and 1."""
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower())
    return bool(value) if isinstance(value, bool) or value in (0, 1) else None


def stars(value: object) -> int | None:
    """A rating from 1 to 5."""
    number = real(value)
    return round(number) if number is not None and 1 <= number <= 5 else None


def strength(
    value: object, low: object = None, high: object = None
) -> dict[str, float | None] | None:
    """A strength with its usual range; without one of its own, the middle of the range."""
    middle, least, most = (real(one) for one in (value, low, high))
    if least is not None and most is not None and least > most:
        least, most = most, least
    if middle is None:
        if least is None or most is None:
            return None
        middle = round((least + most) / 2, 4)
    if (least is not None and least > middle) or (most is not None and most < middle):
        # A strength outside its own range was meant; the range was left as it came.
        least = most = None
    return {"value": middle, "min": least, "max": most}


def page(model: object, version: object = None) -> str | None:
    """The address on Civitai of a model by its number."""
    if not _is_number(model):
        return None
    also = f"?modelVersionId={version}" if _is_number(version) else ""
    return f"https://civitai.com/models/{model}{also}"


def address(value: object) -> str | None:
    """`value` where it is the address of a page."""
    text = line(value)
    if text is None or " " in text or not text.startswith(("https://", "http://")):
        return None
    return text


def sha256(*values: object) -> tuple[str, ...]:
    """Those of `values` that state a SHA-256, whole or shortened to 10 or 12 digits."""
    found = hex_hashes(*(value for value in values if isinstance(value, str)))
    return tuple(value for value in found if len(value) in (10, 12, 64))


def given(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Those fields that hold something."""
    return {name: value for name, value in fields.items() if value is not None}


def rest(document: Mapping[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """What a document holds beside the `known` keys."""
    names = set(known)
    return {key: value for key, value in document.items() if key not in names}


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 53


def _clean(text: str) -> str:
    """Without halves of characters, which no database takes, and without control characters."""
    whole = text.encode("utf-8", "replace").decode()
    return _CONTROL.sub("", whole.replace("\r\n", "\n").replace("\r", "\n"))


def _without_markup(text: str) -> str:
    parser = _Text()
    parser.feed(text)
    parser.close()
    lines = ("".join(parser.parts)).split("\n")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(" ".join(one.split()) for one in lines))


class _Text(HTMLParser):
    """Gathers the text of a page, with a line for each block."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag in _BREAKS:
            self.parts.append("\n")
        if tag == "li":
            self.parts.append("- ")

    def handle_endtag(self, tag: str) -> None:
        if tag in _BREAKS and tag not in ("br", "li"):
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        self.parts.append(data)
