"""How much of each style's own effect a merge keeps: by the loss on its pictures, and in pictures made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from statistics import fmean

import lorakit
from bench.quality_model import Change, Examples, Model
from lorakit.adapters.adapter import Adapter
from lorakit.preview.demo_model import SHIPPED
from training.facts import SHOWN
from training.measures import STYLE_MEASURES

# Each with the arguments of lorakit.merge; entrywise results are kept whole, so that the method is judged.
METHODS: Mapping[str, Mapping[str, object]] = {
    "sum": {},
    "sum, rank 16": {"rank": 16},
    "sum, rank 8": {"rank": 8},
    "ties": {"method": "ties", "full_diffs": True},
    "dare": {"method": "dare", "full_diffs": True},
    "della": {"method": "della", "full_diffs": True},
    "tsv": {"method": "tsv"},
    "iso": {"method": "iso"},
    "knots": {"method": "knots"},
    "core": {"method": "core"},
    "ctm": {"method": "ctm"},
}
CHANCE = ("dare", "della")
TEST_SEEDS = (1, 2, 3)
GRID = (0.01, 0.1, 0.3, 0.6, 1.0, 1.6)
_MOST_STRENGTH = 20.0
_TUNING_SEED, _TEST_SEED = 90_000, 91_000
TUNING_EXAMPLES, TEST_EXAMPLES = 8, 12

Shares = Mapping[str, float]
"""By style: 1 where a merge does what the style's adapter does alone, 0 where it does what the base does."""


@dataclass(frozen=True)
class Score:
    """One method on one set of styles: the tuned strength, and the shares for each test seed."""

    strength: float
    losses: Sequence[Shares]
    pictures: Sequence[Shares]


@dataclass(frozen=True)
class Bench:
    """The model, the styles' adapters, and what base and single adapters give, measured when first needed."""

    model: Model
    styles: Sequence[str]

    @cached_property
    def adapters(self) -> dict[str, Adapter]:
        """The shipped adapters."""
        return {s: lorakit.load_adapter(SHIPPED / f"{s}.safetensors") for s in self.styles}

    @cached_property
    def tuning(self) -> _Data:
        """What strengths are chosen on."""
        return self._data(TUNING_EXAMPLES, _TUNING_SEED)

    @cached_property
    def tests(self) -> dict[int, _Data]:
        """What the shares are measured on, by seed."""
        return {seed: self._data(TEST_EXAMPLES, _TEST_SEED + seed) for seed in TEST_SEEDS}

    @cached_property
    def shown(self) -> dict[int, _Ends]:
        """The styles' figures in pictures of the base and of single adapters, by seed."""
        return {seed: self._ends(partial(self._figure, seed)) for seed in TEST_SEEDS}

    def score(self, method: str, styles: Sequence[str]) -> Score:
        """Merge, tune the strength on its own pictures, and measure the shares on others."""
        # Measuring the ends puts other weights into the model, so it comes first.
        tuning, tests, shown = self.tuning, self.tests, self.shown
        changes = {seed: self._change(method, styles, seed) for seed in self._chances(method)}
        first = changes[next(iter(changes))]
        strength = _best(lambda value: self._share(tuning, first, value, styles))
        losses, pictures = [], []
        for seed in TEST_SEEDS:
            self.model.put(changes.get(seed, first), strength)
            data = tests[seed]
            losses.append(
                {s: data.ends.share(s, self.model.loss(data.examples[s])) for s in styles}
            )
            made = self._figures(seed)
            pictures.append({s: shown[seed].share(s, made[s]) for s in styles})
        return Score(strength, losses, pictures)

    def _chances(self, method: str) -> Sequence[int]:
        return TEST_SEEDS if method in CHANCE else TEST_SEEDS[:1]

    def _change(self, method: str, styles: Sequence[str], seed: int) -> Change:
        entries = [(self.adapters[style], 1.0) for style in styles]
        return self.model.change_of(lorakit.merge(entries, seed=seed, **METHODS[method]))  # type: ignore[arg-type]

    def _share(self, data: _Data, change: Change, strength: float, styles: Sequence[str]) -> float:
        self.model.put(change, strength)
        return fmean(data.ends.share(s, self.model.loss(data.examples[s])) for s in styles)

    def _data(self, count: int, seed: int) -> _Data:
        examples = {
            style: self.model.examples(style, count, seed + 10 * number)
            for number, style in enumerate(self.styles)
        }
        return _Data(examples, self._ends(lambda style: self.model.loss(examples[style])))

    def _ends(self, measure: Callable[[str], float]) -> _Ends:
        self.model.put({}, 0.0)
        base = {style: measure(style) for style in self.styles}
        single = {}
        for style, adapter in self.adapters.items():
            self.model.put(self.model.change_of(adapter), 1.0)
            single[style] = measure(style)
        return _Ends(base, single)

    def _figure(self, seed: int, style: str) -> float:
        return self._figures(seed)[style]

    def _figures(self, seed: int) -> dict[str, float]:
        """Every style's figure over the shown scenes, with the weights as they are."""
        made = self.model.pictures(SHOWN, seed)
        return {s: fmean(STYLE_MEASURES[s](picture) for picture in made) for s in self.styles}


@dataclass(frozen=True)
class _Ends:
    """What base and single adapter give for each style: the two ends of its share."""

    base: Mapping[str, float]
    single: Mapping[str, float]

    def share(self, style: str, value: float) -> float:
        base = self.base[style]
        return (base - value) / (base - self.single[style])


@dataclass(frozen=True)
class _Data:
    examples: Mapping[str, Examples]
    ends: _Ends


def _best(share: Callable[[float], float]) -> float:
    """The strength with the highest share: a grid from 0.01, then the middles between it and its neighbours."""
    found = {value: share(value) for value in GRID}
    while (most := max(found)) == max(found, key=found.__getitem__) and most < _MOST_STRENGTH:
        found[2 * most] = share(2 * most)
    best = max(found, key=found.__getitem__)
    for low, high in pairwise(sorted(found)):
        if best in (low, high):
            middle = (low + high) / 2
            found[middle] = share(middle)
    return max(found, key=found.__getitem__)
