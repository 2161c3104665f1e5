"""`compare`: what a stack will do, from the weights of its adapters and the sizes of the base's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch

from lorakit.adapters.adapter import Adapter
from lorakit.adapters.loading import load_adapter
from lorakit.errors import BadUsage, NotFusable
from lorakit.formats import anima
from lorakit.fusion.devices import choose_device
from lorakit.merging.checking.ground import Base, Ground, ground_of
from lorakit.merging.checking.grouping import Group, block_key, group, groups_by, kind_key
from lorakit.merging.checking.measuring import Measured, measure
from lorakit.merging.checking.pairing import Part, pair_up
from lorakit.merging.checking.rounding import GRIDS, squared_error
from lorakit.stack import Stack
from lorakit.strengths import Strength, as_strength

Entries = Stack | Sequence[tuple[str | Path | Adapter, float | Strength]]
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Angle:
    """How far the directions of two entries agree on one side, in the mean over their common modules.

    `overlap` is the mean squared cosine of the principal angles, `chance` what random directions give;
    `modules` says in how many they could be compared.
    """

    overlap: float
    chance: float
    modules: int

    @property
    def times_chance(self) -> float:
        """The overlap as a multiple of chance."""
        return self.overlap / self.chance if self.chance else 0.0


@dataclass(frozen=True)
class Pair:
    """Two entries, by their places. `outputs` and `inputs` are None where in no module few directions hold
    the change of both; `modules` counts those that both change."""

    one: int
    other: int
    modules: int
    outputs: Angle | None
    inputs: Angle | None


@dataclass(frozen=True, eq=False)
class Comparison:
    """Everything that is known of a stack before it is rendered.

    `parts` are the entries that can be stacked, in the order given; `refused` says of the others why not,
    by label. All sizes follow from `groups` at any strengths; `strengths` are the given ones.
    """

    parts: tuple[Part, ...]
    refused: Mapping[str, str]
    ground: Ground | None
    measured: Measured
    pairs: tuple[Pair, ...]

    @property
    def labels(self) -> list[str]:
        """What the entries are called."""
        return [part.label for part in self.parts]

    @property
    def strengths(self) -> list[float]:
        """The base strengths that were given."""
        return [part.strength.base for part in self.parts]

    def opposed(self, one: int, other: int) -> bool:
        """Whether the given strengths of two entries have opposite signs, which turns their cosine."""
        return self.strengths[one] * self.strengths[other] < 0

    def cosine(self, one: int, other: int) -> float | None:
        """The cosine of two entries over all modules at the given strengths; None where one changes
        nothing."""
        cosine = self.whole.cosine(one, other)
        return -cosine if cosine is not None and self.opposed(one, other) else cosine

    def at(self, strengths: Sequence[float]) -> Comparison:
        """The same comparison with other base strengths; nothing is measured again."""
        pairs = zip(self.parts, strengths, strict=True)
        parts = [replace(part, strength=replace(part.strength, base=w)) for part, w in pairs]
        return replace(self, parts=tuple(parts))

    @cached_property
    def whole(self) -> Group:
        """All modules of the transformer and its text adapter; of the text encoder if there are no others."""
        names = enumerate(self.measured.names)
        own = [at for at, n in names if anima.component_of(n) != "text_encoder"]
        chosen = own or range(len(self.measured.names))
        return group("all", self.measured, list(chosen), self._norms, lambda module: True)

    @cached_property
    def components(self) -> tuple[Group, ...]:
        """By component of the model."""
        return groups_by(anima.component_of, anima.COMPONENTS, self.measured, self._norms)

    @cached_property
    def kinds(self) -> tuple[Group, ...]:
        """By kind of module, what lies outside the blocks last."""
        order = (*anima.KINDS, "root", "llm_adapter", "text_encoder")
        return groups_by(kind_key, order, self.measured, self._norms)

    @cached_property
    def blocks(self) -> tuple[Group, ...]:
        """By block of the transformer."""
        found = sorted({b for n in self.measured.names if (b := anima.block_of(n)) is not None})
        return groups_by(block_key, [str(b) for b in found], self.measured, self._norms)

    def relative(self, size: float, where: Group | None = None) -> float | None:
        """A size as a part of ‖W‖ of the base's weights there; None without a base."""
        base = (where or self.whole).base
        return size / base**0.5 if base else None

    def outside(self, at: int) -> bool:
        """Whether an entry changes nothing that is counted in the whole: the text encoder alone."""
        own = self.parts[at].matrices
        return not any((anima.component_of(n) == "text_encoder") == self.of_text for n in own)

    @property
    def of_text(self) -> bool:
        """Whether the whole is that of a text encoder, since nothing else is changed."""
        return all(anima.component_of(n) == "text_encoder" for n in self.measured.names)

    def touched(self, at: int) -> float | None:
        """The size of an entry at its strength as a part of the weights that it changes itself."""
        norms, units = self._norms or {}, self.measured.units[:, at].tolist()
        changed = set(self.parts[at].matrices)
        mine = [
            norms[name]
            for name, unit in zip(self.measured.names, units, strict=True)
            if unit and name in changed and name in norms
        ]
        whole = sum(norm**2 for norm in mine) ** 0.5
        return self.whole.size(at, self.strengths[at]) / whole if whole else None

    def lost(self, strengths: Sequence[float], dtype: str | None = None) -> float | None:
        """What rounding will put wrong of the sum at `strengths`, as a part of the sum; None if unknown.

        `dtype` is a key of `GRIDS`, left out the one in which changed weights are kept.
        """
        return self.losses([strengths], dtype)[0]

    def losses(
        self, many: Sequence[Sequence[float]], dtype: str | None = None
    ) -> list[float | None]:
        """The same at each of `many` strengths, in one go."""
        ground = self.ground
        grid = GRIDS.get(dtype or (ground.kept if ground else None) or "")
        if ground is None or grid is None:
            return [None] * len(many)
        known = [at for at, name in enumerate(self.measured.names) if name in ground.norms]
        at = torch.tensor(known, dtype=torch.long)
        scaled = self.measured.units[at] * torch.tensor(many, dtype=torch.float64)[:, None, :]
        energy = torch.einsum("smi,mij,smj->sm", scaled, self.measured.grams[at], scaled)
        energy = energy.clamp_min(0)
        places = self.measured.places[at]
        norms = torch.tensor([ground.norms[self.measured.names[place]] for place in known])
        weights = norms.double() / places.sqrt()
        on_grid = ground.on_grid if dtype in (None, ground.kept) else dtype == ground.stored
        errors = squared_error((energy / places).sqrt(), weights, grid, on_grid=on_grid)
        errors = torch.where(energy > 0, errors, 0.0)
        wrong, whole = (errors * places).sum(1).tolist(), energy.sum(1).tolist()
        return [(w / e) ** 0.5 if e else None for w, e in zip(wrong, whole, strict=True)]

    @property
    def _norms(self) -> Mapping[str, float] | None:
        return None if self.ground is None else self.ground.norms


def compare(
    entries: Entries,
    base: Base | None = None,
    *,
    labels: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    norms: Mapping[str, float] | None = None,
    device: str | torch.device = "cpu",
    on_progress: Progress = lambda done, total, what: None,
) -> Comparison:
    """Compare the changes of a stack's entries, with one another and with the weights of `base`.

    `entries` as for `lorakit.fuse`: a `Stack` whose names are paths, or (path or Adapter, strength) pairs.
    `base` is a checkpoint file or a mapping of its tensors; without it sizes are relative to one another,
    and changes that depend on a base (DoRA, OFT, IA3, GLoRA, T-LoRA) are left out and named. `labels` are
    for people, `names` for stacks; left out, both come from the paths. `norms` are the base's ‖W‖ by
    module, where they are known; else every weight of it is read once. `device` ("cpu", "cuda", "cuda:N" or
    "auto") is where the changes are multiplied.

    Raises `NotFound` and `BadFile` for files, also where values are not finite, and `BadUsage` for an empty stack or a bad strength. What
    cannot be stacked is in `refused`; `NotFusable` is raised where that is all.
    """
    where = torch.device(choose_device(str(device), in_float64=True))
    given = _given(entries, labels)
    called = dict(
        zip(
            (label for label, _, _ in given),
            names or [_name(source) for _, source, _ in given],
            strict=True,
        )
    )
    refused: dict[str, str] = {}
    named: list[tuple[str, Strength, Adapter]] = []
    for label, source, strength in given:
        try:
            adapter = source if isinstance(source, Adapter) else load_adapter(source)
        except NotFusable as error:
            refused[label] = error.message
        else:
            named.append((label, strength, adapter))
    ground = None if base is None else ground_of(base, norms, on_progress)
    parts, unfit = pair_up(named, ground.modules if ground else None)
    refused |= unfit
    if not parts:
        raise NotFusable(next(iter(refused.values())), hint="Nothing is left to compare.")
    parts = [replace(part, name=called[part.label]) for part in parts]
    measured = measure(parts, ground.weight_of if ground else None, on_progress, where)
    return Comparison(tuple(parts), refused, ground, measured, _pairs(parts, measured))


def _given(
    entries: Entries, labels: Sequence[str] | None
) -> list[tuple[str, str | Path | Adapter, Strength]]:
    """(label, source, strength) of every entry; no two have the same label."""
    pairs: list[tuple[str | Path | Adapter, Strength]] = (
        [(entry.name, entry.strength) for entry in entries]
        if isinstance(entries, Stack)
        else [(source, as_strength(strength)) for source, strength in entries]
    )
    if not pairs:
        raise BadUsage("The stack is empty: there is nothing to compare.")
    names = labels or [
        source.path.stem if isinstance(source, Adapter) else Path(source).stem
        for source, _ in pairs
    ]
    found: list[str] = []
    for name in names:
        number = 1
        label = name
        while label in found:
            number += 1
            label = f"{name} ({number})"
        found.append(label)
    return [(label, *pair) for label, pair in zip(found, pairs, strict=True)]


def _name(source: str | Path | Adapter) -> str:
    """What a stack calls an entry: a catalog's name, or a path."""
    return str(source.path if isinstance(source, Adapter) else source)


def _pairs(parts: Sequence[Part], measured: Measured) -> tuple[Pair, ...]:
    own = [set(part.matrices) for part in parts]
    return tuple(
        Pair(
            one,
            other,
            len(own[one] & own[other]),
            *(_angle(measured, (one, other), side) for side in ("outputs", "inputs")),
        )
        for other in range(len(parts))
        for one in range(other)
    )


def _angle(measured: Measured, pair: tuple[int, int], side: str) -> Angle | None:
    sides = (getattr(one, side) for one in measured.overlap.values())
    found = [table[pair] for table in sides if pair in table]
    if not found:
        return None
    overlap, chance = (sum(values) / len(found) for values in zip(*found, strict=True))
    return Angle(overlap, chance, len(found))
