"""A1111's text of how a picture was made, which Forge, LoRA Manager and many others write too.

    a lighthouse <lora:ink:0.8>
    Negative prompt: blurry
    Steps: 20, Sampler: Euler, CFG scale: 1, Seed: 7, Size: 1024x1024, Lora hashes: "ink: 0123456789ab"

Values that hold a separator are quoted as JSON does it; LoRA Manager and Civitai also write JSON as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# What lorakit writes for itself, as JSON in quotes: other programs pass over a setting they do not know.
OWN_KEY = "lorakit"
_NEGATIVE = "Negative prompt:"
# The look behind keeps a long run of blanks from being searched once for each of them.
_TAG = re.compile(r"(?<!\s)\s*<(?:lora|lyco):([^<>:]+)((?::[^<>:]*)*)>", re.IGNORECASE)
_KEY = re.compile(r"\s*(\w[\w \-/]*):\s*")
_QUOTED = re.compile(r'"(?:\\.|[^\\"])*"\s*(?=,|$)')
# A1111 takes the last line for settings when it holds three.
_FEWEST_SETTINGS = 3


@dataclass(frozen=True)
class Infotext:
    """The text in its three parts; `settings` are as written, without their quotes."""

    prompt: str
    negative_prompt: str
    settings: Mapping[str, str]


def write_infotext(info: Infotext, tags: Iterable[str] = ()) -> str:
    """The text, with `tags` (`<lora:ink:0.8>`) after the prompt."""
    lines = [" ".join(filter(None, (info.prompt, " ".join(tags))))]
    if info.negative_prompt:
        lines.append(f"{_NEGATIVE} {info.negative_prompt}")
    lines.append(", ".join(f"{key}: {_quoted(value)}" for key, value in info.settings.items()))
    return "\n".join(lines)


def lora_tag(name: str, *arguments: str) -> str:
    """The tag for an adapter, without the signs in its name that would end it."""
    return f"<lora:{':'.join((re.sub('[<>:]', '', name), *arguments))}>"


def lora_hashes(pairs: Iterable[tuple[str, str]]) -> str:
    """A1111's `Lora hashes` from (name, hash), without the signs that separate them in the name."""
    return ", ".join(f"{folded_name(name)}: {digest}" for name, digest in pairs)


def civitai_hashes(base: str, pairs: Iterable[tuple[str, str]]) -> str:
    """What Civitai looks files up by: JSON of the base's hash and (name, hash) of adapters.

    It is written without quotes around it, as the last setting, and holds no closing brace but its own:
    readers take it with a pattern that ends there.
    """
    found = {"model": base} if base else {}
    found |= {f"lora:{re.sub('[{}]', '', folded_name(name))}": digest for name, digest in pairs}
    return json.dumps(found, ensure_ascii=False)


def folded_name(name: str) -> str:
    """A name without what A1111 leaves out of it in `Lora hashes`."""
    return re.sub("[:,]", "", name)


def read_infotext(text: str) -> Infotext:
    """Take the text apart. Any text is one: without settings, it is all prompt."""
    lines = text.strip().split("\n")
    at, settings = _find_settings(lines)
    prompts: dict[bool, list[str]] = {False: [], True: []}
    negative = False
    for line in map(str.strip, lines[:at]):
        if line.startswith(_NEGATIVE):
            negative, line = True, line.removeprefix(_NEGATIVE).strip()
        prompts[negative].append(line)
    prompt, without = ("\n".join(prompts[part]).strip() for part in (False, True))
    return Infotext(prompt, without, settings)


def split_tags(prompt: str) -> tuple[str, tuple[tuple[str, tuple[str, ...]], ...]]:
    """The prompt without `<lora:...>` tags, and (name, arguments) of each."""
    tags = tuple((m[1].strip(), tuple(m[2].split(":")[1:])) for m in _TAG.finditer(prompt))
    return _TAG.sub("", prompt).strip(), tags


def _find_settings(lines: list[str]) -> tuple[int, dict[str, str]]:
    """The number of the line of settings, or of lines where there is none, and the settings."""
    for number in range(len(lines) - 1, -1, -1):
        if lines[number].lstrip().startswith("Steps:") or number == len(lines) - 1:
            found = _settings(lines[number])
            if len(found) >= _FEWEST_SETTINGS:
                return number, found
    return len(lines), {}


def _settings(line: str) -> dict[str, str]:
    found: dict[str, str] = {}
    at = 0
    while at < len(line):
        key = _KEY.match(line, at)
        if key is None:
            at = _after_comma(line, at)
            continue
        value, at = _value(line, key.end())
        found[key[1]] = value
    return found


def _value(line: str, at: int) -> tuple[str, int]:
    """The value that begins at `at`, and where the next setting does."""
    quoted = _QUOTED.match(line, at)
    if quoted:
        try:
            return str(json.loads(quoted[0])), quoted.end() + 1
        except ValueError:
            return quoted[0].strip(), quoted.end() + 1
    if line[at : at + 1] in ("{", "["):
        try:
            _, end = json.JSONDecoder().raw_decode(line, at)
        except (ValueError, RecursionError):
            pass
        else:
            return line[at:end], _after_comma(line, end)
    end = _after_comma(line, at)
    return line[at:end].removesuffix(",").strip(), end


def _after_comma(line: str, at: int) -> int:
    found = line.find(",", at)
    return len(line) if found < 0 else found + 1


def _quoted(value: str) -> str:
    if set(value) & set(',:\n"') or value != value.strip() or value[:1] in ("{", "["):
        return json.dumps(value, ensure_ascii=False)
    return value
