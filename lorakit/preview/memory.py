"""What the renderer does when memory runs out: it lowers its own settings, says so, and tries again.

Light: torch is imported inside the functions, since the loading of components asks here too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, TypeVar

from lorakit.errors import LorakitError

if TYPE_CHECKING:
    from diffusers import AutoencoderKLQwenImage
    from torch import nn

Stage = Literal["build", "text", "image", "denoise", "decode"]
OnNotice = Callable[[str], None]
T = TypeVar("T")

_DOING = {
    "build": "building the transformer",
    "text": "reading the prompt",
    "image": "encoding the starting image",
    "denoise": "denoising",
    "decode": "decoding the picture",
}
_WAITING = (
    "the text encoder and the VAE wait in main memory while they are not at work, which is slower."
)
# How the allocators of CPU, MPS and cuBLAS say it, which have no error class of their own.
_SIGNS = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "cublas_status_alloc_failed",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` means that the device or the machine has no memory left."""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(sign in text for sign in _SIGNS)


class MemorySaver:
    """Runs the stages of a picture, and becomes more sparing each time memory runs out.

    First the VAE works in tiles. Then, on CUDA, the text encoder and the VAE wait in main memory while
    they are not at work. Neither is ever taken back. A stage that has failed is done again from its
    start. Where a part lies in main memory from the beginning, it is moved to and fro from the beginning.
    """

    def __init__(
        self,
        device: str,
        *,
        text_encoder: nn.Module,
        vae: AutoencoderKLQwenImage,
        on_notice: OnNotice = lambda sentence: None,
    ) -> None:
        self._device = device
        self._movable: dict[Stage, nn.Module] = {"text": text_encoder, "image": vae, "decode": vae}
        self._vae = vae
        self.on_notice = on_notice
        self.moves_parts = device != "cpu" and any(map(_is_on_cpu, (text_encoder, vae)))
        if self.moves_parts:
            on_notice(f"{device} has too little memory for all parts at once; {_WAITING}")

    @property
    def saving(self) -> tuple[str, ...]:
        """What has been lowered: of "tiled VAE" (which changes pixels a little) and "offload"."""
        tiled = ("tiled VAE",) if self._vae.use_tiling else ()
        return (*tiled, "offload") if self.moves_parts else tiled

    def run(self, stage: Stage, work: Callable[[], T]) -> T:
        """Do `work` with the parts of `stage` at hand, again after each lowering.

        Raises:
            LorakitError: memory ran out and nothing is left to lower.
        """
        while True:
            try:
                with self._at_hand(stage):
                    return work()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                reason = _first_line(error)
            # Outside the handler, so that the error's frames no longer hold their tensors.
            _release_cache()
            if not self._lower(stage):
                raise LorakitError(
                    f"Memory ran out while {_DOING[stage]}: {reason}", hint=self._hint()
                )

    def _lower(self, stage: Stage) -> bool:
        """Take the next measure that can help `stage`, and say so; False when there is none."""
        if stage in ("image", "decode") and not self._vae.use_tiling:
            self._vae.enable_tiling()
            self.on_notice(
                f"Memory ran out while {_DOING[stage]}; from here on the VAE works in tiles, which is "
                "slower and changes pixels a little."
            )
            return True
        # Elsewhere the device's memory is the machine's own, and moving frees nothing.
        if not self._device.startswith("cuda") or self.moves_parts:
            return False
        for part in self._parts():
            part.to("cpu")
        _release_cache()
        self.moves_parts = True
        self.on_notice(f"Memory ran out while {_DOING[stage]}; from here on {_WAITING}")
        return True

    @contextmanager
    def _at_hand(self, stage: Stage) -> Iterator[None]:
        part = self._movable.get(stage)
        if part is None or not self.moves_parts:
            yield
            return
        try:
            part.to(self._device)
            yield
        finally:
            part.to("cpu")

    def _parts(self) -> Sequence[nn.Module]:
        return (self._movable["text"], self._vae)

    def _hint(self) -> str:
        if self._device == "cpu":
            return "Render a smaller picture, or close other programs that use much memory."
        return "Render a smaller picture, close what else uses the GPU, or use --device cpu."


def _is_on_cpu(module: nn.Module) -> bool:
    return all(parameter.device.type == "cpu" for parameter in module.parameters())


def _release_cache() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".") + "."
