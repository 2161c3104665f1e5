"""How each layout spells the parts of a module, where it has a spelling for them at all.

What a layout's own readers do not take has no spelling in it: ComfyUI's loader (comfy/lora.py and
comfy/weight_adapter), diffusers' AnimaLoraLoaderMixin, PEFT's `set_peft_model_state_dict`, OneTrainer's
AnimaModel, and for kohya's names LyCORIS, which is the widest of them. Its own names, which it gives to
what is trained with its wrapper, have the parts that it writes itself.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType

from lorakit.formats.layouts import WritableLayout, has_place, module_prefix

_FACTORS = {"down": "lora_A.weight", "up": "lora_B.weight"}
_KOHYA_FACTORS = {
    "down": "lora_down.weight",
    "up": "lora_up.weight",
    "mid": "lora_mid.weight",
}
_LOHA = {f"hada_{x}": f"hada_{x}" for x in ("w1_a", "w1_b", "w2_a", "w2_b", "t1", "t2")}
_LOKR = {f"lokr_{x}": f"lokr_{x}" for x in ("w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b", "t2")}
_GLORA = {f"glora_{x}": f"{x}.weight" for x in ("a1", "a2", "b1", "b2")}
_OFT = {"oft_blocks": "oft_blocks", "rescale": "rescale"}
_OFTV2 = {"oft_r": "oft_R.weight"}
_FULL = {name: name for name in ("diff", "diff_b", "w_norm", "b_norm", "set_weight")}
_TLORA = {
    "tlora_q": "q_layer.weight",
    "tlora_p": "p_layer.weight",
    "tlora_lambda": "lambda_layer",
}
_SCALES = {"alpha": "alpha", "dora_scale": "dora_scale"}
_PEFT = {**_FACTORS, "up_bias": "lora_B.bias", "dora_scale": "lora_magnitude_vector"}

_LYCORIS = (
    _KOHYA_FACTORS
    | _SCALES
    | _LOHA
    | _LOKR
    | _GLORA
    | _OFT
    | {name: name for name in ("diff", "diff_b", "w_norm", "b_norm")}
    | _TLORA
    | {"on_input": "on_input", "weight": "weight"}
)

_ENDINGS: Mapping[WritableLayout, Mapping[str, str]] = MappingProxyType(
    {
        "kohya": _LYCORIS | _OFTV2 | _FULL | {"inv_scale": "inv_scale"},
        "comfy": _FACTORS | _SCALES | _LOHA | _LOKR | _GLORA | _OFT | _FULL,
        "onetrainer": _FACTORS | _SCALES | _LOHA | _LOKR | _OFTV2,
        "diffusers": _PEFT,
        "peft": _PEFT | _LOHA | _LOKR | _OFTV2,
        "lycoris": _LYCORIS,
    }
)


def keeps_alpha(layout: WritableLayout) -> bool:
    """Whether alpha is a tensor in this layout; the others keep it in a config."""
    return "alpha" in _ENDINGS[layout]


def spell_key(module: str, part: str, layout: WritableLayout, parts: Collection[str]) -> str | None:
    """The key of `part` of a canonical module that has `parts`; None where `layout` has none."""
    if not has_place(module, layout):
        return None
    endings = _ENDINGS[layout]
    if layout == "comfy" and "mid" in parts:
        # ComfyUI looks for the core of a Tucker form beside kohya's names alone.
        endings = {**endings, **_KOHYA_FACTORS}
    ending = endings.get(part)
    return None if ending is None else f"{module_prefix(module, layout)}.{ending}"
