"""How strongly an adapter is applied to each of its modules, and in which denoising steps.

**The strength of a module is the base times every factor that names the module.** Factors go by block,
by kind, by component, by patterns on the name, and by an `lbw` vector or preset; what no factor names
has the base. So no order matters, and patterns that overlap multiply. Names and block numbers are those
of the adapter's own model: before an adapter for 28 blocks is renumbered onto a base of 40.

Kinds are those of the transformer: `root` is what it has outside its blocks. The text adapter and the text
encoder are components of their own, and no kind names them.

Steps say when the strength holds: in the steps named, counted from 0 with both ends included, the
strength is as above, and in all others it is 0. Without steps it always holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from math import isfinite, prod
from typing import TypeVar

from lorakit.errors import BadUsage
from lorakit.formats import anima
from lorakit.strengths.presets import Lbw, checked_lbw, lbw_factor
from lorakit.strengths.spans import Span, checked_span, joined_spans, require_apart

MAX_STRENGTH = 100.0
ALL_KINDS: tuple[anima.Kind, ...] = (*anima.KINDS, "root")
# What canonical module names are made of, and fnmatch's own characters.
_PATTERN = re.compile(r"[A-Za-z0-9_.*?\[\]!-]+")
_PUBLISHED_BLOCKS = 28

K = TypeVar("K", bound=str)
Factors = tuple[tuple[K, float], ...]


@dataclass(frozen=True, repr=False)
class Strength:
    """A base and its refinements; see the module's text for what they mean.

    `blocks`, `kinds`, `components` and `modules` are (what, factor) pairs, kept in a fixed order, so
    that equal strengths are equal values. `of` and `parse` are the comfortable ways to make one.

    Raises `BadUsage` for a name that does not exist, a block, kind or pattern named twice, a number
    that is not finite, and factors that could take a module beyond ±100.
    """

    base: float = 1.0
    blocks: tuple[tuple[Span, float], ...] = ()
    kinds: Factors[anima.Kind] = ()
    components: Factors[anima.Component] = ()
    modules: Factors[str] = ()
    lbw: Lbw | None = None
    steps: tuple[Span, ...] = ()

    def __post_init__(self) -> None:
        blocks = sorted(
            ((checked_span(span), float(factor)) for span, factor in self.blocks),
            key=lambda pair: (pair[0].first, pair[0].end),
        )
        require_apart(span for span, _ in blocks)
        normal = {
            "base": float(self.base),
            "blocks": tuple(blocks),
            "kinds": _named(self.kinds, "kind", ALL_KINDS),
            "components": _named(self.components, "component", anima.COMPONENTS),
            "modules": _named(self.modules, "pattern", None),
            "lbw": None if self.lbw is None else checked_lbw(self.lbw),
            "steps": joined_spans(self.steps),
        }
        for name, value in normal.items():
            object.__setattr__(self, name, value)
        self._check_reach()

    @classmethod
    def of(
        cls,
        base: float = 1.0,
        *,
        blocks: Mapping[str, float] | None = None,
        kinds: Mapping[str, float] | None = None,
        components: Mapping[str, float] | None = None,
        modules: Mapping[str, float] | None = None,
        lbw: str | Sequence[float] | None = None,
        steps: str | None = None,
    ) -> Strength:
        """`Strength.of(0.8, blocks={"0-9": 0}, steps="0-8")`. Raises `BadUsage`."""
        from lorakit.strengths.fields import from_fields

        given = {"blocks": blocks, "kinds": kinds, "components": components}
        given |= {"modules": modules, "lbw": lbw, "steps": steps}  # type: ignore[dict-item]
        return from_fields(
            base, {name: value for name, value in given.items() if value is not None}
        )

    @classmethod
    def parse(cls, text: str) -> Strength:
        """`0.8`, or `0.8@blocks=0-9:0,10-27:1@steps=0-8`. Raises `BadUsage`."""
        from lorakit.strengths.text import parse_strength

        return parse_strength(text)

    def __str__(self) -> str:
        """The text that `parse` reads back to an equal strength."""
        from lorakit.strengths.text import strength_text

        return strength_text(self)

    def __repr__(self) -> str:
        return f"Strength.parse({str(self)!r})"

    @property
    def is_plain(self) -> bool:
        """Whether the base is all there is."""
        return self == Strength(self.base)

    @property
    def headline(self) -> float:
        """The one number for tools that know no refinements: base times the transformer's factor."""
        return self.base * dict(self.components).get("dit", 1.0)

    def for_module(self, module: str, model_blocks: int = _PUBLISHED_BLOCKS) -> float:
        """The strength of the adapter's module `module` (a canonical name), while it is active.

        `model_blocks` is the size of the model the adapter was made for; presets take thirds of it.
        Raises `BadUsage` when the `lbw` vector is for another size.
        """
        factors = [
            factor
            for part, pairs in self._parts()
            for what, factor in pairs
            if _names(part, what, module)
        ]
        if self.lbw is not None:
            factors.append(lbw_factor(self.lbw, module, model_blocks))
        return prod(factors, start=self.base)

    @property
    def is_scheduled(self) -> bool:
        """Whether it holds in some denoising steps only."""
        return bool(self.steps)

    def active(self, step: int) -> bool:
        """Whether it holds in denoising step `step`, counted from 0."""
        return not self.steps or any(step in span for span in self.steps)

    def at_step(self, step: int) -> Strength:
        """The strength in denoising step `step`, counted from 0: without steps, and 0 while inactive."""
        return replace(self, steps=()) if self.active(step) else Strength(0.0)

    def misses(self, modules: Iterable[str]) -> tuple[str, ...]:
        """The factors that name none of `modules`, as text such as `blocks=30-35:1`."""
        from lorakit.strengths.text import number

        found = list(modules)
        return tuple(
            f"{part}={what}:{number(factor)}"
            for part, pairs in self._parts()
            for what, factor in pairs
            if not any(_names(part, what, module) for module in found)
        )

    def beside_root(self, modules: Iterable[str]) -> tuple[str, ...]:
        """What a reader of kinds=root might expect otherwise, of an adapter that changes `modules`, in a sentence.

        Nothing where the strength names no root, or every component of its own that lies outside the transformer.
        """
        if "root" not in dict(self.kinds):
            return ()
        present = {anima.component_of(module) for module in modules}
        others = [
            component
            for component in anima.COMPONENTS[1:]
            if component in present and component not in dict(self.components)
        ]
        if not others:
            return ()
        return (
            f"kinds=root is what the transformer has outside its blocks; {' and '.join(others)} "
            f"{'goes' if len(others) == 1 else 'go'} by components={others[0]}:NUMBER.",
        )

    def _parts(self) -> Iterator[tuple[str, tuple[tuple[Span | str, float], ...]]]:
        yield "blocks", self.blocks
        yield "kinds", self.kinds
        yield "components", self.components
        yield "modules", self.modules

    def _check_reach(self) -> None:
        vector = self.lbw if isinstance(self.lbw, tuple) else ()
        groups = [tuple(f for _, f in pairs) for part, pairs in self._parts() if part != "modules"]
        # Any number of patterns may name one module, but only one block, kind and component.
        groups += [vector, *((factor,) for _, factor in self.modules)]
        if not all(map(isfinite, (self.base, *(factor for group in groups for factor in group)))):
            raise BadUsage("A strength must be a finite number.")
        reach = prod((max(1.0, *map(abs, group), 1.0) for group in groups), start=abs(self.base))
        if reach > MAX_STRENGTH:
            raise BadUsage(f"A strength lies outside -{MAX_STRENGTH:g} to {MAX_STRENGTH:g}.")


def as_strength(value: float | Strength) -> Strength:
    """A number as a strength; a strength as it is. Raises `BadUsage` for a number out of range."""
    return value if isinstance(value, Strength) else Strength(float(value))


def refuse_scheduled(strengths: Iterable[Strength]) -> None:
    """Raise `BadUsage` when one of `strengths` depends on the step: one set of weights cannot hold it."""
    scheduled = next((strength for strength in strengths if strength.is_scheduled), None)
    if scheduled is not None:
        raise BadUsage(
            f"The strength {scheduled} holds in some denoising steps only, and there are no steps here.",
            hint="Leave its steps out, or render it with `lorakit preview`.",
        )


def _named(pairs: Factors[str], what: str, known: Sequence[str] | None) -> Factors[str]:
    """`pairs` in order. Raises `BadUsage` for a name that is unknown, or there twice."""
    names = [name for name, _ in pairs]
    for name in names:
        if known is not None and name not in known:
            raise BadUsage(f"There is no {what} {name!r}.", hint=f"There are: {', '.join(known)}.")
        if known is None and not _PATTERN.fullmatch(name):
            raise BadUsage(
                f"{name!r} is no pattern of module names.",
                hint="Write it like blocks.*.mlp.* with the names that `lorakit inspect` shows.",
            )
        if names.count(name) > 1:
            raise BadUsage(f"The {what} {name!r} has two factors.")
    return tuple(sorted((name, float(factor)) for name, factor in pairs))


def _names(part: str, what: Span | str, module: str) -> bool:
    if isinstance(what, Span):
        return anima.block_of(module) in what
    if part == "modules":
        return fnmatchcase(module, what)
    if part == "kinds":
        return what == anima.kind_or_component(module)
    return what == anima.component_of(module)
