"""Advice on a picture before it is rendered. It is said and changes nothing.

Light and pure: what is known is a prompt, a few numbers and the names in a stack. Every rule stands in
the docstring of its function; where a rule can be wrong, it is made to say too little.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import isinf
from typing import TYPE_CHECKING

from lorakit.counting import counted_rows
from lorakit.preview.recipes import Recipe, StackedAdapter

if TYPE_CHECKING:
    from lorakit.preview.settings import RenderSettings

LONG_NEGATIVE_TAGS = 8

# Adapters that change how a base renders and bring no style of their own.
_NO_STYLE = ("turbo", "rdbt", "distill", "distilled", "dmd", "rl", "lightning", "lcm")
# Words in the names of adapters that are made for few steps, or may be.
_FAST = (
    "turbo",
    "lightning",
    "hyper",
    "lcm",
    "dmd",
    "distill",
    "distilled",
    "step",
    "steps",
    "nfe",
)
_QUALITY = re.compile(
    r"(?:(?:best|high|good|great|amazing|normal|top|highest) quality|score \d+(?: up)?"
    r"|high ?res|absurd ?res|ultra ?detailed|very aesthetic)"
)
# What names a style: a trigger or artist written with @, the words people use for it, media, and what may
# be the name of an artist.
_ARTIST = re.compile(
    r"(?<!\w)@\s?\w"
    r"|\b[Bb]y (?!(?:an?|the|his|her|their|its|my|your|some|two|three|four) )(?=\w+(?: \w+)?[ )]*(?:[,.:]|$))"
    r"|\b[Bb]y [A-Z]\w+|\b(?:drawn|painted|made|art(?:work)?|illustration) by\b"
    r"|(?:^|,)\s*[A-Z]\w+(?: [A-Z]\w+){1,2}\s*(?=,|$)"
)
_STYLE = re.compile(
    r"\b(?:art ?)?styles?\b|\bstyli[sz]ed\b|\bartists?\b|\barts?\b|\bartwork\b|\bmanner of\b|\(medium\)"
    r"|\b(?:ink(?:ed)?|water ?colou?rs?|gouache|oil (?:paint\w*|on \w+)|acrylics?|pastels?|pencils?"
    r"|graphite|ballpoint|charcoal|crayons?|chalk|airbrush\w*|fresco|mosaic|stained glass|impasto"
    r"|brush ?strokes?|sketch\w*|doodles?|graffiti|line ?art|(?:thick|bold|clean) (?:out)?lines?"
    r"|line drawing|draw(?:n|ing)|paint(?:ing|ed|erly)|illustrat\w+|comics?|manga|anime|cartoons?|toon"
    r"|chibi|ligne claire|screen ?tones?|halftones?|game cg|key visual|ms paint|traditional media"
    r"|pixel ?art|pixel\w*|(?:8|16) ?bit|voxels?|vector|isometric|low ?poly|flat colou?rs?"
    r"|flat shad\w+|cel ?shad\w+|photo\w*|polaroid|vhs|dslr|film (?:still|grain)|35 ?mm|cinematic"
    r"|\w*realis\w+|render(?:ed|ing)?|3d|claymation|figurine|plush\w*|origami|paper ?cut\w*"
    r"|(?:wood|lino) ?cut|etching|engraving|risograph|posters?|logos?|icons?|tarot|sumi ?e|ukiyo ?e"
    r"|impressionis\w+|expressionis\w+|cubis\w+|nouveau|deco|bauhaus|baroque|surrealis\w+|abstract"
    r"|minimal\w*|silhouettes?|ghibli|disney|pixar|neon|mono ?chrome|gr[ae]y ?scale|sepia|retro"
    r"|vintage|(?:vapor|synth)wave|(?:cyber|steam)punk)\b"
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
        *_subject(settings.prompt),
        *_style(settings.prompt, active),
        *_quality_tags(recipe, settings.prompt),
        *_tags_in_prompt(settings.prompt),
        *_triggers(settings.prompt, active),
        *_negative(recipe, settings.negative_prompt, settings.cfg),
        *_steps(recipe, settings.steps, active),
        *_turbo(recipe, settings.steps, active),
        *_usual(active),
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


def _subject(prompt: str) -> Iterator[Advice]:
    """An empty prompt."""
    if not prompt.strip():
        yield Advice(
            "no-prompt",
            "The prompt is empty, so the picture may show anything.",
            "Say with --prompt what it shows.",
        )


def _style(prompt: str, active: Sequence[StackedAdapter]) -> Iterator[Advice]:
    """Nothing gives the picture a style.

    An adapter does, unless a word of its name or title says that it only speeds up or distils (turbo,
    rdbt, distilled, dmd, rl, ...). So does the prompt: with `@name`, `by name`, `artist`, `art`, `style`
    and their forms, two or three capitalised words between commas (which may be an artist), or a medium
    or manner such as ink, watercolour, pixel art, photo, anime.
    """
    if any(not any(map(adapter.called, _NO_STYLE)) for adapter in active):
        return
    # An empty prompt has advice of its own.
    if prompt.strip() and not _ARTIST.search(prompt) and not _STYLE.search(_plain(prompt)):
        yield Advice(
            "no-style",
            "Neither the prompt nor the stack names a style, so the picture will have a random one.",
            "Name one in the prompt (@name, watercolour, ...) or stack a style adapter.",
        )


def _quality_tags(recipe: Recipe, prompt: str) -> Iterator[Advice]:
    """A quality tag, as an item of its own between commas, for a base that has them distilled in.

    RDBT's card lets "masterpiece" stand, for those who are not confident.
    """
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

    So is one of several that stand in one text with commas. Case, underscores, hyphens, spaces and the
    backslashes before brackets are passed over.
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

    A list counts as long with more than 8 items between commas. Sentences are no list.
    """
    items = list(_items(negative))
    if items and cfg == 1.0:
        yield Advice(
            "negative-unused",
            "The negative prompt does nothing at CFG 1.",
            "Leave it out, or raise --cfg, which takes two passes a step.",
        )
    elif recipe.distilled and len(items) > LONG_NEGATIVE_TAGS:
        yield Advice(
            "long-negative",
            f"The negative prompt lists {len(items)} things; {recipe.title} has the usual ones "
            "distilled out.",
            "Keep only what this picture must not have.",
        )


def _steps(recipe: Recipe, steps: int, active: Sequence[StackedAdapter]) -> Iterator[Advice]:
    """Fewer steps than the base takes; with a turbo adapter, or another that may be made for few steps,
    fewer than that takes."""
    turbo = _is_fast(active)
    least = recipe.turbo_steps[0] if turbo else recipe.steps_range[0]
    if steps < least:
        low, high = recipe.turbo_strength
        yield Advice(
            "few-steps",
            f"{counted_rows(steps, 'step')} {'is' if steps == 1 else 'are'} few for {recipe.title}{' with a turbo adapter' if turbo else ''}, which "
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


def _usual(active: Sequence[StackedAdapter]) -> Iterator[Advice]:
    """A strength outside the range in which the adapter is said to work."""
    for adapter in active:
        if adapter.usual is not None:
            low, high = adapter.usual
            if not low <= adapter.strength <= high:
                yield Advice(
                    "unusual-strength",
                    f"{adapter.name} stands at {adapter.strength:g}; on record, it works "
                    f"{_between(low, high)}.",
                    "Change its strength in STACK; `lorakit note` shows and changes what is on record.",
                )


def _between(low: float, high: float) -> str:
    if isinf(low) or isinf(high):
        return f"up to {high:g}" if isinf(low) else f"from {low:g}"
    return f"from {low:g} to {high:g}"


def _cfg(recipe: Recipe, cfg: float, active: Sequence[StackedAdapter]) -> Iterator[Advice]:
    """CFG outside what the base takes. With an adapter for few steps, CFG 1 is always right."""
    low, high = recipe.cfg_range
    if _is_fast(active):
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


def _is_fast(active: Iterable[StackedAdapter]) -> bool:
    return any(adapter.called(word) for adapter in active for word in _FAST)


def _lacks_triggers(prompt: str, adapter: StackedAdapter) -> bool:
    words = [_plain(word) for text in adapter.trigger_words for word in text.split(",")]
    return any(words) and not any(word in _plain(prompt) for word in filter(None, words))


def _items(text: str) -> Iterator[str]:
    """What stands between commas, without brackets and prompt weights."""
    for item in re.split(r"[,\n]", text):
        bare = re.sub(r":[\d.]+(?=\W*$)", "", item).strip("()[]{} \t")
        if bare:
            yield bare


def _plain(text: str) -> str:
    return re.sub(r"[\s_-]+", " ", text.lower().replace("\\", "")).strip()


def _listed(items: Sequence[str]) -> str:
    shown = ", ".join(items[:4])
    return f"{shown} and {len(items) - 4} more" if len(items) > 4 else shown
