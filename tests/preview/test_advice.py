"""Recipes and advice, as the model cards give them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lorakit.errors import BadUsage
from lorakit.licenses.terms import known_models
from lorakit.preview.advice import advise, advise_all, with_triggers
from lorakit.preview.recipes import StackedAdapter, recipe_for, recipe_named, recipes
from lorakit.preview.settings import RenderSettings

RDBT, ANIMA = recipe_named("rdbt"), recipe_named("anima")
INK = StackedAdapter("ink", 0.8)
TURBO = StackedAdapter("anima-turbo-lora-v0.2", 0.4)
GOOD = RenderSettings("@ink, a lighthouse")


def codes(recipe=RDBT, adapters=(), **changes: Any) -> list[str]:
    return [advice.code for advice in advise(recipe, replace(GOOD, **changes), adapters)]


def test_a_picture_by_the_card_gets_no_advice() -> None:
    assert codes() == []
    assert codes(adapters=[INK], prompt="a lighthouse") == []
    assert codes(adapters=[TURBO], steps=10) == []
    assert codes(ANIMA, cfg=4.0, steps=30, prompt=f"{ANIMA.prefix}@ink") == []


@pytest.mark.parametrize(
    "prompt",
    [
        "@ink, a cat",
        "a cat, watercolour",
        "a cat in the style of old posters",
        "a painting of a cat",
        "a cat by Hokusai",
        "artist: somebody, a cat",
        "Photograph of a cat",
        "pixel art cat",
        "a cat, Art Nouveau",
        "1girl, by mucha, flowers",
        "art by alphonse mucha",
        "Makoto Shinkai, clouds, train",
        "impasto, an old man",
        "game cg, 1girl",
        "1girl, flat_shading",
        "sumi-e, a crane",
        "8-bit dragon",
        "dslr, a woman on a bridge",
        "watercolor \\(medium\\), 1girl",
    ],
)
def test_a_prompt_that_names_a_style_in_any_usual_way(prompt: str) -> None:
    assert codes(prompt=prompt) == []


@pytest.mark.parametrize(
    "prompt",
    [
        "a cat",
        "a link by the sea, thinking",
        "my hairstyle",
        "a@b.example, a cat",
        "1girl, medium hair, standing by a lighthouse",
        "She reads. A cat sleeps by the window, in the sun.",
    ],
)
def test_a_prompt_that_names_none(prompt: str) -> None:
    assert codes(prompt=prompt) == ["no-style"]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("ink", []),
        ("turbocharged-ink", []),
        ("charlie", []),
        ("anima-turbo-lora-v0.2", ["no-style"]),
        ("AnimaTurbo", ["no-style"]),
        ("anima-rl-v0.1", ["no-style"]),
        ("animaPreviewRdbt.4bB9", ["no-style"]),
    ],
)
def test_an_adapter_brings_a_style_unless_it_only_speeds_up_or_distils(name, code) -> None:
    assert codes(prompt="a cat", adapters=[StackedAdapter(name, 0.3)]) == code


def test_an_adapter_at_strength_0_brings_nothing() -> None:
    assert codes(prompt="a cat", adapters=[replace(INK, strength=0.0)]) == ["no-style"]


@pytest.mark.parametrize(
    "tags",
    ["best quality", "score_7", "score_9_up", "(best quality:1.2)", "[absurdres]"],
)
def test_quality_tags_are_useless_on_a_distilled_base_only(tags: str) -> None:
    assert codes(prompt=f"{tags}, @ink") == ["quality-tags"]
    assert codes(ANIMA, prompt=f"{tags}, @ink", cfg=4.0, steps=30) == []
    # The card lets this one stand.
    assert codes(prompt="masterpiece, @ink") == []
    # Within a sentence they are words like others.
    assert codes(prompt="@ink, she holds a masterpiece of the best quality leather") == []


def test_a_negative_prompt_without_guidance_and_a_long_one_with_it() -> None:
    long = ", ".join(f"flaw {number}" for number in range(9))
    assert codes(negative_prompt="red") == ["negative-unused"]
    assert codes(negative_prompt=long) == ["negative-unused"]
    assert codes(negative_prompt=long, cfg=3.0) == ["long-negative"]
    # Sentences on this one picture are no list, however long.
    assert codes(negative_prompt="There must be no house behind the trees. " * 8, cfg=3.0) == []
    assert codes(negative_prompt="red, blue", cfg=3.0) == []
    assert codes(negative_prompt=" , ,") == []
    assert codes(ANIMA, negative_prompt=long, cfg=4.0, steps=30) == []


def test_few_steps_want_a_turbo_adapter_at_the_strength_of_the_card() -> None:
    assert codes(steps=15) == ["few-steps"]
    assert codes(steps=16) == []
    assert codes(steps=8, adapters=[TURBO]) == []
    assert codes(steps=7, adapters=[TURBO]) == ["few-steps"]
    for strength, expected in (
        (0.1, ["turbo-strength"]),
        (0.2, []),
        (0.5, []),
        (0.9, ["turbo-strength"]),
    ):
        assert codes(steps=10, adapters=[replace(TURBO, strength=strength)]) == expected
    # At the steps that RDBT takes anyway, the card says nothing of the strength.
    assert codes(steps=20, adapters=[replace(TURBO, strength=0.9)]) == []


def test_an_adapter_that_may_be_made_for_few_steps_is_no_mistake() -> None:
    for name in ("anima-lightning-4step", "animaDmd2", "rdbt_v1.0_anima_b1_16-step"):
        assert codes(steps=8, cfg=1.0, adapters=[StackedAdapter(name, 0.7)]) == []
    assert codes(steps=8, adapters=[INK]) == ["few-steps"]


def test_an_empty_prompt_is_told_once() -> None:
    assert codes(prompt="") == codes(prompt=" \n", adapters=[INK]) == ["no-prompt"]


def test_guidance_outside_what_the_base_takes() -> None:
    assert codes(cfg=4.0) == []
    assert codes(cfg=4.5) == ["cfg-range"]
    assert codes(ANIMA, cfg=1.0, steps=30) == ["cfg-range"]
    assert codes(ANIMA, cfg=1.0, steps=8, adapters=[replace(TURBO, strength=1.0)]) == []


def test_a_trigger_word_that_is_missing_and_how_it_is_added() -> None:
    ink = replace(INK, trigger_words=("@ink wash", "@sumi"))
    assert codes(adapters=[ink], prompt="a cat") == ["missing-trigger"]
    # One of several is enough, however it is spelt.
    assert codes(adapters=[ink], prompt="a cat, @INK_wash") == []
    assert codes(adapters=[replace(ink, strength=0.0)], prompt="@x") == []
    # Headers write several in one text, and prompts escape brackets.
    several = replace(ink, trigger_words=("mychar, blue dress",))
    assert codes(adapters=[several], prompt="mychar by the sea") == []
    bracketed = replace(ink, trigger_words=("frieren (sousou)", "ink-wash"))
    assert codes(adapters=[bracketed], prompt=r"frieren \(sousou\)") == []
    assert codes(adapters=[bracketed], prompt="an ink wash") == []
    assert with_triggers("a cat", [ink, INK]) == "@ink wash, a cat"
    assert with_triggers("", [ink]) == "@ink wash"
    assert with_triggers("@sumi, a cat", [ink]) == "@sumi, a cat"


def test_a_tag_in_the_prompt_is_only_text() -> None:
    assert codes(prompt="@ink <lora:ink:0.8>") == ["tag-in-prompt"]


def test_advice_on_several_pictures_is_given_once() -> None:
    pictures = [replace(GOOD, seed=seed, steps=4) for seed in range(3)]
    (advice,) = advise_all(RDBT, pictures, [])
    assert advice.code == "few-steps"
    assert str(advice) == f"{advice.sentence} {advice.action}"


def test_every_known_model_has_a_recipe_and_every_recipe_is_sound() -> None:
    assert set(known_models()) <= set(recipes())
    for recipe in recipes().values():
        width, height = recipe.size
        RenderSettings("x", "", width, height, recipe.steps, recipe.cfg, shift=recipe.shift)
        for low, value, high in (
            (recipe.cfg_range[0], recipe.cfg, recipe.cfg_range[1]),
            (recipe.steps_range[0], recipe.steps, recipe.steps_range[1]),
        ):
            assert low <= value <= high


def test_rdbts_recipe_is_its_cards() -> None:
    rdbt = recipe_for(["rdbt"])
    assert (rdbt.cfg, rdbt.steps, rdbt.size, rdbt.shift) == (1.0, 20, (1024, 1024), 3.0)
    assert rdbt.distilled


@pytest.mark.parametrize(
    ("models", "adapters", "more", "key"),
    [
        (["anima"], [], {}, "anima"),
        (["other"], [], {}, "other"),
        ([], [], {}, "other"),
        (["other", "rdbt"], [], {}, "rdbt"),
        (["unheard-of"], [], {}, "other"),
        (["anima"], [], {"blocks": 40}, "anima-2.9b"),
        (["other"], [], {"blocks": 52}, "anima-3.8b"),
        (["rdbt"], [], {"blocks": 40}, "rdbt"),
        (["anima"], [StackedAdapter("rdbt_v1.0_anima_b1", 1.0)], {}, "rdbt-lora"),
        (["anima"], [StackedAdapter("rdbt_v1.0_anima_b1", 0.3)], {}, "anima"),
        (["anima"], [replace(TURBO, strength=1.0)], {}, "anima-turbo"),
        (["anima"], [TURBO], {}, "anima"),
        (["rdbt"], [replace(TURBO, strength=1.0)], {}, "rdbt"),
        (["anima"], [], {"sha256": recipe_named("anima-turbo").sha256[0]}, "anima-turbo"),
    ],
    ids=lambda value: None,
)
def test_the_recipe_fits_base_and_stack(models, adapters, more, key) -> None:
    assert recipe_for(models, adapters, **more).key == key


def test_an_unknown_recipe_is_named_with_what_there_is() -> None:
    with pytest.raises(BadUsage, match="sdxl") as caught:
        recipe_named("sdxl")
    assert "rdbt" in (caught.value.hint or "")


def test_a_strength_outside_what_is_on_record_is_named() -> None:
    inf = float("inf")
    for usual, strength, words in (
        ((0.6, 0.9), 1.2, "ink stands at 1.2; on record, it works from 0.6 to 0.9."),
        ((0.6, inf), 0.5, "from 0.6."),
        ((-inf, 0.9), 1.0, "up to 0.9."),
        ((0.6, 0.9), 0.6, None),
        ((0.6, 0.9), 0.0, None),
        (None, 9.0, None),
    ):
        found = advise(RDBT, GOOD, [StackedAdapter("ink", strength, usual=usual)])
        sentences = [one.sentence for one in found if one.code == "unusual-strength"]
        assert len(sentences) == (words is not None)
        assert all(sentence.endswith(words or "") for sentence in sentences)
