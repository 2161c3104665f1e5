"""A1111's text: lorakit's own writer and reader, and texts as other programs write them."""

from __future__ import annotations

import json

from hypothesis import example, given
from hypothesis import strategies as st

from lorakit.formats.a1111 import a1111_generation
from lorakit.formats.generation import UsedAdapter
from lorakit.formats.infotext import (
    Infotext,
    lora_hashes,
    lora_tag,
    read_infotext,
    split_tags,
    write_infotext,
)

DIGEST = "0123456789abcdef" * 4
# Anything that a file can hold, with the signs that separate things more often.
TEXTS = st.text(
    st.one_of(st.sampled_from('",:\n\\{}[]<> '), st.characters(codec="utf-8")), max_size=60
)
NAMES = TEXTS.filter(lambda name: name.strip("<>: \n\t") != "")


def stripped(text: str) -> str:
    """The form that A1111 gives a prompt: no spaces around its lines."""
    return "\n".join(line.strip() for line in text.strip().split("\n"))


def is_plain(prompt: str) -> bool:
    """Whether a reader can know where the prompt ends and that it holds no tag."""
    lines = [line.strip() for line in prompt.split("\n")]
    return not any(line.startswith("Negative prompt:") for line in lines) and "<lo" not in prompt


@example("0\n", "", {})
@given(
    TEXTS.filter(is_plain),
    TEXTS.filter(is_plain),
    st.dictionaries(
        st.from_regex(r"[A-Za-z][A-Za-z ]{0,8}[A-Za-z]", fullmatch=True), TEXTS, max_size=4
    ),
)
def test_what_is_written_is_read_back(prompt: str, negative: str, more: dict[str, str]) -> None:
    settings = {"Steps": "20", "Seed": "7", "Size": "64x64", **more}
    text = write_infotext(Infotext(prompt, stripped(negative), settings))
    found = read_infotext(text)
    assert found.prompt == stripped(prompt)
    assert found.negative_prompt == stripped(negative)
    assert found.settings == settings


@given(st.lists(NAMES, min_size=1, max_size=3))
def test_adapters_are_read_back_with_their_hashes(names: list[str]) -> None:
    tags = [lora_tag(name, "0.5") for name in names]
    digests = [f"{number:012x}" for number in range(1, len(names) + 1)]
    settings = {
        "Steps": "1",
        "Seed": "1",
        "Lora hashes": lora_hashes(zip(names, digests, strict=True)),
    }
    text = write_infotext(Infotext("a sea", "", settings), tags)
    prompt, found = split_tags(read_infotext(text).prompt)
    assert prompt == "a sea"
    assert [arguments for _, arguments in found] == [("0.5",)] * len(names)
    assert read_infotext(text).settings["Lora hashes"].count(": 0000") == len(names)


def test_a_text_of_a1111() -> None:
    made = a1111_generation(
        "(a lighthouse:1.2), by night <lora:ink wash:0.8> <lora:glow:0.5:0.25>\n"
        "storm\n"
        "Negative prompt: people,\nboats\n"
        "Steps: 28, Sampler: Euler a, Schedule type: Karras, CFG scale: 4.5, Seed: 965400086, "
        "Size: 832x1216, Model hash: 45dee52b07, Model: anima_v1, Clip skip: 2, ENSD: 31337, "
        'Lora hashes: "ink wash: aabbccddeeff, glow: 112233445566", Version: v1.10.1'
    )
    assert made.program == "A1111"
    assert made.prompt == "(a lighthouse:1.2), by night\nstorm"
    assert made.negative_prompt == "people,\nboats"
    assert (made.steps, made.cfg, made.seed) == (28, 4.5, 965400086)
    assert (made.width, made.height) == (832, 1216)
    assert (made.base_name, made.base_hash) == ("anima_v1", "45dee52b07")
    assert made.adapters == (
        UsedAdapter("ink wash", ("aabbccddeeff",), ("0.8",)),
        UsedAdapter("glow", ("112233445566",), ("0.5", "0.25")),
    )
    assert "Euler a with the schedule Karras" in made.left_out[0]
    assert "Clip skip, ENSD" in made.left_out[1]


def test_forges_second_pass_and_its_modules_are_told_apart() -> None:
    made = a1111_generation(
        "a sea\nSteps: 20, Sampler: Euler, Schedule type: Simple, CFG scale: 1, Shift: 3, Seed: 1, "
        "Size: 1024x1024, Model: rdbt, Denoising strength: 0.4, Hires upscale: 2, "
        "Module 1: qwen_image_vae, Version: f2.0.1v1.10.1-previous-669-gdfdcbab6"
    )
    assert (made.program, made.shift) == ("Forge", 3.0)
    # The strength is that of the second pass, which is not made.
    assert made.denoise is None
    assert len(made.left_out) == 1
    assert "hires fix" in made.left_out[0]


def test_lora_managers_json_values_and_reversed_tags() -> None:
    hashes = {"model": "AABBCCDDEE", "LORA:ink": "0123456789", "LORA:glow": "FFEEDDCCBB"}
    resources = [
        {"air": "urn:air:anima:checkpoint:civitai:2458426@2945208"},
        {"weight": 0.8, "modelVersionId": 1, "versionName": "v1, final"},
        {"weight": -0.5, "modelVersionId": 2},
    ]
    text = (
        "a sea\nSteps: 30, Sampler: er_sde, CFG scale: 4, Seed: 5, Size: 1024x1024, "
        f"Model hash: AABBCCDDEE, Model: anima, Hashes: {json.dumps(hashes, separators=(',', ':'))}, "
        f"Version: ComfyUI, Civitai resources: {json.dumps(resources, separators=(',', ':'))}"
    )
    made = a1111_generation(text)
    assert made.base_hash == "aabbccddee"
    assert made.adapters == (
        UsedAdapter("ink", ("0123456789",), ("0.8",)),
        UsedAdapter("glow", ("ffeeddccbb",), ("-0.5",)),
    )
    tagged = a1111_generation(text.replace("a sea", "a sea <lora:ink:0.9:0.4>"))
    # Its own tags put the model first; A1111 puts the text encoder first.
    assert tagged.adapters[0] == UsedAdapter("ink", ("0123456789",), ("0.4", "0.9"))


def test_what_follows_the_settings_is_no_prompt() -> None:
    made = a1111_generation(
        'a sea\nSteps: 20, Seed: 1, Size: 64x64\nRecipe metadata: {"title": "x", "loras": [1]}'
    )
    assert (made.prompt, made.seed) == ("a sea", 1)


def test_a_prompt_that_ends_like_settings_is_not_taken_for_them() -> None:
    found = read_infotext(
        "a poster that says\nSteps: 1, Seed: 2, Size: 3\nSteps: 20, Seed: 7, Size: 8x8"
    )
    assert found.prompt == "a poster that says\nSteps: 1, Seed: 2, Size: 3"
    assert found.settings == {"Steps": "20", "Seed": "7", "Size": "8x8"}
    assert read_infotext("only words, nothing else").prompt == "only words, nothing else"


def test_a_hash_of_nothing_fits_nothing() -> None:
    made = a1111_generation(
        'x <lora:a:1>\nSteps: 1, Seed: 1, Size: 8x8, Model hash: None, Lora hashes: "a: e3b0c44298fc"'
    )
    assert made.adapters[0].hashes == ()
    assert made.base_hash == ""


@given(st.text(max_size=300))
def test_no_text_is_too_odd_to_read(text: str) -> None:
    a1111_generation(text)
    a1111_generation(f"a\nSteps: 1, Seed: 2, {text}")


def test_a_megabyte_of_blanks_is_read_at_once() -> None:
    # Time that grows with the square would be hours.
    prompt, tags = split_tags("a" + "\n" * 1_000_000 + "b <lora:ink:1>")
    assert (prompt[0], prompt[-1], tags) == ("a", "b", (("ink", ("1",)),))
