"""A picture that came out as NaN or infinity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from lorakit.errors import LorakitError

if TYPE_CHECKING:
    import torch

Place = Literal["text", "image", "step", "decoder"]


class UnsoundPicture(LorakitError):
    """Numbers that are not finite appeared at `place`: in the prompt's conditioning, the starting image,
    a denoising `step` (counted from 0), or the decoder."""

    def __init__(self, place: Place, step: int | None = None) -> None:
        where = {
            "text": "in the conditioning that the prompt was turned into",
            "image": "where the VAE encoded the starting image",
            "step": f"in denoising step {(step or 0) + 1}",
            "decoder": "where the VAE decoded it",
        }[place]
        super().__init__(
            f"The picture came out as NaN or infinity, so there is nothing to show; it began {where}.",
            hint="Look at the strengths in the stack: one is probably far too high, or an adapter "
            "is damaged. Rendering without the stack tells whether the base is sound.",
        )
        self.place = place
        self.step = step


def require_finite(tensor: torch.Tensor, place: Place, step: int | None = None) -> None:
    """Raise `UnsoundPicture` when a number of `tensor` is NaN or infinite."""
    import torch

    if not bool(torch.isfinite(tensor).all()):
        raise UnsoundPicture(place, step)
