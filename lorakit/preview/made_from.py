"""What a picture was made from, as it is written into the picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from lorakit.stack import Entry, ResolvedEntry, Stack

if TYPE_CHECKING:
    from lorakit.bases import ChosenBase
    from lorakit.preview.advice import Advice
    from lorakit.preview.recipes import Recipe
    from lorakit.preview.session import Session
    from lorakit.strengths import Strength


@dataclass(frozen=True)
class UsedEntry:
    """One entry of the stack that was fused, with the two hashes of its file."""

    name: str
    strength: Strength
    sha256: str
    tensor_sha256: str


@dataclass(frozen=True)
class MadeFrom:
    """Base, stack, and where and how they were rendered.

    `base_sha256` is None while it is not known; `saving` are the measures against lack of memory, as
    `Renderer.saving` names them; `compiled` is whether the transformer was.
    """

    base: str
    base_sha256: str | None
    entries: tuple[UsedEntry, ...]
    device: str
    dtype: str
    recipe: str
    advice: tuple[Advice, ...] = ()
    saving: tuple[str, ...] = ()
    compiled: bool = False

    @property
    def stack(self) -> Stack:
        """The stack, by the names of its adapters."""
        return Stack(tuple(Entry(entry.name, entry.strength) for entry in self.entries))

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {
            "base": {"name": self.base, "sha256": self.base_sha256},
            "stack": str(self.stack),
            "entries": [
                {
                    "name": entry.name,
                    # One number for readers that know no refinements, and the whole as text.
                    "strength": entry.strength.headline,
                    "strength_text": str(entry.strength),
                    "sha256": entry.sha256,
                    "tensor_sha256": entry.tensor_sha256,
                }
                for entry in self.entries
            ],
            "recipe": self.recipe,
            "device": self.device,
            "dtype": self.dtype,
            "saving": list(self.saving),
            "compiled": self.compiled,
            "advice": [asdict(advice) for advice in self.advice],
        }


def made_from(
    base: ChosenBase,
    entries: Iterable[ResolvedEntry],
    session: Session,
    *,
    recipe: Recipe,
    advice: tuple[Advice, ...] = (),
) -> MadeFrom:
    """What pictures of `session` are made from. Hashes the files that the catalog does not know.

    The hash of an unregistered base is left to `start_base_hash`, since it has gigabytes.
    """
    from lorakit.preview.devices import transformer_dtype

    return MadeFrom(
        base=base.name,
        base_sha256=base.sha256,
        entries=tuple(map(_used, entries)),
        device=session.device,
        dtype=str(transformer_dtype(session.device)).removeprefix("torch."),
        recipe=recipe.key,
        advice=advice,
        saving=session.renderer.saving,
        compiled=session.renderer.compiled,
    )


def start_base_hash(base: ChosenBase) -> Callable[[MadeFrom], MadeFrom]:
    """Hash an unregistered base in the background; the result waits and completes a `MadeFrom`."""
    if base.sha256 is not None:
        return lambda known: known
    from lorakit.formats.hashing import start_hashing_model

    wait = start_hashing_model(base.path)
    return lambda unknown: replace(unknown, base_sha256=wait().whole.file_sha256)


def _used(entry: ResolvedEntry) -> UsedEntry:
    if entry.sha256 is not None and entry.tensor_sha256 is not None:
        return UsedEntry(entry.name, entry.strength, entry.sha256, entry.tensor_sha256)
    from lorakit.formats.hashing import hash_file
    from lorakit.formats.header import read_header

    hashes = hash_file(entry.path, read_header(entry.path).data_offset)
    return UsedEntry(entry.name, entry.strength, hashes.file_sha256, hashes.tensor_sha256)
