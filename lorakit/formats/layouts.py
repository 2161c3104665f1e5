"""Key layouts: how a trainer spells the name of a module, and back.

A key is prefix + module path + part, as in `diffusion_model.` `blocks.0.mlp.layer1` `.lora_A.weight`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Literal, get_args

from lorakit.formats import anima
from lorakit.formats.fused_names import read_fused
from lorakit.formats.parts import SUFFIXES

Layout = Literal["kohya", "comfy", "diffusers", "peft", "original", "lycoris"]
WritableLayout = Literal["kohya", "comfy", "diffusers", "peft", "onetrainer", "lycoris"]
WRITABLE: tuple[WritableLayout, ...] = get_args(WritableLayout)
# A layout as it is read, and the writable one that spells keys in that way.
WRITTEN_AS: Mapping[Layout, WritableLayout] = MappingProxyType(
    {
        "kohya": "kohya",
        "comfy": "comfy",
        "diffusers": "diffusers",
        "peft": "peft",
        "original": "onetrainer",
        "lycoris": "lycoris",
    }
)
# PEFT's files belong to one model, OneTrainer does not train Anima's text encoder, and LyCORIS's own names
# are those of one model, whose text adapter is part of it.
_COMPONENTS: Mapping[WritableLayout, tuple[anima.Component, ...]] = MappingProxyType(
    {"peft": ("dit",), "onetrainer": ("dit", "llm_adapter"), "lycoris": ("dit", "llm_adapter")}
)


@dataclass(frozen=True, slots=True)
class ParsedKey:
    """A key that names `part` (parts.py) of the canonical `module` (anima.py).

    `path` is the module as the file spells it, without the part.
    """

    layout: Layout
    module: str
    part: str
    path: str


def _original(path: str) -> str | None:
    known = anima.is_module(path) and anima.component_of(path) != "text_encoder"
    return path if known else read_fused(path)


def _diffusers(path: str) -> str | None:
    # Early OneTrainer previews and some converters put original names behind `transformer.`.
    return anima.from_diffusers(path) or _original(path)


def _conditioner(path: str) -> str | None:
    return _original(f"llm_adapter.{path}")


def _text(path: str) -> str | None:
    name = f"text_encoder.{path.removeprefix('model.')}"
    return name if anima.is_module(name) else None


def _flat_text(path: str) -> str | None:
    return anima.from_flat(path, text_encoder=True)


def _flat(path: str) -> str | None:
    return anima.from_flat(path) or anima.from_flat_diffusers(path) or read_fused(path)


_Reader = Callable[[str], str | None]

# Longest prefix first. The empty prefix stands for bare names.
_DOTTED: tuple[tuple[str, Layout, _Reader], ...] = (
    ("text_encoders.qwen3_06b.transformer.model.", "comfy", _text),
    ("text_encoders.transformer.model.", "comfy", _text),
    ("diffusion_model.core.", "comfy", _diffusers),
    ("model.diffusion_model.", "comfy", _original),
    ("diffusion_model.", "comfy", _original),
    ("transformer.core.", "diffusers", _diffusers),
    ("transformer.", "diffusers", _diffusers),
    ("text_conditioner.", "diffusers", _conditioner),
    ("text_encoder.", "diffusers", _text),
    ("net.", "original", _original),
    ("", "original", _diffusers),
)
_FLATTENED: tuple[tuple[str, Layout, _Reader], ...] = (
    ("lora_unet_net_", "kohya", _flat),
    ("lora_unet_", "kohya", _flat),
    ("lora_transformer_", "kohya", _flat),
    ("lora_te1_", "kohya", _flat_text),
    ("lora_te_", "kohya", _flat_text),
    ("lycoris_core_", "lycoris", _flat),
    ("lycoris_", "lycoris", _flat),
)
_PEFT_PREFIX = "base_model.model."
# Far above any real key; a longer one is not worth remembering, let alone matching.
_MAX_KEY = 300


def parse_key(key: str) -> ParsedKey | None:
    """Which module and part `key` names, and in which layout; None for a key nobody knows."""
    if len(key) > _MAX_KEY:
        return None
    # torch.compile and PEFT's adapter name leave marks inside otherwise ordinary keys.
    clean = key.replace("_orig_mod.", "").replace("__orig_mod_", "_").replace(".default", "")
    split = split_key(clean)
    if split is None:
        return None
    path, part = split
    is_peft = path.startswith(_PEFT_PREFIX) or ".default" in key
    path = path.removeprefix(_PEFT_PREFIX)
    found = _find(path)
    if found is None:
        return None
    layout, module = found
    return ParsedKey("peft" if is_peft else layout, module, part, path)


# Every module comes once per part, and in every file of a scan.
@lru_cache(maxsize=8192)
def _find(path: str) -> tuple[Layout, str] | None:
    for prefix, layout, reader in (*_FLATTENED, *_DOTTED):
        if path.startswith(prefix) and (module := reader(path.removeprefix(prefix))):
            return layout, module
    return None


def split_key(key: str) -> tuple[str, str] | None:
    """`key` as (path, part), by the longest known suffix."""
    dot = key.find(".")
    while dot != -1:
        part = SUFFIXES.get(key[dot + 1 :])
        if part is not None:
            return key[:dot], part
        dot = key.find(".", dot + 1)
    return None


def has_place(module: str, layout: WritableLayout) -> bool:
    """Whether files of `layout` can hold anything of the component that a module belongs to."""
    return anima.component_of(module) in _COMPONENTS.get(layout, anima.COMPONENTS)


def module_prefix(module: str, layout: WritableLayout) -> str:
    """The key of a canonical module in `layout`, up to the dot before the part."""
    component = anima.component_of(module)
    if layout == "onetrainer":
        return f"net.{module}"
    if layout == "peft":
        return f"{_PEFT_PREFIX}{anima.to_diffusers(module)}"
    if layout == "kohya":
        stem = "lora_te_" if component == "text_encoder" else "lora_unet_"
        return stem + anima.to_flat(module)
    if layout == "lycoris":
        return f"lycoris_{anima.to_flat(module)}"
    if layout == "comfy":
        if component == "text_encoder":
            return (
                f"text_encoders.qwen3_06b.transformer.model.{module.removeprefix('text_encoder.')}"
            )
        return f"diffusion_model.{module}"
    if component == "llm_adapter":
        return f"text_conditioner.{module.removeprefix('llm_adapter.')}"
    return module if component == "text_encoder" else f"transformer.{anima.to_diffusers(module)}"
