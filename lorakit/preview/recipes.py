"""Recipes: the settings a base is meant to be used with, as data (recipes.toml).

Light: the command line reads them before torch is imported.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from lorakit.errors import BadUsage

if TYPE_CHECKING:
    from lorakit.stack import ResolvedEntry

UNKNOWN_BASE = "other"


@dataclass(frozen=True)
class Recipe:
    """One base's settings; recipes.toml says what each field means. `key` is its name there."""

    key: str
    title: str
    cfg: float
    cfg_range: tuple[float, float]
    steps: int
    steps_range: tuple[int, int]
    turbo_steps: tuple[int, int]
    turbo_strength: tuple[float, float]
    size: tuple[int, int]
    shift: float
    distilled: bool
    prefix: str
    note: str
    blocks: int | None = None
    sha256: tuple[str, ...] = ()
    adapter: str | None = None
    adapter_from: float = 1.0


@dataclass(frozen=True)
class StackedAdapter:
    """What recipes and advice look at in one entry of a stack.

    `strength` is the one number of `Strength.headline`, `usual` the range in which it is said to work.
    """

    name: str
    strength: float
    title: str = ""
    trigger_words: tuple[str, ...] = ()
    usual: tuple[float, float] | None = None

    def called(self, word: str) -> bool:
        """Whether `word` (in lower case) is one of the words of its name or title.

        Words end at anything but letters and where small letters turn into capitals: `turbo` is a word
        of `anima-turbo-lora-v0.2` and of `AnimaTurbo`, and none of `turbocharged`.
        """
        return word in _words(self.name) | _words(self.title)


def stacked(entries: Iterable[ResolvedEntry]) -> tuple[StackedAdapter, ...]:
    """The entries of a stack as recipes and advice see them."""
    return tuple(
        StackedAdapter(
            entry.name,
            entry.strength.headline,
            entry.report.info.title or "",
            entry.report.info.trigger_words if entry.trigger_words is None else entry.trigger_words,
            entry.usual,
        )
        for entry in entries
    )


@cache
def recipes() -> Mapping[str, Recipe]:
    """Every recipe by its key."""
    text = files(__package__).joinpath("recipes.toml").read_text("utf-8")
    return MappingProxyType(
        {key: _recipe(key, table) for key, table in tomllib.loads(text)["recipes"].items()}
    )


def recipe_named(key: str) -> Recipe:
    """The recipe `key`. Raises `BadUsage` for one that does not exist."""
    found = recipes().get(key)
    if found is None:
        raise BadUsage(f"There is no recipe {key!r}.", hint=f"There are: {', '.join(recipes())}.")
    return found


def recipe_for(
    models: Sequence[str],
    adapters: Iterable[StackedAdapter] = (),
    *,
    blocks: int | None = None,
    sha256: str | None = None,
) -> Recipe:
    """The recipe for a stack on a base.

    The first that fits: the base's content is a published file; an adapter of the stack turns the base
    into another (the RDBT or Turbo LoRA on a base that is not distilled); the base has the number of
    blocks of a larger Anima; the model it was registered as; else that of an unknown base.

    Args:
        models: the models that the base has been registered as, `ChosenBase.models`.
        adapters: the stack, from `stacked`.
        blocks: how many blocks the base has, where it is known.
        sha256: the base's file hash, where it is known.
    """
    known = recipes()
    by_hash = next((r for r in known.values() if sha256 is not None and sha256 in r.sha256), None)
    base = by_hash or _by_model(models, blocks)
    if base.distilled or by_hash is not None:
        return base
    found = list(adapters)
    turned = (r for r in known.values() if r.adapter and any(_turns(a, r) for a in found))
    return next(turned, base)


def _by_model(models: Sequence[str], blocks: int | None) -> Recipe:
    known = recipes()
    named = [known[model] for model in models if model in known and model != UNKNOWN_BASE]
    if not named or named[0].key == "anima":
        larger = (r for r in known.values() if blocks is not None and r.blocks == blocks)
        return next(larger, named[0] if named else known[UNKNOWN_BASE])
    return named[0]


def _turns(adapter: StackedAdapter, recipe: Recipe) -> bool:
    return adapter.called(recipe.adapter or "") and adapter.strength >= recipe.adapter_from


def _words(text: str) -> frozenset[str]:
    split = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return frozenset(re.findall(r"[^\W\d_]+", split.lower()))


def _recipe(key: str, table: Mapping[str, Any]) -> Recipe:
    names = {field.name for field in fields(Recipe)}
    assert table.keys() <= names, f"recipes.toml: {key} has {table.keys() - names}"
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in table.items()
    }
    return Recipe(key=key, **values)
