"""What a picture says of how it was made, whichever program wrote it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import PureWindowsPath
from types import MappingProxyType
from typing import Any

_HASH = re.compile(r"(?:0x|sha256:)?([0-9a-fA-F]{8,64})")
_MODEL_SUFFIX = re.compile(r"\.(?:safetensors|sft|ckpt|pt|pth|bin|gguf)$", re.IGNORECASE)
# SHA-256 of nothing, which several programs write for a file they could not read.
_EMPTY_SHA256 = "e3b0c442"
# What lorakit's own sampler is called elsewhere, and schedules that are nearly its own.
_OUR_SAMPLERS = {"", "euler"}
_OUR_SCHEDULES = {"", "automatic", "simple", "normal"}
_WHOLE = re.compile(r"\s*-?[0-9]{1,30}\s*")
_MOST_BITS = 96


@dataclass(frozen=True)
class UsedAdapter:
    """An adapter that a picture was made with.

    `hashes` are lower-case hex, whole or the beginning, of the file or of its tensors: programs
    differ in which they write. `strength` is lorakit's own text of a strength; else `arguments` are
    those of an A1111 tag, `("0.8",)` or `("te=0.5", "unet=0.8")`, and none where the strength is not
    known. `path` is where the record says that the file lies, "" where it does not; `typed` says that
    the name is one that a person gave, which may be the beginning of a catalog's name.
    """

    name: str
    hashes: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    strength: str | None = None
    path: str = ""
    typed: bool = False


@dataclass(frozen=True)
class StartImage:
    """The picture that an img2img picture began from: its file name and its SHA-256."""

    name: str
    sha256: str | None = None


@dataclass(frozen=True)
class Generation:
    """How a picture was made. None and "" mean that it does not say.

    `program` is who wrote it. `base_hash` is the beginning of the base file's SHA-256, and
    `base_tensors` that of its bytes after the header. `left_out` are sentences on what it says and
    lorakit cannot do. `environment` (versions, device, dtype) is what lorakit wrote down of the place
    where it was made.
    """

    program: str
    prompt: str = ""
    negative_prompt: str = ""
    steps: int | None = None
    cfg: float | None = None
    seed: int | None = None
    width: int | None = None
    height: int | None = None
    shift: float | None = None
    denoise: float | None = None
    base_name: str = ""
    base_hash: str = ""
    base_tensors: str = ""
    adapters: tuple[UsedAdapter, ...] = ()
    start_image: StartImage | None = None
    left_out: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def hex_hashes(*values: object) -> tuple[str, ...]:
    """Those of `values` that are the beginning of a SHA-256, in lower case and without a prefix."""
    found = (_HASH.fullmatch(value.strip()) for value in values if isinstance(value, str))
    hashes = (match[1].lower() for match in found if match)
    return tuple(dict.fromkeys(h for h in hashes if not h.startswith(_EMPTY_SHA256)))


def model_name(text: object) -> str:
    r"""The bare name of a model that a program names by path: `styles\ink.safetensors` is `ink`."""
    if not isinstance(text, str):
        return ""
    # A Windows path takes both kinds of slash.
    return _MODEL_SUFFIX.sub("", PureWindowsPath(text.strip()).name)


def whole(value: Any) -> int | None:  # noqa: ANN401 (anything that a file may hold)
    """`value` as a whole number, also from text such as "20" or "20.0"; None for anything else."""
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value if value.bit_length() <= _MOST_BITS else None
    found = real(value)
    return int(found) if found is not None and found.is_integer() else None


def real(value: Any) -> float | None:  # noqa: ANN401 (anything that a file may hold)
    """`value` as a finite number, also from text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if isfinite(found) else None


def text(value: Any) -> str:  # noqa: ANN401 (anything that a file may hold)
    """`value` where it is text that can be encoded, else nothing."""
    if not isinstance(value, str):
        return ""
    return value.encode("utf-8", "replace").decode()


def unused_sampler(sampler: str, schedule: str) -> tuple[str, ...]:
    """The sentence on a sampler or schedule that is not lorakit's; none where it is."""
    if sampler.lower() in _OUR_SAMPLERS and schedule.lower() in _OUR_SCHEDULES:
        return ()
    named = " with the schedule ".join(filter(None, (sampler, schedule)))
    return (f"The sampler {named} is not carried over: lorakit renders with Euler.",)
