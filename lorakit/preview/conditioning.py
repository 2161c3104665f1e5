"""What the transformer is told of a prompt, kept for the next picture with the same prompt."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import TYPE_CHECKING

from lorakit.preview.unsound import require_finite

if TYPE_CHECKING:
    import torch
    from diffusers.modular_pipelines.anima import AnimaModularPipeline

USUALLY_KEPT = 32
"""Prompts that are remembered; at full size one takes 1 MB in bfloat16, 2 MB in float32."""


class PromptEncoder:
    """Turns prompts into conditioning, and remembers the last `kept` ones it was asked for."""

    def __init__(self, text: AnimaModularPipeline) -> None:
        """`text` is the stage of that name; without guidance, so that it reads one prompt at a time."""
        from diffusers.guiders import ClassifierFreeGuidance

        text.update_components(guider=ClassifierFreeGuidance(guidance_scale=1.0))
        self._text = text
        self.kept = USUALLY_KEPT
        self._known: OrderedDict[tuple[Hashable, str], torch.Tensor] = OrderedDict()

    def remembered(self, prompt: str, weights: Hashable) -> torch.Tensor | None:
        """What `encode` would give, where that is known."""
        found = self._known.get((weights, prompt))
        if found is not None:
            self._known.move_to_end((weights, prompt))
        return found

    def encode(self, prompt: str, weights: Hashable) -> torch.Tensor:
        """The conditioning of `prompt`.

        Args:
            prompt: any text, also none.
            weights: tells apart the states of the models that read the prompt; embeddings of another
                state are not used.

        Returns:
            [1, tokens, width] in the transformer's dtype, on its device.

        Raises:
            UnsoundPicture: it is not finite.
        """
        found = self.remembered(prompt, weights)
        if found is not None:
            return found
        made: torch.Tensor = self._text(prompt=prompt, output="prompt_embeds")
        require_finite(made, "text")
        self._known[weights, prompt] = made
        if len(self._known) > self.kept:
            self._known.popitem(last=False)
        return made
