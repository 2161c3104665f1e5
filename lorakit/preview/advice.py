"""Advice on a picture before it is rendered. It is said and changes nothing.

Light and pure: what is known is a prompt, a few numbers and the names in a stack. Every rule stands in
the docstring of its function; where a rule can be wrong, it is made to say too little.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorakit.preview.recipes import Recipe, StackedAdapter

if TYPE_CHECKING:
    from lorakit.preview.settings import RenderSettings

LONG_NEGATIVE_TAGS = 8
LONG_NEGATIVE_CHARACTERS = 200

# Adapters that change how a base renders and bring no style of their own.
_NO_STYLE = ("turbo", "rdbt", "distill", "distilled", "dmd", "rl")
_QUALITY = re.compile(
    r"(?:masterpiece|(?:best|high|good|great|amazing|normal|top|highest) quality|score \d+(?: up)?"
    r"|high ?res|absurd ?res|ultra[- ]?detailed|very aesthetic)"
)
# What names a style: a trigger or artist written with @, the words people use for it, and media.
_STYLE = re.compile(
    r"(?<!\w)@\s?\w|\bstyles?\b|\bstyli[sz]ed\b|\bartist\b|\bby [A-Z]\w+|"
    r"\b(?:ink(?:ed)?|water ?colou?rs?|gouache|oil paint\w*|acrylic\w*|pastels?|pencil\w*|charcoal|crayon"
    r"|sketch\w*|line ?art|line drawing|drawing|painting|painted|illustrat\w+|concept art|digital art"
    r"|pixel ?art|voxel|mosaic|vector art|flat colou?rs?|cel[- ]?shad\w+|anime|manga|comics?|cartoon"
    r"|chibi|photo\w*|film still|cinematic|render(?:ed|ing)?|3d|claymation|origami|paper ?cut\w*"
    r"|wood ?cut|etching|engraving|ukiyo-?e|impressionis\w+|expressionis\w+|art nouveau|art deco"
    r"|baroque|surrealis\w+|minimalis\w+|low ?poly|neon|monochrome|gr[ae]yscale|retro|vaporwave)\b"
)
_TAG = re.compile(r"<lora:[^<>]+>", re.IGNORECASE)


@dataclass(frozen=True)
class Advice:
    """One remark: a stable `code`, what was found in a sentence, and what to do about it."""

    code: str
    sentence: str
    action: str

    def __str__(self) -> str:
        return f"{self.sentence} {self.action}"


def advise(
    recipe: Recipe, settings: RenderSettings, adapters: Sequence[StackedAdapter]
) -> tuple[Advice, ...]:
    """What to know before rendering `settings` with `adapters` on the base of `recipe`."""
    active = [adapter for adapter in adapters if adapter.strength]
    return (
        *_style(settings.prompt, active),
        *_quality_tags(recipe, settings.prompt),
        *_tags_in_prompt(settings.prompt),
        *_triggers(settings.prompt, active),
        *_negative(recipe, settings.negative_prompt, settings.cfg),
        *_steps(recipe, settings.steps, active),
        *_turbo(recipe, settings.steps, active),
        *_cfg(recipe, settings.cfg, active),
    )


def advise_all(
    recipe: Recipe, pictures: Iterable[RenderSettings], adapters: Sequence[StackedAdapter]
) -> tuple[Advice, ...]:
    """The advice on several pictures, each remark once."""
    found = (advice for settings in pictures for advice in advise(recipe, settings, adapters))
    return tuple(dict.fromkeys(found))


def with_triggers(prompt: str, adapters: Iterable[StackedAdapter]) -> str:
    """`prompt` with the first trigger word of every adapter before it that none of its own stands in."""
    missing = [a.trigger_words[0] for a in adapters if a.strength and _lacks_triggers(prompt, a)]
    return ", ".join(filter(None, [*dict.fromkeys(missing), prompt]))


def _style(prompt: str, active: Sequence[StackedAdapter]) -> Iterator[Advice]:
    """Nothing gives the picture a style.

    An adapter does, unless a word of its name or title says that it only speeds up or distils (turbo,
    rdbt, distilled, dmd, rl). So does the prompt: with `@name`, `by Name`, `artist`, `style` and its
    forms, or a medium or manner such as ink, watercolour, pixel art, photo, anime.
    """
    if any(not any(map(adapter.called, _NO_STYLE)) for adapter in active):
        return
    if not _STYLE.search(prompt) and not _STYLE.search(prompt.lower()):
        yield Advice(
            "no-style",
            "Neither the prompt nor the stack names a style, so the picture will have a random one.",
            "Name one in the prompt (@name, watercolour, ...) or stack a style adapter.",
        )


def _quality_tags(recipe: Recipe, prompt: str) -> Iterator[Advice]:
    """A quality tag, as an item of its own between commas, for a base that has them distilled in."""
    found = [item for item in _items(prompt) if _QUALITY.fullmatch(_plain(item))]
    if recipe.distilled and found:
        yield Advice(
            "quality-tags",
            f"{_listed(found)} {'does' if len(found) == 1 else 'do'} nothing noticeable on "
            f"{recipe.title}: quality was distilled in.",
            "Leave quality tags out, so that the other words get the attention.",
        )


def _tags_in_prompt(prompt: str) -> Iterator[Advice]:
    """A tag such as <lora:ink:0.8> in the prompt, where it is only text."""
    found = _TAG.findall(prompt)
    if found:
        yield Advice(
            "tag-in-prompt",
            f"{_listed(found)} in the prompt is only text here and applies no adapter.",
            "Put it into STACK, which takes it as it is.",
        )


def _triggers(prompt: str, active: Sequence[StackedAdapter]) -> Iterator[Advice]:
    """None of an adapter's trigger words is in the prompt; they may be alternatives, so one is enough.

    Case, underscores and spaces are passed over.
    """
    for adapter in active:
        if _lacks_triggers(prompt, adapter):
            yield Advice(
                "missing-trigger",
                f"The prompt has no trigger word of {adapter.name}: {', '.join(adapter.trigger_words)}.",
                "--add-triggers puts the first one before the prompt.",
            )


def _negative(recipe: Recipe, negative: str, cfg: float) -> Iterator[Advice]:
    """A negative prompt without guidance, or a list that distillation has made needless.

    A list counts as long with more than 8 items between commas, or more than 200 characters.
    """
    items = list(_items(negative))
    if items and cfg == 1.0:
        yield Advice(
            "negative-unused",
            "The negative prompt does nothing at CFG 1.",
            "Leave it out, or raise --cfg, which takes two passes a step.",
        )
    elif recipe.distilled and (
        len(items) > LONG_NEGATIVE_TAGS or len(negative) > LONG_NEGATIVE_CHARACTERS
    ):
        yield Advice(
            "long-negative",
            f"The negative prompt lists {len(items)} things; {recipe.title} has the usual ones "
            "distilled out.",
            "Keep only what this picture must not have.",
        )


def _steps(recipe: Recipe, steps: int, active: Sequence[StackedAdapter]) -> Iterator[Advice]:
    """Fewer steps than the base takes; with a turbo adapter, fewer than that takes."""
    turbo = bool(_turbos(active))
    least = recipe.turbo_steps[0] if turbo else recipe.steps_range[0]
    if steps < least:
        low, high = recipe.turbo_strength
        yield Advice(
            "few-steps",
            f"{steps} steps are few for {recipe.title}{' with a turbo adapter' if turbo else ''}, which "
            f"takes {least} or more.",
            "Raise --steps."
            if turbo
            else f"Raise --steps, or stack a turbo adapter at {low:g} to {high:g} for "
            f"{recipe.turbo_steps[0]} to {recipe.turbo_steps[1]} steps.",
        )


def _turbo(recipe: Recipe, steps: int, active: Sequence[StackedAdapter]) -> Iterator[Advice]:
    """A turbo adapter outside the strengths that the base takes, at the steps it is meant for."""
    first, last = recipe.turbo_steps
    low, high = recipe.turbo_strength
    for adapter in _turbos(active) if first <= steps <= last else ():
        if not low <= adapter.strength <= high:
            yield Advice(
                "turbo-strength",
                f"{adapter.name} stands at {adapter.strength:g}; at {first} to {last} steps "
                f"{recipe.title} takes a turbo adapter at {low:g} to {high:g}.",
                "Change its strength in STACK.",
            )


def _cfg(recipe: Recipe, cfg: float, active: Sequence[StackedAdapter]) -> Iterator[Advice]:
    """CFG outside what the base takes. With a turbo adapter, CFG 1 is always right."""
    low, high = recipe.cfg_range
    if _turbos(active):
        low = 1.0
    if not low <= cfg <= high:
        span = f"{low:g} to {high:g}" if low != high else f"{low:g}"
        yield Advice(
            "cfg-range",
            f"CFG {cfg:g} lies outside what {recipe.title} takes, which is {span}.",
            "Expect burnt colours above it and a washed-out picture below.",
        )


def _turbos(active: Iterable[StackedAdapter]) -> list[StackedAdapter]:
    return [adapter for adapter in active if adapter.called("turbo")]


def _lacks_triggers(prompt: str, adapter: StackedAdapter) -> bool:
    words = [_plain(word) for word in adapter.trigger_words]
    return bool(words) and not any(word in _plain(prompt) for word in words)


def _items(text: str) -> Iterator[str]:
    """What stands between commas, without brackets and prompt weights."""
    for item in re.split(r"[,\n]", text):
        bare = re.sub(r":[\d.]+(?=\W*$)", "", item).strip("()[]{} \t")
        if bare:
            yield bare


def _plain(text: str) -> str:
    return re.sub(r"[\s_]+", " ", text.lower()).strip()


def _listed(items: Sequence[str]) -> str:
    shown = ", ".join(items[:4])
    return f"{shown} and {len(items) - 4} more" if len(items) > 4 else shown
