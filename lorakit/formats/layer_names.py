"""What a layer of any model is called, however the file spells it: without prefix, dots as underscores.

The numbers of blocks are taken out, so that layers of the same kind have the same name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

_DOTTED = (
    "unet.base_model.model.",
    "base_model.model.",
    "model.diffusion_model.",
    "diffusion_model.",
    "pipe.dit.",
    "transformer.",
    "unet.",
    "dit.",
    "net.",
)
_FLAT = (
    "lora_unet_model_",
    "lora_unet__",
    "lora_unet_",
    "lora_transformer_",
    "lora_prior_unet_",
    "lycoris_",
)
_TEXT = re.compile(
    r"(lora_(prior_)?te\d?_|text_encoder(_\d)?\.|text_encoders\.\w+\.transformer\.)(model[._])?"
)
# The number of a block, of several in a row where it has attentions of its own.
_BLOCK = re.compile(r"((?:s|refiner|block|layer)_|blocks_block)(\d{1,4})(?=_|$)")


@dataclass(frozen=True, slots=True)
class Spelt:
    """A layer's name with `#` for each number of `blocks`, and "text " before that of a text encoder's."""

    template: str
    blocks: tuple[int, ...]

    @property
    def is_text(self) -> bool:
        """Whether it is a layer of a text encoder."""
        return self.template.startswith("text ")

    @property
    def stack(self) -> str:
        """What its first block is a block of."""
        return self.template.partition("#")[0]


# Every file of a trainer has the same names.
@lru_cache(maxsize=8192)
def spelt(path: str) -> Spelt:
    """The name of the layer at `path`, a key without its part."""
    # torch.compile and the attention processors of old diffusers stand between a layer and its parent.
    path = path.replace("_orig_mod.", "").replace(".processor.", ".")
    text = _TEXT.match(path)
    if text is not None:
        path = path[text.end() :]
    else:
        for prefix in _DOTTED:
            path = path.removeprefix(prefix)
        for prefix in _FLAT:
            if path.startswith(prefix):
                path = path.removeprefix(prefix)
                break
    flat = path.replace(".", "_")
    blocks = tuple(int(number) for _, number in _BLOCK.findall(flat))
    return Spelt(("text " if text else "") + _BLOCK.sub(r"\1#", flat), blocks)
