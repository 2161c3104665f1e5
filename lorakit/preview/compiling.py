"""Compiling the transformer for many pictures.

Its blocks are compiled one by one (they are alike, so that in truth one is), which takes a fraction of
the time of compiling the whole and gives nearly all of the speed. Weights are inputs of what is compiled:
changing them in place compiles nothing again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diffusers import CosmosTransformer3DModel


def compile_blocks(transformer: CosmosTransformer3DModel, *, backend: str) -> None:
    """Have every block of `transformer` compiled when it next runs, and again for each new size.

    `backend` is one of `torch.compile`'s. Names and tensors of the model stay what they are.
    """
    for block in transformer.transformer_blocks:
        block.compile(backend=backend)


def uncompile_blocks(transformer: CosmosTransformer3DModel) -> None:
    """Take `compile_blocks` back."""
    for block in transformer.transformer_blocks:
        # What `Module.compile` sets; it has no way back of its own.
        block._compiled_call_impl = None


def compiling_problem(error: RuntimeError) -> str | None:
    """Why compiling failed (no C++ compiler, no Triton); None for an error of the model itself."""
    from torch._dynamo.exc import TorchDynamoException, TorchRuntimeError

    if not isinstance(error, TorchDynamoException) or isinstance(error, TorchRuntimeError):
        return None
    # A backend's error is wrapped in one that says first of all which backend it was.
    inner = getattr(error, "inner_exception", error)
    lines = (line.strip() for line in str(inner).splitlines())
    return next(filter(None, lines), type(inner).__name__)
