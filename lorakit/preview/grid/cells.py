"""From a stack and axes to the cells of a grid: what each picture is asked to be, and where it stands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from lorakit.errors import BadUsage, LorakitError, NotFound
from lorakit.preview.grid.axes import STACK_KINDS, Axis, parse_adapter, parse_size, short_name
from lorakit.preview.grid.values import name_text
from lorakit.stack import Entry, Stack, Strength

MOST_CELLS = 10_000
PLAIN_LABEL = "no adapter"
# An entry is exchanged before its strength is set, and words are replaced in the prompt of the cell.
_ORDER = ("adapter", "strength", "prompt", "replace")


@dataclass(frozen=True)
class Asked:
    """One picture as it was asked for. None is what the base's recipe says, or the only base."""

    stack: Stack
    base: str | None = None
    prompt: str = ""
    negative: str = ""
    size: tuple[int, int] | None = None
    steps: int | None = None
    cfg: float | None = None
    shift: float | None = None
    seed: int = 0
    image: Path | None = None
    denoise: float | None = None

    @property
    def applied(self) -> Stack:
        """The entries that change anything."""
        return Stack(tuple(entry for entry in self.stack if entry.strength.base))


@dataclass(frozen=True)
class Place:
    """A column, row or page: its label, its axis's value (None without an axis), and whether it shows
    the base without adapters."""

    label: str
    value: str | None = None
    plain: bool = False


@dataclass(frozen=True)
class Cell:
    """A picture of the grid at column, row and page, each from 0."""

    column: int
    row: int
    page: int
    asked: Asked


@dataclass(frozen=True)
class Layout:
    """A whole grid: its axes (columns first; at most three), their places, and every cell."""

    axes: tuple[Axis, ...]
    columns: tuple[Place, ...]
    rows: tuple[Place, ...]
    pages: tuple[Place, ...]
    cells: tuple[Cell, ...]


def lay_out(asked: Asked, axes: Sequence[Axis], *, plain: bool = True) -> Layout:
    """Every cell of the grid over one, two or three `axes`: columns, rows, pages.

    With `plain` the base without adapters has its place: the first along the first axis that changes
    the stack, unless a strength of 0 shows it already, else one beside each column.

    Raises `BadUsage` for no axis or too many, two of one kind, an entry that is not in the stack, a
    value that cannot be, and more than `MOST_CELLS` cells.
    """
    _check(axes)
    places = [_places(axis) for axis in axes]
    if plain:
        _add_plain(asked, axes, places)
    places += [[Place("")]] * (3 - len(places))
    columns, rows, pages = map(tuple, places)
    if (count := len(columns) * len(rows) * len(pages)) > MOST_CELLS:
        raise BadUsage(
            f"{count} cells are too many for one grid.", hint=f"Make it at most {MOST_CELLS}."
        )
    cells = tuple(
        Cell(column, row, page, _apply(asked, axes, (columns[column], rows[row], pages[page])))
        for page, row, column in product(range(len(pages)), range(len(rows)), range(len(columns)))
    )
    return Layout(tuple(axes), columns, rows, pages, cells)


def expand_names(axis: Axis, names: Callable[[str], Iterable[str]]) -> Axis:
    """`axis` with each pattern of adapters (`style-*`) replaced by the `names` it fits.

    Raises `NotFound` for a pattern that fits none.
    """
    if axis.kind != "adapter":
        return axis
    values: list[str] = []
    for value in axis.values:
        found = list(map(name_text, names(value))) if set("*?") & set(value) else [value]
        if not found:
            raise NotFound(f"No adapter's name fits {value!r}.", hint="`lorakit ls` lists them.")
        values += [name for name in found if name not in values]
    return replace(axis, values=tuple(values))


def short_stack(stack: Stack) -> Stack:
    """`stack` with files named by their stems, to be shown."""
    return Stack(tuple(Entry(short_name(entry.name), entry.strength) for entry in stack))


def _check(axes: Sequence[Axis]) -> None:
    if not 1 <= len(axes) <= 3:
        raise BadUsage(
            f"A grid has one, two or three axes, not {len(axes)}.",
            hint="For example: --x strength:ink=0,0.5,1 --y seed=1-3",
        )
    kinds = [(axis.kind, axis.target) for axis in axes]
    if len(set(kinds)) < len(kinds):
        raise BadUsage("Two axes change the same thing.", hint="Join their values in one axis.")


def _places(axis: Axis) -> list[Place]:
    return [Place(axis.label(value), value) for value in axis.values]


def _add_plain(asked: Asked, axes: Sequence[Axis], places: list[list[Place]]) -> None:
    first = next((i for i, axis in enumerate(axes) if axis.kind in STACK_KINDS), None)
    if first is not None:
        tried = [_apply(asked, axes[first : first + 1], (place,)) for place in places[first]]
        if all(one.applied for one in tried):
            places[first].insert(0, Place(PLAIN_LABEL, plain=True))
    elif asked.applied:
        places[0] = [
            beside
            for place in places[0]
            for beside in (
                replace(place, label=f"{place.label}\n{PLAIN_LABEL}", plain=True),
                replace(place, label=f"{place.label}\n{short_stack(asked.applied)}"),
            )
        ]


def _apply(asked: Asked, axes: Sequence[Axis], places: Sequence[Place]) -> Asked:
    """`asked` at one place of each axis."""
    chosen = [
        (axis, place.value)
        for axis, place in zip(axes, places, strict=False)
        if place.value is not None
    ]
    original = asked.stack
    for axis, value in sorted(chosen, key=_turn):
        try:
            asked = _change(asked, axis, value, original)
        except LorakitError as error:
            raise BadUsage(
                f"In the axis {axis.kind}, {value!r}: {error.message}", hint=error.hint
            ) from error
    return replace(asked, stack=Stack()) if any(p.plain for p in places) else asked


def _turn(chosen: tuple[Axis, str]) -> tuple[int, bool]:
    axis = chosen[0]
    return (
        _ORDER.index(axis.kind) if axis.kind in _ORDER else len(_ORDER),
        # All strengths are multiplied once each has been set.
        axis.target is None,
    )


def _change(asked: Asked, axis: Axis, value: str, original: Stack) -> Asked:
    match axis.kind:
        case "strength":
            return replace(asked, stack=_weighted(asked.stack, axis.target, value, original))
        case "adapter":
            return replace(asked, stack=_exchanged(asked.stack, axis.target, value))
        case "replace":
            return replace(asked, prompt=_reworded(asked.prompt, axis.values[0], value))
        case "size":
            return replace(asked, size=parse_size(value))
        case "seed":
            return replace(asked, seed=int(value))
        case "steps":
            return replace(asked, steps=int(value))
        case "cfg":
            return replace(asked, cfg=float(value))
        case "shift":
            return replace(asked, shift=float(value))
        case "denoise":
            return replace(asked, denoise=float(value))
        case "prompt":
            return replace(asked, prompt=value)
        case "base":
            return replace(asked, base=value)


def _weighted(stack: Stack, target: str | None, value: str, original: Stack) -> Stack:
    if target is None:
        if not stack.entries:
            raise BadUsage("The stack is empty, so there is no strength to change.")
        scale = float(value)
        return Stack(
            tuple(Entry(e.name, replace(e.strength, base=e.strength.base * scale)) for e in stack)
        )
    wanted = Strength.parse(value)
    entry = stack.entries[at := _position(original, target)]
    # A bare number keeps the entry's refinements; a refined strength replaces them.
    strength = replace(entry.strength, base=wanted.base) if wanted.is_plain else wanted
    return _with_entry(stack, at, Entry(entry.name, strength))


def _exchanged(stack: Stack, target: str | None, value: str) -> Stack:
    entry, has_strength = parse_adapter(value)
    if target is None and len(stack) > 1:
        raise BadUsage(
            "The stack has several entries, so it is not clear which one is exchanged.",
            hint=f"Write adapter:{stack.entries[0].name}=..., with the entry that is meant.",
        )
    if not stack.entries and target is None:
        return Stack((entry,))
    at = 0 if target is None else _position(stack, target)
    strength = entry.strength if has_strength else stack.entries[at].strength
    return _with_entry(stack, at, Entry(entry.name, strength))


def _with_entry(stack: Stack, at: int, entry: Entry) -> Stack:
    return Stack((*stack.entries[:at], entry, *stack.entries[at + 1 :]))


def _position(stack: Stack, target: str) -> int:
    """The entry that `target` names: by its name, or by the stem of its file."""
    named = [i for i, entry in enumerate(stack) if entry.name == target]
    named = named or [i for i, entry in enumerate(stack) if Path(entry.name).stem == target]
    if len(named) == 1:
        return named[0]
    there = ", ".join(entry.name for entry in stack) or "nothing"
    problem = f"The stack has two entries {target!r}" if named else f"The stack has no {target!r}"
    raise BadUsage(f"{problem}; it holds {there}.")


def _reworded(prompt: str, old: str, new: str) -> str:
    if old not in prompt:
        raise BadUsage(
            f"{old!r} is not in the prompt {prompt!r}.",
            hint="The first value of `replace` is what the prompt holds and the others take its place.",
        )
    return prompt.replace(old, new)
