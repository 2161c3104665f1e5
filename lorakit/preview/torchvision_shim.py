"""Rendering without torchvision.

diffusers' Cosmos transformer asks torchvision for one thing, a nearest-neighbour resize of the
padding mask, and raises NameError where torchvision is not installed. That is no reason to make
people install a package that must match their torch build to the digit.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from types import SimpleNamespace

import torch

_NEAREST = "nearest"


def nearest_resize(
    tensor: torch.Tensor, size: Sequence[int], interpolation: str = _NEAREST
) -> torch.Tensor:
    """Resize `[batch, channels, height, width]` to `size`, taking the nearest pixel.

    The dtype is kept. This is `torchvision.transforms.functional.resize` for the one mode that
    the Cosmos transformer uses.

    Raises:
        NotImplementedError: another interpolation was asked for; diffusers would have changed.
    """
    if interpolation != _NEAREST:
        raise NotImplementedError(f"lorakit's stand-in for torchvision has no {interpolation!r}")
    return torch.nn.functional.interpolate(tensor, size=list(size), mode=_NEAREST)


def supply_nearest_resize() -> None:
    """Give diffusers' Cosmos transformer its mask resize where torchvision cannot be imported.

    Call it before diffusers' models are imported. Where torchvision works, nothing is
    changed. Calling it twice does no harm.
    """
    if _torchvision_works():
        return
    _hide_broken_torchvision()
    from diffusers.models.transformers import transformer_cosmos

    transformer_cosmos.transforms = SimpleNamespace(
        functional=SimpleNamespace(resize=nearest_resize),
        InterpolationMode=SimpleNamespace(NEAREST=_NEAREST),
    )


def _hide_broken_torchvision() -> None:
    """Make an installed torchvision that does not import look like one that is not installed.

    diffusers and transformers ask whether the package is there, not whether it works, and then
    import it, so that nothing of theirs would load beside a torchvision built for another torch.
    """
    if importlib.util.find_spec("torchvision") is None:
        return
    # Python's own way to say that a module is not to be found; both libraries' checks heed it.
    sys.modules["torchvision"] = None  # type: ignore[assignment]
    import diffusers.utils.import_utils as diffusers_found
    import transformers.utils.import_utils as transformers_found

    # What they have found before now, where they were imported already.
    diffusers_found._torchvision_available = False
    getattr(transformers_found.is_torchvision_available, "cache_clear", lambda: None)()


def _torchvision_works() -> bool:
    try:
        import torchvision.transforms  # noqa: F401
    # Built for another torch it raises RuntimeError, OSError or AttributeError, by version.
    except Exception:
        return False
    return True
