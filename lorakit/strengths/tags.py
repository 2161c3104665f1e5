"""The arguments of a prompt tag, `<lora:ink:0.8>`, as A1111 and LoRA-block-weight read them.

The first number is for the text encoder, and for the rest too when no second is given:
`<lora:ink:TE:UNET>`, or named, `te=` and `unet=`. `unet` stands for the transformer and its text
adapter. `lbw=` (or `w=`), `start=`, `stop=` and `step=` are LoRA-block-weight's; a word without a name
is its older way to give `lbw`.
"""

from __future__ import annotations

from collections.abc import Iterable

from lorakit.errors import BadUsage
from lorakit.strengths.fields import from_fields
from lorakit.strengths.strength import Strength
from lorakit.strengths.text import parse_number, parse_parts

_POSITIONS = ("te", "unet", "dyn")
_REFUSED = {
    "dyn": "A tag's third number and dyn= set a rank to cut the adapter to, which lorakit does not do",
    "lbwe": "lbwe= names presets of another tool's own, which lorakit does not know",
}


def parse_tag(arguments: Iterable[str], parts: Iterable[str] = ()) -> Strength:
    """The strength in a tag's `arguments`, those between its colons, and in `parts` after an @.

    Raises `BadUsage` for one that is unknown, given twice, or `dyn`.
    """
    numbers: dict[str, float] = {}
    position = 0
    refinements = list(parts)
    for argument in arguments:
        # As in A1111, named arguments do not take part in the counting.
        name, value = _argument(argument.strip(), position)
        position += name in _POSITIONS and "=" not in argument
        if name in _REFUSED:
            raise BadUsage(f"{_REFUSED[name]}.", hint="Leave it out.")
        if name not in ("te", "unet"):
            refinements.append(f"{name}={value}")
        elif name in numbers:
            raise BadUsage(f"{name} stands twice in one tag.")
        else:
            numbers[name] = parse_number(value)
    fields = parse_parts(refinements)
    te = numbers.get("te", 1.0)
    unet = numbers.get("unet", te)
    if te == unet:
        return from_fields(te, fields)
    if "components" in fields:
        raise BadUsage("A tag with a strength for te and one for unet takes no components=.")
    components = {"dit": unet, "llm_adapter": unet, "text_encoder": te}
    return from_fields(1.0, {**fields, "components": components})


def _argument(text: str, position: int) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if equals:
        return name.strip(), value
    if text[:1].isalpha() or "," in text:
        return "lbw", text
    return _POSITIONS[min(position, 2)], text
