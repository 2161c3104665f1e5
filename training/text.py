"""The text path: hand-written tokenizers, a Qwen3 of fixed random weights, and pools of read prompts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from training.models import TEXT_ENCODER

if TYPE_CHECKING:
    from transformers import Qwen2Tokenizer, Qwen3Model, T5TokenizerFast


@dataclass(frozen=True)
class Read:
    """Prompts as the text conditioner takes them.

    `states` [n, source tokens, 64] of Qwen3 with its mask [n, source tokens], and `ids` [n, target
    tokens] of T5 with theirs.
    """

    states: torch.Tensor
    states_mask: torch.Tensor
    ids: torch.Tensor
    ids_mask: torch.Tensor

    def pick(self, chosen: torch.Tensor, device: torch.device) -> tuple[torch.Tensor, ...]:
        """The prompts of these numbers, in the order of the fields."""
        fields = (self.states, self.states_mask, self.ids, self.ids_mask)
        return tuple(field[chosen].to(device) for field in fields)


@dataclass(frozen=True)
class TextPath:
    """Both tokenizers and the text encoder."""

    tokenizer: Qwen2Tokenizer
    t5_tokenizer: T5TokenizerFast
    encoder: Qwen3Model

    @torch.no_grad()
    def read(self, prompts: Sequence[str]) -> Read:
        """Read prompts one at a time, as the pipeline does, and pad the results at the end."""
        known: dict[str, tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = {}
        for prompt in prompts:
            if prompt not in known:
                known[prompt] = self._one(prompt)
        rows = [known[prompt] for prompt in prompts]
        source = max(states.shape[0] for states, _, _ in rows)
        target = max(ids.shape[0] for _, _, ids in rows)
        return Read(
            torch.stack([F.pad(s, (0, 0, 0, source - len(s))) for s, _, _ in rows]),
            torch.stack([F.pad(mask, (0, source - len(mask))) for _, mask, _ in rows]),
            torch.stack([F.pad(ids, (0, target - len(ids))) for _, _, ids in rows]),
            torch.stack([F.pad(torch.ones_like(i), (0, target - len(i))) for _, _, i in rows]),
        )

    def _one(self, prompt: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        given = self.tokenizer(prompt, return_tensors="pt")
        ids, mask = given.input_ids.long(), given.attention_mask.long()
        if ids.shape[-1] == 0:
            # What the pipeline does with an empty prompt.
            ids, mask = torch.zeros(1, 1, dtype=torch.long), torch.zeros(1, 1, dtype=torch.long)
        states = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        states = states * mask.unsqueeze(-1)
        pieces = self.t5_tokenizer(prompt, return_tensors="pt").input_ids
        return states[0], mask[0], pieces[0]


def make_text_encoder(vocabulary: int, seed: int) -> Qwen3Model:
    """A Qwen3 of random weights, which stay as they are: its states tell words and order apart."""
    from transformers import Qwen3Config, Qwen3Model

    generator = torch.Generator().manual_seed(seed)
    encoder = Qwen3Model(Qwen3Config(vocab_size=vocabulary, **TEXT_ENCODER))
    with torch.no_grad():
        for parameter in encoder.parameters():
            if parameter.ndim == 2:
                deviation = 1.0 / math.sqrt(parameter.shape[1])
                parameter.normal_(0.0, deviation, generator=generator)
    return encoder.requires_grad_(False).eval()


def make_text_path(folder: Path, seed: int) -> TextPath:
    """Write the tokenizers and the text encoder into `folder`, once, and open them."""
    from transformers import Qwen2Tokenizer, Qwen3Model, T5TokenizerFast

    from training.vocabulary import write_qwen_tokenizer, write_t5_tokenizer

    if not (folder / "text_encoder").exists():
        words = write_qwen_tokenizer(folder / "tokenizer")
        write_t5_tokenizer(folder / "t5_tokenizer")
        make_text_encoder(words, seed).half().save_pretrained(folder / "text_encoder")
    encoder = Qwen3Model.from_pretrained(folder / "text_encoder", dtype=torch.float32)
    return TextPath(
        Qwen2Tokenizer.from_pretrained(folder / "tokenizer"),
        T5TokenizerFast.from_pretrained(folder / "t5_tokenizer"),
        encoder.requires_grad_(False).eval(),
    )
