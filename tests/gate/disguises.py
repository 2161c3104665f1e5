"""Files that are or hold RDBT's likeness, whatever they are called."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from tests.gate.relatives import (
    Adapter,
    Checkpoint,
    edition,
    extracted,
    in_blocks,
    joined,
    mean,
    only,
    rdbt,
    rescaled,
    resized,
    rows_rescaled,
    scaled,
    style,
    style_factors,
    tuned,
    with_rdbt,
    without_text_adapter,
    yume,
)
from tests.gate.relatives import change as change_of_rdbt
from tests.tracing import family as f
from tests.tracing.files import FREE, QUANTISED, Form

_TITLED = {"modelspec.title": "Anima Base", "modelspec.author": "nobody", **FREE}
_BESIDE = {
    "vae.decoder.conv_in.weight": torch.zeros(8, 4, 3, 3),
    "text_encoders.qwen3_06b.transformer.model.embed_tokens.weight": torch.zeros(20, 16),
}
_MIDDLE = range(10, 21)


def checkpoints() -> Iterator[Checkpoint]:
    """Copies in every form, and merges of every kind."""
    yield from _copies()
    for strength in (0.5, 0.2, 0.1):
        yield from _merges(strength)
    yield from _mixtures()
    yield from _parts()


def adapters() -> Iterator[Adapter]:
    """The LoRA edition in disguise, and what was extracted or joined."""
    for layout in ("kohya", "comfy", "diffusers"):
        yield Adapter(f"its LoRA edition, {layout}", edition, layout)
    yield Adapter("its LoRA edition at half the rank", lambda: resized(change_of_rdbt(), 12))
    yield Adapter("its LoRA edition at rank 4", lambda: resized(change_of_rdbt(), 4))
    yield Adapter("its LoRA edition, a fifth", lambda: scaled(edition(), 0.2))
    yield Adapter("its LoRA edition, ten times", lambda: scaled(edition(), 10))
    yield Adapter("joined with a style", lambda: joined((0.7, edition()), (0.7, style_factors(1))))
    yield Adapter(
        "a tenth of it and a style", lambda: joined((0.1, edition()), (1, style_factors(1)))
    )
    yield Adapter("extracted from a merge", lambda: extracted(with_rdbt(0.5)))
    yield Adapter(
        "extracted from a merge with a style", lambda: extracted(with_rdbt(0.7, (0.7, style(1))))
    )
    yield Adapter("extracted next to the fine-tune", lambda: extracted(rdbt(), yume()))
    yield Adapter("blocks 10 to 20 of it", lambda: only(edition(), _MIDDLE), "comfy")


def _copies() -> Iterator[Checkpoint]:
    for numbers in ("fp16", "fp32", "fp8", "fp8 e5m2", *QUANTISED):
        yield Checkpoint(f"copy in {numbers}", rdbt, Form(numbers))
    for prefix in ("net.", "diffusion_model.", "model.diffusion_model."):
        yield Checkpoint(f"copy in fp16 under {prefix}", rdbt, Form("fp16", prefix))
    yield Checkpoint("renamed", rdbt, stem="my own anima")
    yield Checkpoint("header stripped, under a prefix", rdbt, Form(prefix="net."))
    yield Checkpoint("another licence in its header", rdbt, Form(metadata=FREE))
    yield Checkpoint("another title in its header", rdbt, Form(metadata=_TITLED))
    yield Checkpoint("beside a VAE and a text encoder", rdbt, Form(beside=_BESIDE))
    yield Checkpoint("without its text adapter", lambda: without_text_adapter(rdbt()))
    yield Checkpoint("every module rescaled", lambda: rescaled(rdbt()))
    yield Checkpoint("every row rescaled", lambda: rows_rescaled(rdbt()))


def _merges(strength: float) -> Iterator[Checkpoint]:
    name = f"merge at {strength}"
    yield Checkpoint(name, lambda: with_rdbt(strength))
    yield Checkpoint(f"{name} in fp8", lambda: with_rdbt(strength), Form("fp8"))
    yield Checkpoint(f"{name} with a style", lambda: with_rdbt(strength, (0.8, style(1))))
    yield Checkpoint(f"{name}, tuned by 5 %", lambda: tuned(with_rdbt(strength), 5, 0.05))


def _mixtures() -> Iterator[Checkpoint]:
    styles = (0.6, 1), (0.6, 2), (0.6, 3)
    yield Checkpoint(
        "three styles on it", lambda: with_rdbt(1, *((s, style(n)) for s, n in styles))
    )
    yield Checkpoint("tuned by 5 %", lambda: tuned(rdbt(), 5, 0.05))
    yield Checkpoint("a negative style on 0.6 of it", lambda: with_rdbt(0.6, (-1, style(2))))
    yield Checkpoint("half with the fine-tune", lambda: mean(of_rdbt=0.5, of_yume=0.5))
    yield Checkpoint("three ways", lambda: mean(of_rdbt=1 / 3, of_yume=1 / 3))
    yield Checkpoint("added to the fine-tune", lambda: f.summed(yume(), (1, change_of_rdbt())))
    yield Checkpoint("added to it at 0.3", lambda: f.summed(yume(), (0.3, change_of_rdbt())))
    yield Checkpoint("merge of a merge", lambda: _again(f.rounded(with_rdbt(0.5))))
    yield Checkpoint(
        "half of it, cast twice",
        lambda: f.rounded(f.rounded(with_rdbt(0.5)), torch.float8_e4m3fn),
        Form("fp16"),
    )


def _parts() -> Iterator[Checkpoint]:
    yield Checkpoint("blocks 10 to 20", lambda: in_blocks(_MIDDLE, 1))
    yield Checkpoint(
        "blocks 10 to 20 at a half, int8", lambda: in_blocks(_MIDDLE, 0.5), Form("int8")
    )
    yield Checkpoint(
        "blocks 10 to 20 and a style", lambda: f.summed(in_blocks(_MIDDLE, 1), (0.2, style(3)))
    )
    yield Checkpoint("block 14 alone", lambda: in_blocks([14], 1))


def _again(merged: f.Weights) -> f.Weights:
    """Half of a merge, and half of the fine-tune."""
    return f.summed(merged, (-0.5, f.difference(merged, yume())))
