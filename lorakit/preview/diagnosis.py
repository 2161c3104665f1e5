"""Which entry of a stack made a picture come out as NaN or infinity.

Files are looked at first, which takes seconds and proves what it finds. Where all their numbers are
finite, something overflowed, and the picture is begun again with other stacks: with none, with each entry
alone, with each left out. A trial goes on no further than the step in which the picture failed.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import copysign
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from lorakit.preview.unsound import UnsoundPicture

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from lorakit.preview.pipeline import OnStep, Renderer
    from lorakit.preview.settings import RenderSettings
    from lorakit.strengths import Strength

Kind = Literal["adapter", "strength", "together", "base", "components", "unknown"]


class Suspect(Protocol):
    """An entry of the stack, such as a `ResolvedEntry`."""

    @property
    def name(self) -> str:
        """How the person calls it."""
        ...

    @property
    def path(self) -> Path:
        """The adapter's file."""
        ...

    @property
    def strength(self) -> Strength:
        """The strength it was given."""
        ...


class Restackable(Protocol):
    """A session: a renderer, and a way to change its stack."""

    renderer: Renderer

    def restack(self, entries: Sequence[tuple[Path, Strength]], /) -> None:
        """Make the next picture that of `entries`."""
        ...


@dataclass(frozen=True)
class Cause:
    """What was found: the entries to blame by name (none for the base and its parts), a sentence, and
    what to do.

    "adapter" is a file that holds NaN or infinity; "strength" an entry that overflows on its own;
    "together" entries that overflow with the others only.
    """

    kind: Kind
    names: tuple[str, ...]
    sentence: str
    hint: str


def render_or_explain(
    session: Restackable,
    base: Path,
    entries: Sequence[Suspect],
    settings: RenderSettings,
    on_step: OnStep | None = None,
) -> Image:
    """`session.renderer.render`, where the error of an unsound picture names the cause.

    Args:
        session: holds `entries` on `base` now, and does so again after the search.
        base: the checkpoint.
        entries: the stack.
        settings: what to render.
        on_step: as for `Renderer.render`; it hears nothing of the search.

    Raises:
        UnsoundPicture: numbers came out as NaN or infinity; `cause` says why.
        LorakitError: as `Renderer.render`.
    """
    try:
        return session.renderer.render(settings, on_step)
    except UnsoundPicture as error:
        found = find_cause(session, base, entries, settings, error)
        raise error.because(found.sentence, found.hint) from error


def find_cause(
    session: Restackable,
    base: Path,
    entries: Sequence[Suspect],
    settings: RenderSettings,
    error: UnsoundPicture,
) -> Cause:
    """What made the picture of `settings` fail with `error`. The session's stack is put back."""
    for entry in entries:
        key = first_bad_tensor(entry.path)
        if key is not None:
            return _damaged(entry, key)
    try:
        return _search(_Trials(session, settings, error), base, entries)
    finally:
        session.restack([(entry.path, entry.strength) for entry in entries])


def first_bad_tensor(path: Path) -> str | None:
    """The first tensor of a safetensors file with NaN or infinity in it, None without one.

    Single numbers are passed over: an alpha may be infinite where it is not used.
    """
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        for key in file.keys():  # noqa: SIM118
            tensor = file.get_tensor(key)
            if tensor.numel() > 1 and not _is_finite(tensor):
                return str(key)
    return None


@dataclass(frozen=True)
class _Trials:
    session: Restackable
    settings: RenderSettings
    error: UnsoundPicture

    def sound(self, entries: Sequence[tuple[Path, Strength]]) -> bool:
        """Whether the picture of `entries` gets past where it failed."""
        self.session.restack(entries)
        try:
            self.session.renderer.render(self.settings, self._go_on)
        except UnsoundPicture:
            return False
        except _FarEnough:
            return True
        return True

    def _go_on(self, done: int, total: int) -> None:
        failed = self.error.step
        if self.error.place != "decoder" and done > (failed or 0) - self.settings.first_step:
            raise _FarEnough


class _FarEnough(Exception):
    """The step in which the picture failed has been done."""


def _search(trials: _Trials, base: Path, entries: Sequence[Suspect]) -> Cause:
    if not trials.sound([]):
        return _without_a_stack(trials.session.renderer, base)
    stack = [(entry.path, entry.strength) for entry in entries]
    alone = [entry for entry, pair in zip(entries, stack, strict=True) if not trials.sound([pair])]
    if alone:
        return _overflows(trials, alone)
    needed = [
        entry
        for index, entry in enumerate(entries)
        if trials.sound([*stack[:index], *stack[index + 1 :]])
    ]
    if needed:
        return Cause(
            "together",
            tuple(entry.name for entry in needed),
            f"It needs {_list(needed)} beside the rest of the stack; each entry alone is sound.",
            "Give them smaller strengths, or leave one out.",
        )
    return Cause(
        "unknown",
        (),
        "Every entry alone is sound, and leaving any one out does not help.",
        "Give the whole stack smaller strengths.",
    )


def _without_a_stack(renderer: Renderer, base: Path) -> Cause:
    key = first_bad_tensor(base)
    if key is not None:
        sentence = f"The base {base} is damaged: its tensor {key} holds NaN or infinity."
        return Cause("base", (), sentence, "Fetch the base again; the stack is not to blame.")
    part = renderer.unsound_part()
    if part is not None:
        sentence = f"The {part} is damaged: its weights hold NaN or infinity."
        return Cause("components", (), sentence, "Fetch it again; the stack is not to blame.")
    return Cause(
        "base",
        (),
        f"The base {base} gives no sound picture without the stack either, though all its numbers are "
        "finite.",
        "Try other settings, or another base; the stack is not to blame.",
    )


def _damaged(entry: Suspect, key: str) -> Cause:
    return Cause(
        "adapter",
        (entry.name,),
        f"{entry.name} is damaged: {key} in {entry.path} holds NaN or infinity.",
        "Leave it out, or fetch the file again.",
    )


def _overflows(trials: _Trials, entries: Sequence[Suspect]) -> Cause:
    verb = "overflows" if len(entries) == 1 else "overflow"
    sentence = f"{_list(entries)} {verb}, alone on the base already, though the numbers in the file are finite."
    if any(_moderate_is_sound(trials, entry) for entry in entries):
        hint = "The strength is too high: at 1 the picture is sound."
    else:
        path = shlex.quote(str(entries[0].path))
        hint = f"Leave it out, or look at its alpha and rank: lorakit inspect {path}"
    return Cause("strength", tuple(entry.name for entry in entries), sentence, hint)


def _moderate_is_sound(trials: _Trials, entry: Suspect) -> bool:
    """Whether a strength beyond 1 is to blame, and not the adapter itself."""
    base = entry.strength.base
    if abs(base) <= 1.0:
        return False
    return trials.sound([(entry.path, replace(entry.strength, base=copysign(1.0, base)))])


def _list(entries: Sequence[Suspect]) -> str:
    return " and ".join(f"{entry.name} at strength {entry.strength}" for entry in entries)


def _is_finite(tensor: torch.Tensor) -> bool:
    if not tensor.is_floating_point():
        return True
    # 8-bit floats have no operations of their own.
    wide = tensor.float() if tensor.itemsize == 1 else tensor
    return bool(wide.isfinite().all())
