"""Prompt tags as A1111 and LoRA-block-weight write them."""

from __future__ import annotations

import pytest

from lorakit import Stack, Strength
from lorakit.errors import BadUsage

VECTOR = ",".join(["0"] * 9 + ["1"] * 19)


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        ("<lora:ink>", "ink"),
        ("<lora:ink:0.8>", "ink:0.8"),
        ("<lora:ink:0.8:0.8>", "ink:0.8"),
        ("<lora:ink:te=0.8>", "ink:0.8"),
        (
            "<lora:ink:0.5:0.8>",
            "ink:1@components=dit:0.8,llm_adapter:0.8,text_encoder:0.5",
        ),
        (
            "<lora:ink:unet=0.8:te=0.5>",
            "ink:1@components=dit:0.8,llm_adapter:0.8,text_encoder:0.5",
        ),
        (
            "<lora:ink:unet=0.8>",
            "ink:1@components=dit:0.8,llm_adapter:0.8,text_encoder:1",
        ),
        ("<lora:ink:0.8:lbw=attn>", "ink:0.8@lbw=ATTN"),
        ("<lora:ink:0.8:0.8:w=ATTN>", "ink:0.8@lbw=ATTN"),
        ("<lora:ink:0.8:ATTN>", "ink:0.8@lbw=ATTN"),
        (f"<lora:ink:1:lbw={VECTOR}>", f"ink:1@lbw={VECTOR}"),
        (f"<lora:ink:1:{VECTOR}>", f"ink:1@lbw={VECTOR}"),
        ("<lora:ink:1:step=5-10>", "ink:1@steps=5-9"),
        ("<lora:ink:1:start=5:stop=10>", "ink:1@steps=5-9"),
        ("<lora:ink:0.8>@blocks=0-9:0", "ink:0.8@blocks=0-9:0"),
        ("<lora:a:0.8:lbw=MLP><lora:b:0.5>", "a:0.8@lbw=MLP b:0.5"),
    ],
)
def test_a_tag_means_what_its_text_means(tag: str, text: str) -> None:
    assert Stack.parse(tag) == Stack.parse(text)


@pytest.mark.parametrize(
    ("tag", "names"),
    [
        ("<lora:ink:1:1:16>", "rank"),
        ("<lora:ink:1:dyn=16>", "dyn="),
        ("<lora:ink:1:lbwe=ATTNDEEPON>", "lbwe="),
        ("<lora:ink:1:te=1>", "te stands twice"),
        ("<lora:ink:1:lbw=X>", "'X'"),
        ("<lora:ink:1:lbw=MLP:ATTN>", "lbw= stands twice"),
        ("<lora:ink:1:mode=3>", "mode=3"),
        ("<lora:ink:1:>", "''"),
        ("<lora:ink:0.5:0.8>@components=dit:1", "components="),
    ],
)
def test_what_a_tag_cannot_say_here_is_refused_by_name(tag: str, names: str) -> None:
    with pytest.raises(BadUsage, match=names):
        Stack.parse(tag)


def test_named_arguments_do_not_count_as_positions() -> None:
    for text in ("<lora:ink:lbw=ATTN:0.8>", "<lora:ink:0.8:lbw=ATTN>"):
        (entry,) = Stack.parse(text)
        assert entry.strength == Strength.parse("0.8@lbw=ATTN")
