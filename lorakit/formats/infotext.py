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
from dataclasses import dataclass, replace

from lorakit.formats.generation import Generation, UsedAdapter, hex_hashes, model_name, real, whole

_NEGATIVE = "Negative prompt:"
_TAG = re.compile(r"\s*<(?:lora|lyco):([^<>:]+)((?::[^<>:]*)*)>", re.IGNORECASE)
_KEY = re.compile(r"\s*(\w[\w \-/]*):\s*")
_QUOTED = re.compile(r'"(?:\\.|[^\\"])*"\s*(?=,|$)')
_SIZE = re.compile(r"(\d{1,6})x(\d{1,6})")
# A1111 takes the last line for settings when it holds three.
_FEWEST_SETTINGS = 3
# What lorakit's own sampler is called elsewhere, and schedules that are nearly its own.
_OUR_SAMPLERS = {"", "euler"}
_OUR_SCHEDULES = {"", "automatic", "simple", "normal"}
_CARRIED = {
    "Steps",
    "CFG scale",
    "Seed",
    "Size",
    "Model",
    "Model hash",
    "Lora hashes",
    "Hashes",
    "Civitai resources",
    "Civitai metadata",
    "Version",
    "Shift",
    "Denoising strength",
    "RNG",
    "Created Date",
    "Template",
    "Negative Template",
    "User",
}


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


def lora_tag(name: str, strength: str) -> str:
    """The tag for an adapter, without the signs in its name that would end it."""
    return f"<lora:{re.sub('[<>:]', '', name)}:{strength}>"


def lora_hashes(pairs: Iterable[tuple[str, str]]) -> str:
    """A1111's `Lora hashes` from (name, hash), without the signs that separate them in the name."""
    return ", ".join(f"{re.sub('[:,]', '', name)}: {digest}" for name, digest in pairs)


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
    return Infotext("\n".join(prompts[False]), "\n".join(prompts[True]), settings)


def split_tags(prompt: str) -> tuple[str, tuple[tuple[str, tuple[str, ...]], ...]]:
    """The prompt without `<lora:...>` tags, and (name, arguments) of each."""
    tags = tuple((m[1].strip(), tuple(m[2].split(":")[1:])) for m in _TAG.finditer(prompt))
    return _TAG.sub("", prompt).strip(), tags


def generation_of(text: str) -> Generation:
    """What the text says of how its picture was made."""
    info = read_infotext(text)
    settings = info.settings
    prompt, tags = split_tags(info.prompt)
    size = _SIZE.fullmatch(settings.get("Size", ""))
    hashes = _adapter_hashes(settings)
    version = settings.get("Version", "")
    if version.startswith("ComfyUI"):
        # LoRA Manager's own tags put the model's strength before the text encoder's.
        tags = tuple((name, _reversed(arguments)) for name, arguments in tags)
    adapters = tuple(
        UsedAdapter(model_name(name), hashes.pop(_folded(name), ()), arguments)
        for name, arguments in tags
    )
    # What has a hash and no tag was loaded by a node; its strength is in Civitai's list, or nowhere.
    weights = _resource_weights(settings, len(hashes))
    adapters += tuple(
        UsedAdapter(name, digests, weight)
        for (name, digests), weight in zip(hashes.items(), weights, strict=True)
    )
    return Generation(
        program=_program(version),
        prompt=prompt,
        negative_prompt=split_tags(info.negative_prompt)[0],
        steps=whole(settings.get("Steps")),
        cfg=real(settings.get("CFG scale")),
        seed=whole(settings.get("Seed")),
        width=int(size[1]) if size else None,
        height=int(size[2]) if size else None,
        shift=real(settings.get("Shift")),
        denoise=None if _is_hires(settings) else real(settings.get("Denoising strength")),
        base_name=model_name(settings.get("Model")),
        base_hash=next(iter(_base_hashes(settings)), ""),
        adapters=adapters,
        left_out=_left_out(settings),
    )


def with_strengths_of(generation: Generation, other: Generation) -> Generation:
    """`generation` with the strengths that only `other`, read from the same file, states."""
    known = {_folded(adapter.name): adapter.arguments for adapter in other.adapters}
    return replace(
        generation,
        adapters=tuple(
            replace(a, arguments=a.arguments or known.get(_folded(a.name), ()))
            for a in generation.adapters
        ),
    )


def unused_sampler(sampler: str, schedule: str) -> tuple[str, ...]:
    """The sentence on a sampler or schedule that is not lorakit's; none where it is."""
    if sampler.lower() in _OUR_SAMPLERS and schedule.lower() in _OUR_SCHEDULES:
        return ()
    named = " with the schedule ".join(filter(None, (sampler, schedule)))
    return (f"The sampler {named} is not carried over: lorakit renders with Euler.",)


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


def _adapter_hashes(settings: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Hashes by name in the form of `_folded`."""
    found: dict[str, tuple[str, ...]] = {}
    for key, value in _json_object(settings.get("Hashes")).items():
        kind, _, name = key.partition(":")
        if kind.lower() in ("lora", "lyco", "lycoris") and name:
            found[_folded(name)] = hex_hashes(value)
    for pair in settings.get("Lora hashes", "").split(","):
        name, _, digest = pair.rpartition(":")
        if name.strip():
            key = _folded(name)
            found[key] = tuple(dict.fromkeys([*found.get(key, ()), *hex_hashes(digest)]))
    return found


def _base_hashes(settings: Mapping[str, str]) -> tuple[str, ...]:
    other = _json_object(settings.get("Hashes")).get("model")
    return hex_hashes(settings.get("Model hash"), other)


def _resource_weights(settings: Mapping[str, str], count: int) -> list[tuple[str, ...]]:
    """The strengths in Civitai's list, when it has one for each of the `count` adapters."""
    try:
        listed = json.loads(settings.get("Civitai resources", "[]"))
    except (ValueError, RecursionError):
        listed = []
    entries = listed if isinstance(listed, list) else []
    found = [real(entry.get("weight")) for entry in entries if isinstance(entry, dict)]
    weights = [weight for weight in found if weight is not None]
    return [(f"{w!r}",) for w in weights] if len(weights) == count else [()] * count


def _json_object(text: str | None) -> dict[str, object]:
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _folded(name: str) -> str:
    """A name without what A1111 leaves out of it in `Lora hashes`."""
    return re.sub("[:,]", "", model_name(name))


def _reversed(arguments: tuple[str, ...]) -> tuple[str, ...]:
    return arguments[1::-1] + arguments[2:]


def _program(version: str) -> str:
    if version.startswith("lorakit"):
        return "lorakit"
    if version.startswith("ComfyUI"):
        return "LoRA Manager for ComfyUI"
    # Forge's versions begin with an f, or name it.
    forge = version.startswith("f") or version.lower().startswith(("neo", "classic", "reforge"))
    return "Forge" if forge else "A1111"


def _is_hires(settings: Mapping[str, str]) -> bool:
    return any(key.startswith("Hires ") for key in settings)


def _left_out(settings: Mapping[str, str]) -> tuple[str, ...]:
    found = list(unused_sampler(settings.get("Sampler", ""), settings.get("Schedule type", "")))
    if _is_hires(settings):
        found.append(
            "The second, larger pass (hires fix) is not carried over; --image with --denoise makes one."
        )
    others = [
        key
        for key in settings
        if key not in _CARRIED
        and key not in ("Sampler", "Schedule type")
        and not key.startswith(("Hires ", "Module ", "Civitai ", "Lora "))
    ]
    if others:
        found.append(f"Not carried over: {', '.join(others)}.")
    return tuple(found)
