"""PEFT's own record of alpha, which its weight files do not hold as tensors.

diffusers puts it into the header (`lora_adapter_metadata`, keys prefixed with the component); PEFT
writes an `adapter_config.json` beside the weights.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from lorakit.formats.header import Header
from lorakit.formats.peft_folder import CONFIG_NAME

METADATA_KEY = "lora_adapter_metadata"

_MAX_CONFIG_BYTES = 10_000_000
# A pattern comes from a stranger's file and is a regular expression. These are the ones whose matching
# cannot take for ever: no repeated group, few quantifiers, no back reference. Sets within sets are left
# out too, because Python prints a warning about them.
_MAX_PATTERN = 1000
_MAX_QUANTIFIERS = 3
_QUANTIFIER = re.compile(r"[*+?{]")
_UNSAFE = re.compile(r"\)[*+{]|\(\?[^:]|\\[1-9]|\[[^\]]*(?:\[|--|&&|~~|\|\|)")


_COMPONENT = re.compile(r"^(transformer|text_conditioner|text_encoder|diffusion_model)\.(core\.)?")
Patterns = list[tuple[re.Pattern[str], float]]


@dataclass(frozen=True)
class PeftConfig:
    """`alpha`, `rank` and their exceptions, as `LoraConfig` has them; `source` says where they were read.

    The rank matters where shapes do not tell it: LoKr with both factors whole.
    """

    alpha: float
    alpha_pattern: Mapping[str, float]
    rslora: bool
    source: str
    rank: float = 0.0
    rank_pattern: Mapping[str, float] = field(default_factory=dict)

    def alpha_for(self, path: str) -> float:
        """The alpha of the module at `path` (a dotted name in the file's own layout)."""
        return _first_match(self._alphas, path, self.alpha)

    def scale_for(self, path: str, rank: int | None) -> float:
        """alpha / rank, or alpha / sqrt(rank) for rsLoRA (arXiv:2312.03732); 1 without any rank."""
        divisor = rank or _first_match(self._ranks, path, self.rank)
        if divisor < 1:
            return 1.0
        return self.alpha_for(path) / (math.sqrt(divisor) if self.rslora else divisor)

    def fits(self, ranks: Collection[int]) -> bool:
        """Whether a file with modules of `ranks` can be the one that the config describes."""
        stated = {self.rank, *self.rank_pattern.values()}
        return self.rank < 1 or not ranks or not stated.isdisjoint(ranks)

    @cached_property
    def unread_patterns(self) -> tuple[str, ...]:
        """The patterns that are no regular expression, or one that could take for ever."""
        return tuple(text for text in self.alpha_pattern if _compile(text) is None)

    @cached_property
    def _alphas(self) -> Patterns:
        return _compile_all(self.alpha_pattern)

    @cached_property
    def _ranks(self) -> Patterns:
        return _compile_all(self.rank_pattern)


def _first_match(patterns: Patterns, path: str, otherwise: float) -> float:
    """The number of the first pattern that fits `path`, with or without its component in front.

    PEFT matches names inside the model, and diffusers anchors its patterns at their start.
    """
    inside = _COMPONENT.sub("", path)
    return next(
        (n for found, n in patterns if found.search(path) or found.search(inside)), otherwise
    )


def _compile_all(patterns: Mapping[str, float]) -> Patterns:
    compiled = ((_compile(text), value) for text, value in patterns.items())
    return [(pattern, value) for pattern, value in compiled if pattern is not None]


def _compile(pattern: str) -> re.Pattern[str] | None:
    """`pattern` as PEFT matches it: against the end of a name, from a dot on."""
    if len(pattern) > _MAX_PATTERN or len(_QUANTIFIER.findall(pattern)) > _MAX_QUANTIFIERS:
        return None
    if _UNSAFE.search(pattern):
        return None
    try:
        return re.compile(rf"(^|\.)({pattern})$")
    except (re.error, OverflowError, RecursionError):
        return None


def read_peft_config(header: Header) -> dict[str, PeftConfig]:
    """The configs that belong to the file, by component prefix ("" fits every component)."""
    embedded = _parse(header.metadata.get(METADATA_KEY))
    if embedded:
        return _by_prefix(embedded, f"header metadata {METADATA_KEY}")
    return _by_prefix(_parse(_read_beside(header.path)), CONFIG_NAME)


def _read_beside(path: Path) -> str | None:
    beside = path.parent / CONFIG_NAME
    try:
        # Not a pipe, which would wait for ever, and not something of another kind and size.
        if not beside.is_file() or beside.stat().st_size > _MAX_CONFIG_BYTES:
            return None
        return beside.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _parse(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text) if text else None
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _by_prefix(found: Mapping[str, Any], source: str) -> dict[str, PeftConfig]:
    configs = {}
    for key, value in found.items():
        prefix, _, name = key.rpartition(".")
        # LoKr and LoHa configs call it `alpha`.
        if name in ("lora_alpha", "alpha") and (alpha := _float(value)) is not None:
            stem = f"{prefix}." if prefix else ""
            configs[prefix] = PeftConfig(
                alpha=alpha,
                alpha_pattern=_numbers(found.get(f"{stem}alpha_pattern")),
                rslora=found.get(f"{stem}use_rslora") is True,
                source=source,
                rank=_float(found.get(f"{stem}r")) or 0.0,
                rank_pattern=_numbers(found.get(f"{stem}rank_pattern")),
            )
    return configs


def _numbers(pattern: object) -> dict[str, float]:
    if not isinstance(pattern, dict):
        return {}
    numbers = ((str(key), _float(value)) for key, value in pattern.items())
    return {key: number for key, number in numbers if number is not None}


def _float(value: object) -> float | None:
    """A finite number; JSON in Python's hands may also be True, NaN or ten to the thousandth."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None
