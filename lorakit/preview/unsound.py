"""A picture that came out as NaN or infinity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from lorakit.errors import LorakitError

if TYPE_CHECKING:
    import torch

Place = Literal["text", "image", "step", "decoder"]


class UnsoundPicture(LorakitError):
    """Numbers that are not finite appeared at `place`: in the prompt's conditioning, the starting image,
    a denoising `step` (counted from 0), or the decoder. `cause` is a sentence, once it was looked for."""

    def __init__(
        self,
        place: Place,
        step: int | None = None,
        *,
        cause: str | None = None,
        hint: str | None = None,
    ) -> None:
        began = f"The picture came out as NaN or infinity, beginning {_where(place, step)}."
        super().__init__(
            began if cause is None else f"{began} {cause}",
            hint=hint
            or "Look at the strengths in the stack: one is probably far too high, or an adapter is "
            "damaged. Rendering without the stack tells whether the base is sound.",
        )
        self.place = place
        self.step = step
        self.cause = cause

    def because(self, cause: str, hint: str) -> UnsoundPicture:
        """The same error with its cause, as `diagnosis` finds it."""
        return UnsoundPicture(self.place, self.step, cause=cause, hint=hint)


def require_finite(tensor: torch.Tensor, place: Place, step: int | None = None) -> None:
    """Raise `UnsoundPicture` when a number of `tensor` is NaN or infinite."""
    import torch

    if not bool(torch.isfinite(tensor).all()):
        raise UnsoundPicture(place, step)


def _where(place: Place, step: int | None) -> str:
    return {
        "text": "in what the prompt was turned into",
        "image": "where the VAE encoded the starting image",
        "step": f"in denoising step {(step or 0) + 1}",
        "decoder": "where the VAE decoded it",
    }[place]
