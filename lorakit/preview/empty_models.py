"""Building a model without random weights, then giving it tensors that are already in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import nn

from lorakit.errors import BadFile

M = TypeVar("M", bound=nn.Module)

_NAMED = 5
"""How many keys an error lists before it only counts."""


def build_empty(make: Callable[[], M], *, what: str) -> M:
    """Construct a model whose parameters are on the meta device and whose buffers are real.

    Buffers such as a rotary embedding's frequencies are computed when the model is constructed and
    stand in no checkpoint, so they must not be left on the meta device.

    Args:
        make: constructs the model.
        what: the model's name for errors.

    Raises:
        BadFile: the sizes read from the tensors make no model.
    """
    from accelerate import (  # type: ignore[import-untyped, unused-ignore]
        init_empty_weights,
    )

    try:
        with init_empty_weights(include_buffers=False):
            return make().eval()
    except (ValueError, ArithmeticError, RuntimeError, AssertionError) as error:
        raise BadFile(
            f"The tensor shapes make no {what}: {error}",
            hint="The file is damaged or not of the Anima architecture.",
        ) from error


def fill_model(
    model: M, tensors: Mapping[str, torch.Tensor], *, what: str, shown: Callable[[str], str] = str
) -> M:
    """Make `tensors` the parameters of `model`, without a copy, and freeze it.

    Args:
        model: a model from `build_empty`.
        tensors: by the model's own state dict keys, each in its final dtype and on its device.
        what: the model's name for errors.
        shown: turns a key of the model into the name that the person's file uses.

    Returns:
        The model, in evaluation mode. Its parameters share memory with `tensors`.

    Raises:
        BadFile: a key is missing, unknown or of another shape; the message names it.
    """
    expected = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    _complain("lacks", [shown(key) for key in expected if key not in tensors], what)
    _complain("has unknown", [shown(key) for key in tensors if key not in expected], what)
    for key, shape in expected.items():
        if tuple(tensors[key].shape) != shape:
            raise BadFile(
                f"The {what}'s tensor '{shown(key)}' has the shape "
                f"{list(tensors[key].shape)} where the rest of the model needs {list(shape)}.",
                hint="The file is damaged or not of the Anima architecture.",
            )
    with torch.no_grad():
        model.load_state_dict(dict(tensors), strict=True, assign=True)
    return model.requires_grad_(False).eval()


def _complain(how: str, keys: Sequence[str], what: str) -> None:
    if not keys:
        return
    named = ", ".join(f"'{key}'" for key in keys[:_NAMED])
    more = f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else ""
    raise BadFile(
        f"The {what} {how} tensors: {named}{more}.",
        hint="The file is incomplete, damaged, or of another architecture than Anima.",
    )
