"""A1111's text: what tags say, and hashes where each program looks for them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from lorakit.formats.infotext import read_infotext
from lorakit.sharing.a1111 import a1111_text, says_all, tag_arguments
from lorakit.strengths import Strength
from tests.sharing.machines import in_memory


@pytest.mark.parametrize(
    ("strength", "text", "tag"),
    [
        ("0.8", False, "0.8"),
        ("0.8", True, "0.8"),
        ("0.8@components=text_encoder:0.5", False, "0.8"),
        ("0.8@components=text_encoder:0.5", True, "te=0.4:unet=0.8"),
        ("0.8@lbw=MIDDLE", False, "0.8:lbw=MIDDLE"),
        ("0.8@steps=2-5", False, "0.8:start=2:stop=6"),
        ("0.8@steps=3-", False, "0.8:start=3"),
        # Both modules that it changes in the blocks have one strength.
        ("0.8@kinds=adaln:0", False, "0.8"),
    ],
)
def test_what_a_tag_can_say(strength: str, text: bool, tag: str) -> None:
    entry = in_memory(Strength.parse(strength), text=text).entries[0]
    assert ":".join(tag_arguments(entry)) == tag
    assert says_all(entry, tag_arguments(entry))


def test_factors_by_block_are_a_vector_with_base_first() -> None:
    entry = in_memory(Strength.parse("0.5@blocks=0-9:0"), text=False).entries[0]
    number, vector = tag_arguments(entry)
    assert number == "0.5"
    assert vector == "lbw=" + ",".join(["1"] + ["0"] * 10 + ["1"] * 18)
    assert says_all(entry, (number, vector))


@pytest.mark.parametrize("strength", ["0.5@kinds=mlp:0", "0.5@modules=*mlp*:0", "0.5@steps=1,3"])
def test_what_a_tag_cannot_say_is_told(strength: str) -> None:
    shared = in_memory(Strength.parse(strength), text=False)
    text, lost = a1111_text(shared)
    assert "<lora:ink:0.5>" in text
    assert len(lost) == 1
    assert strength in lost[0]


def test_every_program_finds_its_hashes() -> None:
    shared = in_memory(Strength(0.8))
    text, lost = a1111_text(shared)
    settings = read_infotext(text).settings
    assert settings["Lora hashes"] == "ink: fedcba987654"
    assert settings["Model hash"] == "ababababab"
    # The pattern with which Civitai and LoRA Manager take the hashes out.
    found = re.search(r", Hashes:\s*({[^}]+})", text)
    assert found is not None
    assert json.loads(found[1]) == {"model": "ababababab", "lora:ink": "0123456789"}
    assert "lorakit:" not in text
    assert lost == []


def test_two_files_of_one_name_keep_their_own_hashes() -> None:
    shared = in_memory(Strength(0.8))
    (first,) = shared.entries
    second = replace(first, path=Path("other/ink.safetensors"), sha256="f" * 64)
    text, lost = a1111_text(replace(shared, entries=(first, second, first)))
    assert re.findall("<lora:([^:]+):", text) == ["ink", "ink-2", "ink"]
    assert len(lost) == 1
    assert "ink-2" in lost[0]
