"""What becomes of recognition when somebody rewrites weights to hide, without changing what they compute.

None of this is prevented; docs/tracing.md says what is seen. A failure here means that the page has to be
written anew, in either direction.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lorakit.sketches.reading import sketch_checkpoint
from lorakit.tracing.known import Finding, Known
from lorakit.tracing.recognition import recognise_base
from tests.gate.relatives import ancestor, rdbt
from tests.tracing import family as f
from tests.tracing.files import write_checkpoint

pytestmark = pytest.mark.slow

HEADS = 16
ATTENTIONS = ("self_attn", "cross_attn")
# The layers that read the channels between the blocks.
READING = (
    *(f"self_attn.{x}_proj" for x in "qkv"),
    "cross_attn.q_proj",
    "mlp.layer1",
)
Attack = Callable[[f.Weights, torch.Generator], None]


def hidden_units(weights: f.Weights, draw: torch.Generator) -> None:
    """The hidden units of every MLP in another order."""
    for block in range(f.BLOCKS):
        first, second = (f"blocks.{block}.mlp.layer{i}" for i in (1, 2))
        order = torch.randperm(len(weights[first]), generator=draw)
        weights[first] = weights[first][order]
        weights[second] = weights[second][:, order]


def heads(weights: f.Weights, draw: torch.Generator) -> None:
    """The heads of every attention in another order."""
    for block in range(f.BLOCKS):
        for attention in ATTENTIONS:
            stem = f"blocks.{block}.{attention}"
            rows = torch.arange(f.WIDTH).reshape(HEADS, -1)
            order = rows[torch.randperm(HEADS, generator=draw)].flatten()
            for x in "qkv":
                weights[f"{stem}.{x}_proj"] = weights[f"{stem}.{x}_proj"][order]
            weights[f"{stem}.output_proj"] = weights[f"{stem}.output_proj"][:, order]


def values_rescaled(weights: f.Weights, draw: torch.Generator) -> None:
    """Every channel of the values times a number, which the output divides by."""
    for block in range(f.BLOCKS):
        for attention in ATTENTIONS:
            stem = f"blocks.{block}.{attention}"
            sizes = torch.exp(2 * torch.randn(f.WIDTH, generator=draw))
            weights[f"{stem}.v_proj"] = weights[f"{stem}.v_proj"] * sizes[:, None]
            weights[f"{stem}.output_proj"] = weights[f"{stem}.output_proj"] / sizes


def residual(weights: f.Weights, draw: torch.Generator) -> None:
    """The channels between the blocks in another order."""
    order = torch.randperm(f.WIDTH, generator=draw)
    for name in list(weights):
        if not name.startswith("blocks."):
            continue
        if name.endswith(READING):
            weights[name] = weights[name][:, order]
        elif name.endswith(("output_proj", "mlp.layer2")):
            weights[name] = weights[name][order]


ATTACKS: dict[str, tuple[Attack, ...]] = {
    "hidden units": (hidden_units,),
    "heads": (heads,),
    "hidden units and heads": (hidden_units, heads),
    "values rescaled": (values_rescaled,),
    "channels between blocks": (residual,),
}


def found_after(folder: Path, attacks: tuple[Attack, ...]) -> Finding:
    weights, draw = dict(rdbt()), torch.Generator().manual_seed(0)
    for attack in attacks:
        attack(weights, draw)
    whole = {name: matrix.contiguous() for name, matrix in weights.items()}

    def sketch(name: str, of: f.Weights) -> Known:
        path = write_checkpoint(folder / f"{name}.safetensors", of)
        return Known(name * 32, name, "weights", sketch_checkpoint(path), name)

    known = [sketch("anima", ancestor()), sketch("rdbt", rdbt())]
    suspect = sketch("hidden", whole).sketch
    family = {"anima": (), "rdbt": ("anima",)}
    return recognise_base(suspect, known, ancestors=family, about=known[1:])[0]


@pytest.mark.parametrize("name", ATTACKS)
def test_what_one_rewriting_leaves_is_enough(tmp_path: Path, name: str) -> None:
    found = found_after(tmp_path, ATTACKS[name])
    assert found.outcome == "contains"
    assert found.strength == pytest.approx(1.0, abs=0.1)


def test_all_at_once_hide_it(tmp_path: Path) -> None:
    found = found_after(tmp_path, (hidden_units, heads, values_rescaled, residual))
    assert found.outcome in ("absent", "undecided")
