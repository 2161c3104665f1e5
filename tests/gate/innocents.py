"""Relatives of RDBT's likeness that hold nothing of it, and a stranger."""

from __future__ import annotations

from collections.abc import Iterator

from tests.gate.relatives import (
    Adapter,
    Checkpoint,
    ancestor,
    extracted,
    joined,
    mean,
    only,
    rescaled,
    rows_rescaled,
    style,
    style_factors,
    tuned,
    without,
    without_text_adapter,
    yume,
)
from tests.tracing import family as f
from tests.tracing.files import Form


def checkpoints() -> Iterator[Checkpoint]:
    """Copies of the ancestor and of a fine-tune, and what was made of these."""
    yield from _copies()
    for size, rank in ((0.005, 8), (0.01, 16), (0.02, 32), (0.05, 64), (0.1, 16)):
        yield _styled(size, rank)
    for numbers in ("fp8", "int8"):
        yield Checkpoint(f"a style, {numbers}", lambda: without((1, style(6))), Form(numbers))
    for numbers in ("bf16", "fp8"):
        yield Checkpoint(f"RDBT's layers, rank and size, {numbers}", _like_rdbt, Form(numbers))
    for size in (0.01, 0.03, 0.05):
        yield _tuned(size)
    for share in (0.3, 0.5, 0.8):
        yield _mixed(share)
    yield from _mixtures()


def adapters() -> Iterator[Adapter]:
    """Styles of every layout, and what was extracted or joined."""
    for layout in ("kohya", "comfy", "diffusers"):
        yield Adapter(f"a style, {layout}", lambda: style_factors(20), layout)
    yield Adapter("RDBT's layers and rank", lambda: f.low_rank(24, 0.015, 24, f.as_rdbt))
    yield Adapter("a strong style", lambda: style_factors(25, 0.1, 64))
    yield Adapter("two styles", lambda: joined((0.5, style_factors(26)), (0.5, style_factors(27))))
    yield Adapter("the fine-tune, extracted", lambda: extracted(yume()))
    yield Adapter("a style, extracted", lambda: extracted(without((1, style(28)))))
    yield Adapter("a style, extracted next to the fine-tune", lambda: extracted(_on_yume(), yume()))
    yield Adapter("one block of a style", lambda: only(style_factors(29), [14]))


def _copies() -> Iterator[Checkpoint]:
    for numbers in ("fp16", "fp32", "fp8", "fp8 e5m2", "scaled fp8", "int8 by row"):
        yield Checkpoint(f"the ancestor, {numbers}", ancestor, Form(numbers))
    yield Checkpoint(
        "the ancestor under a prefix", ancestor, Form("fp16", "model.diffusion_model.")
    )
    yield Checkpoint("the ancestor without text", lambda: without_text_adapter(ancestor()))
    yield Checkpoint("the ancestor, rows rescaled", lambda: rows_rescaled(ancestor()))
    for numbers in ("fp16", "fp8", "int8"):
        yield Checkpoint(f"the fine-tune, {numbers}", yume, Form(numbers))
    yield Checkpoint("the fine-tune, modules rescaled", lambda: rescaled(yume()))
    yield Checkpoint("an unrelated model", lambda: f.weights(99))


def _mixtures() -> Iterator[Checkpoint]:
    styles = (0.6, 1), (0.6, 2), (0.6, 3)
    yield Checkpoint("three styles", lambda: without(*((s, style(n)) for s, n in styles)))
    yield Checkpoint(
        "three styles on the fine-tune",
        lambda: f.summed(yume(), *((s, style(n)) for s, n in styles)),
    )
    yield Checkpoint("a style, tuned", lambda: tuned(without((0.8, style(9))), 9, 0.02))
    yield Checkpoint("tuned by 5 %, fp8", lambda: tuned(ancestor(), 9, 0.05), Form("fp8"))
    yield Checkpoint(
        "merge of a merge", lambda: f.summed(f.rounded(mean(of_yume=0.5)), (0.5, style(10)))
    )


def _styled(size: float, rank: int) -> Checkpoint:
    return Checkpoint(f"a style of {size:.1%}", lambda: without((1, style(6, size, rank))))


def _tuned(size: float) -> Checkpoint:
    return Checkpoint(f"tuned by {size:.0%}", lambda: tuned(ancestor(), 8, size))


def _mixed(share: float) -> Checkpoint:
    return Checkpoint(f"{share:.0%} of the fine-tune", lambda: mean(of_yume=share))


def _like_rdbt() -> f.Weights:
    return without((1, f.product_of(f.low_rank(7, 0.015, 24, f.as_rdbt))))


def _on_yume() -> f.Weights:
    return f.summed(yume(), (0.8, style(30)))
